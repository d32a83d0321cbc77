"""Why a file cannot be read as the table its name says, in words, and what to do about it.

Libraries say `invalid utf-8 sequence` of a gigabyte of CSV. What is looked for here: another
format under a wrong name, a file cut short, another encoding, another delimiter, rows with more
values than the header has names, a quote that nobody closes.
"""

from __future__ import annotations

import csv
import gzip
import io
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from features.errors import DataError

HEAD = 65_536  # bytes that a first look takes
PARQUET = b"PAR1"  # at both ends of such a file
GZIP = b"\x1f\x8b"
WIDE = ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def check_parquet(path: Path) -> None:
    """Raise DataError where a .parquet is none, or not a whole one."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - len(PARQUET)))
        tail = file.read()
    if not head:
        raise DataError(f"{path} is empty: it has no bytes at all. Write it again.")
    if not head.startswith(PARQUET):
        what = "text, such as CSV" if _is_text(head) else "no Parquet file"
        raise DataError(
            f"{path} cannot be read: it is {what}. Give the file the name of what it is, such as "
            f"{path.with_suffix('.csv').name}, or write it as Parquet."
        )
    if tail != PARQUET:
        raise DataError(
            f"{path} cannot be read: it begins as Parquet and breaks off, {path.stat().st_size:,} "
            "bytes long. Copy or write it again, whole."
        )


def check_csv(path: Path) -> None:
    """Raise DataError where a .csv is none, or its header already says that it cannot be read."""
    try:
        with opened(path) as file:
            head = file.read(HEAD)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}. Copy or write it again.") from error
    if not head:
        raise DataError(f"{path} is empty, it cannot be read: not even a header. Write it again.")
    if head.startswith(PARQUET):
        raise DataError(
            f"{path} cannot be read: it is Parquet. Rename it to "
            f"{path.with_suffix('.parquet').name}."
        )
    if head.startswith(GZIP):
        raise DataError(f"{path} cannot be read: it is compressed. Rename it to {path.name}.gz.")
    for mark, name in WIDE:
        if head.startswith(mark) or b"\x00" in head:
            raise DataError(
                f"{path} cannot be read: it is not UTF-8 but {name}, as some spreadsheets save. "
                f"Save it as UTF-8: iconv -f {name} -t UTF-8 {path.name} > utf8.csv"
            )
    _check_header(path, head)


def check_delimiters(table: Path, parts: Sequence[Path]) -> None:
    """Raise DataError where files of a table are divided by another sign than the comma."""
    found = [(path, *divided) for path in parts if (divided := _divided(path)) is not None]
    if not found:
        return
    path, sign, line = found[0]
    others = len(found) - 1
    also = f" ({others} more file{'s' if others > 1 else ''} of {table} too)" if others else ""
    raise DataError(
        f"{path} cannot be read: its columns are divided by {DELIMITERS[sign]}, not by commas"
        f"{also}. The header: {line[:80]!r}. Write it with commas, and numbers as 1.5."
        f"{_rewritten(table, [one[0] for one in found], sign)}"
    )


def _divided(path: Path) -> tuple[str, str] | None:
    """The sign that divides a file's header in place of commas, and the header."""
    try:
        with opened(path) as file:
            head = file.read(HEAD)
    except (OSError, EOFError):
        return None  # check_csv says what it is
    if not head or b"\x00" in head or head.startswith((PARQUET, GZIP, *(one for one, _ in WIDE))):
        return None
    line = head.splitlines()[0].decode("utf-8-sig", errors="replace")
    if len(next(csv.reader([line]), [])) != 1:
        return None
    return next(((sign, line) for sign in DELIMITERS if sign in line), None)


def _rewritten(table: Path, paths: Sequence[Path], sign: str) -> str:
    """The command that writes files with commas, in their place; none for packed ones."""
    if any(path.suffix == ".gz" for path in paths):
        return ""
    depth = len(paths[0].relative_to(table).parts)
    files = shlex.quote(str(table)) + ("/*" * depth + ".csv" if depth else "")
    read = f"pl.read_csv(f, separator={sign!r}, infer_schema=False)"
    return (
        " In place (keep a copy): python -c "
        f'"import sys, polars as pl; [{read}.write_csv(f) for f in sys.argv[1:]]" {files}'
    )


def _check_header(path: Path, head: bytes) -> None:
    line = head.splitlines()[0].decode("utf-8-sig", errors="replace")
    names = next(csv.reader([line]), [])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{path}: the header names the column {twice[0]!r} twice: {line[:80]!r}. Rename one."
        )


def explained(path: Path, error: Exception) -> DataError:
    """The error for a CSV that polars refused, with the line that is to blame if it is found."""
    try:
        found = _first_wrong(path)
    except (OSError, EOFError) as broken:
        found = f"{broken}. Copy or write it again"
    return DataError(f"{path} cannot be read: {found or str(error).splitlines()[0]}.")


def _first_wrong(path: Path) -> str | None:
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return (
                    f"line {number} is not UTF-8: {line[:80]!r}. If it is the text of an older "
                    f"Windows: iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv"
                )
    with opened(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", newline="")
        return _first_ragged(csv.reader(text, strict=True))


def _first_ragged(rows: Iterator[list[str]]) -> str | None:
    width, line = 0, 1
    try:
        for row in rows:
            width = width or len(row)
            if len(row) > width:
                shown = ",".join(row)[:80]
                return (
                    f"line {line} has {len(row)} values and the header {width}: {shown!r}. Put "
                    "text that holds a comma in double quotes"
                )
            line = rows.line_num + 1  # type: ignore[attr-defined]
    except csv.Error as error:
        return (
            f"the row that begins in line {line} has a double quote too many or too few ({error}). "
            "Close each quote, and write a quote inside a text as two"
        )
    return None


def opened(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in .gz."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and b"," in head
