"""What the values of a column look like, by the same reading that `psad prepare` gives them."""

from __future__ import annotations

import re

import polars as pl

from data.tables import BLANK, Table
from data.whole import float_of
from features.errors import DataError
from features.values import LARGEST

CENTURY = (631_152_000, 4_102_444_800)  # 1990 to 2100, in which a log's times are looked for
FEW = 10  # rows, from which on one that is unlike the others is an accident
MOST = 0.98  # what holds for so many rows is the rule, and the others are what prepare will name


def words(name: str) -> str:
    """A column's name in lower case, its words joined by _: `sessionId`, `Session-ID` alike."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def is_time(table: Table, column: str) -> bool:
    """Whether every value reads as a time within a century of ours."""
    if table.frame[column].dtype == pl.Boolean:
        return False
    try:
        seconds = table.seconds(column)
    except DataError:
        return False
    return bool(seconds.is_between(*CENTURY).all())


def numbers(table: Table, column: str) -> pl.Series | None:
    """A column as numbers, null where missing; None where prepare could not read it so."""
    try:
        read = table.numbers(column)
    except DataError:
        return None
    return read if read.count() else None


def nearly_numbers(table: Table, column: str) -> tuple[pl.Series, pl.Series] | None:
    """A column of text whose values are numbers but for some: those that are, and the others.

    None where all are numbers or fewer than half are.
    """
    text = texts(table, column)
    if text is None:
        return None
    text = text.filter(table.frame[column].is_not_null() & (text.str.strip_chars() != ""))
    read = text.to_frame("value").select(float_of("value", pl.String())).to_series()
    fine = (read.abs() <= LARGEST).fill_null(False)
    blank = text.str.strip_chars().str.to_lowercase().is_in(BLANK)
    fine_ones, odd = text.filter(fine), text.filter(~fine & ~blank)
    return (fine_ones, odd) if 0 < len(odd) <= len(fine_ones) else None


def texts(table: Table, column: str) -> pl.Series | None:
    """A column as text; None where it has no text form."""
    dtype = table.frame[column].dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return None
    try:
        return table.written(column)
    except DataError:
        return None


def is_key(table: Table, column: str) -> bool:
    """Another value in each row."""
    return unlike_key(table, column) == 0


def unlike_key(table: Table, column: str) -> int | None:
    """Rows that keep a column from having another value in each: empty ones, and repeats."""
    text = texts(table, column)
    if text is None:
        return None
    there = text.filter(~((text.str.strip_chars() == "").fill_null(True)))
    return len(text) - there.n_unique()


def is_nearly_key(table: Table, column: str) -> bool:
    """Another value in each row, but for one or very few."""
    wrong, rows = unlike_key(table, column), len(table.frame)
    return wrong is not None and rows >= FEW and wrong <= max(1, (1 - MOST) * rows)


def varies(table: Table, column: str) -> bool:
    found = numbers(table, column)
    return found is not None and found.drop_nulls().n_unique() > 1


def is_steady(table: Table, column: str, within: str | None, *, may_miss: bool = False) -> bool:
    """One value throughout each list, and never missing, unless it may be."""
    text = texts(table, column)
    if text is None or (text.null_count() and not may_miss) or within is None:
        return text is not None and within is None
    frame = pl.DataFrame({"value": text, "list": texts(table, within)}).drop_nulls()
    alone = frame.group_by("list").agg(pl.col("value").n_unique() == 1)["value"]
    return float(alone.mean() or 0.0) >= MOST  # type: ignore[arg-type]


def differs(table: Table, column: str, within: str) -> bool:
    """No value twice in a list."""
    frame = pl.DataFrame({"value": texts(table, column), "list": texts(table, within)})
    return float(frame.select(pl.struct("list", "value").is_unique().mean()).item()) >= MOST


def has_fractions(table: Table, column: str) -> bool:
    found = numbers(table, column)
    return found is not None and bool((found != found.round()).any())
