"""The derived statistics: what the log knows about an item, and about a pair of items.

`Statistics` is what data/statistics.py counts in a training log; `Derivation` turns it, one list
at a time, into numeric features of the candidates. Offline and online run this very function, a
list at a time in both, so that sums are taken in the same order and agree to the last bit.

Everything is sparse item-to-item or history-to-candidate arithmetic: nothing needs the user id.
R catalogue rows (row 0 the unknown item), N history items, M candidates, D derived features.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.arrays import load_array
from features.errors import SchemaError
from features.schema import PADDING, UNKNOWN, FeatureSchema
from features.values import Float32, Int32

Int64 = npt.NDArray[np.int64]
NEIGHBOUR_SMOOTHING = 10.0  # showings' worth of belief in the candidate's own click rate
BAG_SMOOTHING = 5.0  # history items' worth of belief in a bag value's base rate


@dataclass(frozen=True)
class Statistics:
    """Counts of a training log. All of row 0, and of items never shown, is prior belief."""

    showings: Float32  # (R,) lists that showed the item
    clicks: Float32  # (R,) of these, with a positive label
    exposure: Float32  # (R,) log(1 + showings per thousand lists): free of the log's size
    click_rate: Float32  # (R,) smoothed clicks / showings
    bag_base: Float32  # (ΣV,) share of showings whose item holds the value, by bag feature
    neighbour_offsets: Int64  # (R + 1,) where the neighbours of each row begin
    neighbour_rows: Int32  # (P,) the other item c of each pair (h, c)
    neighbour_clicks: Float32  # (P,) clicks on c by people who clicked h
    neighbour_showings: Float32  # (P,) showings of c to them
    neighbour_lift: Float32  # (P,) their smoothed rate on c minus c's click rate
    neighbour_cosine: Float32  # (P,) people who clicked both / √(clicked h · clicked c)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # plain views: indexing a memmap object is slow
            object.__setattr__(self, field.name, np.asarray(getattr(self, field.name)))

    @classmethod
    def files(cls) -> tuple[str, ...]:
        """The names that `save` writes."""
        return tuple(f"statistics_{field.name}.npy" for field in dataclasses.fields(cls))

    def check(self, rows: int) -> None:
        """Raise ValueError naming the array that does not fit a catalogue of `rows` rows."""
        pairs = len(self.neighbour_rows)
        for field in dataclasses.fields(self):
            array, name = getattr(self, field.name), field.name
            length = {"bag_base": array.size, "neighbour_offsets": rows + 1}.get(
                name, pairs if name.startswith("neighbour_") else rows
            )
            if array.shape != (length,):
                raise ValueError(f"statistics_{name} has shape {array.shape}, expected {(length,)}")
        if self.neighbour_offsets[-1] != pairs:
            raise ValueError(f"the offsets end at {self.neighbour_offsets[-1]} of {pairs} pairs")

    def save(self, folder: Path) -> None:
        """One .npy a field."""
        for field in dataclasses.fields(self):
            np.save(folder / f"statistics_{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: Path, *, mapped: bool = True) -> Statistics:
        """Map the arrays of `save`, or read them."""
        return cls(**{
            field.name: load_array(folder / f"statistics_{field.name}.npy", mapped=mapped)
            for field in dataclasses.fields(cls)
        })  # fmt: skip

    @classmethod
    def empty(cls, rows: int, bag_values: int = 0, prior: float = 0.1) -> Statistics:
        """What is known before any log: nothing shown, every click rate the prior."""
        nothing = np.zeros(rows, np.float32)
        pairs = np.zeros(0, np.float32)
        return cls(
            nothing, nothing, nothing, np.full(rows, prior, np.float32),
            np.full(bag_values, 1e-3, np.float32), np.zeros(rows + 1, np.int64),
            np.zeros(0, np.int32), pairs, pairs, pairs, pairs,
        )  # fmt: skip


ITEM = ("exposure", "click_rate")
PAIR = (
    "neighbour_rate", "neighbour_lift_mean", "neighbour_lift_max", "cosine_mean", "cosine_max",
)  # fmt: skip
BAG = ("affinity", "cosine", "lift")
LIST = ("in_history", "history_length", "list_length", "incoming_position")


def derived_names(schema: FeatureSchema) -> tuple[str, ...]:
    """All derived features that a schema's item features allow, each name once.

    exposure, click_rate          of the item itself
    neighbour_rate                pooled rate on it of people who clicked what is in the history
    neighbour_lift_*, cosine_*    mean and maximum over the history of the pair statistics, of which
                                  an unseen pair has 0; the maximum is 0 at least
    BAG_affinity, _cosine, _lift  match of its genres, tags … with those of the history
    NUMBER_minus_history          its number minus the history's mean
    in_history, history_length, list_length, incoming_position
    X_rank                        place of X within the list, in 0..1, for the ones above
    """
    plain, numbers = _plain_names(schema), _numbers(schema)
    ranks = (f"{name}_rank" for name in (*plain, *numbers))
    return tuple(dict.fromkeys((*plain, *LIST, *ranks)))


def _plain_names(schema: FeatureSchema) -> tuple[str, ...]:
    """The features that a rank within the list can be taken of, but for the plain numbers."""
    bags = [f.name for f in schema.item if f.kind == "bag"]
    matches = [f"{bag}_{how}" for how in BAG for bag in bags]
    return (*ITEM, *PAIR, *matches, *(f"{number}_minus_history" for number in _numbers(schema)))


def _numbers(schema: FeatureSchema) -> list[str]:
    return [f.name for f in schema.item if f.kind == "numeric"]


@dataclass(frozen=True)
class Items:
    """The gathered features of some items of one list: catalogue rows plus what came inline."""

    rows: Int64  # (n,)
    bag: Int32  # (n, Lb)
    numeric: Float32  # (n, 2·In)


class Derivation:
    """Computes the derived features of a schema from statistics.

    Works on a table with one row a feature, so that every one is a contiguous run of numbers:
    [item, pair, bag and number features | the numbers themselves | list features | ranks].
    """

    def __init__(self, schema: FeatureSchema, statistics: Statistics) -> None:
        self.statistics = statistics
        self._plain, self._numbers = len(_plain_names(schema)), len(_numbers(schema))
        self._select, self._ranked = _layout(schema)
        self._local = threading.local()
        # gathered on every request: plain arrays here, wherever the file is mapped
        self._item = np.stack([statistics.exposure, statistics.click_rate])  # (2, R)
        self._prior = NEIGHBOUR_SMOOTHING * statistics.click_rate.astype(np.float64)  # (R,)
        bags = [f for f in schema.item if f.kind == "bag"]
        lengths = [f.max_length for f in bags]
        self._bags = len(bags)
        self._bag_starts = np.cumsum([0, *lengths])[:-1]  # (bags,)
        self._slot_bag = np.repeat(np.arange(self._bags), lengths)  # (Lb,)
        vocabulary_starts = np.cumsum([0, *(f.size for f in bags)])
        self._slot_offset = vocabulary_starts[:-1][self._slot_bag]  # (Lb,)
        self._not_held = np.add.outer(vocabulary_starts[:-1], [PADDING, UNKNOWN]).ravel()
        if len(statistics.bag_base) != (values := int(vocabulary_starts[-1])):
            raise SchemaError(
                f"the statistics know {len(statistics.bag_base)} bag values, the schema {values}: "
                "they were counted with another one."
            )
        self._inverse_base = 1.0 / statistics.bag_base.astype(np.float64)  # (ΣV,)

    def compute(self, history: Items, candidates: Items) -> Float32:
        """(M, D) float32 raw derived features of one list, finite for any input."""
        plain, listed = self._plain, self._plain + self._numbers
        ranks = listed + len(LIST)
        table = np.zeros((ranks + len(self._ranked), len(candidates.rows)), np.float32)
        table[: len(ITEM)] = self._item.take(candidates.rows, axis=1)
        if len(history.rows):
            self._of_the_history(history, candidates, table[len(ITEM) : plain])
        else:
            table[len(ITEM)] = table[1]  # nobody's neighbour: the item's own click rate
        table[plain:listed] = candidates.numeric[:, : self._numbers].T
        _of_the_list(history.rows, candidates.rows, table[listed:ranks])
        if len(self._ranked):
            table[ranks:] = in_list_ranks(table.take(self._ranked, axis=0).T).T
        return np.ascontiguousarray(table.take(self._select, axis=0).T)  # (M, D)

    def _of_the_history(self, history: Items, candidates: Items, table: Float32) -> None:
        """Fill in what relates candidates and history: the pairs, the bags, the numbers."""
        bags = len(PAIR) + len(BAG) * self._bags
        self._pairs(history.rows, candidates.rows, table[: len(PAIR)])
        if self._bags:
            self._match(history.bag, candidates.bag, table[len(PAIR) : bags])
        if self._numbers:
            self._difference(history.numeric, candidates.numeric, table[bags:])

    def _pairs(self, history: Int64, candidates: Int64, table: Float32) -> None:
        """(5, M) the PAIR features."""
        statistics, count, length = self.statistics, len(candidates), len(history)
        places, target, owner = self._neighbours(history, candidates)
        lift, cosine = (
            values.take(places)
            for values in (statistics.neighbour_lift, statistics.neighbour_cosine)
        )
        clicked = np.bincount(target, statistics.neighbour_clicks.take(places), count)
        shown = np.bincount(target, statistics.neighbour_showings.take(places), count)
        table[0] = (clicked + self._prior.take(candidates)) / (shown + NEIGHBOUR_SMOOTHING)
        table[1] = np.bincount(target, lift, count) / length
        np.maximum.at(table[2], target, lift)
        table[3] = np.bincount(target, cosine, count) / length
        np.maximum.at(table[4], target, cosine)
        table[:] = table.take(owner, axis=1)

    def _neighbours(self, history: Int64, candidates: Int64) -> tuple[Int64, Int64, Int32]:
        """The known pairs of history and candidates.

        Returns (p,) their places in the tables in the history's order, (p,) the candidate of each,
        and (M,) the candidate that collects the pairs of each: itself, if none is listed twice.
        """
        offsets = self.statistics.neighbour_offsets
        starts = offsets.take(history)
        lengths = offsets.take(history + 1) - starts
        places = (starts + lengths - lengths.cumsum()).repeat(lengths)
        places += np.arange(len(places))
        others = self.statistics.neighbour_rows.take(places)
        position = self._positions()
        position[candidates] = np.arange(len(candidates))
        try:
            found, owner = position.take(others), position.take(candidates)
        finally:
            position[candidates] = -1
        hits = (found >= 0).nonzero()[0]
        return places.take(hits), found.take(hits).astype(np.int64), owner

    def _positions(self) -> Int32:
        """A scratch array over the catalogue, -1 everywhere; a thread's own, to spare the fill."""
        scratch: Int32 | None = getattr(self._local, "positions", None)
        if scratch is None:
            scratch = self._local.positions = np.full(len(self._prior), -1, np.int32)
        return scratch

    def _match(self, history: Int32, candidates: Int32, table: Float32) -> None:
        """(3·bags, M) affinity, cosine and lift of every bag feature, all of them at once."""
        length, values = len(history), len(self._inverse_base)
        bags = np.concatenate([history, candidates])  # (N + M, Lb)
        sizes = np.add.reduceat(bags > UNKNOWN, self._bag_starts, axis=1, dtype=np.int64)
        sizes = np.maximum(sizes, 1)  # (N + M, bags)
        roots, slots = np.sqrt(sizes), bags + self._slot_offset
        theirs, slots = slots[:length].ravel(), slots[length:]
        weights = (1.0 / roots[:length]).take(self._slot_bag, axis=1)
        count = np.bincount(theirs, minlength=values)
        weight = np.bincount(theirs, weights.ravel(), values)
        count[self._not_held] = weight[self._not_held] = 0  # two unknown values do not match
        matches = np.empty((len(BAG), *slots.shape))
        matches[0] = seen = count.take(slots)
        matches[1] = weight.take(slots)
        smoothed = seen * self._inverse_base.take(slots) + BAG_SMOOTHING
        matches[2] = np.log(smoothed / (length + BAG_SMOOTHING)) * (candidates > UNKNOWN)
        sums = np.add.reduceat(matches, self._bag_starts, axis=2)  # (3, M, bags)
        sums[:2] /= length
        sums[::2] /= sizes[length:]
        sums[1] /= roots[length:]
        table[:] = sums.transpose(0, 2, 1).reshape(table.shape)

    def _difference(self, history: Float32, candidates: Float32, table: Float32) -> None:
        """(In, M) number minus the mean of the history's known ones; 0 where either is missing."""
        numbers = self._numbers
        sums = np.add.reduce(history, 0)  # a missing number is stored as 0
        present = len(history) - sums[numbers:]
        mean = sums[:numbers] / np.maximum(present, 1.0)
        either = (1.0 - candidates[:, numbers:]) * (present > 0)
        table[:] = ((candidates[:, :numbers] - mean) * either).T


def _layout(schema: FeatureSchema) -> tuple[Int64, Int64]:
    """(D,) the table's row of each derived feature, and the rows whose ranks are wanted."""
    sources = (*_plain_names(schema), *_numbers(schema))
    wanted = {f.name for f in schema.derived}
    if unknown := sorted(wanted - set(derived_names(schema))):
        raise SchemaError(f"derived features that this version cannot compute: {unknown}")
    ranked = [sources.index(n) for n in dict.fromkeys(sources) if f"{n}_rank" in wanted]
    names = [
        *_plain_names(schema),
        *_numbers(schema),
        *LIST,
        *(f"{sources[r]}_rank" for r in ranked),
    ]
    hidden = range(len(_plain_names(schema)), len(sources))
    place = {name: row for row, name in enumerate(names) if row not in hidden}
    return np.array([place[f.name] for f in schema.derived]), np.array(ranked, np.int64)


def _of_the_list(history: Int64, candidates: Int64, table: Float32) -> None:
    """(4, M) the LIST features; an unknown item is in no history."""
    count = len(candidates)
    held = np.logical_or.reduce(history[:, None] == candidates, axis=0)
    table[0] = held & (candidates > 0)
    table[1] = math.log1p(len(history))
    table[2] = math.log1p(count)
    table[3] = _incoming_positions(count)


@lru_cache(maxsize=1024)
def _incoming_positions(count: int) -> Float32:
    """(M,) 1 / log2(1 + place), place from 1: the discount of NDCG."""
    discounts: Float32 = (1.0 / np.log2(np.arange(2, count + 2))).astype(np.float32)
    discounts.flags.writeable = False
    return discounts


def in_list_ranks(values: Float32) -> Float32:
    """(M, F) share of the list's other values below each value, ties counted half; 0.5 if alone.

    Places and runs of equal values are whole numbers, so the ranks are the same wherever computed.
    """
    count = len(values)
    if count < 2:
        return np.full(values.shape, 0.5, np.float32)
    columns = np.ascontiguousarray(values.T)  # (F, M)
    starts = np.arange(0, columns.size, count)[:, None]  # of each column in the flat array
    order = (columns.argsort(axis=1) + starts).ravel()
    ordered = columns.take(order)
    begins = np.empty(len(order) + 1, np.bool_)  # does a run of equal values begin here?
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:-1])
    begins[::count] = True
    runs = begins.nonzero()[0]
    ranks = np.empty(len(order), np.int64)
    ranks[order] = (runs[1:] + runs[:-1] - 1).repeat(runs[1:] - runs[:-1])  # 2 · the mean place
    below = ranks.reshape(columns.shape) - 2 * starts
    return (below / (2.0 * (count - 1))).astype(np.float32).T
