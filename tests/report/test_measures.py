"""The figures of a report, recomputed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from model.compare import compare
from model.evaluate import Evaluation
from report.measures import (
    FEWEST,
    MEASURES,
    first_chosen,
    gain,
    needed_for_a_test,
    place_of_first,
    slice_gains,
)
from report.sides import Sides

ORDER = np.array([[2, 0, 1], [0, 1, -1], [1, 0, 2]])
LABELS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
NDCG, FIRST, PLACE = MEASURES


def judged(order: np.ndarray) -> Evaluation:
    count = len(order)
    return Evaluation("test", np.arange(count), np.array(["u"] * count), {}, order)


def test_the_first_item_chosen_and_its_place_are_counted_from_the_top() -> None:
    np.testing.assert_array_equal(first_chosen(judged(ORDER), LABELS), [0, 0, np.nan])
    np.testing.assert_array_equal(place_of_first(judged(ORDER), LABELS), [2, 2, np.nan])
    chosen = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(first_chosen(judged(ORDER), chosen), [1, 1, 1])
    np.testing.assert_array_equal(place_of_first(judged(ORDER), chosen), [1, 1, 1])


def test_a_gain_is_the_paired_comparison_of_both_sides(both: Sides) -> None:
    found = gain(both, NDCG)
    assert found is not None
    ours, base = both.after.values["ndcg@10"], both.before.values["ndcg@10"]
    by_hand = compare(ours, base, both.users)
    assert found.found == by_hand
    assert (found.before, found.after) == pytest.approx((np.nanmean(base), np.nanmean(ours)))
    assert found.difference == pytest.approx(found.after - found.before)
    assert found.interval == (by_hand.low, by_hand.high)


def test_where_fewer_is_better_the_verdict_is_turned_and_the_figures_are_not(both: Sides) -> None:
    found = gain(both, PLACE)
    assert found is not None
    before = place_of_first(both.before, both.labels)
    after = place_of_first(both.after, both.labels)
    assert found.difference == pytest.approx(np.nanmean(after) - np.nanmean(before))
    assert found.interval[0] <= found.difference <= found.interval[1]
    assert (found.verdict == "better") == (found.interval[1] < 0)


def test_level_is_a_word_for_ndcg_alone(both: Sides) -> None:
    same = replace(both, before=both.after)
    verdicts = [one.verdict for measure in MEASURES if (one := gain(same, measure))]
    assert verdicts == ["level", "undecided", "undecided"]  # 40 users


def test_a_slice_with_few_lists_is_not_judged(many: Sides) -> None:
    every = np.arange(len(many.lists))
    parts = [("some", "few", every[: FEWEST - 1]), ("some", "all", every), ("some", "again", every)]
    few, whole, again = slice_gains(many, parts)
    assert few.gain is None
    assert few.lists == FEWEST - 1
    plain = gain(many, NDCG)
    assert plain is not None
    assert whole.gain is not None
    assert again.gain is not None
    assert whole.gain.difference == plain.difference
    assert whole.gain.found.p_value == pytest.approx(min(2 * plain.found.p_value, 1.0))


def test_a_small_but_certain_loss_is_not_undecided(both: Sides) -> None:
    found = gain(both, FIRST)
    assert found is not None
    small = replace(found, found=replace(found.found, low=-0.004, high=-0.001))
    assert small.verdict == "worse"
    assert replace(small, measure=NDCG).verdict == "level"


def test_few_users_decide_nothing(many: Sides) -> None:
    alone = replace(many, after=replace(many.after, users=np.array(["u"] * len(many.lists))))
    (one,) = slice_gains(alone, [("some", "all", np.arange(len(many.lists)))])
    assert one.gain is None
    whole = gain(alone, NDCG)
    assert whole is not None
    assert whole.verdict == "undecided"


def test_nothing_to_judge_is_none(both: Sides) -> None:
    empty = replace(both, labels=np.zeros_like(both.labels))
    assert gain(empty, FIRST) is None


def test_the_size_of_a_test_follows_the_usual_formula() -> None:
    exact = 16 * 0.25 * 0.75 / (0.25 * 0.05) ** 2
    assert needed_for_a_test(0.25) == math.ceil(exact / 1000) * 1000
    assert needed_for_a_test(0.5) < needed_for_a_test(0.1)
