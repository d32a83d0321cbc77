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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import SchemaError

if TYPE_CHECKING:
    from features.schema import FeatureSchema
    from features.values import Float32, Int32

Int64 = npt.NDArray[np.int64]
NEIGHBOUR_SMOOTHING = 10.0  # showings' worth of belief in the candidate's own click rate
BAG_SMOOTHING = 5.0  # history items' worth of belief in a bag value's base rate
PAIRWISE_LIMIT = 64  # candidates up to which in-list ranks are counted pair by pair


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

    def save(self, folder: Path) -> None:
        """One .npy a field."""
        for field in dataclasses.fields(self):
            np.save(folder / f"statistics_{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, folder: Path) -> Statistics:
        """Map the arrays of `save`."""
        return cls(**{
            field.name: np.load(
                folder / f"statistics_{field.name}.npy", mmap_mode="r", allow_pickle=False
            )
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
    """All derived features that a schema's item features allow, in column order.

    exposure, click_rate          of the item itself
    neighbour_rate                pooled rate on it of people who clicked what is in the history
    neighbour_lift_*, cosine_*    mean and maximum over the history of the pair statistics
    BAG_affinity, _cosine, _lift  match of its genres, tags … with those of the history
    NUMBER_minus_history          its number minus the history's mean
    in_history, history_length, list_length, incoming_position
    X_rank                        place of X within the list, in 0..1, for the ones above
    """
    bags = [f.name for f in schema.item if f.kind == "bag"]
    numbers = [f.name for f in schema.item if f.kind == "numeric"]
    plain = [*ITEM, *PAIR]
    plain += [f"{bag}_{how}" for how in BAG for bag in bags]
    plain += [f"{number}_minus_history" for number in numbers]
    return (*plain, *LIST, *(f"{name}_rank" for name in (*plain, *numbers)))


@dataclass(frozen=True)
class Items:
    """The gathered features of some items of one list: catalogue rows plus what came inline."""

    rows: Int64  # (n,)
    bag: Int32  # (n, Lb)
    numeric: Float32  # (n, 2·In)


class Derivation:
    """Computes the derived features of a schema from statistics."""

    def __init__(self, schema: FeatureSchema, statistics: Statistics) -> None:
        names = derived_names(schema)
        unknown = [f.name for f in schema.derived if f.name not in names]
        if unknown:
            raise SchemaError(f"derived features that this version cannot compute: {unknown}")
        self.statistics = statistics
        self._select = [names.index(f.name) for f in schema.derived]
        bags = [f for f in schema.item if f.kind == "bag"]
        self._numbers = sum(f.kind == "numeric" for f in schema.item)
        self._bags = len(bags)
        self._bag_starts = np.cumsum([0, *(f.max_length for f in bags)])[:-1]
        vocabulary_starts = np.cumsum([0, *(f.size for f in bags)])
        self._bag_values = int(vocabulary_starts[-1])
        self._slot_offset = np.repeat(vocabulary_starts[:-1], [f.max_length for f in bags])
        # gathered row by row on every request: a plain array here, wherever the file is mapped
        self._item = np.stack([statistics.exposure, statistics.click_rate], 1)
        self._slot_lengths = [f.max_length for f in bags]
        self._local = threading.local()

    def compute(self, history: Items, candidates: Items) -> Float32:
        """(M, D) float32 raw derived features of one list, finite for any input."""
        count, width = len(candidates.rows), 0
        length = len(history.rows)
        blocks: list[Any] = [self._item[candidates.rows]]
        if length:
            blocks.append(self._pairs(history.rows, candidates.rows))
            if self._bags:
                blocks.append(self._match(history.bag, candidates.bag))
            blocks.append(self._difference(history.numeric, candidates.numeric))
        else:
            width = len(PAIR) + len(BAG) * self._bags + self._numbers
            blocks.append(np.zeros((count, width)))
            blocks[-1][:, 0] = blocks[0][:, 1]  # nobody's neighbour: the item's own click rate
        plain = np.concatenate(blocks, 1, dtype=np.float32)
        ranked = np.concatenate([plain, candidates.numeric[:, : self._numbers]], 1)
        table = np.concatenate(
            [plain, _of_the_list(history.rows, candidates.rows), in_list_ranks(ranked)], 1
        )
        return table[:, self._select]  # (M, D)

    def _positions(self) -> Int32:
        """A scratch array over the catalogue, -1 everywhere; a thread's own, to spare the fill."""
        scratch: Int32 | None = getattr(self._local, "positions", None)
        if scratch is None:
            scratch = self._local.positions = np.full(len(self._item), -1, np.int32)
        return scratch

    def _pairs(self, history: Int64, candidates: Int64) -> npt.NDArray[np.float64]:
        """(M, 5) the PAIR features: the neighbours of the history that are candidates."""
        statistics, count = self.statistics, len(candidates)
        starts = statistics.neighbour_offsets[history]
        lengths = statistics.neighbour_offsets[history + 1] - starts
        ends = np.cumsum(lengths)
        places = np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1])
        position = self._positions()
        position[candidates] = np.arange(count)
        try:
            found = position[statistics.neighbour_rows[places]]
        finally:
            position[candidates] = -1
        hits = np.flatnonzero(found >= 0)
        target, places = found[hits], places[hits]
        lift, cosine = statistics.neighbour_lift[places], statistics.neighbour_cosine[places]
        rate = self._item[candidates, 1]
        result = np.zeros((count, len(PAIR)))
        clicked = np.bincount(target, statistics.neighbour_clicks[places], count)
        shown = np.bincount(target, statistics.neighbour_showings[places], count)
        result[:, 0] = (clicked + NEIGHBOUR_SMOOTHING * rate) / (shown + NEIGHBOUR_SMOOTHING)
        result[:, 1] = np.bincount(target, lift, count) / len(history)
        np.maximum.at(result[:, 2], target, lift)
        result[:, 3] = np.bincount(target, cosine, count) / len(history)
        np.maximum.at(result[:, 4], target, cosine)
        return result

    def _match(self, history: Int32, candidates: Int32) -> npt.NDArray[np.float64]:
        """(M, 3·bags) affinity, cosine and lift of every bag feature, all of them at once."""
        starts, length = self._bag_starts, len(history)
        held = history > 1  # neither padding nor unknown: two unknown values do not match
        sizes = np.maximum(np.add.reduceat(held, starts, axis=1, dtype=np.int64), 1)  # (N, bags)
        weights = np.repeat(1.0 / np.sqrt(sizes), self._slot_lengths, axis=1)[held]
        values = (history + self._slot_offset)[held]
        count = np.bincount(values, minlength=self._bag_values)
        weight = np.bincount(values, weights, self._bag_values)
        holds = candidates > 1
        slots = candidates + self._slot_offset  # (M, Lb)
        seen = count[slots] * holds
        base = self.statistics.bag_base[slots]
        smoothed = (seen + BAG_SMOOTHING * base) / ((length + BAG_SMOOTHING) * base)
        own = np.maximum(np.add.reduceat(holds, starts, axis=1, dtype=np.int64), 1)  # (M, bags)
        affinity = np.add.reduceat(seen, starts, axis=1) / (own * length)
        cosine = np.add.reduceat(weight[slots] * holds, starts, axis=1) / (np.sqrt(own) * length)
        lift = np.add.reduceat(np.log(smoothed) * holds, starts, axis=1) / own
        return np.concatenate([affinity, cosine, lift], 1)

    def _difference(self, history: Float32, candidates: Float32) -> Float32:
        """(M, In) number minus the mean of the history's known ones; 0 where either is missing."""
        numbers = self._numbers
        known = 1.0 - history[:, numbers:]
        total = (history[:, :numbers] * known).sum(0)
        present = known.sum(0)
        mean = total / np.maximum(present, 1.0)
        either = (1.0 - candidates[:, numbers:]) * (present > 0)
        difference: Float32 = (candidates[:, :numbers] - mean) * either
        return difference


def _of_the_list(history: Int64, candidates: Int64) -> Float32:
    """(M, 4) the LIST features; an unknown item is in no history."""
    count = len(candidates)
    result = np.empty((count, len(LIST)), np.float32)
    result[:, 0] = (candidates[:, None] == history).any(1) & (candidates > 0)
    result[:, 1] = math.log1p(len(history))
    result[:, 2] = math.log1p(count)
    result[:, 3] = 1.0 / np.log2(np.arange(2, count + 2))
    return result


def in_list_ranks(values: Float32) -> Float32:
    """(M, F) share of the list's other values below each value, ties counted half; 0.5 if alone.

    Counts are whole numbers, so both ways of counting give the same bits.
    """
    count = len(values)
    if count == 1:
        return np.full(values.shape, 0.5, np.float32)
    if count <= PAIRWISE_LIMIT:
        columns = np.ascontiguousarray(values.T)  # (F, M)
        below = (columns[:, None, :] < columns[:, :, None]).sum(2, dtype=np.int32)
        above = (columns[:, None, :] > columns[:, :, None]).sum(2, dtype=np.int32)
        below, above = below.T, above.T
    else:
        ordered = np.sort(values, axis=0)
        pairs = [(np.searchsorted(ordered[:, f], values[:, f], "left"),
                  count - np.searchsorted(ordered[:, f], values[:, f], "right"))
                 for f in range(values.shape[1])]  # fmt: skip
        below, above = (np.stack([pair[side] for pair in pairs], 1) for side in (0, 1))
    ranks: Float32 = ((count - 1 + below - above) / (2.0 * (count - 1))).astype(np.float32)
    return ranks
