"""Counts the derived statistics (features/derived.py) in the impressions of training lists.

People enter only as the tie between impressions: `user` is any dense numbering of them. Training
rows are given statistics of other people's impressions (`fold_of_users`), because leaving out only
the row's own list was measured to leak.

All counts are whole numbers. So a log can be counted in pieces, in any order, and what everybody
but a fold's people did is what all did less what the fold did: every impression is counted once,
however many folds there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from features.catalogue import UNKNOWN_ITEM
from features.derived import NEIGHBOUR_SMOOTHING, Statistics
from features.schema import FIRST_KNOWN, FeatureSchema
from features.values import Float32, Int32

RATE_SMOOTHING = 10.0  # showings' worth of belief in the overall click rate
NEIGHBOURS = 200  # kept for each item: those shown most often to people who clicked it
BLOCK = 2048  # items whose neighbours are counted at a time: bounds the memory

PAIRS = ("rows", "clicks", "showings", "lift", "cosine")  # Statistics.neighbour_*

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Pairs = dict[str, npt.NDArray[np.generic]]  # of PAIRS, and how many of each row h: "lengths"


@dataclass(frozen=True)
class Impressions:
    """n shown items: who saw it, its catalogue row, whether its label was positive."""

    user: npt.NDArray[np.integer]  # (n,)
    row: npt.NDArray[np.integer]  # (n,)
    positive: npt.NDArray[np.bool_]  # (n,)
    lists: int  # how many lists they come from


@dataclass(frozen=True)
class Counts:
    """What some people saw and clicked: C people, R catalogue rows."""

    showings: Float64  # (R,)
    clicks: Float64  # (R,)
    lists: int
    seen: sparse.csr_array  # (C, R) int32, as all pairs are
    clicked: sparse.csr_array  # (C, R)

    @cached_property
    def has_clicked(self) -> sparse.csr_array:
        """(C, R) 1 where the person clicked the item at all."""
        return self.clicked.astype(bool).astype(np.int32)

    @cached_property
    def by_item(self) -> sparse.csr_array:
        """(R, C) `has_clicked`, an item a row."""
        return sparse.csr_array(self.has_clicked.T)

    @cached_property
    def clickers(self) -> Float64:
        """(R,) people who clicked the item."""
        return np.asarray(self.has_clicked.sum(0)).ravel().astype(np.float64)

    def products(self, start: int) -> tuple[sparse.csr_array, ...]:
        """(BLOCK, R) for a block of items h: showings and clicks of c to people who clicked h, and
        how many of them clicked c."""
        block = self.by_item[start : start + BLOCK]
        return block @ self.seen, block @ self.clicked, block @ self.has_clicked


def fold_of_users(users: int, folds: int = 5, seed: int = 0) -> Int64:
    """(users,) the fold of each person, folds of equal size but for one, seeded."""
    return np.random.default_rng(seed).permutation(users) % folds


def fit_statistics(
    shown: Impressions | Iterable[Impressions],
    rows: int,
    bag: Int32,
    schema: FeatureSchema,
    neighbours: int = NEIGHBOURS,
) -> Statistics:
    """Statistics over `rows` catalogue rows, whose packed bags are `bag` (rows, Lb).

    Impressions may come in pieces, each of them with all that its people saw.
    """
    counts = count([shown] if isinstance(shown, Impressions) else shown, rows)
    rate = _rate(counts.showings, counts.clicks)
    parts = [
        _pairs(counts.products(start), start, rate, counts.clickers, neighbours)
        for start in range(0, rows, BLOCK)
    ]
    tables = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _of_items(counts.showings, counts.clicks, counts.lists, rate, bag, schema, tables)


def fit_folds(
    counts: Sequence[Counts],
    bag: Int32,
    schema: FeatureSchema,
    folder: Path,
    neighbours: int = NEIGHBOURS,
    tick: Callable[[], object] = lambda: None,
) -> list[Statistics]:
    """For each fold of people the statistics of all the others, their tables kept in `folder`.

    `tick` is called for every fold of every block of BLOCK catalogue rows that is done.
    """
    rows = len(counts[0].showings)
    showings, clicks, clickers = (
        _others([getattr(one, name) for one in counts])
        for name in ("showings", "clicks", "clickers")
    )
    lists = sum(one.lists for one in counts)
    rates = [_rate(*both) for both in zip(showings, clicks, strict=True)]
    files = [_PairFiles(folder / f"without-{number}") for number in range(len(counts))]
    for start in range(0, rows, BLOCK):
        kinds = zip(*(one.products(start) for one in counts), strict=True)
        others = zip(*(_others(kind) for kind in kinds), strict=True)
        for file, products, rate, people in zip(files, others, rates, clickers, strict=True):
            file.append(_pairs(products, start, rate, people, neighbours))
            tick()
    return [
        _of_items(*of_items, lists - own.lists, rate, bag, schema, file.read())
        for *of_items, own, rate, file in zip(showings, clicks, counts, rates, files, strict=True)
    ]


def count(pieces: Iterable[Impressions], rows: int) -> Counts:
    """Count impressions; all that a person saw is in one piece."""
    showings, clicks, lists = np.zeros(rows), np.zeros(rows), 0
    seen, clicked = ([sparse.csr_array((0, rows), dtype=np.int32)] for _ in range(2))
    for piece in pieces:
        known = piece.row != UNKNOWN_ITEM
        row, positive = piece.row[known], piece.positive[known]
        people, user = np.unique(piece.user[known], return_inverse=True)
        showings += np.bincount(row, minlength=rows)
        clicks += np.bincount(row, positive, rows)
        lists += piece.lists
        shape = (len(people), rows)
        seen.append(_people_by_items(user, row, np.ones(len(row), np.int32), shape))
        clicked.append(_people_by_items(user, row, positive.astype(np.int32), shape))
        clicked[-1].eliminate_zeros()
    joined = (sparse.csr_array(sparse.vstack(parts, "csr")) for parts in (seen, clicked))
    return Counts(showings, clicks, lists, *joined)


def _people_by_items(
    user: Int64, row: npt.NDArray[np.integer], value: Int32, shape: tuple[int, int]
) -> sparse.csr_array:
    return sparse.csr_array(sparse.coo_array((value, (user, row)), shape=shape))


def _others(folds: Sequence[Any]) -> list[Any]:
    """What all folds have together less what each has."""
    whole = reduce(lambda left, right: left + right, folds)
    return [whole - one for one in folds]


def _rate(showings: Float64, clicks: Float64) -> Float64:
    """(R,) clicks / showings, smoothed toward the overall rate."""
    prior = (clicks.sum() + 1.0) / (showings.sum() + 10.0)
    return (clicks + RATE_SMOOTHING * prior) / (showings + RATE_SMOOTHING)


def _of_items(
    showings: Float64,
    clicks: Float64,
    lists: int,
    rate: Float64,
    bag: Int32,
    schema: FeatureSchema,
    pairs: Pairs,
) -> Statistics:
    return Statistics(
        showings=showings.astype(np.float32),
        clicks=clicks.astype(np.float32),
        exposure=np.log1p(1000.0 * showings / max(lists, 1)).astype(np.float32),
        click_rate=rate.astype(np.float32),
        bag_base=_bag_base(bag, showings, schema),
        neighbour_offsets=np.concatenate([[0], np.cumsum(pairs["lengths"])]),
        **{f"neighbour_{name}": pairs[name] for name in PAIRS},
    )


def _bag_base(bag: Int32, showings: Float64, schema: FeatureSchema) -> Float32:
    """(ΣV,) share of showings whose item holds each value; never 0, so that lifts are finite."""
    bags = [feature for feature in schema.item if feature.kind == "bag"]
    shares, start = [], 0
    for feature in bags:
        slots = bag[:, start : start + feature.max_length]  # (R, L)
        weights = np.repeat(showings, feature.max_length)
        held = np.bincount(slots.ravel(), weights, feature.size)
        shares.append((held + 1.0) / (showings.sum() + 10.0))
        shares[-1][:FIRST_KNOWN] = 1.0
        start += feature.max_length
    return np.concatenate([np.zeros(0), *shares]).astype(np.float32)


def _pairs(
    products: Sequence[sparse.csr_array], start: int, rate: Float64, clickers: Float64, keep: int
) -> Pairs:
    """The pair tables of a block of items h: the items c shown to people who clicked h."""
    shown_to, clicked_by, both_by = products
    pairs = sparse.coo_array(shown_to)
    pairs.eliminate_zeros()
    h, c = pairs.coords
    h, c, shown = _most_shown(h, c, pairs.data.astype(np.float64), h + start != c, keep)
    clicks = _values_at(clicked_by, h, c)
    both = _values_at(both_by, h, c)
    lift = (clicks + NEIGHBOUR_SMOOTHING * rate[c]) / (shown + NEIGHBOUR_SMOOTHING) - rate[c]
    cosine = both / np.sqrt(np.maximum(clickers[h + start] * clickers[c], 1.0))
    values = zip(PAIRS, (c, clicks, shown, lift, cosine), strict=True)
    tables: Pairs = {
        name: one.astype(np.int32 if name == "rows" else np.float32) for name, one in values
    }
    return tables | {"lengths": np.bincount(h, minlength=shown_to.shape[0])}


class _PairFiles:
    """Pair tables on disk, written block by block: of many folds they would fill the memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._types: dict[str, np.dtype[np.generic]] = {}

    def append(self, pairs: Pairs) -> None:
        for name, values in pairs.items():
            self._types[name] = values.dtype
            with (self._folder / name).open("ab") as file:
                values.tofile(file)

    def read(self) -> Pairs:
        return {name: self._mapped(name, kind) for name, kind in self._types.items()}

    def _mapped(self, name: str, kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
        path = self._folder / name
        return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


def _most_shown(
    h: Int64, c: Int64, shown: Float64, wanted: npt.NDArray[np.bool_], keep: int
) -> tuple[Int64, Int64, Float64]:
    """The `keep` pairs of each h with the most showings (ties: the lower row), sorted by h, c."""
    h, c, shown = h[wanted].astype(np.int64), c[wanted].astype(np.int64), shown[wanted]
    order = np.lexsort((c, -shown, h))
    h, c, shown = h[order], c[order], shown[order]
    place = np.arange(len(h)) - np.searchsorted(h, h)
    h, c, shown = h[place < keep], c[place < keep], shown[place < keep]
    order = np.lexsort((c, h))
    return h[order], c[order], shown[order]


def _values_at(matrix: sparse.csr_array, h: Int64, c: Int64) -> Float64:
    """(p,) the entries (h, c) of a sparse matrix, 0 where it has none."""
    matrix = sparse.csr_array(matrix)
    matrix.sort_indices()
    columns = matrix.shape[1]
    keys = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * columns + matrix.indices
    wanted = h * columns + c
    if not len(keys):
        return np.zeros(len(wanted))
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, matrix.data[places], 0).astype(np.float64)
