"""`psad train --from RUN`: another run's weights where a model begins, brought onto a new schema.

    psad train datasets/this_week runs/this_week --from runs/last_week

Weights are copied by what they are of (model/axes.py), never by their place: a value, a feature, a
place of the list. What the other run does not know:

- a value (a new item, a new category) begins as the unknown value it was until now;
- a feature begins without a say: the columns that read it are zero;
- a place of the list beyond those trained begins as the last of them.

So the new model begins by ordering lists as the old one would. Vocabularies grow and shrink freely.
Means and scales are the new dataset's (`translated` says why); the optimiser begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from features.errors import PsadError
from features.schema import Feature, FeatureSchema
from model.axes import Axis, Name, axes_of


class WarmStartError(PsadError):
    """A run that a model cannot begin from."""


@dataclass(frozen=True)
class Copied:
    """What became of the weights: how many numbers were copied and how many there are."""

    numbers: int
    of: int


@torch.no_grad()
def warm_start(model: nn.Module, other: nn.Module) -> Copied:
    """Copy into `model`, in place, what `other` knows; both have the same settings.

    Raises WarmStartError for a weight whose size differs for another reason than the schema.
    """
    known, theirs = dict(other.named_parameters()), axes_of(other)
    ours, copied, count = axes_of(model), 0, 0
    for name, weight in model.named_parameters():
        count += weight.numel()
        if name not in known:  # a side that had no features
            if name in ours and ours[name].dim == 1:
                weight.zero_()
            continue
        source = known[name].to(weight.device)
        if name in ours:
            copied += _along(name, weight, source, ours[name], theirs[name])
        elif weight.shape == source.shape:
            weight.copy_(source)
            copied += weight.numel()
        else:
            raise WarmStartError(_misfit(name, weight, source))
    return Copied(copied, count)


def _misfit(name: str, weight: Tensor, source: Tensor) -> str:
    return (
        f"{name} has the shape {tuple(source.shape)} there and {tuple(weight.shape)} here: the two "
        "models are built otherwise. Train without --from."
    )


def _along(name: str, weight: Tensor, source: Tensor, ours: Axis, theirs: Axis) -> int:
    """Copy along a named axis; returns how many numbers."""
    dim = ours.dim
    own, other = weight.movedim(dim, 0), source.movedim(dim, 0)
    if own.shape[1:] != other.shape[1:]:
        raise WarmStartError(_misfit(name, weight, source))
    found = Places(theirs.names)
    places = [found.of(one) for one in ours.names]
    here = [place for place, there in enumerate(places) if there is not None]
    if here:
        own[here] = other[[there for there in places if there is not None]]
    _begin_new(own, other, found, ours, places)
    return len(here) * own[:1].numel()


def _begin_new(
    own: Tensor, other: Tensor, found: Places, ours: Axis, places: list[int | None]
) -> None:
    """Values begin as the unknown one; columns of features that nobody knew begin at zero."""
    for place, (name, there) in enumerate(zip(ours.names, places, strict=True)):
        if there is not None:
            continue
        unknown = found.of((*name[:2], "unknown")) if "value" in name else None
        if unknown is not None:
            own[place] = other[unknown]
        elif ours.dim == 1:
            own[place] = 0.0


class Places:
    """Where names stand along an axis."""

    def __init__(self, names: tuple[Name, ...]) -> None:
        self._place = {name: place for place, name in enumerate(names)}
        self._ranges: dict[Name, list[tuple[int, int]]] = {}
        for name in names:
            words, numbers = divided(name)
            if numbers:
                known = self._ranges.setdefault(words, [(one, one) for one in numbers])
                self._ranges[words] = [
                    (min(low, one), max(high, one))
                    for (low, high), one in zip(known, numbers, strict=True)
                ]

    def of(self, name: Name) -> int | None:
        """The place of a name, or of the nearest where places are counted; None where none is."""
        words, numbers = divided(name)
        if words in self._ranges:
            ranges = zip(self._ranges[words], numbers, strict=True)
            name = (*words, *(min(max(one, low), high) for (low, high), one in ranges))
        return self._place.get(name)


def divided(name: Name) -> tuple[Name, tuple[int, ...]]:
    """The words of a name and the whole numbers that it ends in."""
    numbers = tuple(part for part in name if isinstance(part, int))
    return name[: len(name) - len(numbers)], numbers


@dataclass(frozen=True)
class Row:
    """What became of a feature."""

    feature: str  # as schema.toml names it
    kind: str
    state: str  # copied, grown, new, dropped
    kept: int  # values that both know; of a number 1
    new: int
    gone: int


def compared(old: FeatureSchema, new: FeatureSchema) -> list[Row]:
    """Every feature of two schemas, and the sizes that they have beside."""
    rows = []
    for side in ("user", "item", "context", "derived"):
        theirs = {feature.name: feature for feature in getattr(old, side)}
        ours = {feature.name: feature for feature in getattr(new, side)}
        for name in dict.fromkeys([*ours, *theirs]):
            rows += _of_feature(f"{side}.{name}", theirs.get(name), ours.get(name))
    for size in ("max_history", "max_candidates", "list_size"):
        before, now = getattr(old, size), getattr(new, size)
        kept = min(before, now)
        state = "grown" if now > before else "copied"
        rows.append(Row(size, "places", state, kept, now - kept, before - kept))
    return rows


def _of_feature(name: str, old: Feature | None, new: Feature | None) -> list[Row]:
    if old is not None and new is not None and old.kind == new.kind:
        before, now = _values(old), _values(new)
        kept = len(before & now)
        state = "grown" if now - before else "copied"
        return [Row(name, new.kind, state, kept, len(now - before), len(before - now))]
    rows = [Row(name, new.kind, "new", 0, len(_values(new)), 0)] if new else []
    return rows + ([Row(name, old.kind, "dropped", 0, 0, len(_values(old)))] if old else [])


def _values(feature: Feature) -> set[Any]:
    return {None} if feature.kind == "numeric" else set(feature.vocabulary)


def refuse_other_settings(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], free: frozenset[str], run: str
) -> None:
    """Raise WarmStartError naming settings that weights depend on and that are not the run's."""
    other = [
        f"{key} is {theirs[key]} there and {ours[key]} here"
        for key in ours
        if ours[key] != theirs[key] and key not in free
    ]
    if other:
        raise WarmStartError(
            f"{run} is built otherwise: {'; '.join(other)}. Leave these settings out, to go on "
            "with its own, or train without --from."
        )
