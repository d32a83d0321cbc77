"""Where a model is found by its name: the name of its file or package.

A package in `model/` (such as `model/psad/`) or a module in `model/baselines/` that has a `Config`
and a `Ranker` is a model. A new one is one new file; nothing here lists them, and asking for one
imports that one alone.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from pathlib import Path
from typing import Any, NamedTuple

from features.errors import PsadError

_HERE = Path(__file__).parent
_BASELINES = "baselines"


class UnknownModel(PsadError):
    """A name that no model has."""


class Model(NamedTuple):
    """A model as its module shows it."""

    name: str
    Config: type[Any]  # frozen pydantic model; an unknown key is an error
    Ranker: type[Any]  # model.ranker.Ranker


def names() -> tuple[str, ...]:
    """Every model's name, sorted; imports none of them."""
    return tuple(sorted(_modules()))


def find(name: str) -> Model:
    """The model of that name. Raises UnknownModel, which says what there is."""
    modules = _modules()
    if name not in modules:
        raise UnknownModel(_unknown(name, tuple(sorted(modules))))
    module = importlib.import_module(modules[name])
    return Model(name, module.Config, module.Ranker)


def _modules() -> dict[str, str]:
    """Name -> dotted module, by looking at files."""
    packages = {
        found.name: f"model.{found.name}"
        for found in pkgutil.iter_modules([str(_HERE)])
        if found.ispkg and found.name != _BASELINES
    }
    baselines = {
        found.name: f"model.{_BASELINES}.{found.name}"
        for found in pkgutil.iter_modules([str(_HERE / _BASELINES)])
    }
    return packages | baselines


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"there is no model {name!r} in model/.{guess} Known models: {', '.join(known)}."
