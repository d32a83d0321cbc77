"""What an order changes, list by list, whether for better or worse.

L lists, M slots, T places that are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.metrics import rank_correlation
from report.sides import Floats, Integers, Sides


@dataclass(frozen=True)
class Changes:
    """Both orders, compared as orders."""

    before: Integers  # (L, M) slots from the top down, −1 after the last
    after: Integers
    shown: int  # T

    @cached_property
    def first(self) -> float:
        """Share of the lists whose first item is another."""
        return float(np.mean(self.before[:, 0] != self.after[:, 0]))

    @cached_property
    def any(self) -> float:
        """Share of the lists whose shown part is not the same, item for item."""
        cut = slice(None), slice(self.shown)
        return float(np.mean((self.before[cut] != self.after[cut]).any(1)))

    @cached_property
    def entered(self) -> Integers:
        """(L,) items that the shown part has now and had not before."""
        old, new = self.places(self.before), self.places(self.after)
        return ((new < self.shown) & (old >= self.shown) & (old < old.shape[1])).sum(1)

    @cached_property
    def agreement(self) -> Floats:
        """(L,) rank correlation of both orders: 1 the same, −1 upside down; NaN of one item."""
        old, new = self.places(self.before), self.places(self.after)
        return rank_correlation(-old.astype(float), -new.astype(float), old < old.shape[1])

    @cached_property
    def moved(self) -> float:
        """Mean places that an item moves by."""
        old, new = self.places(self.before), self.places(self.after)
        real = old < old.shape[1]
        return float(np.abs(old - new)[real].mean())

    def flow(self, places: int) -> Floats:
        """(places, places): of the items now at each place (row), the share that came from each
        (column); the last place stands for itself and all below."""
        old, new = self.places(self.before), self.places(self.after)
        real = old < old.shape[1]
        last = places - 1
        counts = np.zeros((places, places))
        np.add.at(counts, (new[real].clip(max=last), old[real].clip(max=last)), 1.0)
        return counts / counts.sum(1, keepdims=True).clip(min=1.0)

    @staticmethod
    def places(order: Integers) -> Integers:
        """(L, M) the place, from 0, of each slot; M at padding."""
        width = order.shape[1]
        found = np.full((len(order), width + 1), width, np.int64)
        across = np.broadcast_to(np.arange(width), order.shape)
        np.put_along_axis(found, np.where(order >= 0, order, width), across, 1)
        return found[:, :width]


def changes(sides: Sides) -> Changes:
    """Of a report's two sides."""
    return Changes(sides.before.order, sides.after.order, sides.shown)
