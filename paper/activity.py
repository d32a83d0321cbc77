"""Lists by how active their users were: fifths by the length of the history; what judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.table import METRIC
from model.truth import VALUE
from paper.records import Group

FIFTHS = (0.2, 0.4, 0.6, 0.8)


METRIC_TITLES: Final = {METRIC: "NDCG@10", VALUE: "true value"}


def judged(groups: Iterable[Group], mode: str) -> str:
    """The metric that lists are judged by: the true value where all of them have it."""
    known = all(group.by_list(mode, VALUE) is not None for group in groups)
    return VALUE if known else METRIC


class Bucket(NamedTuple):
    """Some of the lists."""

    title: str  # history lengths, "7–14"
    mask: NDArray[np.bool_]  # (L,)


def buckets(history: NDArray[np.int32]) -> list[Bucket]:
    """Fifths of L lists by history length (L,); fewer where many histories are equally long."""
    edges = np.unique(np.quantile(history, FIFTHS, method="higher"))
    place = np.searchsorted(edges, history, side="left")
    made = []
    for one in np.unique(place):
        mask = place == one
        low, high = history[mask].min(), history[mask].max()
        made.append(Bucket(str(low) if low == high else f"{low}–{high}", mask))
    return made


def means(values: NDArray[np.float64], parts: Sequence[Bucket]) -> list[float]:
    """The mean of a metric (L,) over each bucket; lists without it do not count."""
    return [float(np.nanmean(values[part.mask])) for part in parts]
