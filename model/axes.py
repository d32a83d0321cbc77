"""What each row or column of a weight is of, where a schema decides how many there are.

A module with such weights has a method `axes`, that names them: the weight by its path below the
module, its axis, and for each place along it a name. Two models of different schemas have weights
in common exactly where names are equal (model/warm.py), whatever their places are. A name that ends
in whole numbers counts places: one beyond those that the other model has is like its last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from features.schema import Feature, FeatureSchema, Kind, Side

Name = tuple[str | int, ...]
KINDS: tuple[Kind, Kind] = ("categorical", "bag")


class Axis(NamedTuple):
    """One axis of a weight."""

    dim: int
    names: tuple[Name, ...]


def axes_of(module: nn.Module) -> dict[str, Axis]:
    """Every named axis of a model, by the full name of its weight."""
    found = {}
    for path, part in module.named_modules():
        if hasattr(part, "axes"):
            prefix = f"{path}." if path else ""
            found |= {prefix + name: axis for name, axis in part.axes().items()}
    return found


def value_names(features: Iterable[Feature]) -> tuple[Name, ...]:
    """A row for padding, unknown and every known value of each feature."""
    return tuple(
        name
        for f in features
        for name in (
            (f.kind, f.name, "padding"), (f.kind, f.name, "unknown"),
            *((f.kind, f.name, "value", one) for one in f.vocabulary),
        )
    )  # fmt: skip


def vector_names(schema: FeatureSchema, side: Side, width: int) -> tuple[Name, ...]:
    """The vectors of a side's categorical and bag features, side by side."""
    return tuple(
        (kind, f.name, "vector", str(number))
        for kind in KINDS
        for f in schema.of(side, kind)
        for number in range(width)
    )


def number_names(schema: FeatureSchema, side: Side) -> tuple[Name, ...]:
    """The columns of a side's packed numbers: `[values | missing flags]` block by block."""
    groups = {
        "user": [schema.user],
        "history": [schema.item],
        "candidate": [schema.item, schema.context],
    }
    names: list[Name] = []
    for group in groups[side]:
        numbers = [f.name for f in group if f.kind == "numeric"]
        names += [("numeric", one, what) for what in ("number", "missing") for one in numbers]
    if side == "candidate":
        names += [("derived", f.name, "number") for f in schema.derived]
    return tuple(names)


def place_names(count: int) -> tuple[Name, ...]:
    """The places of a list."""
    return tuple(("place", number) for number in range(count))


def or_presence(names: tuple[Name, ...]) -> tuple[Name, ...]:
    """A side without features is read by one number, its presence."""
    return names or (("presence",),)
