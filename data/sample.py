"""A look at a table of the user's own: all of it, or, where it is long, blocks of rows throughout.

The table is found and read by the code that `psad prepare` reads it with (data/files.py), so that
nothing is drafted of a table that prepare would refuse or read otherwise. It streams, so that
memory holds the sample and no more; the same files always give the same rows. Rows come in blocks
because those of a list usually stand together.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data.files import Files, has_table, open_files
from data.tables import Table
from features.errors import DataError

ROWS = 200_000  # about as many are looked at
BLOCK = 2_000  # rows that stay together


@dataclass(frozen=True)
class Sample:
    """Rows of a table, and how many there are in all."""

    table: Table
    files: int
    rows: int
    name: str  # of the file or folder

    @property
    def whole(self) -> bool:
        """Whether these are all rows."""
        return len(self.table.frame) == self.rows

    def __str__(self) -> str:
        kind = "CSV" if self.table.text_only else "Parquet"
        folder = f"/ ({self.files} file{'s' if self.files > 1 else ''} of {kind})"
        name = self.name + (folder if self.name != self.table.path.name else "")
        if self.whole:
            return f"{name}: all of its {self.rows:,} rows"
        return f"{name}: {len(self.table.frame):,} of its {self.rows:,} rows, spread evenly"


def sample(folder: Path, stem: str, rows: int = ROWS) -> Sample | None:
    """Look at a table; None where there is none, DataError where it cannot be read."""
    if not has_table(folder, stem):
        return None
    with tempfile.TemporaryDirectory() as copies:
        files = open_files(folder, stem, Path(copies))
        try:
            frame = _blocks(files, rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{files.path} cannot be read: {str(error).splitlines()[0]}. Copy it again."
            ) from error
    first = files.parts[0].path
    table = Table(files.path if files.path.is_file() else files.path / first.name, frame)
    return Sample(table, len(files.parts), files.rows, files.path.name)


def _blocks(files: Files, rows: int) -> pl.DataFrame:
    """Every so many-th block of a table."""
    every, scan = -(-files.rows // rows), files.lazy()
    if every <= 1:
        return scan.collect(engine="streaming")
    index = "row index of psad"
    kept = scan.with_row_index(index).filter((pl.col(index) // BLOCK) % every == 0)
    return kept.drop(index).collect(engine="streaming")
