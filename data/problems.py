"""What is wrong with a user's files: each problem once, with its first row and how many there are.

A log is read piece by piece and to its end, so that a message can count, and so that
`psad prepare SOURCE --check` can name everything that has to be mended.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from features.errors import DataError

MOST = 20  # problems that are named
SHOWN = 80  # characters of a value in a message
VALUES = 6  # of a row in a message


def suggestion(name: str, known: Sequence[str]) -> str:
    """` Did you mean …?` for error messages, empty where nothing is close."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


class RowsError(DataError):
    """Rows of one column that cannot be read: where the first of them is, and what it holds."""

    def __init__(
        self, path: Path, column: str, place: str, found: str, row: Mapping[str, object],
        remedy: str, count: int = 1, table: Path | None = None,
    ) -> None:  # fmt: skip
        others = f" ({count:,} rows are like this)" if count > 1 else ""
        names = [name for name in row if name != column][: VALUES - 1]
        named = ", ".join(
            f"{name}={_shortened(row[name])}" for name in row if name in (column, *names)
        )
        super().__init__(
            f"{path}, column {column!r}, {place}: {found}{others}. The row: {named}. {remedy}"
        )
        self.path, self.column, self.place, self.found = path, column, place, found
        self.table = table or path  # where one of its parts is at `path`, their folder
        self.row, self.remedy, self.count = row, remedy, count

    def with_count(self, count: int) -> RowsError:
        """The same problem, of so many rows."""
        return RowsError(
            self.path, self.column, self.place, self.found, self.row, self.remedy, count,
            self.table,
        )  # fmt: skip


class Problems:
    """Collects problems; those of one column of a table and one remedy are one."""

    def __init__(self, source: str | Path = "SOURCE") -> None:
        self._source = source
        self._found: dict[object, DataError] = {}

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[DataError]:
        return iter(list(self._found.values())[:MOST])

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect what is raised inside."""
        try:
            yield
        except DataError as error:
            self.add(error)

    def add(self, error: DataError) -> None:
        """Note a problem."""
        if not isinstance(error, RowsError):
            self._found.setdefault(str(error), error)
            return
        key = (error.table, error.column, error.remedy)
        first = self._found.get(key)
        known = isinstance(first, RowsError)
        self._found[key] = first.with_count(first.count + error.count) if known else error  # type: ignore[union-attr]

    def raise_any(self) -> None:
        """Raise the first problem, and say whether there are others."""
        if not self._found:
            return
        first = next(iter(self._found.values()))
        if len(self) == 1:
            raise first
        others = len(self) - 1
        raise DataError(
            f"{first}\n{others} more {'problem was' if others == 1 else 'problems were'} found so "
            f"far: `psad prepare {self._source} --check` reads on and names all."
        ) from first


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
