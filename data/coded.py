"""An arranged log with dense numbers in place of ids: what the dataset is written from.

All that has a row an impression is an array, mapped from disk where the log is large, or comes in
pieces; users, items and lists are tables in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from data.dataset import Int64, ragged
from data.lists import POSITIVE, Arranged, Described
from data.statistics import Impressions

PIECE_ROWS = 500_000  # impressions that are held at a time

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Coded:
    """An arranged log with dense numbers in place of ids."""

    lists: pl.DataFrame  # of Arranged, with `user`, a row of `users`
    row: npt.NDArray[np.integer]  # (rows,) catalogue row of each impression
    positive: Flags  # (rows,)
    acted: npt.NDArray[np.integer]  # catalogue rows
    users: pl.DataFrame  # user_id and raw features
    items: pl.DataFrame  # item_id and raw features, row i of the catalogue at i - 1
    context: tuple[pl.LazyFrame, ...]  # the context columns of all rows, part after part

    def chosen(self, *splits: str) -> Flags:
        """(L,) whether a list is in one of these splits."""
        found = self.lists.select(pl.col("split").is_in(splits).fill_null(False)).to_series()
        return found.to_numpy()

    def of_rows(self, chosen: Flags) -> Flags:
        """(rows,) what is said of each list, said of its rows."""
        return np.repeat(chosen, self.lists["length"].to_numpy())

    def impressions(self, chosen: Flags) -> Iterator[Impressions]:
        """The rows of some lists in pieces, each person's in one piece."""
        user, first, length = (
            self.lists[name].to_numpy()[chosen] for name in ("user", "first", "length")
        )
        for start, end in whole_users(user, length):
            places, _ = ragged(first[start:end], length[start:end])
            people = np.repeat(user[start:end], length[start:end])
            yield Impressions(people, self.row[places], self.positive[places], end - start)

    def columns(self, names: Sequence[str], rows: Flags) -> Iterator[pl.DataFrame]:
        """Context columns of some rows, in their order, a piece at a time."""
        start = 0
        for part in self.context if names else ():
            frame = part.select(names).collect()
            yield frame.filter(pl.Series(rows[start : start + len(frame)]))
            start += len(frame)


def whole_users(user: Int64, length: Int64) -> Iterator[tuple[int, int]]:
    """Lists from..to of about PIECE_ROWS rows, cut only between users."""
    if not len(user):
        return
    cuts = np.flatnonzero(np.diff(user)) + 1
    piece = (np.cumsum(length)[cuts - 1] // PIECE_ROWS) if len(cuts) else cuts
    bounds = [0, *cuts[np.flatnonzero(np.diff(piece, prepend=0))].tolist(), len(user)]
    yield from pairwise(bounds)


def code(log: Described, arranged: Arranged) -> Coded:
    """Number users and items; items that were shown but not described join the catalogue."""
    items = known_items(log.items, arranged.rows["item_id"])
    item_rows = items.select("item_id").with_row_index("row", offset=1)
    lists, users = numbered(log.users, arranged.lists)
    names = [feature.name for feature in log.spec.context]
    return Coded(
        lists=lists,
        row=_looked_up(arranged.rows["item_id"], item_rows),
        positive=arranged.rows[POSITIVE].to_numpy(),
        acted=_looked_up(arranged.acted, item_rows),
        users=users,
        items=items,
        context=(arranged.rows.lazy().select(names),),
    )


def known_items(described: pl.DataFrame, shown: pl.Series) -> pl.DataFrame:
    """The items described, then, by id, those that were shown and are not."""
    bare = pl.DataFrame({"item_id": shown.unique().sort()}).join(
        described, on="item_id", how="anti", maintain_order="left"
    )
    return pl.concat([described, bare], how="diagonal")


def numbered(described: pl.DataFrame, lists: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lists with `user`, and the users in that order with their features."""
    users = lists.select("user_id").unique(maintain_order=True)
    with_user = lists.join(
        users.with_row_index("user"), on="user_id", how="left", maintain_order="left"
    )
    return with_user, users.join(described, on="user_id", how="left", maintain_order="left")


def _looked_up(items: pl.Series, rows: pl.DataFrame) -> Int64:
    found = items.to_frame("item_id").join(rows, on="item_id", how="left", maintain_order="left")
    return found["row"].to_numpy().astype(np.int64)
