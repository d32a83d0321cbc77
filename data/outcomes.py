"""Columns that must not become features, because they tell what happened after the list was shown.

A model that reads how long somebody stayed on an item, or what they paid, predicts the click all
but perfectly in the log and has nothing to read when a list is to be ordered.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from data.guess import FEW, percent
from data.looks import numbers, texts, words
from data.tables import Table

OUTCOME = re.compile(
    r"(click|purchas|bought|buy|order|revenue|gmv|sale_amount|conver|dwell|watch|played|listen|"
    r"like[sd]?$|cart|rating|label|booking|booked|paid|checkout|engag|reply|replied|applied|"
    r"feedback|outcome|reward)"
)  # fmt: skip


def leak(table: Table, name: str, positive: pl.Series) -> str | None:
    """Why a column of impressions may tell what happened after the list was shown; None if not."""
    text = texts(table, name)
    if text is None or not 0 < int(positive.sum()) < len(positive):
        return None
    found = numbers(table, name)
    there = text.is_not_null() & (text.str.strip_chars() != "").fill_null(False)
    if found is not None:
        there = there & (found != 0).fill_null(False)
    with_it, without = float(there.filter(positive).mean()), float(there.filter(~positive).mean())  # type: ignore[arg-type]
    if with_it > 0.05 and without < with_it / 20:
        return (
            f"filled or above 0 for {percent(with_it)} of the positive rows and "
            f"{percent(without)} of the others: it must be known only after the click"
        )
    if found is not None and len(values := found.fill_null(0.0)) >= FEW:
        above = _area(values.to_numpy(), positive.to_numpy())
        if abs(above - 0.5) > 0.45:
            return "it parts positive rows from the others all but perfectly: is it an outcome?"
    if OUTCOME.search(words(name)):
        return "its name sounds like something known only after the list was shown"
    return None


def _area(values: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive row's value is above another's (ties count half)."""
    _, rank, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = (ends - (counts - 1) / 2)[rank]
    ones = int(positive.sum())
    zeros = len(positive) - ones
    return float((middle[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
