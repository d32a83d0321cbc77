"""Slices of the judged lists: short histories, cold items, list length, how active the user is.

L lists of the split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from report.sides import Integers, Sides

Part = tuple[str, str, Integers]  # family, title, rows (n,) of the split
HISTORY = (0, 5, 20)  # the last items of each class of history lengths; above the last is one more
ACTIVITY = (0, 2, 10)  # the same of lists a user has in training
CLASSES = 3  # of list lengths


def slices(sides: Sides) -> list[Part]:
    """Every slice that holds a list; families that leave all lists in one slice are left out."""
    families = (_history, _activity, _cold, _length)
    found = []
    for family in families:
        parts = [part for part in family(sides) if len(part[2])]
        found += parts if len(parts) > 1 else []
    return found


def cold_items(sides: Sides) -> Integers:
    """(L,) candidates of each list that no training list showed."""
    lists = sides.dataset.lists(sides.lists)
    showings = sides.dataset.catalogue.statistics.showings
    never = (lists.candidate_rows == 0) | (showings[lists.candidate_rows] == 0)
    return np.add.reduceat(never.astype(np.int64), lists.candidate_offsets[:-1])


def lists_in_training(sides: Sides) -> Integers:
    """(L,) how many training lists the user of each list has."""
    trained, counts = np.unique(
        sides.dataset.user_ids(sides.dataset.splits["train"]), return_counts=True
    )
    if not trained.size:
        return np.zeros(len(sides.users), np.int64)
    place = np.searchsorted(trained, sides.users).clip(max=trained.size - 1)
    return np.where(trained[place] == sides.users, counts[place], 0)


def _history(sides: Sides) -> Iterator[Part]:
    lengths = sides.dataset.history_lengths[sides.lists]
    for title, rows in _classes(lengths, HISTORY, "no history", "item", "items"):
        yield "history", title, rows


def _activity(sides: Sides) -> Iterator[Part]:
    counts = lists_in_training(sides)
    for title, rows in _classes(counts, ACTIVITY, "new users", "list", "lists"):
        yield "user's training lists", title, rows


def _cold(sides: Sides) -> Iterator[Part]:
    cold = cold_items(sides) > 0
    yield "cold items", "none in the list", np.flatnonzero(~cold)
    yield "cold items", "one or more in the list", np.flatnonzero(cold)


def _length(sides: Sides) -> Iterator[Part]:
    cuts = np.unique(np.quantile(sides.lengths, np.arange(1, CLASSES) / CLASSES).astype(int))
    for title, rows in _classes(sides.lengths, tuple(cuts.tolist()), "", "candidate", "candidates"):
        yield "length of the list", title, rows


def _classes(
    values: Integers, lasts: Sequence[int], zero: str, unit: str, units: str
) -> Iterator[tuple[str, Integers]]:
    """Rows by class of value: up to each of `lasts`, and above; `zero` names the class of 0."""
    low = 0 if zero else int(values.min())
    for last in lasts:
        if last == 0 and zero:
            yield zero, np.flatnonzero(values == 0)
        elif last >= low:
            name = f"{low} {unit if low == 1 else units}" if low == last else f"{low} to {last}"
            named = name if low == last else f"{name} {units}"
            yield named, np.flatnonzero((values >= low) & (values <= last))
        low = max(low, last + 1)
    yield f"{low} {units} and more", np.flatnonzero(values >= low)
