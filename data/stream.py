"""Arranges a log that is larger than memory: `arrange` of data/lists.py, some users at a time.

Histories are per user. So the impressions are read once, in pieces, and put down sorted by which
range of users they belong to; then each range is arranged by itself, and the ranges one after
another are the whole log, in the order that `arrange` gives it.

What grows in memory with the log: its users, items and lists, a row each; the rows of the user who
has most, who is arranged at once; and of every impression a byte that says whether it counts. While
the schema is fitted there are 16 bytes more of each training impression: the values of a numeric
context feature, one feature after another (data/vocabulary.py). While lists are written it is 10:
the item's number and the label. All else of an impression stays on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data.coded import Coded, known_items, numbered
from data.lists import POSITIVE, RESERVED, ROW, History, acted_in, in_order, lists_of, with_history
from data.progress import bar
from data.sources.parquet import ONE_USER, OwnLog, check_lists
from data.splits import Split, assign

RANGE_ROWS = 500_000  # impressions that are arranged at a time (one user's are never divided)
CODE, ITEM, RANGE = RESERVED + "code", RESERVED + "item", RESERVED + "range"  # of a piece
GROUP_ROWS = 65_536  # of a scratch file's row group: a range reads little of its neighbours


def arranged_on_disk(
    log: OwnLog, split: Split, scratch: Path, *, seed: int = 0, history: History = "all"
) -> Coded:
    """The log with numbers for ids, its rows in files of `scratch`; raises DataError."""
    users, items = log.distinct("user_id"), log.distinct("item_id")
    known = known_items(log.items, items["item_id"])
    before = users["count"].cum_sum() - users["count"]
    codes = users.select(
        "user_id", pl.int_range(pl.len(), dtype=pl.UInt32).alias(CODE), _ranges(before).alias(RANGE)
    )
    rows = known.select("item_id", pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias(ITEM))
    shelf = _sorted_by_range(log, codes, rows, scratch)
    if not shelf.files:
        log.problems.raise_any()
    store = _Store(scratch, [feature.name for feature in log.spec.context])
    parts = []
    with bar("arranging", log.shown.rows, "row", rows=log.shown.rows) as progress:
        for impressions in shelf.ranges():
            check_lists(log.shown, impressions, log.problems)
            firsts = impressions.group_by("list_id").agg(pl.col(ROW).min())
            ordered = in_order(impressions, log.spec)
            lists = lists_of(ordered, log.spec)
            store.append(ordered, acted_in(ordered, lists, history))
            parts.append(lists.join(firsts, on="list_id", how="left", maintain_order="left"))
            progress.update(len(impressions))
    lists = pl.concat(parts, rechunk=True)
    _check_one_user(log, lists)
    log.problems.raise_any()
    lists = _whole(lists, users["user_id"])
    _check_both_labels(log, lists)
    lists = assign(with_history(lists, log.spec.max_history, history), split, seed)
    with_user, people = numbered(log.users, lists)
    return store.coded(with_user, people, known)


def _ranges(before: pl.Series) -> pl.Series:
    """For each user the number of the range, from the rows of the users before."""
    return (before // RANGE_ROWS).rle_id().cast(pl.UInt32)


@dataclass(frozen=True)
class _Shelf:
    """Files of impressions sorted by range, and how many rows of each range a file has."""

    files: list[Path]
    counts: list[np.ndarray]

    def ranges(self) -> Iterator[pl.DataFrame]:
        """The impressions of each range, in the log's order."""
        table = np.array(self.counts)  # (files, ranges)
        starts = np.cumsum(table, axis=1) - table
        for number in range(table.shape[1]):
            pieces = [
                pl.scan_parquet(path).slice(int(start), int(count))
                for path, start, count in zip(
                    self.files, starts[:, number], table[:, number], strict=True
                )
                if count
            ]
            yield pl.concat(pieces).collect()


def _sorted_by_range(log: OwnLog, codes: pl.DataFrame, rows: pl.DataFrame, scratch: Path) -> _Shelf:
    """Read all impressions once, coded, and put each piece down sorted by range."""
    ranges = int(codes[RANGE].max() or 0) + 1  # type: ignore[arg-type]
    shelf = _Shelf([], [])
    with bar("checking", log.shown.rows, "row", rows=log.shown.rows) as progress:
        for piece in log.chunks():
            coded = (
                piece.join(codes, on="user_id", how="left", maintain_order="left")
                .join(rows, on="item_id", how="left", maintain_order="left")
                .drop("user_id", "item_id")
                .rename({CODE: "user_id", ITEM: "item_id"})
                .sort(RANGE, maintain_order=True)
            )
            number = coded[RANGE].to_numpy()
            path = scratch / f"piece-{len(shelf.files)}.parquet"
            coded.drop(RANGE).write_parquet(
                path, compression="lz4", row_group_size=GROUP_ROWS, statistics=False
            )
            shelf.files.append(path)
            shelf.counts.append(np.bincount(number, minlength=ranges))
            progress.update(len(piece))
    return shelf


def _check_one_user(log: OwnLog, lists: pl.DataFrame) -> None:
    """A list whose rows lie with two users is two lists by now."""
    ordered = lists.sort(ROW)
    again = ordered.filter(~pl.col("list_id").is_first_distinct())
    if len(again):
        row, count = int(again[ROW][0]), int(again["length"].sum())
        found = "one list has two values of user_id"
        log.problems.add(log.shown.fail("user_id", row, found, ONE_USER, count))


def _check_both_labels(log: OwnLog, lists: pl.DataFrame) -> None:
    """Labels that are all alike teach nothing: most often the rule does not fit them."""
    positives = int(lists["positives"].sum())
    if positives not in (0, log.shown.rows):
        return
    alike = "positive" if positives else "negative"
    found = (
        f'all {log.shown.rows:,} labels are {alike} by the rule positive = "{log.spec.positive}"'
    )
    raise log.shown.fail(
        "label", 0, found,
        "A list needs both kinds. Let `positive` in schema.toml be the rule for what people acted "
        'on, such as ">=1" or "==5", and log what was shown and not acted on too.',
    )  # fmt: skip


def _whole(lists: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
    """The lists of all ranges as those of one log: where each begins, whose it is."""
    length = pl.col("length")
    return lists.drop(ROW).with_columns(
        users.gather(lists["user_id"]).alias("user_id"),
        (length.cum_sum() - length).alias("first"),
    )


class _Store:
    """The ordered rows on disk: numbers as arrays, context columns as one Parquet a range."""

    def __init__(self, scratch: Path, context: list[str]) -> None:
        self._scratch, self._context = scratch, context
        self._parts: list[Path] = []

    def append(self, rows: pl.DataFrame, acted: pl.Series) -> None:
        """Add the rows of one range."""
        for name, values, kind in (
            ("row", rows["item_id"], np.int32),
            ("positive", rows[POSITIVE], np.bool_),
            ("acted", acted, np.int32),
        ):
            with (self._scratch / name).open("ab") as file:
                values.to_numpy().astype(kind).tofile(file)
        if self._context:
            path = self._scratch / f"context-{len(self._parts)}.parquet"
            rows.select(self._context).write_parquet(path, compression="lz4", statistics=False)
            self._parts.append(path)

    def coded(self, lists: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> Coded:
        """All of it, mapped."""
        context = tuple(pl.scan_parquet(path) for path in self._parts)
        row, acted = self._mapped("row", np.int32), self._mapped("acted", np.int32)
        return Coded(lists, row, self._mapped("positive", np.bool_), acted, users, items, context)

    def _mapped(self, name: str, kind: type[np.generic]) -> np.ndarray:
        path = self._scratch / name
        return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
