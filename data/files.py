"""Finds the files of a user's table and reads them in pieces, whatever their size and number.

A table is one file, `impressions.csv`, or a folder `impressions/` of part files, whose own folders
may say `key=value`: such a key is a column. Parquet is read as it lies; a CSV, and Parquet whose
row groups are too large for that, is first copied into Parquet in a scratch folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import polars as pl

from data import unreadable
from data.kinds import common, is_exact, read_as
from data.problems import RowsError, suggestion
from data.progress import bar
from data.whole import EXACT
from features.errors import DataError

HOLDS = {
    "impressions": "the log, one row an item shown",
    "items": "one row an item, its id and what is known of it",
    "users": "one row a user, their id and what is known of them",
}
SUFFIXES = (".parquet", ".csv", ".csv.gz")
CHUNK_ROWS = 250_000  # rows that are converted at a time
GROUP_ROWS = 1_000_000  # rows of a Parquet row group that can still be read as it lies
NUMBER = "psad row"  # a column of our own beside a file's
UNKNOWN_KEY = "__HIVE_DEFAULT_PARTITION__"
Types = dict[str, pl.DataType]
Tick = Callable[[int], object]  # is told of bytes that were read

OWN_NAMES = frozenset(("item_id", "user_id", "list_id", "position", "timestamp", "label"))


@dataclass(frozen=True)
class Part:
    """A file of a table."""

    path: Path  # the user's
    readable: Path  # Parquet: the same file or a copy
    rows: int
    types: Types  # of the file's own columns
    keys: dict[str, str | None] = field(default_factory=dict)  # what its folders say
    blank: tuple[int, ...] = ()  # rows of the user's file that are empty lines, and left out
    called: Mapping[str, str] = field(default_factory=dict)  # psad's names, and the file's

    @cached_property
    def written(self) -> Types:
        """All columns under the file's names, those of the folders last."""
        return self.types | {key: pl.String() for key in self.keys if key not in self.types}

    @cached_property
    def columns(self) -> Types:
        """All columns under psad's names."""
        own = {name: self.written[written] for name, written in self.called.items()}
        kept = self.written.keys() - {*self.called, *self.called.values()}
        return own | {name: kind for name, kind in self.written.items() if name in kept}

    def inexact(self, column: str) -> int | None:
        """The first row whose whole number a float may not hold."""
        kind = self.columns[column]
        number = self.lazy({column: kind}).with_row_index(NUMBER)
        beyond = (pl.col(column) > EXACT) | (pl.col(column) < -EXACT)
        found = number.filter(beyond).select(pl.col(NUMBER).min()).collect(engine="streaming")
        return cast("int | None", found.item())

    def lazy(self, types: Types) -> pl.LazyFrame:
        """The part with the table's columns, in their order and of their types."""
        scanned = pl.scan_parquet(self.readable, hive_partitioning=False, glob=False)
        keys = {
            name: pl.lit(self.keys[name], pl.String) for name in self.written.keys() - self.types
        }
        return scanned.with_columns(**keys).select(
            read_as(self.called.get(name, name), self.columns[name], wanted).alias(name)
            for name, wanted in types.items()
        )


@dataclass(frozen=True)
class Files:
    """A table of a user's in one or more files."""

    path: Path  # the file, or the folder of many
    parts: tuple[Part, ...]
    types: Types

    @cached_property
    def rows(self) -> int:
        """Rows of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def blank(self) -> int:
        """Empty lines that were left out."""
        return sum(len(part.blank) for part in self.parts)

    @property
    def text(self) -> bool:
        """Whether the files are CSV, which does not say what its text was."""
        return is_csv(self.parts[0].path)

    def lazy(self) -> pl.LazyFrame:
        """All rows, part after part."""
        return pl.concat([part.lazy(self.types) for part in self.parts])

    def chunks(self, columns: list[str] | None = None) -> Iterator[tuple[int, pl.DataFrame]]:
        """Row number and rows of one piece after another, all columns or some."""
        size, wanted = CHUNK_ROWS, pl.all() if columns is None else pl.col(columns)
        held: list[pl.LazyFrame] = []
        start, rows = 0, 0  # of what is held
        for part in self.parts:
            done = 0
            while done < part.rows:
                taken = min(size - rows, part.rows - done)
                held.append(part.lazy(self.types).slice(done, taken).select(wanted))
                done, rows = done + taken, rows + taken
                if rows == size:
                    yield start, self._collected(held)
                    start, rows, held = start + rows, 0, []
        if held:
            yield start, self._collected(held)

    def _collected(self, pieces: list[pl.LazyFrame]) -> pl.DataFrame:
        try:
            return pl.concat(pieces).collect()
        except pl.exceptions.PolarsError as error:
            raise _damaged(self.path, error) from error

    def fail(self, column: str, row: int, found: str, remedy: str, count: int = 1) -> RowsError:
        """The error for a row of the table, of which there are `count` such."""
        for part in self.parts:
            if row < part.rows:
                break
            row -= part.rows
        own = {name: part.columns[name] for name in self.types}
        values = part.lazy(own).slice(row, 1).collect().row(0, named=True)
        theirs = {part.called.get(name, name): value for name, value in values.items()}
        column = part.called.get(column, column)
        place = _place(part, row)
        return RowsError(part.path, column, place, found, theirs, remedy, count, self.path)

    def exact(self, columns: Sequence[str]) -> None:
        """Raise RowsError where whole numbers would be read as floats that cannot tell them."""
        for column in columns:
            before = 0
            mixed = self.types[column].is_float()
            for part in self.parts if mixed else ():
                row = part.inexact(column) if is_exact(part.columns[column]) else None
                if row is not None:
                    other = next(one for one in self.parts if one.columns[column].is_float())
                    raise self.fail(
                        column, before + row,
                        "a whole number beyond 2^53, beside floats (in "
                        f"{other.path.name}), which cannot tell such numbers apart",
                        "Write the column as whole numbers or as text in all parts.",
                    )  # fmt: skip
                before += part.rows

    def require(self, columns: Sequence[str], reason: str, remedy: str = "") -> None:
        """Raise DataError where columns are missing, which lists the file's by its own names."""
        missing = [column for column in columns if column not in self.types]
        if not missing:
            return
        others = f" (nor {', '.join(map(repr, missing[1:]))})" if missing[1:] else ""
        called = self.parts[0].called
        free = [one for one in self.types if one not in called and one not in OWN_NAMES]
        read = {called[name]: f"{called[name]} (read as {name})" for name in called}
        has = [read.get(name, name) for name in self.parts[0].written]
        raise DataError(
            f"{self.path} has no column {missing[0]!r}{others}, {reason}. It has: "
            f"{', '.join(has)}.{suggestion(missing[0], free)}{remedy and ' ' + remedy}"
        )


def _place(part: Part, row: int) -> str:
    """How a person finds the row: an editor counts lines from 1, the header's among them."""
    if not is_csv(part.path):
        return f"row {row}"
    before = pl.scan_parquet(part.readable, hive_partitioning=False, glob=False).head(row)
    broken = before.select(pl.col(pl.String).str.count_matches("\n").sum()).collect()
    for blank in part.blank:
        row += blank <= row
    return f"line {row + 2 + sum(value or 0 for value in broken.row(0))}"


def open_files(folder: Path, stem: str, scratch: Path) -> Files:
    """Find and check the files of a table; raises DataError where they are none."""
    path, found = find(folder, stem)
    unreadable.check_delimiters(path, [one for one in found if is_csv(one)])
    size = sum(one.stat().st_size for one in found)
    with bar(f"reading {stem}", size, "B", size=size) as progress:
        parts = tuple(
            _opened(one, path, scratch / f"{stem}-{number}", progress.update)
            for number, one in enumerate(found)
        )
    files = Files(path, parts, _common_types(path, parts))
    if not files.rows:
        raise DataError(f"{path} holds no rows. Write at least one, or check the export.")
    return files


def find(folder: Path, stem: str) -> tuple[Path, list[Path]]:
    """The file or folder that is a table, and its files in the order of their names."""
    candidates = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    present = [path for path in candidates if path.is_file()]
    present += [path for path in (*candidates, folder / stem) if path.is_dir()]
    if len(present) != 1:
        names = " and ".join(path.name + "/" * path.is_dir() for path in present)
        found = f"{names} are there" if present else f"it holds {_listing(folder)}"
        if len(present) == 2:
            found = f"both are there: {names}"
        raise DataError(
            f"{folder} needs one of {stem}.parquet and {stem}.csv, but {found}. {forms(stem)}"
        )
    path = present[0]
    return path, [path] if path.is_file() else _inside(path)


def forms(stem: str) -> str:
    """What a table holds, and the forms it may come in."""
    return (
        f"{stem}: {HOLDS.get(stem, 'a table')}; as {stem}.csv, {stem}.csv.gz or {stem}.parquet, "
        f"or, in several files, as a folder {stem}/ of them."
    )


def _inside(folder: Path) -> list[Path]:
    """The part files of a folder; what begins with _ or . is a tool's own, such as _SUCCESS."""
    own = (one.relative_to(folder) for one in sorted(folder.rglob("*")) if one.is_file())
    found = [folder / one for one in own if not any(part[0] in "._" for part in one.parts)]
    if odd := [one for one in found if not one.name.endswith(SUFFIXES)]:
        raise DataError(
            f"{odd[0]} is neither Parquet nor CSV by its name. {folder} is read as one table: move "
            "what is none of its parts elsewhere."
        )
    if not found:
        raise DataError(
            f"{folder} is an empty folder. Put the table's .parquet or .csv files there."
        )
    for one in found:
        if is_csv(one) != is_csv(found[0]):
            raise DataError(
                f"{folder} holds both CSV and Parquet, {found[0].name} and {one.name}: keep one."
            )
    return found


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read: it is damaged ({str(error).splitlines()[0]}). Copy or write it "
        "again."
    )


def is_csv(path: Path) -> bool:
    """Whether a file is CSV by its name."""
    return path.name.endswith((".csv", ".csv.gz"))


def has_table(folder: Path, stem: str) -> bool:
    """Whether the folder holds such a table at all."""
    return (folder / stem).is_dir() or any(
        (folder / f"{stem}{suffix}").exists() for suffix in SUFFIXES
    )


def _opened(path: Path, table: Path, scratch: Path, tick: Tick) -> Part:
    blank: tuple[int, ...] = ()
    if is_csv(path):
        readable, blank = _csv_copy(path, scratch, tick)
    else:
        readable = _parquet(path, scratch, tick)
    scanned = pl.scan_parquet(readable, hive_partitioning=False, glob=False)
    rows = int(scanned.select(pl.len()).collect().item())
    inner = path.relative_to(table).parent.parts if path != table else ()
    pairs = (folder.split("=", 1) for folder in inner if "=" in folder)
    keys = {unquote(key): None if value == UNKNOWN_KEY else unquote(value) for key, value in pairs}
    return Part(path, readable, rows, dict(scanned.collect_schema()), keys, blank)


def _parquet(path: Path, scratch: Path, tick: Tick) -> Path:
    """A Parquet file as it lies, or a copy in row groups that fit."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    unreadable.check_parquet(path)
    try:
        about = read_metadata(path)
        pl.read_parquet_schema(path)  # what pyarrow reads, polars may not
    except (pl.exceptions.PolarsError, ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    groups = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
    if max(groups, default=0) <= GROUP_ROWS:
        tick(path.stat().st_size)
        return path
    lazy = pl.scan_parquet(path, hive_partitioning=False, glob=False)
    return _copied(path, lazy, about.num_rows, scratch, tick)


def _csv_copy(path: Path, scratch: Path, tick: Tick) -> tuple[Path, tuple[int, ...]]:
    """A CSV as Parquet, everything as text: an id such as 007 must keep its zeros.

    Empty lines are left out, and told.
    """
    unreadable.check_csv(path)
    plain = path
    try:
        if path.suffix == ".gz":
            plain = scratch.with_suffix(".csv")
            scratch.parent.mkdir(parents=True, exist_ok=True)
            with unreadable.opened(path) as packed, plain.open("wb") as file:
                shutil.copyfileobj(packed, file)
        lazy = pl.scan_csv(plain, infer_schema=False, glob=False)
        rows = int(lazy.select(pl.len()).collect().item())
        empty = pl.all_horizontal(pl.all().is_null())
        copy = _copied(path, lazy.filter(~empty), rows, scratch, tick)
        blank: tuple[int, ...] = ()
        if pl.scan_parquet(copy).select(pl.len()).collect().item() < rows:
            found = lazy.with_row_index(NUMBER).filter(
                pl.all_horizontal(pl.exclude(NUMBER).is_null())
            )
            blank = tuple(found.select(NUMBER).collect(engine="streaming")[NUMBER])
        return copy, blank
    except (OSError, EOFError, pl.exceptions.PolarsError) as error:
        raise unreadable.explained(path, error) from error
    finally:
        if plain != path:
            plain.unlink(missing_ok=True)


def _copied(path: Path, lazy: pl.LazyFrame, rows: int, scratch: Path, tick: Tick) -> Path:
    target, size, done = scratch.with_suffix(".parquet"), path.stat().st_size, 0
    target.parent.mkdir(parents=True, exist_ok=True)

    def counted(frame: pl.DataFrame) -> pl.DataFrame:
        nonlocal done
        before, done = done, min(done + len(frame), rows)
        tick(size * done // max(rows, 1) - size * before // max(rows, 1))
        return frame

    lazy.map_batches(counted, schema=lazy.collect_schema(), streamable=True).sink_parquet(
        target, row_group_size=CHUNK_ROWS, compression="lz4", statistics=False
    )
    tick(size - size * done // max(rows, 1))  # empty lines, and a file of no rows
    return target


def _common_types(path: Path, parts: tuple[Part, ...]) -> Types:
    """The columns that all parts have, each of a type that holds the values of all."""
    first = parts[0]
    types = dict(first.columns)
    for part in parts[1:]:
        for one, other in ((first, part), (part, first)):
            if missing := [name for name in one.columns if name not in other.columns]:
                raise DataError(
                    f"{path} is read as one table, but {other.path} has no column {missing[0]!r}, "
                    f"which {one.path} has. Write all parts with the same columns."
                )
        for name, found in part.columns.items():
            both = common(types[name], found)
            if both is None:
                raise DataError(
                    f"{path} is read as one table, but column {name!r} holds {found} in "
                    f"{part.path} and {types[name]} in {first.path}. Write all parts alike."
                )
            types[name] = both
    return types


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"
