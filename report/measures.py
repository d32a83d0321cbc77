"""What a report measures of an order, in figures that a team can talk about.

L lists, M slots; an order names slots from the top down, −1 after the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model.compare import Comparison, compare, correct
from model.evaluate import Evaluation
from model.table import METRIC, TITLES
from report.sides import Floats, Integers, Sides

FEWEST = 50  # lists that a slice must have to be judged
FEWEST_USERS = 20  # the same of users: the interval is over them


@dataclass(frozen=True)
class Measure:
    """One figure a list; more is better unless `fewer`."""

    key: str
    title: str
    of: Callable[[Evaluation, Floats], Floats]
    percent: bool = False
    fewer: bool = False

    def show(self, value: float) -> str:
        """As a person reads it."""
        return f"{value:.1%}" if self.percent else f"{value:.2f}" if self.fewer else f"{value:.3f}"


@dataclass(frozen=True)
class Gain:
    """A measure on both sides, and the difference with its interval."""

    measure: Measure
    before: float
    after: float
    found: Comparison  # of what is better: turned where fewer is better

    @property
    def verdict(self) -> str:
        """In one word; level is for NDCG alone, and few users decide nothing."""
        if self.found.users < FEWEST_USERS:
            return "undecided"
        if self.found.verdict == "level" and self.measure.key != METRIC:
            return "worse" if self.found.high < 0 else "undecided"
        return self.found.verdict

    @property
    def interval(self) -> tuple[float, float]:
        """Of after − before, in the measure's own direction."""
        low, high = self.found.low, self.found.high
        return (-high, -low) if self.measure.fewer else (low, high)

    @property
    def difference(self) -> float:
        """After − before."""
        return -self.found.difference if self.measure.fewer else self.found.difference


def _ndcg(one: Evaluation, labels: Floats) -> Floats:
    return one.values[METRIC]


def first_chosen(one: Evaluation, labels: Floats) -> Floats:
    """(L,) 1 where the first item is one that was chosen; NaN where none was."""
    chosen = _in_order(one.order[:, :1], labels)[:, 0]
    return np.where(labels.any(1), chosen, np.nan)


def place_of_first(one: Evaluation, labels: Floats) -> Floats:
    """(L,) place, from 1, of the highest item that was chosen; NaN where none was."""
    chosen = _in_order(one.order, labels) > 0
    return np.where(chosen.any(1), chosen.argmax(1) + 1.0, np.nan)


def _in_order(order: Integers, labels: Floats) -> Floats:
    """Labels (L, M) as the order (L, n) has them; 0 after its last."""
    return np.where(order >= 0, np.take_along_axis(labels, order.clip(min=0), 1), 0.0)


MEASURES = (
    Measure(METRIC, TITLES[METRIC], _ndcg),
    Measure("first", "the first item is one they chose", first_chosen, percent=True),
    Measure("place", "place of the first item they chose", place_of_first, fewer=True),
)


def signed(value: float, digits: int = 3) -> str:
    """+0.123, or with a minus that is as wide."""
    return f"{value:+.{digits}f}".replace("-", "−")


def gain(sides: Sides, measure: Measure, rows: Integers | None = None) -> Gain | None:
    """The measure on all lists, or on those of `rows`; None where no list has it."""
    every = np.arange(len(sides.lists)) if rows is None else rows
    before, after = (measure.of(side, sides.labels)[every] for side in (sides.before, sides.after))
    said = ~(np.isnan(before) | np.isnan(after))
    if not said.any():
        return None
    pair = (before, after) if measure.fewer else (after, before)
    found = compare(*pair, sides.users[every])
    return Gain(measure, float(before[said].mean()), float(after[said].mean()), found)


@dataclass(frozen=True)
class Slice:
    """Some of the lists, and the gain on them; no gain where they are too few."""

    family: str  # what the slices divide by
    title: str
    lists: int
    gain: Gain | None


def slice_gains(sides: Sides, parts: list[tuple[str, str, Integers]]) -> list[Slice]:
    """NDCG@10 on each part (family, title, rows (n,)), p values corrected as one family."""
    found = [
        (family, title, len(rows), gain(sides, MEASURES[0], rows) if _enough(sides, rows) else None)
        for family, title, rows in parts
    ]
    corrected = iter(correct([one.found for *_, one in found if one is not None]))
    return [
        Slice(family, title, count, None if one is None else
              Gain(one.measure, one.before, one.after, next(corrected)))
        for family, title, count, one in found
    ]  # fmt: skip


def _enough(sides: Sides, rows: Integers) -> bool:
    return len(rows) >= FEWEST and len(np.unique(sides.users[rows])) >= FEWEST_USERS


def needed_for_a_test(rate: float, lift: float = 0.05) -> int:
    """Lists an arm for an online test to see a relative lift of a rate, at 5% and 80% power.

    The usual n = 16 p (1 − p) / δ², rounded up to two digits (Kohavi et al., KDD 2007).
    """
    exact = 16 * rate * (1 - rate) / (rate * lift) ** 2
    digits = 10 ** max(int(np.floor(np.log10(exact))) - 1, 0)
    return int(np.ceil(exact / digits) * digits)
