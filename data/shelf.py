"""Rows put down on disk by a key, so that those of one key can be had together a part at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

_PART = "psad part"  # a column of our own
_GROUP_ROWS = 65_536  # of a file's row group: a part reads little of its neighbours


class Shelf:
    """Frames in files of `folder`, their rows sorted by which of `parts` parts `key` falls into."""

    def __init__(self, folder: Path, key: str, parts: int) -> None:
        self._folder, self._key, self._parts = folder, key, parts
        self._files: list[Path] = []
        self._ends: list[list[int]] = []  # of each part in each file
        folder.mkdir(parents=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Put rows down. Frames may differ in columns."""
        part = (pl.col(self._key).hash(0) % self._parts).alias(_PART)
        ordered = frame.with_columns(part).sort(_PART, maintain_order=True)
        counts = np.bincount(ordered[_PART].to_numpy(), minlength=self._parts)
        path = self._folder / f"{len(self._files)}.parquet"
        ordered.drop(_PART).write_parquet(
            path, compression="lz4", row_group_size=_GROUP_ROWS, statistics=False
        )
        self._files.append(path)
        self._ends.append([0, *np.cumsum(counts).tolist()])

    def part(self, number: int) -> pl.DataFrame:
        """The rows of a part in the order they came; a column that some lack is null there."""
        pieces = [
            pl.scan_parquet(path).slice(ends[number], ends[number + 1] - ends[number])
            for path, ends in zip(self._files, self._ends, strict=True)
        ]
        return pl.concat(pieces, how="diagonal").collect()
