"""What holds of a whole column, found piece by piece.

A column of nothing but `24.0` is one of whole numbers, one of nothing but numbers is numeric, and
the largest time says what unit all are in: none of this can be said of a piece of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

# neither 007 nor +1, which are codes: as numbers they would lose what tells them from 7 and 1
NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
WHOLE = r"^-?\d+(?:\.0)?$"
POINT_ZERO = r"^-?\d+\.0$"  # whole numbers as pandas writes them beside missing values
ZONE = r"(?:Z|[+-]\d\d:?\d\d)$"
EXACT = 2**53  # from here on two whole numbers can be one float
SHORT = 15  # digits that are always below it
# an epoch beyond these is in milli-, micro- or nanoseconds: in seconds it would be past year 5000
EPOCH_UNITS = ((10**17, 10**9), (10**14, 10**6), (10**11, 10**3))
LATEST = 10**11  # seconds: a time of year 5138
TRUTHS = {"true": "1", "false": "0"}


@dataclass(frozen=True)
class Whole:
    """What holds of all values of a column that were looked at."""

    point_zero: bool = True  # text: every value is a whole number with `.0` behind it
    whole: bool = True  # text: every value is a whole number, with or without `.0` behind it
    truths: bool = True  # text: every value is true or false
    numbers: bool = True  # text: every value is a number that keeps its text form as one
    meant: bool = False  # text: some value is not blank
    zoned: bool = False  # text: some value is a time with a zone
    largest: float | None = None  # of the numbers, and text that can be read as one
    parts: Whole | None = None  # of what a bag holds

    @classmethod
    def of(cls, series: pl.Series, separator: str | None = None) -> Whole:
        """Look at a column; at what a bag holds too, where the separator of its text is given."""
        members = None
        if isinstance(series.dtype, pl.List | pl.Array):
            members = cls.of(series.explode())
        elif separator is not None and series.dtype == pl.String:
            members = cls.of(series.unique().str.split(separator).explode())
        distinct = series if series.dtype.is_nested() else series.unique()
        found = distinct.alias("c").to_frame().select(_aggregates(series.dtype))
        return cls(**found.row(0, named=True), parts=members)

    def __or__(self, other: Whole) -> Whole:
        """What holds of both columns, one after the other."""
        largest = [one.largest for one in (self, other) if one.largest is not None]
        return Whole(
            self.point_zero and other.point_zero, self.whole and other.whole,
            self.truths and other.truths,
            self.numbers and other.numbers, self.meant or other.meant, self.zoned or other.zoned,
            max(largest, default=None),
            self.members | other.members if self.parts or other.parts else None,
        )  # fmt: skip

    @property
    def members(self) -> Whole:
        """The same of what a bag holds."""
        return self.parts or Whole()

    @property
    def form(self) -> Literal["text", "truth", "number"]:
        """What text without exception could be."""
        if not self.meant:
            return "text"
        return "truth" if self.truths else "number" if self.numbers else "text"

    @property
    def unit(self) -> int | None:
        """The unit of times as numbers; None where there are no numbers."""
        return None if self.largest is None else unit_of(self.largest)


def _aggregates(kind: pl.DataType) -> list[pl.Expr]:
    largest = float_of("c", kind).fill_nan(None).abs().max().alias("largest")
    if kind != pl.String:
        return [largest]
    value = pl.col("c").str.strip_chars()
    read, blank = value.cast(pl.Float64, strict=False), value == ""
    beyond = (read.abs() >= EXACT) | (read.is_null() & (value.str.len_chars() > SHORT))
    number = value.str.contains(NUMBER) & ~beyond.fill_null(False)
    return [
        largest,
        pl.col("c").str.contains(POINT_ZERO).all().alias("point_zero"),
        pl.col("c").str.contains(WHOLE).all().alias("whole"),
        (value.str.to_lowercase().is_in(list(TRUTHS)) | blank).all().alias("truths"),
        (number | blank).all().alias("numbers"),
        (~blank).any().alias("meant"),
        zoned("c").any().alias("zoned"),
    ]


def unit_of(largest: float) -> int:
    """The unit of times of which this is the largest number."""
    return next((unit for limit, unit in EPOCH_UNITS if largest >= limit), 1)


def own_unit(unit: int) -> int:
    """The smallest number that would be read in a unit by itself; 0 for seconds."""
    return next((limit for limit, one in EPOCH_UNITS if one == unit), 0)


def float_of(name: str, kind: pl.DataType) -> pl.Expr:
    """Floats, null where unreadable; truth values are 1 and 0, as text too."""
    column = pl.col(name)
    if kind == pl.String:
        text = column.str.strip_chars().str.to_lowercase()
        column = text.replace(list(TRUTHS), list(TRUTHS.values()))
    elif not (kind.is_numeric() or kind in (pl.Boolean, pl.Null)):
        return pl.repeat(None, pl.len(), dtype=pl.Float64).alias(name)
    return column.cast(pl.Float64, strict=False)


def iso_of(name: str, kind: pl.DataType) -> pl.Expr:
    """Datetimes (UTC where no zone is given) from ISO text, null where unreadable."""
    if kind != pl.String:
        return pl.repeat(None, pl.len(), dtype=pl.Datetime("us")).alias(name)
    text = pl.col(name).str.strip_chars().str.replace(" ", "T")
    text = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00").str.replace(r"Z$", "+00:00")
    text = pl.when(text.str.contains(r"[+-]\d\d:?\d\d$")).then(text).otherwise(text + "+00:00")
    read = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", strict=False, time_unit="us")
    return read.dt.replace_time_zone(None).alias(name)


def zoned(name: str) -> pl.Expr:
    """Whether a text that is a time ends in a time zone."""
    text = pl.col(name).str.strip_chars()
    return text.str.contains(r"^\d{4}-\d\d-\d\d[T ]") & text.str.contains(ZONE)
