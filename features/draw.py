"""Arrays and requests drawn at random from what a schema and a catalogue allow.

For proofs and timing: nothing of a dataset is needed. B lists, N history items, M candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.catalogue import Catalogue
from features.encode import Arrays, RawItems, Request, columns_of
from features.schema import FIRST_KNOWN, PADDING, UNKNOWN, Feature, FeatureSchema

UNSEEN = "never seen"  # stands for what is in no vocabulary


def random_arrays(
    schema: FeatureSchema,
    random: np.random.Generator,
    *,
    lists: int,
    history: int,
    candidates: int,
    padded: bool = False,
) -> Arrays:
    """Arrays that a schema allows; `padded` gives each list its own lengths below the widths."""
    sizes = {"batch": lists, "history": history, "candidates": candidates}
    arrays: Arrays = {}
    for spec in schema.tensors():
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.axes)
        side, kind = spec.name.rsplit("_", 1)
        if kind == "mask":
            least = 0 if side == "history" else 1
            lengths = random.integers(least, shape[1] + 1, lists) if padded else [shape[1]] * lists
            arrays[spec.name] = np.arange(shape[1]) < np.asarray(lengths)[:, None]
        elif kind == "numeric":
            arrays[spec.name] = random.normal(size=shape).astype(np.float32)
        else:
            arrays[spec.name] = random.integers(0, _limits(schema, side, kind), shape)
    return arrays


def _limits(schema: FeatureSchema, side: Any, kind: Any) -> Any:
    """(width,) exclusive upper bounds of a packed index array."""
    return np.repeat(
        [feature.size for feature in schema.of(side, kind)],
        [feature.width for feature in schema.of(side, kind)],
    )


def random_request(
    schema: FeatureSchema,
    catalogue: Catalogue,
    random: np.random.Generator,
    *,
    history: int,
    candidates: int,
) -> Request:
    """Items of the catalogue, their own features inline; ids alone in the history.

    User and context hold whatever the schema allows. Where the catalogue has too few items, new
    ones stand for the rest of the candidates, without features.
    """
    known = len(catalogue)
    rows = 1 + random.permutation(known)[:candidates]
    cold = [f"never-seen-{number}" for number in range(candidates - len(rows))]
    inline = item_columns(schema, catalogue, rows)
    columns: dict[str, list[Any]] = {
        **{name: column + [None] * len(cold) for name, column in inline.items()},
        **{f.name: [_value(f, random) for _ in range(candidates)] for f in schema.context},
    }
    past = random.integers(0, known, min(history, schema.max_history) if known else 0)
    return Request(
        {f.name: _value(f, random) for f in schema.user},
        RawItems([catalogue.ids[place] for place in past]),
        RawItems([*(catalogue.ids[row - 1] for row in rows), *cold], columns),
    )


def item_columns(
    schema: FeatureSchema, catalogue: Catalogue, rows: npt.NDArray[np.int64]
) -> dict[str, list[Any]]:
    """The raw item features of catalogue rows (n,): what encodes to what the catalogue holds."""
    found = {}
    for feature in schema.item:
        packed = getattr(catalogue, feature.kind)[rows][:, columns_of(schema.item, feature)]
        found[feature.name] = [_raw(feature, encoded) for encoded in packed.tolist()]
    return found


def _raw(feature: Feature, encoded: Sequence[Any]) -> Any:
    """The value that one item's columns of a feature stand for; None for a missing number."""
    if feature.kind == "numeric":
        return None if encoded[1] else _number(feature, encoded[0])
    names = {PADDING: None, UNKNOWN: UNSEEN}
    values = [names[one] if one in names else feature.vocabulary[one - FIRST_KNOWN]
              for one in encoded]  # fmt: skip
    return [one for one in values if one is not None] if feature.kind == "bag" else values[0]


def _number(feature: Feature, standardised: float) -> float:
    number = standardised * feature.scale + feature.mean
    return float(np.sign(number) * np.expm1(abs(number))) if feature.transform == "log" else number


def _value(feature: Feature, random: np.random.Generator) -> Any:
    if feature.kind == "numeric":
        return _number(feature, float(random.normal()))
    if not feature.vocabulary:
        return [] if feature.kind == "bag" else None
    chosen = random.choice(feature.vocabulary, max(feature.max_length, 1)).tolist()
    return list(dict.fromkeys(chosen)) if feature.kind == "bag" else chosen[0]
