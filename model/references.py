"""The reference rows of every table: what any model has to beat, and what none can.

    incoming     the order the earlier stage gave
    random       the expected value over all orders (exact, model/metrics.py)
    popularity   clicks in the training log
    click_rate   smoothed clicks over showings in the training log
    order_only   click rate of each incoming position, fitted on train; sees no feature
    oracle       sorts by the labels it is judged by

They read labels, mask and catalogue rows of a batch and nothing else, so numpy is all they need.
B lists, M padded slots, P positions seen in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from features.derived import Statistics

Floats = NDArray[np.float64]
NAMES = ("incoming", "random", "popularity", "click_rate", "order_only", "oracle")
SAID = {
    "incoming": "the order as it came",
    "random": "what any order has on average",
    "popularity": "most chosen in training first",
    "click_rate": "highest click rate in training first",
    "order_only": "places by how often each was chosen in training; looks at no item",
    "oracle": "sorts by the labels it is judged by: nothing can be better",
}  # in tables, for those who meet the names for the first time
PRIOR_SHOWINGS = 10.0  # of belief in the overall click rate, for positions rarely seen


@dataclass(frozen=True)
class ListBatch:
    """What a reference row may look at."""

    labels: Floats  # (B, M)
    candidate_mask: NDArray[np.bool_]  # (B, M)
    candidate_rows: NDArray[np.int64]  # (B, M) of the catalogue; 0 unknown or padding


class Reference(Protocol):
    """A ranker without parameters."""

    def scores(self, batch: ListBatch) -> Floats:
        """One score a candidate (B, M); padded slots hold anything."""


class Incoming:
    """The order as given."""

    def scores(self, batch: ListBatch) -> Floats:
        """The same for every item: ties stand in incoming order."""
        return np.zeros(batch.candidate_mask.shape)


class RandomOrder(Incoming):
    """No order at all: `model.evaluate` takes the exact expected value of each metric instead."""


@dataclass(frozen=True)
class ByItem:
    """Sorts by one number an item."""

    values: NDArray[Any]  # (R,) by catalogue row

    def scores(self, batch: ListBatch) -> Floats:
        """The item's number, whatever the list."""
        return np.asarray(self.values, np.float64)[batch.candidate_rows]  # (B, M)


@dataclass(frozen=True)
class OrderOnly:
    """Sorts by the click rate that each incoming position had in training."""

    rates: Floats  # (P,)

    @classmethod
    def fit(cls, clicks: Floats, showings: Floats) -> OrderOnly:
        """Smoothed rate from the positives and showings of each position in training (P,)."""
        overall = clicks.sum() / max(showings.sum(), 1.0)
        return cls((clicks + PRIOR_SHOWINGS * overall) / (showings + PRIOR_SHOWINGS))

    def scores(self, batch: ListBatch) -> Floats:
        """The rate of the position; positions beyond training share the last one's."""
        shape = batch.candidate_mask.shape
        places = np.minimum(np.arange(shape[1]), self.rates.size - 1)
        return np.broadcast_to(self.rates[places], shape)


class Oracle:
    """Sorts by the labels."""

    def scores(self, batch: ListBatch) -> Floats:
        """The label itself."""
        return np.asarray(batch.labels, np.float64)


def references(
    statistics: Statistics, position_clicks: Floats, position_showings: Floats
) -> dict[str, Reference]:
    """Every reference row by name, from what training counted: by item, and by position (P,)."""
    return {
        "incoming": Incoming(),
        "random": RandomOrder(),
        "popularity": ByItem(statistics.clicks),
        "click_rate": ByItem(statistics.click_rate),
        "order_only": OrderOnly.fit(position_clicks, position_showings),
        "oracle": Oracle(),
    }
