"""A batch as a flat table, one row a candidate, for models that are not neural.

Columns: categories as codes, bags as one column a value (or their count), numbers with NaN where
missing, derived statistics; the user's repeated for each of the list's candidates. A feature with
very many values is an id, which tables only memorise: a category is left out, a bag counted.

n = ΣM rows over the lists of a batch, F columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.schema import FIRST_KNOWN, Feature, FeatureSchema, Kind

Arrays = Mapping[str, NDArray[Any]]
Float32 = NDArray[np.float32]
Owner = Literal["user", "candidate"]
OWNERS: tuple[Owner, ...] = ("user", "candidate")


class Column(NamedTuple):
    """One column: where its numbers come from in the packed array of its owner and kind."""

    name: str
    owner: Owner
    kind: Kind
    start: int  # first packed column
    stop: int
    value: int = 0  # bag: the index that counts; 0 counts every known value
    missing: int = -1  # numeric: packed column of the missing flag

    @property
    def categorical(self) -> bool:
        """Whether the numbers are codes without an order."""
        return self.kind == "categorical"


def columns(schema: FeatureSchema, max_values: int, max_bag: int) -> tuple[Column, ...]:
    """The table's columns: categories up to `max_values` values, bags up to `max_bag` spelt out."""
    return tuple(
        column
        for owner in OWNERS
        for column in (
            *_categories(schema, owner, max_values),
            *_bags(schema, owner, max_bag),
            *_numbers(schema, owner),
        )
    )


def flatten(arrays: Arrays, made: tuple[Column, ...]) -> Float32:
    """(n, F) the rows of all real candidates, list by list in incoming order."""
    mask = arrays["candidate_mask"]
    lengths = mask.sum(axis=1)
    table = np.empty((int(lengths.sum()), len(made)), np.float32)
    for place, column in enumerate(made):
        packed = arrays[f"{column.owner}_{column.kind}"]
        if column.owner == "user":
            table[:, place] = np.repeat(_values(packed, column), lengths)
        else:
            table[:, place] = _values(packed, column)[mask]
    return table


def _values(packed: NDArray[Any], column: Column) -> NDArray[Any]:
    """One column for each row of the packed array (…, width) -> (…)."""
    values = packed[..., column.start : column.stop]
    if column.kind == "bag":
        wanted = values == column.value if column.value else values >= FIRST_KNOWN
        return wanted.sum(axis=-1)
    if column.missing < 0:
        return values[..., 0]
    return np.where(packed[..., column.missing] > 0, np.nan, values[..., 0])


def _categories(schema: FeatureSchema, owner: Owner, most: int) -> Iterator[Column]:
    for place, feature in enumerate(schema.of(owner, "categorical")):
        if len(feature.vocabulary) <= most:
            yield Column(feature.name, owner, "categorical", place, place + 1)


def _bags(schema: FeatureSchema, owner: Owner, most: int) -> Iterator[Column]:
    start = 0
    for feature in schema.of(owner, "bag"):
        stop = start + feature.max_length
        yield Column(f"{feature.name} (count)", owner, "bag", start, stop)
        if len(feature.vocabulary) <= most:
            for value, index in feature.index.items():
                yield Column(f"{feature.name}={value}", owner, "bag", start, stop, value=index)
        start = stop


def _numbers(schema: FeatureSchema, owner: Owner) -> Iterator[Column]:
    """Blocks of `[values | missing flags]`, and after a candidate's the derived statistics."""
    start = 0
    for block in (schema.user,) if owner == "user" else (schema.item, schema.context):
        numbers: list[Feature] = [feature for feature in block if feature.kind == "numeric"]
        for place, feature in enumerate(numbers, start):
            missing = place + len(numbers)
            yield Column(feature.name, owner, "numeric", place, place + 1, missing=missing)
        start += 2 * len(numbers)
    if owner == "candidate":
        for place, feature in enumerate(schema.derived, start):
            yield Column(feature.name, owner, "numeric", place, place + 1)
