"""The paired statistics: coverage, clustering, agreement with scipy and hand computation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, wilcoxon

from model import compare as statistics
from model.compare import Comparison, compare, correct, holm, interval, over_seeds, signed_rank


def test_the_interval_agrees_with_scipy_where_every_user_has_one_list() -> None:
    values = np.random.default_rng(0).normal(0.1, 1, 400)
    low, high = interval(values, np.arange(400), resamples=4000)
    other = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1)
    assert (low, high) == pytest.approx(tuple(other.confidence_interval), abs=0.01)


def test_lists_of_one_user_are_resampled_together() -> None:
    """Ten copies of every list add no information, and must not narrow the interval."""
    values, users = np.random.default_rng(1).normal(size=100), np.arange(100)
    once = interval(values, users)
    copied = interval(np.repeat(values, 10), np.repeat(users, 10))
    assert copied == pytest.approx(once)
    fooled = interval(np.repeat(values, 10), np.arange(1000))
    assert fooled[1] - fooled[0] < 0.5 * (once[1] - once[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(60), 3)
    covered = 0
    for seed in range(200):
        values = rng.normal(0.3, 1, 60)[users] + rng.normal(0, 1, 180)
        low, high = interval(values, users, resamples=400, seed=seed)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_bootstrap_is_seeded_and_independent_of_how_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, users = np.random.default_rng(3).normal(size=50), np.arange(50)
    assert interval(values, users, seed=7) == interval(values, users, seed=7)
    assert interval(values, users, seed=7) != interval(values, users, seed=8)
    whole = interval(values, users, seed=7)
    monkeypatch.setattr(statistics, "_CELLS", 120)
    assert interval(values, users, seed=7) == whole


def test_a_list_is_averaged_over_seeds_before_anything_is_compared() -> None:
    assert over_seeds([[0.0, 1.0], [1.0, 1.0]]).tolist() == [0.5, 1.0]


def test_the_difference_is_the_mean_over_lists_both_sides_speak_of() -> None:
    found = compare([0.5, 1.0, np.nan, 0.2], [0.4, np.nan, 0.3, 0.2], ["a", "a", "b", "c"])
    assert (found.lists, found.users) == (2, 2)
    assert found.difference == pytest.approx(0.05)
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([np.nan], [1.0], [0])


def test_a_ranker_against_itself_is_level_and_never_significant() -> None:
    values = np.random.default_rng(4).random(50)
    found = compare(values, values, np.arange(50))
    assert (found.low, found.high, found.p_value, found.effect) == (0.0, 0.0, 1.0, 0.0)
    assert found.verdict == "level"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.001, 0.1, "better"),
        (0.0, 0.1, "level"),
        (-0.0049, -0.001, "level"),
        (-0.0051, -0.001, "worse"),
        (-0.0051, 0.001, "undecided"),
    ],
)
def test_the_verdict_is_read_off_the_interval(low: float, high: float, verdict: str) -> None:
    assert Comparison(0.0, low, high, 0.5, 0.0, 10, 10).verdict == verdict


def test_wilcoxon_runs_on_user_means_with_pratt() -> None:
    rng = np.random.default_rng(5)
    values, users = rng.normal(0.2, 1, 300).round(1), rng.integers(0, 80, 300)
    means = np.array([values[users == user].mean() for user in np.unique(users)])
    found = compare(values, np.zeros(300), users)
    expected = wilcoxon(means, zero_method="pratt", method="asymptotic").pvalue
    assert found.p_value == pytest.approx(expected)


def test_the_effect_by_hand() -> None:
    """Ranks of |difference| are 1, 2, 3, 4: (4 + 3 − 2) / 10, the zero counting as neither."""
    assert signed_rank([0.0, -0.1, 0.3, 0.4])[1] == pytest.approx(0.5)
    assert signed_rank([0.1, 0.2, 0.3])[1] == 1.0


def test_holm_by_hand_and_in_the_order_given() -> None:
    assert holm([0.04, 0.01, 0.03]).tolist() == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_raw_p_and_bonferroni(p_values: list[float]) -> None:
    raw, corrected = np.array(p_values), holm(p_values)
    assert (corrected >= raw).all()
    assert (corrected <= np.minimum(raw * raw.size, 1.0)).all()


def test_correct_replaces_only_the_p_values() -> None:
    one = Comparison(0.1, 0.05, 0.2, 0.02, 0.3, 10, 5)
    corrected = correct([one, one])
    assert [entry.p_value for entry in corrected] == [0.04, 0.04]
    assert corrected[0].difference == one.difference
