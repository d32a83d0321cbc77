"""Lists by how active their users were: fifths by the length of the history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIFTHS = (0.2, 0.4, 0.6, 0.8)


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
