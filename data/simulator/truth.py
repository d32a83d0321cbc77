"""The true value of any order, and the best order that a strong search finds.

An order names slots of the incoming list from the top down, −1 after the last; its value is the
expected number of clicks on its first T items. `sees` leaves out what nobody can see, the mood of
the moment: the expectation is then over the mood too, which is exact, because the mood is new in
every list and touches each item's chance alone.
B lists, M padded slots, T places shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.simulator.generate import Lists, World, alone
from data.simulator.law import Float32, Int64, Law, attraction, context

SHOWN = 10  # T


@dataclass(frozen=True)
class Truth:
    """All that decides the clicks on B lists."""

    law: Law
    topic: Int64  # (B, M)
    own: Float32  # (B, M) isolated logits without the mood
    mood: Float32  # (B, M) of the item's topic
    fatigue: Float32  # (B,)
    mask: NDArray[np.bool_]  # (B, M)

    @classmethod
    def of(cls, world: World, lists: Lists) -> Truth:
        """The truth of drawn lists."""
        mask, item = lists.item >= 0, np.maximum(lists.item, 0)
        topic = world.topic[item]
        mood = np.take_along_axis(lists.mood, topic, axis=1)
        own = alone(world, item, lists.interest)
        return cls(world.law, topic, own, mood, world.law.fatigue_of(lists.patience), mask)

    def __len__(self) -> int:
        return len(self.topic)

    def select(self, rows: Int64 | slice) -> Truth:
        """Some of the lists."""
        return Truth(self.law, *(value[rows] for value in list(vars(self).values())[1:]))

    def isolated(self, *, sees: bool = False) -> Float32:
        """Logits (B, M) with nothing above: `sees` without the mood."""
        return self.own if sees else self.own + self.mood

    def spread(self, *, sees: bool) -> float:
        """Standard deviation of the part of a logit that is not known."""
        return self.law.mood if sees else 0.0

    def chances(self, orders: Int64, *, sees: bool = False) -> Float32:
        """The probability of a click at each place (B, J) of orders; 0 where there is no item."""
        slots, there = np.maximum(orders, 0), orders >= 0
        topic, logits = (
            np.take_along_axis(one, slots, axis=1) for one in (self.topic, self.isolated(sees=sees))
        )
        logits = logits + context(self.law, topic, self.fatigue)
        chance = self.law.examination(orders.shape[1]) * attraction(logits, self.spread(sees=sees))
        return np.where(there, chance, 0).astype(np.float32)

    def value(self, orders: Int64, *, sees: bool = False, shown: int = SHOWN) -> Float32:
        """Expected clicks (B,) on the first `shown` items of orders (B, ≥ T)."""
        return self.chances(orders[:, :shown], sees=sees).sum(axis=1)

    def by(self, scores: Float32) -> Int64:
        """Orders (B, M) by descending score, ties as they came, −1 after the last."""
        order = np.argsort(np.where(self.mask, -scores, np.inf), axis=1, kind="stable")
        return np.where(np.take_along_axis(self.mask, order, axis=1), order, -1)
