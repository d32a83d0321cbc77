"""Turns the columns of a user's table into canonical ones, with useful errors.

Identifiers and categorical values become the text form of features/values.py, numbers floats, bags
lists of text, times whole seconds. What cannot be read is a DataError that names the file, the
column, an example row and what to do.

A CSV does not say what its text was. So that a feature has in training the text that the service
makes of a JSON true or 1.0, a CSV column of nothing but truth values or numbers is read as those.
What a whole column is decides how each of its values is read, so a piece of a large table is given
what was found in all of it (data/whole.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from data.files import Files, has_table, is_csv, open_files
from data.problems import SHOWN, RowsError, suggestion
from data.whole import LATEST, Whole, float_of, iso_of, own_unit, zoned
from features.errors import DataError, ValueRefused
from features.values import ID_LENGTH, LARGEST, text_of

# how databases and libraries write an id that is missing
BLANK = ("", "nan", "na", "null", "none")  # in a column of numbers, in lower case
NOBODY = ("NULL", "null", "None", "none", "NaN", "nan", "NA", "<NA>", "N/A", "\\N", "undefined")

WHO = (
    "Write the user whom other rows of the list name; where none does, the list's id in all of its "
    "rows."
)

__all__ = ["Table", "has_table", "read_table", "suggestion"]


@dataclass(frozen=True)
class Table:
    """A table as read, or a piece of one: where it begins, what holds of all of it."""

    path: Path
    frame: pl.DataFrame
    files: Files | None = None
    start: int = 0
    whole: Mapping[str, Whole] = field(default_factory=dict)

    @property
    def text_only(self) -> bool:
        """Whether the file does not say what its text was."""
        return is_csv(self.path) if self.files is None else self.files.text

    def fail(self, column: str, bad: pl.Series, found: str, remedy: str) -> RowsError:
        """The error for the first row where `bad` is true."""
        row, count = int(bad.arg_max() or 0), int(bad.sum())
        if self.files is not None:
            return self.files.fail(column, self.start + row, found, remedy, count)
        place = f"line {row + 2}" if self.text_only else f"row {row}"
        values = self.frame.row(row, named=True)
        return RowsError(self.path, column, place, found, values, remedy, count)

    def of(self, column: str, separator: str | None = None) -> Whole:
        """What holds of the whole column."""
        found = self.whole.get(column)
        return Whole.of(self.frame[column], separator) if found is None else found

    def require(self, columns: Iterable[str], reason: str) -> None:
        """Raise DataError where a column is missing."""
        for column in columns:
            if column not in self.frame.columns:
                raise DataError(
                    f"{self.path} has no column {column!r}, {reason}. It has: "
                    f"{', '.join(self.frame.columns)}.{suggestion(column, self.frame.columns)}"
                )

    def ids(
        self, column: str, longest: int | None = ID_LENGTH,
        remedy: str = "Give every row an id, or leave it out.",
    ) -> pl.Series:  # fmt: skip
        """Text identifiers, never empty, of at most `longest` characters; numbers in decimal."""
        text = self.identifiers(column)
        if (bad := text.is_null() | (text == "").fill_null(False)).any():
            raise self.fail(column, bad, "the id is empty", remedy)
        if longest is not None and (bad := text.str.len_chars() > longest).any():
            raise self.fail(
                column, bad, f"the id is longer than the {longest} characters the service takes",
                "Give it a shorter one, such as a hash of it, here and in requests.",
            )  # fmt: skip
        return text

    def people(self, column: str) -> pl.Series:
        """Ids of people, none of them what tools write for somebody they do not know."""
        ids = self.ids(column, remedy=WHO)
        if (bad := ids.str.strip_chars().is_in(NOBODY)).any():
            raise self.fail(
                column, bad, "the id says that there is none: all such rows would be one person",
                f"{WHO} To give each visitor an id of their own is better; a person who is really "
                "called so needs another, such as user-nan.",
            )  # fmt: skip
        return ids

    def identifiers(self, column: str) -> pl.Series:
        """Text as `written`, whole numbers as such; null where missing.

        pandas writes 7 as 7.0 in the file, or part of a table, that has missing values.
        """
        return self._written(column, self.frame[column], self.of(column).whole)

    def text(self, column: str) -> pl.Series:
        """The text form of every value, as the service makes it of JSON; null where missing."""
        text = self.written(column)
        return _as_from_json(text, self.of(column).form) if self.text_only else text

    def written(self, column: str) -> pl.Series:
        """Text as it stands in the file, the text form of all else; null where missing."""
        return self._written(column, self.frame[column], self.of(column).point_zero)

    def _written(self, column: str, series: pl.Series, point_zero: bool) -> pl.Series:
        if series.dtype == pl.String:
            return series.str.strip_suffix(".0") if point_zero else series
        if series.dtype.is_temporal() or series.dtype in (pl.Categorical, pl.Enum):
            return series.cast(pl.String)
        if series.dtype.is_integer():
            return series.cast(pl.String)
        if isinstance(series.dtype, pl.Decimal):
            text = series.cast(pl.String)
            fraction = series.dtype.scale
            return text.str.strip_chars_end("0").str.strip_chars_end(".") if fraction else text
        if series.dtype.is_nested() or series.dtype == pl.Object:
            raise self._no_text(column, "it holds " + str(series.dtype))
        distinct = series.unique()
        try:
            texts = [text_of(value) for value in distinct]
        except ValueRefused as error:
            found = error.message.rpartition(", ")[2]
            raise self._no_text(column, found) from error
        return series.replace_strict(distinct, pl.Series(texts, dtype=pl.String))

    def _no_text(self, column: str, found: str) -> RowsError:
        series = self.frame[column]
        bad = series.is_not_null()
        if series.dtype.is_float():
            bad = series.is_infinite().fill_null(False)
        return self.fail(
            column, bad, f"expected text or a number: {found}",
            "A categorical feature or an id needs one text or number a row; a list is a bag.",
        )  # fmt: skip

    def numbers(self, column: str, required: str | None = None) -> pl.Series:
        """Floats; null where missing (an empty cell or NaN), unless `required`: how to mend it."""
        series = self.frame[column]
        read = _as_float(series).fill_nan(None)
        empty = series.is_null() if series.dtype != pl.String else _blank(series)
        if series.dtype.is_float():
            empty = empty | series.is_nan().fill_null(False)
        unread = read.is_null() & ~empty
        if unread.any():
            value = series.gather([int(unread.arg_max() or 0)]).to_list()[0]
            found = "a list" if series.dtype.is_nested() else repr(value)[:SHOWN]
            remedy = "Correct it, leave it empty where it is unknown, or declare another kind."
            raise self.fail(column, unread, f"{found} is not a number", required or remedy)
        if (far := (read.abs() > LARGEST).fill_null(False)).any():
            raise self.fail(
                column, far, "the number is beyond 1e30, or infinite",
                required or "Correct it, or leave it empty where it is unknown.",
            )  # fmt: skip
        if required and read.is_null().any():
            raise self.fail(column, read.is_null(), "there is no number", required)
        return read

    def bags(self, column: str, separator: str) -> pl.Series:
        """Lists of text; null where missing. Text is split at the separator."""
        series, members = self.frame[column], self.of(column, separator).members
        rows = pl.Series(range(len(series)), dtype=pl.UInt32)
        flat = pl.DataFrame({"row": rows})
        if isinstance(series.dtype, pl.List | pl.Array):
            flat = flat.with_columns(value=series).explode("value")
            flat = flat.with_columns(value=self._written(column, flat["value"], members.point_zero))
        else:
            flat = flat.with_columns(value=self.written(column).str.split(separator))
            text = flat.explode("value")["value"].str.strip_chars()
            form = members.form if self.text_only else "text"
            flat = flat.explode("value").with_columns(value=_as_from_json(text, form))
        kept = flat.filter(pl.col("value").is_not_null() & (pl.col("value") != ""))
        bags = kept.group_by("row", maintain_order=True).agg("value")
        return (
            rows.to_frame("row")
            .join(bags, on="row", how="left", maintain_order="left")["value"]
            .alias(column)
        )

    def seconds(self, column: str) -> pl.Series:
        """Times as whole seconds: epoch numbers in any unit, dates, or ISO text."""
        series, whole = self.frame[column], self.of(column)
        if whole.unit:
            numbers = _as_float(series).fill_nan(None)
            self._refuse_other_units(column, numbers, whole.unit)
            times = (numbers / whole.unit).floor().cast(pl.Int64, strict=False)
        elif series.dtype in (pl.Date, pl.Datetime):
            times = series.dt.epoch("s")
        else:
            if whole.zoned and (bare := series.is_not_null() & ~_has_zone(series)).any():
                raise self.fail(
                    column, bare, "the time has no zone, and others in this column have one",
                    "Write the zone in every row, such as Z or +02:00, or in none (then it is "
                    "UTC).",
                )  # fmt: skip
            times = _iso(series).dt.epoch("s")
        if (missing := times.is_null()).any():
            value = series.filter(missing).to_list()[0]
            raise self.fail(
                column, missing, f"{value!r} is not a time",
                "Give seconds since 1970 or ISO text such as 2024-05-01T12:00:00.",
            )  # fmt: skip
        if (far := times.abs() >= LATEST).any():
            raise self.fail(
                column, far, "the time lies thousands of years from now",
                "Correct it, or leave the list out: a placeholder such as 9999-12-31 is no time.",
            )  # fmt: skip
        return times

    def _refuse_other_units(self, column: str, numbers: pl.Series, unit: int) -> None:
        """One unit is read for all; a number too small for it was meant in another."""
        smaller = numbers.abs() < own_unit(unit)
        if (other := smaller.fill_null(False)).any():
            names = {10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}
            raise self.fail(
                column, other,
                f"the time is too small for {names[unit]}, which the largest in this column is in",
                "Write all times in one unit.",
            )  # fmt: skip


def read_table(folder: Path, stem: str) -> Table:
    """Read a table whole; raises DataError where it cannot be read."""
    with tempfile.TemporaryDirectory() as scratch:
        files = open_files(folder, stem, Path(scratch))
        return Table(files.path, files.lazy().collect())


def _as_from_json(text: pl.Series, form: str) -> pl.Series:
    """Text of truth values or numbers in the service's text form of them."""
    if form == "text":
        return text
    distinct = text.drop_nulls().unique()
    meant = distinct.filter(distinct.str.strip_chars() != "")
    values = meant.str.strip_chars()
    if form == "truth":
        return text.replace(meant, values.str.to_lowercase())
    numbers = [float(value) for value in values]
    return text.replace(meant, pl.Series([text_of(number) for number in numbers], dtype=pl.String))


def _blank(series: pl.Series) -> pl.Series:
    """No number was meant: an empty cell, or what other tools write for one."""
    meant = series.str.strip_chars().str.to_lowercase().is_in(BLANK)
    return series.is_null() | meant.fill_null(False)


def _as_float(series: pl.Series) -> pl.Series:
    name = series.name
    return series.to_frame().select(float_of(name, series.dtype)).to_series()


def _iso(series: pl.Series) -> pl.Series:
    return series.to_frame().select(iso_of(series.name, series.dtype)).to_series()


def _has_zone(series: pl.Series) -> pl.Series:
    return series.to_frame().select(zoned(series.name)).to_series().fill_null(True)
