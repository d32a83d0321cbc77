"""Examples are chosen by rule and show both orders as they are."""

from __future__ import annotations

import numpy as np

from data.dataset import Dataset
from report.examples import LONGEST, examples
from report.sides import Sides


def test_ordinary_lists_come_first_and_then_the_best_and_the_worst(both: Sides) -> None:
    gains = both.after.values["ndcg@10"] - both.before.values["ndcg@10"]
    found = examples(both)
    assert found[0].gain == np.sort(gains[~np.isnan(gains)])[np.sum(~np.isnan(gains)) // 2]
    assert max(one.gain for one in found) == np.nanmax(gains)
    assert min(one.gain for one in found) == np.nanmin(gains)
    assert len({one.list_id for one in found}) == len(found)


def test_both_sides_hold_the_list_with_its_marks_and_moves(both: Sides, dataset: Dataset) -> None:
    ids = dataset.list_ids(both.lists)
    for one in examples(both):
        row = ids.index(one.list_id)
        request = dataset.request(int(both.lists[row]))
        titles = [f"item {item}" for item in request.candidates.ids]
        assert [line.title for line in one.before] == titles[:LONGEST]
        assert sorted(line.title for line in one.after) == sorted(titles)
        for place, line in enumerate(one.after, start=1):
            assert titles[line.was - 1] == line.title  # before is the order as it came
            assert one.before[line.was - 1].was == place
            assert line.chosen == bool(both.labels[row][line.was - 1])
        assert list(one.history) == [f"item {item}" for item in request.history.ids][:8]
        assert one.left_out == 0
