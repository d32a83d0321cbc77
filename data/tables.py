"""Reads a user's table files and turns their columns into canonical ones, with useful errors.

Identifiers and categorical values become the text form of features/values.py, numbers floats, bags
lists of text, times whole seconds. What cannot be read is a DataError that names the file, the
column, an example row and what to do.

A CSV does not say what its text was. So that a feature has in training the text that the service
makes of a JSON true or 1.0, a CSV column of nothing but truth values or numbers is read as those.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.errors import DataError, ValueRefused
from features.values import ID_LENGTH, LARGEST, text_of

SUFFIXES = (".parquet", ".csv")
# an epoch beyond these is in milli-, micro- or nanoseconds: in seconds it would be past year 5000
EPOCH_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))

# neither 007 nor +1, which are codes: as numbers they would lose what tells them from 7 and 1
NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
EXACT = 2**53  # from here on two whole numbers can be one float
SHOWN = 80  # characters of a value in an error


@dataclass(frozen=True)
class Table:
    """A table as read, and the file it came from."""

    path: Path
    frame: pl.DataFrame

    def fail(self, column: str, bad: pl.Series, found: str, remedy: str) -> DataError:
        """The error for the first row where `bad` is true."""
        row = int(bad.arg_max() or 0)
        place = f"line {row + 2}" if self.path.suffix == ".csv" else f"row {row}"
        shown = ", ".join(
            f"{name}={_shortened(value)}" for name, value in _example(self.frame, row)
        )
        count = int(bad.sum())
        others = f" ({count} rows are like this)" if count > 1 else ""
        return DataError(
            f"{self.path}, column {column!r}, {place}: {found}{others}. The row: {shown}. {remedy}"
        )

    def require(self, columns: Iterable[str], reason: str) -> None:
        """Raise DataError where a column is missing."""
        for column in columns:
            if column not in self.frame.columns:
                raise DataError(
                    f"{self.path} has no column {column!r}, {reason}. It has: "
                    f"{', '.join(self.frame.columns)}.{suggestion(column, self.frame.columns)}"
                )

    def ids(self, column: str, longest: int | None = ID_LENGTH) -> pl.Series:
        """Text identifiers, never empty, of at most `longest` characters; numbers in decimal."""
        text = self.written(column)
        if (bad := text.is_null() | (text == "").fill_null(False)).any():
            raise self.fail(
                column, bad, "the id is empty", "Give every row an id, or leave it out."
            )
        if longest is not None and (bad := text.str.len_chars() > longest).any():
            raise self.fail(
                column, bad, f"the id is longer than the {longest} characters the service takes",
                "Give it a shorter one, such as a hash of it, here and in requests.",
            )  # fmt: skip
        return text

    def text(self, column: str) -> pl.Series:
        """The text form of every value, as the service makes it of JSON; null where missing."""
        return self._served(self.written(column))

    def _served(self, text: pl.Series) -> pl.Series:
        return _as_from_json(text) if self.path.suffix == ".csv" else text

    def written(self, column: str) -> pl.Series:
        """Text as it stands in the file, the text form of all else; null where missing."""
        series = self.frame[column]
        if series.dtype == pl.String:
            return _without_decimal_point(series)
        if series.dtype.is_temporal() or series.dtype in (pl.Categorical, pl.Enum):
            return series.cast(pl.String)
        if series.dtype.is_integer():
            return series.cast(pl.String)
        distinct = series.unique()
        try:
            texts = [text_of(value) for value in distinct]
        except ValueRefused as error:
            raise DataError(
                f"{self.path}, column {column!r}: {error.message}. It holds {series.dtype}; a "
                "categorical feature or an id needs one text or number a row."
            ) from error
        return series.replace_strict(distinct, pl.Series(texts, dtype=pl.String))

    def numbers(self, column: str, required: bool = False) -> pl.Series:
        """Floats; null where missing (an empty cell or NaN), which `required` refuses."""
        series = self.frame[column]
        read = _as_float(series).fill_nan(None)
        empty = series.is_null() if series.dtype != pl.String else _blank(series)
        if series.dtype.is_float():
            empty = empty | series.is_nan().fill_null(False)
        unread = read.is_null() & ~empty
        if unread.any():
            value = series.gather([int(unread.arg_max() or 0)]).to_list()[0]
            raise self.fail(
                column, unread, f"{value!r} is not a number",
                "Correct it, leave it empty where it is unknown, or declare another kind.",
            )  # fmt: skip
        if (far := (read.abs() > LARGEST).fill_null(False)).any():
            raise self.fail(column, far, "the number is beyond 1e30", "Correct it or empty it.")
        if required and read.is_null().any():
            raise self.fail(
                column, read.is_null(), "there is no number", "Fill it in, or leave the row out."
            )
        return read

    def bags(self, column: str, separator: str) -> pl.Series:
        """Lists of text; null where missing. Text is split at the separator."""
        series = self.frame[column]
        if isinstance(series.dtype, pl.List | pl.Array):
            inner = Table(self.path, pl.DataFrame({column: series.explode()}))
            flat = pl.DataFrame({
                "row": pl.Series(range(len(series)), dtype=pl.UInt32), "value": series,
            }).explode("value").with_columns(inner.written(column).alias("value"))  # fmt: skip
        else:
            split = self.written(column).str.split(separator)
            flat = pl.DataFrame({"value": split}).with_row_index("row").explode("value")
            flat = flat.with_columns(self._served(flat["value"].str.strip_chars()))
        kept = flat.filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
        rows = pl.DataFrame({"row": pl.Series(range(len(series)), dtype=pl.UInt32)})
        bags = kept.group_by("row", maintain_order=True).agg("value")
        return rows.join(bags, on="row", how="left", maintain_order="left")["value"].alias(column)

    def seconds(self, column: str) -> pl.Series:
        """Times as whole seconds: epoch numbers in any unit, dates, or ISO text."""
        series = self.frame[column]
        numbers = _as_float(series).fill_nan(None)
        if numbers.is_not_null().any():
            times = (numbers / _unit(numbers)).floor().cast(pl.Int64)
        elif series.dtype in (pl.Date, pl.Datetime):
            times = series.dt.epoch("s")
        else:
            times = _iso(series).dt.epoch("s")
        if times.is_null().any():
            value = series.filter(times.is_null()).to_list()[0]
            raise self.fail(
                column, times.is_null(), f"{value!r} is not a time",
                "Give seconds since 1970 or ISO text such as 2024-05-01T12:00:00.",
            )  # fmt: skip
        return times


def read_table(folder: Path, stem: str) -> Table:
    """Read `stem`.parquet or `stem`.csv; raises DataError where neither can be read."""
    present = [path for suffix in SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()]
    if len(present) != 1:
        found = "both are there" if present else f"it holds {_listing(folder)}"
        raise DataError(
            f"{folder} needs one of {stem}.parquet and {stem}.csv, but {found}. "
            "See `psad prepare --help` for what a folder of your own holds."
        )
    path = present[0]
    try:
        # everything as text first: an id such as 007 must keep its zeros
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if frame.is_empty():
        raise DataError(f"{path} holds no rows. Write at least one, or check the export.")
    return Table(path, frame)


def has_table(folder: Path, stem: str) -> bool:
    """Whether the folder holds such a table at all."""
    return any((folder / f"{stem}{suffix}").is_file() for suffix in SUFFIXES)


def suggestion(name: str, known: Sequence[str]) -> str:
    """` Did you mean …?` for error messages, empty where nothing is close."""
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema=False)


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing"


def _example(frame: pl.DataFrame, row: int) -> list[tuple[str, object]]:
    values = frame.row(row, named=True)
    return [(name, value) for name, value in values.items()][:6]


def _shortened(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


def _without_decimal_point(series: pl.Series) -> pl.Series:
    """Whole numbers that some tool wrote as `24.0` (pandas does, beside missing values) as `24`."""
    if series.drop_nulls().str.contains(r"^-?\d+\.0$").all():
        return series.str.strip_suffix(".0")
    return series


def _as_from_json(text: pl.Series) -> pl.Series:
    """A column of nothing but truth values, or but numbers, in the service's text form of them."""
    distinct = text.drop_nulls().unique()
    meant = distinct.filter(distinct.str.strip_chars() != "")
    values = meant.str.strip_chars()
    if values.is_empty():
        return text
    if values.str.to_lowercase().is_in(["true", "false"]).all():
        return text.replace(meant, values.str.to_lowercase())
    if not values.str.contains(NUMBER).all():
        return text
    numbers = [float(value) for value in values]
    if max(map(abs, numbers)) >= EXACT:
        return text
    return text.replace(meant, pl.Series([text_of(number) for number in numbers], dtype=pl.String))


def _blank(series: pl.Series) -> pl.Series:
    """No number was meant: an empty cell, or what other tools write for one."""
    meant = series.str.strip_chars().str.to_lowercase().is_in(["", "nan", "na", "null", "none"])
    return series.is_null() | meant.fill_null(False)


def _as_float(series: pl.Series) -> pl.Series:
    """Floats, null where unreadable; truth values are 1 and 0, as text too."""
    if series.dtype == pl.String:
        truths = {"true": "1", "false": "0"}
        text = series.str.strip_chars().str.to_lowercase()
        series = text.replace(list(truths), list(truths.values()))
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
        return pl.Series(series.name, [None] * len(series), dtype=pl.Float64)
    return series.cast(pl.Float64, strict=False)


def _unit(numbers: pl.Series) -> int:
    largest = float(numbers.abs().max() or 0.0)  # type: ignore[arg-type]
    return next((unit for limit, unit in EPOCH_UNITS if largest >= limit), 1)


def _iso(series: pl.Series) -> pl.Series:
    """Datetimes (UTC where no zone is given) from ISO text, null where unreadable."""
    if series.dtype != pl.String:
        return pl.Series(series.name, [None] * len(series), dtype=pl.Datetime("us"))
    text = (
        series.str.strip_chars()
        .str.replace(" ", "T")
        .str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00")
    )
    text = text.str.replace(r"Z$", "+00:00")
    text = pl.select(
        pl.when(text.str.contains(r"[+-]\d\d:?\d\d$")).then(text).otherwise(text + "+00:00")
    ).to_series()
    return text.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%z", strict=False, time_unit="us"
    ).dt.replace_time_zone(None)
