"""Columns that must not become features, because they tell what happened after the list was shown.

A model that reads how long somebody stayed on an item, or what they paid, predicts the click all
but perfectly in the log and has nothing to read when a list is to be ordered. Such a column is
known by its values, compared with the labels: filled for one kind of rows only, where 0 or the
commonest value (-1, `none`, `serp`) may stand for nothing; a value that only one kind has; numbers
that part the two kinds. Else by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from data.guess import percent, shown
from data.looks import numbers, texts, words
from data.tables import Table

OUTCOME = re.compile(
    r"click|purchas|bought|buy|order|revenue|gmv|sale_amount|conver|dwell|watch|listen|"
    r"cart|rating|label|booking|booked|paid|checkout|engag|reply|replied|applied|"
    r"feedback|outcome|reward|like[sd]?$|(^|_)(opened|read|reads|viewed|played|saved|shared|"
    r"followed|skipped|dismissed)(_|$)|(view|play|read|open|stay|visit)_?(time|ms|sec|seconds|s)$"
)  # fmt: skip
COUNTED = re.compile(
    r"(^|_)(ctr|cvr|popularity|popular|sales|sold|views?|plays?|opens?|open_rate|saves?|likes?|"
    r"downloads|installs|hits|streams|visits|impressions|spent|spend|shares)(_|$)"
)
DONE = re.compile(r"click|purchas|bought|watched|viewed|played|opened|(^|_)read(_|$)")
AFTER = "it must be known only after the click"
FILLED = 10  # rows of one kind that are filled, from which on it is no accident that no other is
CHANCE = 1e-4  # nor is it where it would be as rare as this
UNLIKELY = 1e-2  # enough in a small log, where half of one kind is filled
BOTH = 5  # rows of each kind, from which on numbers can part them
ROWS_OF_VALUE = 20  # from which on a value tells something
NEARLY = 0.95
WIDE = 0.05  # of all rows have a value that is never positive: a few may just be disliked


def leak(table: Table, name: str, positive: pl.Series | None) -> str | None:
    """Why a column of impressions may tell what happened after the list was shown; None if not."""
    if positive is not None and (why := told(table, name, positive)):
        return why
    if sounds_like_one(name):
        return "its name sounds like something known only after the list was shown"
    return None


def sounds_like_one(name: str) -> bool:
    """Whether a column of impressions is named as an outcome is."""
    return OUTCOME.search(words(name)) is not None


def counts_them(name: str, kind: str | None) -> bool:
    """Whether a feature of items or people is named as a count, or a trace, of what people did."""
    said = words(name)
    if kind == "numeric":
        return sounds_like_one(name) or COUNTED.search(said) is not None
    return kind is not None and DONE.search(said) is not None


def told(table: Table, name: str, positive: pl.Series) -> str | None:
    """What the values of a column tell of the labels, if it is too much."""
    if not 0 < int(positive.sum()) < len(positive):
        return None
    series = table.frame[name]
    if isinstance(series.dtype, pl.List):
        return _one_sided((series.list.len() > 0).fill_null(False), positive, "filled")
    text = texts(table, name)
    if text is None:
        return None
    found = numbers(table, name)
    for there, how in _filled(text, found):
        if why := _one_sided(there, positive, how):
            return why
    if why := _by_a_value(text, positive):
        return why
    if found is not None and min(int(positive.sum()), int((~positive).sum())) >= BOTH:
        above = _area(found.fill_null(0.0).to_numpy(), positive.to_numpy())
        if abs(above - 0.5) > 0.45:
            return "it parts positive rows from the others all but perfectly: is it an outcome?"
    return None


def _filled(text: pl.Series, found: pl.Series | None) -> Iterator[tuple[pl.Series, str]]:
    """Which rows say something, and how: the commonest value may stand for nothing, as 0 may."""
    there = text.is_not_null() & (text.str.strip_chars() != "").fill_null(False)
    if found is None:
        yield there, "filled"
    else:
        yield there & (found != 0).fill_null(False), "filled and not 0"
    if there.any():
        usual = text.filter(there).mode().sort()[0]
        yield there & (text != usual).fill_null(False), f"other than {shown(usual)}"


def _one_sided(there: pl.Series, positive: pl.Series, how: str) -> str | None:
    """Why rows that say something are too much of one kind; None if they are not."""
    for side, one, other in (
        (positive, "positive rows", "the others"),
        (~positive, "rows that are not positive", "the positive ones"),
    ):
        filled = int((there & side).sum())
        share, rest = filled / int(side.sum()), float(there.filter(~side).mean() or 0)  # type: ignore[arg-type]
        chance = (int(side.sum()) / len(side)) ** filled  # that all who are filled are on one side
        enough = chance < CHANCE if filled >= FILLED else chance < UNLIKELY and share >= 0.5
        if enough and rest < share / 20:
            return f"{how} in {percent(share)} of the {one} and {percent(rest)} of {other}: {AFTER}"
    return None


def _by_a_value(text: pl.Series, positive: pl.Series) -> str | None:
    """A value whose rows are nearly all positive, or, of a common one, nearly never."""
    base = float(positive.mean() or 0)  # type: ignore[arg-type]
    share = pl.col("hits") / pl.col("rows")
    expected = pl.col("rows") * base
    always = (share >= NEARLY) & (base <= share / 2)
    common = (pl.col("rows") >= WIDE * len(text)) & (expected >= ROWS_OF_VALUE)
    found = (
        pl.DataFrame({"value": text, "positive": positive})
        .filter(pl.col("value").str.strip_chars() != "")
        .group_by("value")
        .agg(rows=pl.len(), hits=pl.col("positive").sum())
        .filter(pl.col("rows") >= ROWS_OF_VALUE, always | (common & (share <= base / 20)))
        .sort("rows", "value", descending=[True, False])
    )
    if found.is_empty():
        return None
    value, rows, hits = found.row(0)
    return (
        f"of the {rows:,} rows with {shown(value)} {percent(hits / rows)} are positive, of all "
        f"rows {percent(base)}: {AFTER}"
    )


def _area(values: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive row's value is above another's (ties count half)."""
    _, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = (ends - (counts - 1) / 2)[rank]
    ones = int(positive.sum())
    zeros = len(positive) - ones
    return float((middle[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
