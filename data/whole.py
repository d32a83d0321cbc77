"""What holds of a whole column, found in one pass that holds little of it in memory.

A column of nothing but `24.0` is one of whole numbers, one of nothing but numbers is numeric, and
the largest time says what unit all are in: none of this can be said of a piece of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

# neither 007 nor +1, which are codes: as numbers they would lose what tells them from 7 and 1
NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
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
    """What holds of all values of a column."""

    decimal_point: bool = False  # text: every value is a whole number with `.0` behind it
    form: Literal["text", "truth", "number"] = "text"  # text: what all of it could be
    unit: int | None = None  # the unit of times a second, where there are numbers at all
    zoned: bool = False  # text: whether some value ends in a time zone
    parts: Whole | None = None  # of what a bag holds

    @property
    def members(self) -> Whole:
        """The same of what a bag holds."""
        return self.parts or Whole()


def measure(lazy: pl.LazyFrame, columns: Mapping[str, str | None]) -> dict[str, Whole]:
    """What holds of columns; for a bag the separator of its text is given."""
    types = lazy.collect_schema()
    queries = [
        lazy.select(named for name in columns for named in _aggregates(name, types[name])),
        *(_exploded(lazy, name, types[name], sign) for name, sign in columns.items()),
    ]
    found, *inner = pl.collect_all(
        [query for query in queries if query is not None], engine="streaming"
    )
    inside = iter(inner)
    return {
        name: _whole(
            name, types[name], found,
            None if query is None else _whole(name, _inner(types[name]), next(inside), None),
        )
        for name, query in zip(columns, queries[1:], strict=True)
    }  # fmt: skip


def _exploded(
    lazy: pl.LazyFrame, name: str, kind: pl.DataType, separator: str | None
) -> pl.LazyFrame | None:
    if isinstance(kind, pl.List | pl.Array):
        flat = lazy.select(name).explode(name)
    elif separator is not None and kind == pl.String:
        flat = lazy.select(pl.col(name).str.split(separator)).explode(name)
    else:
        return None
    return flat.select(_aggregates(name, _inner(kind)))


def _inner(kind: pl.DataType) -> pl.DataType:
    return kind.inner if isinstance(kind, pl.List | pl.Array) else kind  # type: ignore[return-value]


def _aggregates(name: str, kind: pl.DataType) -> list[pl.Expr]:
    number = float_of(name, kind).fill_nan(None).abs().max().alias(f"{name}:largest")
    if kind != pl.String:
        return [number]
    value = pl.col(name).str.strip_chars()
    read, blank = value.cast(pl.Float64, strict=False), value == ""
    beyond = (read.abs() >= EXACT) | (read.is_null() & (value.str.len_chars() > SHORT))
    found = {
        "point": pl.col(name).str.contains(POINT_ZERO).all(),
        "meant": (~blank).any(),
        "truths": (value.str.to_lowercase().is_in(list(TRUTHS)) | blank).all(),
        "numbers": (value.str.contains(NUMBER) | blank).all(),
        "beyond": beyond.any(),
        "zoned": zoned(name).any(),
    }
    return [number, *(expression.alias(f"{name}:{what}") for what, expression in found.items())]


def _whole(name: str, kind: pl.DataType, found: pl.DataFrame, parts: Whole | None) -> Whole:
    largest = found[f"{name}:largest"].item()
    unit = None if largest is None else unit_of(largest)
    if kind != pl.String:
        return Whole(unit=unit, parts=parts)
    says = {
        what: bool(found[f"{name}:{what}"].item())
        for what in ("point", "meant", "truths", "numbers", "beyond", "zoned")
    }
    form: Literal["text", "truth", "number"] = "text"
    if says["meant"] and says["truths"]:
        form = "truth"
    elif says["meant"] and says["numbers"] and not says["beyond"]:
        form = "number"
    return Whole(says["point"], form, unit, says["zoned"], parts)


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
