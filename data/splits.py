"""Which lists are train, valid and test: by a user's last lists, by time, or by user.

Only evaluable lists (at least one positive and one negative) are split. A list that cannot be
ranked but lies on train's side is marked "statistics": showings without clicks are evidence too,
and the derived statistics may count it without seeing anything of valid or test.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

from features.errors import DataError

Split = Literal["last-list", "time", "user"]
FRACTIONS = (0.8, 0.1, 0.1)  # of evaluable lists (time) or of users (user)

NOTES: dict[Split, str] = {
    "last-list": (
        "last-list is not a split in time: train lists of one user can be later than test lists "
        "of another, and the statistics fitted on train see them."
    ),
    "time": "time: train lies before valid and valid before test, over all users.",
    "user": "user: users of valid and test have no list in train (cold start).",
}


def assign(lists: pl.DataFrame, split: Split, seed: int = 0) -> pl.DataFrame:
    """Add the column `split` to lists sorted by user and time; raises DataError if one is empty."""
    marked = {"last-list": _last_list, "time": _time, "user": _user}[split](lists, seed)
    train_side, name = pl.col("train_side"), pl.col("name")
    result = marked.with_columns(
        pl.when("evaluable").then(name).when(train_side).then(pl.lit("statistics")).alias("split")
    ).drop("train_side", "name")
    counts = dict(result["split"].value_counts().iter_rows())
    if empty := [part for part in ("train", "valid", "test") if not counts.get(part)]:
        raise DataError(
            f"the split {split!r} leaves {' and '.join(empty)} empty: of {len(lists)} lists, "
            f"{int(lists['evaluable'].sum())} have both a positive and a negative item, by "
            f"{lists.filter('evaluable')['user_id'].n_unique()} users at "
            f"{lists.filter('evaluable')['timestamp'].n_unique()} different times. "
            "Choose another split, or check `positive` and the timestamps."
        )
    return result


def _last_list(lists: pl.DataFrame, seed: int) -> pl.DataFrame:
    """A user's last evaluable list is test, the one before valid, earlier ones train."""
    left = pl.col("evaluable").cast(pl.Int64).cum_sum(reverse=True).over("user_id")
    name = pl.when(left == 1).then(pl.lit("test")).when(left == 2).then(pl.lit("valid"))
    # a list that cannot be ranked is on train's side where its user's held-out lists all come later
    held_out = pl.col("evaluable").sum().over("user_id").clip(upper_bound=2)
    return lists.with_columns(
        name.otherwise(pl.lit("train")).alias("name"), (left >= held_out).alias("train_side")
    )


def _time(lists: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Train before t1, valid from t1 to t2, test from t2, at quantiles of the evaluable lists."""
    times = np.sort(lists.filter("evaluable")["timestamp"].to_numpy())
    if not len(times):
        return lists.with_columns(pl.lit("train").alias("name"), pl.lit(True).alias("train_side"))
    at = (np.cumsum(FRACTIONS)[:2] * len(times)).astype(int)
    valid_from, test_from = times[at].tolist()
    time = pl.col("timestamp")
    before_test = pl.when(time < valid_from).then(pl.lit("train")).when(time < test_from)
    name = before_test.then(pl.lit("valid")).otherwise(pl.lit("test"))
    return lists.with_columns(name.alias("name"), (time < valid_from).alias("train_side"))


def _user(lists: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Whole users held out, drawn with the seed among those with an evaluable list."""
    users = lists.filter("evaluable")["user_id"].unique().sort().to_numpy()
    drawn = np.random.default_rng(seed).permutation(users)
    sizes = [max(1, round(part * len(drawn))) for part in FRACTIONS[1:]]
    valid = pl.col("user_id").is_in(drawn[: sizes[0]].tolist())
    test = pl.col("user_id").is_in(drawn[sizes[0] : sum(sizes)].tolist())
    held_out = pl.when(valid).then(pl.lit("valid")).when(test).then(pl.lit("test"))
    name = held_out.otherwise(pl.lit("train"))
    return lists.with_columns(name.alias("name"), (~valid & ~test).alias("train_side"))
