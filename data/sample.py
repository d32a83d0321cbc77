"""A look at a table of the user's own: all of it, or, where it is long, blocks of rows throughout.

A table is one file, `impressions.csv`, or a folder of parts, `impressions/`, as Parquet or CSV. It
is read once, as a stream, so that memory holds the sample and no more; the same files always give
the same rows. Rows come in blocks because those of a list usually stand together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data.files import find, has_table
from data.tables import Table
from features.errors import DataError

ROWS = 200_000  # about as many are looked at
BLOCK = 2_000  # rows that stay together
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Sample:
    """Rows of a table, and how many there are in all."""

    table: Table
    files: int
    rows: int

    @property
    def whole(self) -> bool:
        """Whether these are all rows."""
        return len(self.table.frame) == self.rows

    def __str__(self) -> str:
        name = self.table.path.name + (f"/ ({self.files} files)" if self.files > 1 else "")
        if self.whole:
            return f"{name}: all of its {self.rows:,} rows"
        return f"{name}: {len(self.table.frame):,} of its {self.rows:,} rows, spread evenly"


def sample(folder: Path, stem: str, rows: int = ROWS) -> Sample | None:
    """Look at a table; None where there is none, DataError where it cannot be read."""
    if not has_table(folder, stem):
        return None
    path, files = find(folder, stem)
    try:
        frame, total = _blocks(_scan(files), rows)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not total:
        raise DataError(f"{path} holds no rows. Write at least one, or check the export.")
    named = path if path.is_file() else path.with_suffix("".join(files[0].suffixes))
    return Sample(Table(named, frame), len(files), total)


def _scan(files: list[Path]) -> pl.LazyFrame:
    if files[0].suffix == ".parquet":
        return pl.scan_parquet(files, hive_partitioning=False)
    return pl.scan_csv(files, infer_schema=False, separator=_delimiter(files[0]))


def _delimiter(path: Path) -> str:
    """What stands most often in the first line; a comma where nothing does."""
    with path.open(encoding="utf-8", errors="replace") as file:
        header = file.readline(100_000)
    return max(DELIMITERS, key=header.count)


def _blocks(scan: pl.LazyFrame, rows: int) -> tuple[pl.DataFrame, int]:
    """Every so many-th block of a table, and the number of its rows."""
    total = int(scan.select(pl.len()).collect(engine="streaming").item())
    every = -(-total // rows)
    if every <= 1:
        return scan.collect(engine="streaming"), total
    index = "row index of psad"
    kept = scan.with_row_index(index).filter((pl.col(index) // BLOCK) % every == 0)
    return kept.drop(index).collect(engine="streaming"), total
