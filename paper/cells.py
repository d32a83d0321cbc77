"""Cells of a study and the runs behind them.

A run is known by its settings, its data and its seed, so that studies share one where they ask for
the same; its folder is RUNS/DATASET/MODEL-SEED-FINGERPRINT.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.dataset import Dataset
from model.config import MODEL, PRESET, preset_values, read_config, resolve
from model.config import Asked as Configured
from paper.study import CONFIGS, Asked, Study

TEACHER = "offline_from"  # a configuration file's `runs/NAME` stands for a run of NAME.toml


@dataclass(frozen=True)
class Run:
    """One training, and where it goes."""

    dataset: Path
    data: Mapping[str, Any]  # what the dataset is, wherever it lies
    folder: Path
    variant: str
    seed: int
    settings: Mapping[str, str]  # what goes before the configuration file
    fingerprint: str
    teacher: Run | None = None

    @property
    def words(self) -> list[str]:
        """What follows `psad train` on the command line."""
        overrides = [f"{key}={value}" for key, value in self.settings.items()]
        file = shown(CONFIGS / f"{self.variant}.toml")
        return [str(self.dataset), str(self.folder), *overrides, "--config", file,
                "--seed", str(self.seed)]  # fmt: skip

    @property
    def command(self) -> str:
        """The command line that makes this run."""
        return shlex.join(["psad", "train", *self.words])


@dataclass(frozen=True)
class Cell:
    """One variant of a study on one data set with one seed."""

    study: Study
    variant: str
    run: Run
    settings: str  # fingerprint of the settings without seed and data
    path: Path  # of its result


def plan(asked: Asked, study: Study) -> list[Cell]:
    """Every cell that is asked for, the first seed of all before the second."""
    variants, cells = asked.variants(study), []
    for folder in asked.datasets:
        data = Dataset.load(folder)
        place = asked.results / study.name / data.schema.name
        for seed in range(asked.seeds):
            for name in variants:
                run = _run(folder, data, name, seed, asked)
                path = place / f"{name}-{seed}.json"
                settings = settings_of(name, asked, data.schema.name)
                cells.append(Cell(study, name, run, settings, path))
    return cells


def settings_of(variant: str, asked: Asked, data: str) -> str:
    """Fingerprint of a variant as it now is on data of that name, whatever the seed."""
    found = configured(variant, asked, data)
    taught = found.settings.model_dump().get(TEACHER)
    theirs = settings_of(Path(taught).name, asked, data) if taught else None
    return digest(_values(found, theirs))


def data_settings(variant: str, data: str) -> dict[str, str]:
    """What DATA.toml has for a variant or its model, and the variant's own file leaves open."""
    path = CONFIGS / "data" / f"{data}.toml"
    if not path.exists():
        return {}
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    found = read_config(CONFIGS / f"{variant}.toml")
    model, preset = found.model or MODEL, found.preset or PRESET
    said = {*found.settings, *preset_values(model, preset)}
    own = tables.get(variant, {})
    values = own if own.pop("alone", False) else tables.get(model, {}) | own
    return {key: _text(value) for key, value in values.items() if key not in said}


def shown(path: Path) -> str:
    """The path as it is typed from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def data_of(data: Dataset) -> dict[str, Any]:
    """What makes a dataset the same, wherever it lies."""
    kept = ("fingerprint", "split", "seed", "history", "counts", "simulator")
    return {key: data.info[key] for key in kept if key in data.info}


def _run(folder: Path, data: Dataset, variant: str, seed: int, asked: Asked) -> Run:
    settings = _before(variant, asked, data.schema.name)
    found = _configured(variant, settings)
    teacher = None
    if taught := found.settings.model_dump().get(TEACHER):
        teacher = _run(folder, data, Path(taught).name, seed, asked)
        settings |= {TEACHER: str(teacher.folder)}
    values = _values(found, teacher.fingerprint if teacher else None)
    fingerprint = digest(values | {"data": data_of(data), "seed": seed})
    place = f"{found.model}-{seed}-{fingerprint[:10]}"
    return Run(folder, data_of(data), asked.runs / data.schema.name / place, variant, seed,
               settings, fingerprint, teacher)  # fmt: skip


def _before(variant: str, asked: Asked, data: str) -> dict[str, str]:
    """What goes before the variant's file: the data set's settings, then those asked for."""
    return data_settings(variant, data) | _known(variant, asked.settings)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def configured(variant: str, asked: Asked, data: str) -> Configured:
    """A variant as it now is on data of that name."""
    return _configured(variant, _before(variant, asked, data))


def _configured(variant: str, settings: Mapping[str, str]) -> Configured:
    return resolve(None, None, CONFIGS / f"{variant}.toml", _known(variant, settings))


def _known(variant: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Those that the variant's model has."""
    found = resolve(None, None, CONFIGS / f"{variant}.toml", {})
    fields = {*type(found.settings).model_fields, *type(found.training).model_fields}
    return {key: value for key, value in settings.items() if key in fields}


def _values(found: Configured, teacher: str | None) -> dict[str, Any]:
    """Everything a run's result depends on but seed and data; a teacher by its fingerprint."""
    settings = found.settings.model_dump(mode="json")
    if teacher:
        settings[TEACHER] = teacher
    training = found.training.model_dump(mode="json", exclude={"seed", "tensorboard"})
    return {"model": found.model, "settings": settings, "training": training}


def digest(values: Mapping[str, Any] | Sequence[Any]) -> str:
    """Of all that JSON can hold."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
