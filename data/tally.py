"""Counts of a dataset for its summary page, from its memory-mapped arrays, a chunk at a time.

S splits (train, valid, test), B time buckets, P positions, R catalogue rows, ΣM showings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data.dataset import SPLITS, Dataset
from features.catalogue import KINDS
from features.schema import FIRST_KNOWN, Feature

CHUNK = 20_000  # lists
BUCKETS = 40  # of time, at most
DAY = 86_400
WIDTHS = (
    1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, DAY, 7 * DAY, 30 * DAY, 91 * DAY, 365 * DAY,
)  # fmt: skip
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Coverage:
    """A feature and the share of showings (lists, for users) whose value is known, by split."""

    side: str  # user | item | context
    feature: Feature
    known: Float64  # (S,)


@dataclass(frozen=True)
class Tally:
    """What the page tells in numbers; over all lists of train, valid and test."""

    edges: Int64  # (B + 1,) seconds; round times, so that the first and last lie outside the log
    first: int  # seconds of the first list
    last: int
    lists: Int64  # (S, B) by time
    showings: Int64  # (B,)
    clicks: Int64  # (B,)
    new_items: Float64  # (B,) share of showings of items that train never showed
    new_users: Float64  # (B,) share of lists of users without a list in train
    unknown: Float64  # (B,) share of values (showings x item features) that are unknown or missing
    position_shown: Int64  # (P,)
    position_clicks: Int64  # (P,)
    lengths: Int64  # (longest + 1,) lists by number of items
    histories: Int64  # (max_history + 1,) lists by length of history
    positives: Int64  # (most + 1,) lists by number of positives
    item_shown: Int64  # (S, R)
    item_clicks: Int64  # (R,)
    coverage: tuple[Coverage, ...]

    @property
    def drawn(self) -> Int64:
        """(B + 1,) the edges, from the first list to the second after the last."""
        return self.edges.clip(self.first, self.last + 1)


def tally(dataset: Dataset, chunk: int = CHUNK) -> Tally:
    """Count everything in one pass over the lists, `chunk` of them at a time."""
    arrays, schema = dataset._arrays, dataset.schema
    edges = time_edges(arrays["timestamp"])
    buckets, rows = len(edges) - 1, len(dataset.catalogue) + 1
    longest = int(dataset.lengths.max(initial=0))
    lists, new_users = np.zeros((len(SPLITS), buckets), np.int64), np.zeros(buckets)
    shown_at, clicks_at = np.zeros(buckets, np.int64), np.zeros(buckets, np.int64)
    new_items, unknown = np.zeros(buckets), np.zeros(buckets)
    position = np.zeros((2, longest), np.int64)
    positives = np.zeros(longest + 1, np.int64)
    item_shown, item_clicks = np.zeros((len(SPLITS), rows), np.int64), np.zeros(rows, np.int64)
    context = {feature.name: np.zeros(len(SPLITS)) for feature in schema.context}
    fresh, strange = _new_items(dataset), _unknown_share(dataset)
    trained = np.zeros(len(arrays["user_categorical"]), bool)
    trained[arrays["list_user"][dataset.splits["train"]]] = True
    for part in _chunks(arrays, chunk):
        bucket = np.searchsorted(edges, part.timestamp, side="right") - 1
        lists += _by(part.split * buckets + bucket, lists.size).reshape(lists.shape)
        new_users += _by(bucket, buckets, ~trained[part.user])
        at, split = np.repeat(bucket, part.lengths), np.repeat(part.split, part.lengths)
        shown_at += _by(at, buckets)
        clicks_at += _by(at, buckets, part.label).astype(np.int64)
        new_items += _by(at, buckets, fresh[part.row])
        unknown += _by(at, buckets, strange[part.row])
        position[0] += _by(part.place, longest)
        position[1] += _by(part.place, longest, part.label).astype(np.int64)
        own = _by(
            np.repeat(np.arange(len(part.lengths)), part.lengths), len(part.lengths), part.label
        )
        positives += _by(own.astype(np.int64), len(positives))
        item_shown += _by(split * rows + part.row, item_shown.size).reshape(item_shown.shape)
        item_clicks += _by(part.row, rows, part.label).astype(np.int64)
        for feature in schema.context:
            known = known_values(schema.context, feature, part.context[feature.kind])
            context[feature.name] += _by(split, len(SPLITS), known)
    return Tally(
        edges=edges, first=int(np.min(arrays["timestamp"])), last=int(np.max(arrays["timestamp"])),
        lists=lists, showings=shown_at, clicks=clicks_at,
        new_items=_share(new_items, shown_at), new_users=_share(new_users, lists.sum(0)),
        unknown=_share(unknown, shown_at),
        position_shown=position[0], position_clicks=position[1],
        lengths=np.bincount(dataset.lengths), positives=positives,
        histories=np.bincount(dataset.history_lengths, minlength=schema.max_history + 1),
        item_shown=item_shown, item_clicks=item_clicks,
        coverage=(
            *_of_users(dataset), *_of_items(dataset, item_shown),
            *(
                Coverage("context", one, _share(context[one.name], item_shown.sum(1)))
                for one in schema.context
            ),
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class _Chunk:
    """Some lists and their showings."""

    user: Int64
    split: Int64
    timestamp: Int64
    lengths: Int64
    row: Int64
    label: Float64
    starts: Int64  # of each list in what follows
    place: Int64  # in the incoming order
    context: Mapping[str, npt.NDArray[Any]]  # by kind


def _chunks(arrays: Mapping[str, npt.NDArray[Any]], chunk: int) -> Iterator[_Chunk]:
    offsets = arrays["candidate_offsets"]
    for start in range(0, len(arrays["list_user"]), chunk):
        bounds = np.asarray(offsets[start : start + chunk + 1], np.int64)
        lengths, some = np.diff(bounds), slice(int(bounds[0]), int(bounds[-1]))
        lists = slice(start, start + len(lengths))
        yield _Chunk(
            user=np.asarray(arrays["list_user"][lists], np.int64),
            split=np.asarray(arrays["list_split"][lists], np.int64),
            timestamp=np.asarray(arrays["timestamp"][lists]),
            lengths=lengths,
            row=np.asarray(arrays["candidate_row"][some], np.int64),
            label=np.asarray(arrays["label"][some], np.float64),
            starts=bounds[:-1] - bounds[0],
            place=np.arange(some.stop - some.start) - np.repeat(bounds[:-1] - bounds[0], lengths),
            context={kind: arrays[f"context_{kind}"][some] for kind in KINDS},
        )


def time_edges(timestamps: npt.NDArray[Any]) -> Int64:
    """(B + 1,) round times around all timestamps, at most BUCKETS apart evenly."""
    if not len(timestamps):
        return np.array([0, 1], np.int64)
    low, high = int(timestamps.min()), int(timestamps.max())
    span = high - low + 1
    width = next((one for one in WIDTHS if span <= one * BUCKETS), -(-span // BUCKETS))
    first = low // width * width
    return first + width * np.arange((high - first) // width + 2, dtype=np.int64)


def known_values(
    features: tuple[Feature, ...], feature: Feature, packed: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """(n,) whether a value was given and, of categories and bags, is one that train had."""
    same = [one for one in features if one.kind == feature.kind]
    before = sum(one.width for one in same[: same.index(feature)])
    if feature.kind == "numeric":  # [values | missing flags]
        return np.asarray(packed[:, len(same) + before // 2] == 0)
    return np.asarray((packed[:, before : before + feature.width] >= FIRST_KNOWN).any(1))


def _new_items(dataset: Dataset) -> Float64:
    """(R,) 1 where no list on train's side showed the item."""
    return (dataset.catalogue.statistics.showings == 0).astype(np.float64)


def _unknown_share(dataset: Dataset) -> Float64:
    """(R,) share of an item's features whose value is unknown or missing."""
    features, catalogue = dataset.schema.item, dataset.catalogue
    total = np.zeros(len(catalogue) + 1)
    for feature in features:
        total += ~known_values(features, feature, getattr(catalogue, feature.kind))
    return total / max(len(features), 1)


def _of_users(dataset: Dataset) -> Iterator[Coverage]:
    arrays, users = dataset._arrays, len(dataset._arrays["user_categorical"])
    code = np.asarray(arrays["list_split"], np.int64) * users + arrays["list_user"]
    lists = _by(code, len(SPLITS) * users).reshape(len(SPLITS), users)
    for feature in dataset.schema.user:
        known = known_values(dataset.schema.user, feature, arrays[f"user_{feature.kind}"])
        yield Coverage("user", feature, _share(lists @ known, lists.sum(1)))


def _of_items(dataset: Dataset, shown: Int64) -> Iterator[Coverage]:
    for feature in dataset.schema.item:
        packed = getattr(dataset.catalogue, feature.kind)
        known = known_values(dataset.schema.item, feature, packed)
        yield Coverage("item", feature, _share(shown @ known, shown.sum(1)))


def _by(codes: Int64, size: int, weights: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    return np.bincount(codes, weights, size)


def _share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Float64:
    """NaN where there is nothing to be a share of."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def wilson(clicks: npt.NDArray[Any], shown: npt.NDArray[Any]) -> tuple[Float64, Float64]:
    """Bounds of the 95% interval of a rate (Wilson), which stays within 0 and 1."""
    z = 1.96
    number = np.maximum(shown, 1)
    rate = clicks / number
    middle = (rate + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * np.sqrt(rate * (1 - rate) / number + (z / (2 * number)) ** 2)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
