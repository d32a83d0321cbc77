"""Counts the derived statistics (features/derived.py) in the impressions of training lists.

People enter only as the tie between impressions: `user` is any dense numbering of them. Training
rows are given statistics of other people's impressions (`fold_of_users`), because leaving out only
the row's own list was measured to leak.
"""

from __future__ import annotations

from dataclasses import dataclass

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

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Impressions:
    """n shown items: who saw it, its catalogue row, whether its label was positive."""

    user: Int64  # (n,) dense, 0..users-1
    row: Int64  # (n,)
    positive: npt.NDArray[np.bool_]  # (n,)
    lists: int  # how many lists they come from


def fold_of_users(users: int, folds: int = 5, seed: int = 0) -> Int64:
    """(users,) the fold of each person, folds of equal size but for one, seeded."""
    return np.random.default_rng(seed).permutation(users) % folds


def fit_statistics(
    shown: Impressions, rows: int, bag: Int32, schema: FeatureSchema, neighbours: int = NEIGHBOURS
) -> Statistics:
    """Statistics over `rows` catalogue rows, whose packed bags are `bag` (rows, Lb)."""
    known = shown.row != UNKNOWN_ITEM
    user, row, positive = shown.user[known], shown.row[known], shown.positive[known]
    showings = np.bincount(row, minlength=rows).astype(np.float64)
    clicks = np.bincount(row, positive, rows)
    prior = (clicks.sum() + 1.0) / (showings.sum() + 10.0)
    rate = (clicks + RATE_SMOOTHING * prior) / (showings + RATE_SMOOTHING)
    people = int(user.max(initial=0)) + 1
    seen = _people_by_items(user, row, np.ones(len(row)), people, rows)
    clicked = _people_by_items(user, row, positive.astype(np.float64), people, rows)
    clicked.eliminate_zeros()
    return Statistics(
        showings=showings.astype(np.float32),
        clicks=clicks.astype(np.float32),
        exposure=np.log1p(1000.0 * showings / max(shown.lists, 1)).astype(np.float32),
        click_rate=rate.astype(np.float32),
        bag_base=_bag_base(bag, showings, schema),
        **_neighbours(seen, clicked, rate, neighbours),
    )


def _people_by_items(
    user: Int64, row: Int64, value: npt.NDArray[np.float64], people: int, rows: int
) -> sparse.csr_array:
    return sparse.csr_array(sparse.coo_array((value, (user, row)), shape=(people, rows)))


def _bag_base(bag: Int32, showings: npt.NDArray[np.float64], schema: FeatureSchema) -> Float32:
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


def _neighbours(
    seen: sparse.csr_array, clicked: sparse.csr_array, rate: npt.NDArray[np.float64], keep: int
) -> dict[str, npt.NDArray[np.generic]]:
    """The pair tables: for each item h, the items c shown to people who clicked h."""
    rows = seen.shape[1]
    has_clicked = clicked.astype(bool).astype(np.float64)
    clickers = np.asarray(has_clicked.sum(0)).ravel()  # (R,) people who clicked it
    lengths = np.zeros(rows, np.int64)
    parts: dict[str, list[npt.NDArray[np.generic]]] = {
        f"neighbour_{name}": [] for name in ("rows", "clicks", "showings", "lift", "cosine")
    }
    by_item = sparse.csr_array(has_clicked.T)  # (R, people)
    for start in range(0, rows, BLOCK):
        block = by_item[start : start + BLOCK]
        shown_to = sparse.coo_array(block @ seen)  # (block, R) showings of c to clickers of h
        h, c = shown_to.coords
        h, c, shown = _most_shown(h, c, shown_to.data, h + start != c, keep)
        clicks = _values_at(block @ clicked, h, c)
        both = _values_at(block @ has_clicked, h, c)
        lift = (clicks + NEIGHBOUR_SMOOTHING * rate[c]) / (shown + NEIGHBOUR_SMOOTHING) - rate[c]
        cosine = both / np.sqrt(np.maximum(clickers[h + start] * clickers[c], 1.0))
        lengths[start : start + block.shape[0]] = np.bincount(h, minlength=block.shape[0])
        for name, values in zip(parts, (c, clicks, shown, lift, cosine), strict=True):
            parts[name].append(values.astype(np.int32 if name == "neighbour_rows" else np.float32))
    tables = {name: np.concatenate(blocks) for name, blocks in parts.items()}
    return {"neighbour_offsets": np.concatenate([[0], np.cumsum(lengths)]), **tables}


def _most_shown(
    h: Int64, c: Int64, shown: npt.NDArray[np.float64], wanted: npt.NDArray[np.bool_], keep: int
) -> tuple[Int64, Int64, npt.NDArray[np.float64]]:
    """The `keep` pairs of each h with the most showings (ties: the lower row), sorted by h, c."""
    h, c, shown = h[wanted].astype(np.int64), c[wanted].astype(np.int64), shown[wanted]
    order = np.lexsort((c, -shown, h))
    h, c, shown = h[order], c[order], shown[order]
    place = np.arange(len(h)) - np.searchsorted(h, h)
    h, c, shown = h[place < keep], c[place < keep], shown[place < keep]
    order = np.lexsort((c, h))
    return h[order], c[order], shown[order]


def _values_at(matrix: sparse.csr_array, h: Int64, c: Int64) -> npt.NDArray[np.float64]:
    """(p,) the entries (h, c) of a sparse matrix, 0 where it has none."""
    matrix = sparse.csr_array(matrix)
    matrix.sort_indices()
    columns = matrix.shape[1]
    keys = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * columns + matrix.indices
    wanted = h * columns + c
    if not len(keys):
        return np.zeros(len(wanted))
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, matrix.data[places], 0.0)
