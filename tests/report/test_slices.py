"""Slices are disjoint, together everything, and hold what their titles say."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from data.dataset import Dataset
from report.sides import Sides
from report.slices import cold_items, lists_in_training, slices


def by_family(many: Sides) -> dict[str, dict[str, np.ndarray]]:
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for family, title, rows in slices(many):
        found[family][title] = rows
    return found


def test_the_slices_of_a_family_hold_every_list_once(many: Sides) -> None:
    found = by_family(many)
    assert {"history", "length of the list"} <= set(found)
    for parts in found.values():
        assert len(parts) > 1
        every = np.concatenate(list(parts.values()))
        assert sorted(every.tolist()) == list(range(len(many.lists)))


def test_histories_and_lengths_are_sliced_by_their_numbers(many: Sides, dataset: Dataset) -> None:
    history = dataset.history_lengths[many.lists]
    for title, rows in by_family(many)["history"].items():
        said = {"no history": (0, 0), "1 to 5 items": (1, 5), "6 to 20 items": (6, 20)}[title]
        assert np.all((history[rows] >= said[0]) & (history[rows] <= said[1]))
    for title, rows in by_family(many)["length of the list"].items():
        words = title.split()
        low = int(words[0])
        high = int(words[2]) if words[1] == "to" else low if words[-1] != "more" else 10**6
        assert np.all((many.lengths[rows] >= low) & (many.lengths[rows] <= high))
        assert many.lengths[rows].min() == low


def test_activity_counts_the_training_lists_of_the_user(many: Sides, dataset: Dataset) -> None:
    users = dataset.user_ids(dataset.splits["train"]).tolist()
    expected = [users.count(user) for user in many.users.tolist()]
    assert lists_in_training(many).tolist() == expected
    strangers = replace(many, after=replace(many.after, users=np.array(["?"] * len(many.users))))
    assert not lists_in_training(strangers).any()


def test_cold_items_are_those_that_no_training_list_showed(many: Sides, dataset: Dataset) -> None:
    shown = {item for index in dataset.splits["train"]
             for item in dataset.request(int(index)).candidates.ids}  # fmt: skip
    expected = [
        sum(item not in shown for item in dataset.request(int(index)).candidates.ids)
        for index in many.lists
    ]
    assert cold_items(many).tolist() == expected
