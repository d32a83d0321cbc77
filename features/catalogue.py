"""Catalogue: item id -> its encoded features and statistics, memory-mapped or in memory.

Row 0 is the unknown item: unknown categories, empty bags, missing numbers, no statistics.

R rows (items + 1), Ic/Lb/In item features: categorical, bag slots, numeric.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.arrays import load_array
from features.derived import Statistics
from features.errors import BundleError
from features.schema import Feature, FeatureSchema
from features.values import Column, Float32, Int32, encode_column

UNKNOWN_ITEM = 0
KINDS = ("categorical", "bag", "numeric")
FILES = ("items.json", *(f"{kind}.npy" for kind in KINDS), *Statistics.files())


class Catalogue:
    """All known items. Arrays are never written to after construction."""

    def __init__(
        self,
        ids: Sequence[str],
        categorical: Int32,  # (R, Ic)
        bag: Int32,  # (R, Lb)
        numeric: Float32,  # (R, 2·In), [values | missing flags]
        statistics: Statistics,
        titles: Sequence[str] | None = None,  # by row, for people only
    ) -> None:
        self.ids = tuple(ids)  # without the unknown item: ids[0] is row 1
        # plain views: indexing a memmap object costs microseconds a time
        self.categorical, self.bag = np.asarray(categorical), np.asarray(bag)
        self.numeric = np.asarray(numeric)
        self.statistics = statistics
        self.titles = None if titles is None else tuple(titles)
        self._row = {item: row for row, item in enumerate(self.ids, start=1)}

    def __len__(self) -> int:
        """Known items, the unknown one not counted."""
        return len(self.ids)

    def __contains__(self, item: str) -> bool:
        return item in self._row

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n,) rows of item ids, 0 where unknown."""
        found = map(self._row.get, ids, repeat(UNKNOWN_ITEM))
        return np.fromiter(found, np.int64, count=len(ids))

    def title(self, item: str) -> str:
        """The item's title, or its id where there is none."""
        row = self._row.get(item)
        return item if row is None or self.titles is None else self.titles[row - 1]

    @classmethod
    def build(
        cls,
        ids: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        schema: FeatureSchema,
        statistics: Statistics,
        titles: Sequence[str] | None = None,
    ) -> Catalogue:
        """Encode the item features `columns[name]` (n,) of items `ids` (n,)."""
        categorical, bag, numeric = (
            np.concatenate([_unknown_row(schema, kind), pack(schema, kind, columns, len(ids))])
            for kind in KINDS
        )
        return cls(ids, categorical, bag, numeric, statistics, titles)

    def save(self, folder: Path) -> None:
        """Write arrays and ids; numbers as .npy so that `load` can map them."""
        folder.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            np.save(folder / f"{kind}.npy", getattr(self, kind))
        names = {"ids": self.ids, "titles": self.titles}
        (folder / "items.json").write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        self.statistics.save(folder)

    @classmethod
    def load(cls, folder: Path, schema: FeatureSchema, in_memory: float = 0.0) -> Catalogue:
        """Read the arrays where they are of no more than `in_memory` bytes, else map them.

        Raises BundleError where they do not fit the schema or one another.
        """
        try:
            names = json.loads((folder / "items.json").read_text(encoding="utf-8"))
            mapped = sum((folder / name).stat().st_size for name in FILES) > in_memory
            categorical, bag, numeric = (_read(folder, schema, kind, mapped) for kind in KINDS)
            statistics = Statistics.load(folder, mapped=mapped)
            catalogue = cls(names["ids"], categorical, bag, numeric, statistics, names["titles"])
            catalogue.check()
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise BundleError(
                f"the catalogue in {folder} cannot be read: {error}. Prepare or export again."
            ) from error
        return catalogue

    def check(self) -> None:
        """Raise ValueError naming what does not have one entry an item, or an id named twice."""
        rows = len(self.ids) + 1
        for kind in KINDS:
            if len(array := getattr(self, kind)) != rows:
                raise ValueError(f"{kind} has {len(array)} rows for {rows - 1} items")
        if self.titles is not None and len(self.titles) != len(self.ids):
            raise ValueError(f"{len(self.titles)} titles for {rows - 1} items")
        if len(self._row) != len(self.ids):
            raise ValueError("two items have the same id")
        self.statistics.check(rows)


def _read(folder: Path, schema: FeatureSchema, kind: str, mapped: bool) -> Column:
    """One packed array, held against the schema."""
    array: Column = load_array(folder / f"{kind}.npy", mapped=mapped)
    width = sum(f.width for f in schema.item if f.kind == kind)
    dtype = np.dtype(np.float32 if kind == "numeric" else np.int32)
    if array.ndim != 2 or array.shape[1] != width or array.dtype != dtype:
        raise ValueError(
            f"{kind}.npy is {array.dtype} {array.shape}, the schema says {width} columns of {dtype}"
        )
    return array


def pack(
    schema: FeatureSchema, kind: str, columns: Mapping[str, Sequence[Any]], count: int
) -> Column:
    """(count, width) packed array of the item features of one kind."""
    return pack_features([f for f in schema.item if f.kind == kind], kind, columns, count)


def pack_features(
    features: Sequence[Feature],
    kind: str,
    columns: Mapping[str, Sequence[Any]],
    count: int,
    param: Callable[[str, int], str] = "{}[{}]".format,
) -> Column:
    """(count, width) encoded columns side by side; numeric as [values | missing flags].

    A feature without a column is absent for every row. `param(name, row)` names a value in errors.
    """
    if not features:
        return np.empty((count, 0), np.float32 if kind == "numeric" else np.int32)
    absent: list[None] = [None] * count
    encoded = [
        encode_column(f, columns.get(f.name, absent), partial(param, f.name)) for f in features
    ]
    if len(features) == 1:
        return encoded[0].reshape(count, features[0].width)
    if kind == "numeric":
        return np.concatenate([np.stack([c[:, part] for c in encoded], 1) for part in (0, 1)], 1)
    parts = zip(encoded, features, strict=True)
    return np.concatenate([column.reshape(count, f.width) for column, f in parts], 1)


def _unknown_row(schema: FeatureSchema, kind: str) -> Column:
    return pack(schema, kind, {}, 1)
