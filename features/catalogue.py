"""Catalogue: item id -> its encoded features and statistics, memory-mapped.

Row 0 is the unknown item: unknown categories, empty bags, missing numbers, no statistics.

R rows (items + 1), Ic/Lb/In item features: categorical, bag slots, numeric.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.derived import Statistics
from features.errors import BundleError
from features.schema import Feature, FeatureSchema
from features.values import Column, Float32, Int32, encode_column

UNKNOWN_ITEM = 0
KINDS = ("categorical", "bag", "numeric")


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

    def rows(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """(n,) rows of item ids, 0 where unknown."""
        get = self._row.get
        return np.fromiter((get(item, UNKNOWN_ITEM) for item in ids), np.int64, count=len(ids))

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
    def load(cls, folder: Path, schema: FeatureSchema) -> Catalogue:
        """Map the arrays; raises BundleError where they do not fit the schema or one another."""
        try:
            names = json.loads((folder / "items.json").read_text(encoding="utf-8"))
            arrays: list[Column] = [
                np.load(folder / f"{kind}.npy", mmap_mode="r", allow_pickle=False) for kind in KINDS
            ]
            statistics = Statistics.load(folder)
        except (OSError, ValueError, KeyError) as error:
            raise BundleError(f"the catalogue in {folder} cannot be read: {error}") from error
        for kind, array in zip(KINDS, arrays, strict=True):
            expected = (len(names["ids"]) + 1, sum(f.width for f in schema.item if f.kind == kind))
            if array.shape != expected:
                raise BundleError(
                    f"{folder}/{kind}.npy has shape {array.shape}, the schema says {expected}; "
                    "prepare or export again."
                )
        categorical, bag, numeric = arrays
        return cls(names["ids"], categorical, bag, numeric, statistics, names["titles"])


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
    absent: list[None] = [None] * count
    encoded = [
        encode_column(f, columns.get(f.name, absent), partial(param, f.name)) for f in features
    ]
    if not encoded:
        return np.zeros((count, 0), np.float32 if kind == "numeric" else np.int32)
    if kind == "numeric":
        return np.concatenate([np.stack([c[:, part] for c in encoded], 1) for part in (0, 1)], 1)
    return np.concatenate([c.reshape(count, -1) for c in encoded], 1)


def _unknown_row(schema: FeatureSchema, kind: str) -> Column:
    return pack(schema, kind, {}, 1)
