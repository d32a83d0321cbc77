"""Lists to look at, before and after: ordinary ones first, then the best and the worst.

They are chosen by rule, never by hand, so that they show what they show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.table import METRIC
from report.sides import Integers, Sides, rows_of, title_of

HISTORY = 8  # newest items of a history that are shown
LONGEST = 12  # places that are shown


@dataclass(frozen=True)
class Line:
    """An item at a place."""

    title: str
    chosen: bool
    was: int  # its place on the other side, from 1


@dataclass(frozen=True)
class Example:
    """One list on both sides."""

    why: str
    list_id: str
    history: tuple[str, ...]
    before: tuple[Line, ...]
    after: tuple[Line, ...]
    left_out: int  # candidates below what is shown
    gain: float  # NDCG@10, after − before


def examples(sides: Sides) -> list[Example]:
    """Two ordinary lists, the two that win most and the two that lose most."""
    gains = sides.after.values[METRIC] - sides.before.values[METRIC]
    known = np.flatnonzero(~np.isnan(gains))
    if not known.size:
        return []
    ascending = known[np.argsort(gains[known], kind="stable")]
    middle = len(ascending) // 2
    chosen = [
        *(("an ordinary list: its gain is the median", row) for row in ascending[middle:][:2]),
        *(("among those that win most", row) for row in ascending[::-1][:2] if gains[row] > 0),
        *(("among those that lose most", row) for row in ascending[:2] if gains[row] < 0),
    ]
    seen: dict[int, str] = {}
    for why, row in chosen:
        seen.setdefault(int(row), why)
    return [_example(sides, row, why, float(gains[row])) for row, why in seen.items()]


def _example(sides: Sides, row: int, why: str, gain: float) -> Example:
    index = int(sides.lists[row])
    candidates, history = rows_of(sides.dataset, index)
    orders = [side.order[row][side.order[row] >= 0] for side in (sides.before, sides.after)]
    labels = sides.labels[row]
    return Example(
        why,
        sides.dataset.list_ids([index])[0],
        tuple(title_of(sides.dataset, int(one)) for one in history[:HISTORY]),
        _lines(sides, candidates, orders[0], orders[1], labels),
        _lines(sides, candidates, orders[1], orders[0], labels),
        max(len(candidates) - LONGEST, 0),
        gain,
    )


def _lines(
    sides: Sides, candidates: Integers, order: Integers, other: Integers, labels: np.ndarray
) -> tuple[Line, ...]:
    place = {int(slot): place for place, slot in enumerate(other, start=1)}
    return tuple(
        Line(title_of(sides.dataset, int(candidates[slot])), labels[slot] > 0, place[int(slot)])
        for slot in order[:LONGEST]
    )
