"""How long a ranker takes to order a batch of real lists; encoding and transport not counted.

Columns p50 and p99 of `psad evaluate RUN… --latency`; the service's own times are those of
`psad bench BUNDLE`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.evaluate import Mode, in_evaluation, load_batch, order_lists, split_indexes

if TYPE_CHECKING:
    from data.dataset import Dataset
    from model.ranker import Batch, Ranker

SIZES = (1, 64, 128, 256)  # one list, and the paper's batch sizes
CALLS = 200  # at batch 1
LISTS = 2_000  # a larger batch is called for this many lists in all …
FEWEST = 20  # … but at least this often
WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """Milliseconds a call of one batch size."""

    batch_size: int
    calls: int
    p50: float
    p99: float


def latency(
    ranker: Ranker,
    dataset: Dataset,
    split: str,
    *,
    mode: Mode = "scorer",
    sizes: Sequence[int] = SIZES,
    calls: int = CALLS,
) -> tuple[Latency, ...]:
    """Time the ranker on lists of the split drawn with a fixed seed (again and again if few)."""
    rng, indexes = np.random.default_rng(0), split_indexes(dataset, split)
    found = []
    with in_evaluation(ranker):
        for size in sizes:
            count = max(min(calls, FEWEST), min(calls, LISTS // size))
            drawn = rng.choice(indexes, size=(min(count, FEWEST), size))
            batches = [load_batch(dataset, rows) for rows in drawn]
            times = [_milliseconds(ranker, batches[i % len(batches)], mode)
                     for i in range(WARM_UP + count)][WARM_UP:]  # fmt: skip
            p50, p99 = np.quantile(times, [0.5, 0.99])
            found.append(Latency(size, count, float(p50), float(p99)))
    return tuple(found)


def _milliseconds(ranker: Ranker, batch: Batch, mode: Mode) -> float:
    start = time.perf_counter()
    order_lists(ranker, batch, mode)  # brings the order to the host, so a GPU has finished
    return 1e3 * (time.perf_counter() - start)
