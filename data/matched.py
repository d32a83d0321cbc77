"""Shown lists and clicks of the same lists in; impressions with labels, and what was left out, out.

A click counts once for an item of a list that was shown, from that moment on for so long. A list
counts only where it is whole: a row that is missing would make an item that was shown one that was
not.
"""

from __future__ import annotations

from collections import Counter

import polars as pl

from data.tables import NOBODY

NUMBERS = {
    "timestamp": pl.Int64, "position": pl.Int64, "rerank_index": pl.Int64, "rerank_shown": pl.Int64,
}  # fmt: skip
KEYS = ("list_id", "item_id")

AGAIN = "lists whose id came again later (the last one is kept)"
TORN = "lists that are not whole"
UNKNOWN = "clicks of lists that were not written down"
ELSEWHERE = "clicks on items that their list did not show"
EARLY = "clicks from before the list was shown"
LATE = "clicks that came too late"
TWICE = "clicks that came again"


def matched(
    shown: pl.DataFrame, clicks: pl.DataFrame, within: float, counts: Counter[str]
) -> pl.DataFrame:
    """The whole lists of `shown`, with `label`; `counts` is told what was left out.

    shown: text columns as the service writes them. clicks: list_id, item_id (text), timestamp
    (seconds), label.
    """
    lists = _whole(_last(shown, counts), counts)
    found = _counted(clicks, lists, within, counts)
    labelled = lists.join(found, on=KEYS, how="left", maintain_order="left")
    nobody = pl.col("user_id").str.strip_chars().is_in(["", *NOBODY])
    result = labelled.with_columns(
        pl.col("label").fill_null(0.0),
        user_id=pl.when(nobody).then("list_id").otherwise("user_id"),
    ).sort("timestamp", "list_id", "position")
    counts["lists"] += result["list_id"].n_unique()
    counts["rows"] += len(result)
    counts["positives"] += len(found)
    return result


def _last(shown: pl.DataFrame, counts: Counter[str]) -> pl.DataFrame:
    """Of lists with one id, such as a request and its retry, the last: what a page will show."""
    rows = shown.with_columns(
        pl.col(name).cast(kind, strict=False) for name, kind in NUMBERS.items()
    )
    times = rows.group_by("list_id").agg(
        last=pl.col("timestamp").max(), times=pl.col("timestamp").n_unique()
    )
    counts[AGAIN] += int((times["times"] - 1).sum())
    last = rows.join(times, on="list_id", how="left", maintain_order="left")
    return last.filter(pl.col("timestamp").eq_missing(pl.col("last"))).drop("last", "times")


def _whole(rows: pl.DataFrame, counts: Counter[str]) -> pl.DataFrame:
    """Lists with all the rows that they say they have, at all their places."""
    about = rows.group_by("list_id").agg(
        whole=(pl.len() == pl.col("rerank_shown")).all()
        & (pl.col("item_id").n_unique() == pl.len())
        & (pl.col("position").n_unique() == pl.len())
        & (pl.col("position").min() == 1)
        & (pl.col("position").max() == pl.len())
        & (pl.col("user_id").n_unique() == 1)
        & pl.all_horizontal(pl.col(list(NUMBERS)).is_not_null().all())
    )
    whole = about.filter(pl.col("whole").fill_null(False))
    counts[TORN] += len(about) - len(whole)
    return rows.join(whole.select("list_id"), on="list_id", how="semi", maintain_order="left")


def _counted(
    clicks: pl.DataFrame, lists: pl.DataFrame, within: float, counts: Counter[str]
) -> pl.DataFrame:
    """list_id, item_id and label of what was clicked in time, a row an item."""
    counts["clicks"] += len(clicks)
    ids = lists.select("list_id").unique()
    known = clicks.join(ids, on="list_id", how="semi")
    counts[UNKNOWN] += len(clicks) - len(known)
    shown_at = lists.select(*KEYS, shown_at=pl.col("timestamp") // 1000)
    there = known.join(shown_at, on=KEYS, how="inner")
    counts[ELSEWHERE] += len(known) - len(there)
    after = pl.col("timestamp") - pl.col("shown_at")
    early, late = after < 0, after > within
    counts[EARLY] += int(there.select(early.sum()).item())
    counts[LATE] += int(there.select(late.sum()).item())
    timely = there.filter(~early & ~late)
    once = timely.group_by(*KEYS).agg(pl.col("label").max())
    counts[TWICE] += len(timely) - len(once)
    return once
