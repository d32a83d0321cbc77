"""What a log's lists say of the settings: which labels are positive, the split, the sizes.

The split is tried out on the lists that were looked at, by the code that `psad prepare` uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from data.guess import number, percent
from data.lists import Positive
from data.looks import numbers, texts
from data.roles import Role
from data.sample import Sample
from data.splits import Split, assign
from data.tables import Table
from features.errors import DataError

LIST_SIZE, MAX_HISTORY = 10, 50
HISTORIES = (10, 20, 50)
SHORT = 3600  # seconds; a log of less has no earlier and later worth the name


@dataclass(frozen=True)
class Setting:
    """A value of schema.toml, why it is so, and whether somebody must look at it."""

    value: str | int
    why: str
    warning: bool = False


@dataclass(frozen=True)
class Settings:
    """The four settings that a log's values suggest."""

    positive: Setting
    split: Setting
    list_size: Setting
    max_history: Setting


def guess_settings(shown: Sample, roles: Mapping[str, Role]) -> Settings:
    """Guess all of them; where a column is not known, psad's own defaults."""
    table = shown.table
    label = numbers(table, roles["label"].column) if "label" in roles else None
    positive = guess_positive(label) if label is not None else _unlabelled(roles)
    lists = lists_of(table, roles, str(positive.value))
    if lists is None:
        return Settings(
            positive,
            Setting("time", "the first lists train, the last are the test"),
            Setting(LIST_SIZE, "how many items are shown in the end"),
            Setting(MAX_HISTORY, "how many items of the user's past a model reads"),
        )
    return Settings(positive, guess_split(lists), _list_size(lists), _history(lists, shown.whole))


def positive_rows(table: Table, roles: Mapping[str, Role]) -> pl.Series | None:
    """Which rows the guessed rule calls positive; None without a label."""
    label = numbers(table, roles["label"].column) if "label" in roles else None
    if label is None:
        return None
    rule = Positive.parse(str(guess_positive(label).value)).holds(pl.col("label"))
    return pl.DataFrame({"label": label}).select(rule.fill_null(False)).to_series()


def guess_positive(label: pl.Series) -> Setting:
    """The rule for the labels: 0 and 1, grades from 0, ratings up to a best one, or amounts."""
    counts = label.drop_nulls().alias("value").value_counts(sort=False, name="count").sort("value")
    values, share = counts["value"].to_list(), counts["count"] / counts["count"].sum()
    if len(values) == 1:
        why = f"every label is {number(values[0])}: a log needs also items that were passed over"
        return Setting(">=1", why, warning=True)
    least, why = _threshold(values)
    taken = float(share.filter(counts["value"] >= least).sum())
    listed = ", ".join(
        f"{number(value)} ({percent(float(part))})"
        for value, part in zip(values[:6], share, strict=False)
    )
    more = f" and {len(values) - 6} more" if len(values) > 6 else ""
    return Setting(
        f">={_plain(least)}", f"{why}: {listed}{more}; positive are {percent(taken)}",
        warning=len(values) > 2,
    )  # fmt: skip


def _threshold(values: list[float]) -> tuple[float, str]:
    """From which value on a label counts as positive, and what kind of label it seems to be."""
    if len(values) == 2:
        return _reached(values, values[1]), "labels"
    if len(values) > 20 or any(value * 2 != round(value * 2) for value in values):
        above = [value for value in values if value > 0] or values[1:]
        return above[0] if len(above) < len(values) else values[len(values) // 2], "amounts"
    if values[0] <= 0:
        return next(value for value in [*values[1:]] if value > 0 or value == values[-1]), "grades"
    best = values[-1]
    return _reached(values, 4.0 if best == 5 else 0.8 * best), f"ratings, the best {number(best)}"


def _reached(values: list[float], wanted: float) -> float:
    """The first value from `wanted` on; never the lowest, which would make all rows positive."""
    if values == [0.0, 1.0]:
        return 1.0
    return next(value for value in values[1:] if value >= wanted or value == values[-1])


def _plain(value: float) -> str:
    """Decimal digits as a rule in schema.toml takes them, no exponent."""
    return np.format_float_positional(value, trim="-")


def _unlabelled(roles: Mapping[str, Role]) -> Setting:
    if "label" not in roles:
        return Setting(">=1", "no column of labels was found", warning=True)
    why = f"{roles['label'].column} holds text; labels are numbers: write 1 and 0"
    return Setting(">=1", why, warning=True)


def lists_of(table: Table, roles: Mapping[str, Role], rule: str) -> pl.DataFrame | None:
    """The lists that were looked at, as data/splits.py takes them; None where a role is missing."""
    if not {"list_id", "user_id", "timestamp", "label"} <= roles.keys():
        return None
    try:
        rows = pl.DataFrame({
            "list_id": texts(table, roles["list_id"].column),
            "user_id": texts(table, roles["user_id"].column),
            "timestamp": table.seconds(roles["timestamp"].column),
            "label": numbers(table, roles["label"].column),
        })  # fmt: skip
    except DataError:
        return None
    positive = Positive.parse(rule).holds(pl.col("label")).fill_null(False)
    lists = rows.group_by("list_id", maintain_order=True).agg(
        pl.col("user_id", "timestamp").first(), pl.len().alias("length"),
        positive.sum().alias("positives"),
    )  # fmt: skip
    some = pl.col("positives").is_between(1, pl.col("length") - 1)
    return lists.with_columns(some.alias("evaluable")).sort("user_id", "timestamp")


def guess_split(lists: pl.DataFrame) -> Setting:
    """By time where there is time enough in the log, else by a user's last lists, else by user."""
    reasons = []
    for split, why in (
        ("time", "the first lists train, the last are the test, as it will be online"),
        ("last-list", "a user's last list is the test"),
        ("user", "the users of the test have no list in train"),
    ):
        trouble = _trouble(lists, split)  # type: ignore[arg-type]
        if trouble is None:
            return Setting(split, "; ".join([why, *reasons]), warning=bool(reasons))
        reasons.append(f'not "{split}": {trouble}')
    why = "no split leaves lists to learn from and to judge by; see `positive` and the log's size"
    return Setting("time", why, warning=True)


def _trouble(lists: pl.DataFrame, split: Split) -> str | None:
    """Why a split would not do; None where it does."""
    times = lists["timestamp"]
    span = int(times.max() - times.min()) if len(lists) else 0  # type: ignore[operator]
    if split == "time" and span < SHORT and len(lists) > 2 * lists["user_id"].n_unique():
        return f"all times lie within {span // 60 + 1} minutes"
    try:
        assign(lists, split)
    except DataError:
        return "it leaves train, valid or test without lists"
    return None


def _list_size(lists: pl.DataFrame) -> Setting:
    low, middle, high = np.quantile(lists["length"].to_numpy(), [0, 0.5, 1])
    why = f"lists have {low:,.0f} to {high:,.0f} items, half of them at most {middle:,.0f}"
    if low == high:
        why = f"every list has {low:,.0f} items"
    return Setting(int(max(1, min(LIST_SIZE, middle))), f"how many are shown in the end; {why}")


def _history(lists: pl.DataFrame, whole: bool) -> Setting:
    """Room for the histories of nine lists in ten, in round numbers."""
    reads = "items of the user's past that a model reads"
    if not whole:
        return Setting(MAX_HISTORY, f"{reads}; the rows looked at do not show whole histories")
    before = (pl.col("positives").cum_sum() - pl.col("positives")).over("user_id")
    earlier = lists.select(before).to_series().to_numpy()
    middle, most = (float(one) for one in np.quantile(earlier, [0.5, 0.9]))
    size = next((one for one in HISTORIES if most <= one), HISTORIES[-1])
    found = f"half of the lists have at most {middle:,.0f}, nine in ten at most {most:,.0f}"
    return Setting(size, f"{reads}; {found}")
