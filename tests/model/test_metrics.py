"""Metrics against hand computation, scikit-learn and ir-measures, and their properties."""

from __future__ import annotations

from itertools import permutations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from model import metrics

Problem = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_problem(seed: int, lists: int = 40, width: int = 15) -> Problem:
    """Labels, mask and scores (B, M) of lists with 2 to M items, some without a positive."""
    rng = np.random.default_rng(seed)
    mask = np.arange(width) < rng.integers(2, width + 1, size=(lists, 1))
    labels = (rng.random((lists, width)) < rng.random((lists, 1))) * mask
    return labels.astype(float), mask, rng.integers(0, 6, size=(lists, width)).astype(float)


problems = st.builds(random_problem, st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 24))


def real_lists(problem: Problem) -> list[tuple[int, np.ndarray, np.ndarray]]:
    labels, mask, scores = problem
    return [(row, labels[row][mask[row]], scores[row][mask[row]]) for row in range(len(mask))]


# --- orders ------------------------------------------------------------------------------------


def test_equal_scores_keep_the_incoming_order_and_padding_comes_last() -> None:
    order = metrics.order_from_scores(
        [[1.0, 2.0, 1.0, 9.0], [0.0, 0.0, 0.0, 0.0]], [[1, 1, 1, 0], [0, 1, 1, 0]]
    )
    assert order.tolist() == [[1, 0, 2, 3], [1, 2, 0, 3]]


def test_a_real_item_scored_minus_infinity_still_stands_above_padding() -> None:
    order = metrics.order_from_scores([[-np.inf, 5.0, -np.inf]], [[0, 1, 1]])
    assert order.tolist() == [[1, 2, 0]]


def test_nan_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        metrics.order_from_scores([[np.nan, 1.0]], [[1, 1]])
    assert metrics.order_from_scores([[1.0, np.nan]], [[1, 0]]).tolist() == [[0, 1]]


def test_items_a_generator_leaves_out_follow_in_incoming_order() -> None:
    rank = [[3, 1, -1], [0, -1, -1], [-1, -1, -1]]
    mask = [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert metrics.complete_order(rank, mask).tolist() == [
        [3, 1, 0, 2, 4],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
    ]


@pytest.mark.parametrize(
    ("rank", "fault"), [([[0, 0]], "twice"), ([[2, 0]], "holds no"), ([[7, 0]], "holds no")]
)
def test_a_generated_list_that_repeats_or_invents_an_item_is_refused(
    rank: list[list[int]], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        metrics.complete_order(rank, [[1, 1, 0]])


@given(problems)
def test_an_order_survives_being_turned_into_scores(problem: Problem) -> None:
    _, mask, scores = problem
    order = metrics.order_from_scores(scores, mask)
    assert (metrics.order_from_scores(metrics.order_as_scores(order), mask) == order).all()
    assert (
        metrics.complete_order(
            np.where(mask.sum(1, keepdims=True) > np.arange(mask.shape[1]), order, -1), mask
        )
        == order
    ).all()


# --- by hand -----------------------------------------------------------------------------------


def test_ndcg_by_hand_with_graded_labels_and_the_ideal_of_the_whole_list() -> None:
    labels, mask, order = [[0.0, 2.0, 1.0]], [[1, 1, 1]], np.array([[0, 1, 2]])
    at_two = (3 / np.log2(3)) / (3 + 1 / np.log2(3))
    assert metrics.ndcg_at_k(labels, mask, order, 2) == pytest.approx(at_two)
    assert metrics.ndcg_at_k(labels, mask, order, 1) == 0.0


def test_both_average_precisions_by_hand() -> None:
    labels, mask, order = [[1.0, 0, 1, 1]], [[1, 1, 1, 1]], np.array([[0, 1, 2, 3]])
    assert metrics.map_at_k(labels, mask, order, 2) == pytest.approx(1 / 2)
    assert metrics.map_at_k(labels, mask, order, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert metrics.map_paper_at_k(labels, mask, order, 3) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.map_paper_at_k(labels, mask, np.array([[1, 0, 2, 3]]), 1) == 0.0


def test_lists_that_say_nothing_are_nan() -> None:
    labels = np.array([[0.0, 0.0], [1.0, 1.0]])
    values = metrics.list_metrics(labels, np.ones((2, 2), bool), np.array([[0, 1], [1, 0]]))
    assert all(np.isnan(value[0]) for value in values.values())
    assert np.isnan(values["auc"][1])
    assert all(values[name][1] == 1.0 for name in values if name != "auc")


# --- against other implementations -------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_agrees_with_scikit_learn(k: int) -> None:
    labels, mask, scores = problem = random_problem(1)
    scores += np.linspace(0, -0.1, scores.shape[1])  # scikit-learn averages over ties
    values = metrics.ndcg_at_k(labels, mask, metrics.order_from_scores(scores, mask), k)
    for row, y, s in real_lists(problem):
        if y.any():
            assert values[row] == pytest.approx(ndcg_score([y], [s], k=k))


def test_auc_and_uncut_average_precision_agree_with_scikit_learn() -> None:
    labels, mask, scores = problem = random_problem(2)
    scores += np.linspace(0, -0.1, scores.shape[1])
    order = metrics.order_from_scores(scores, mask)
    areas, precisions = (
        metrics.auc(labels, mask, order),
        metrics.map_at_k(labels, mask, order, 99),
    )
    for row, y, s in real_lists(problem):
        if y.any():
            assert precisions[row] == pytest.approx(average_precision_score(y, s))
        if y.any() and not y.all():
            assert areas[row] == pytest.approx(roc_auc_score(y, s))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_metrics_agree_with_ir_measures(k: int) -> None:
    """ir-measures divides AP@K by *all* positives, so it is rescaled to min(K, positives)."""
    labels, mask, scores = problem = random_problem(3)
    scores += np.linspace(0, -0.1, scores.shape[1])
    order = metrics.order_from_scores(scores, mask)
    ours = {
        "AP": metrics.map_at_k(labels, mask, order, k),
        "nDCG": metrics.ndcg_at_k(labels, mask, order, k),
    }
    qrels = {str(r): {str(i): int(v) for i, v in enumerate(y)} for r, y, _ in real_lists(problem)}
    run = {str(r): {str(i): v for i, v in enumerate(s)} for r, _, s in real_lists(problem)}
    measures = [ir_measures.AP @ k, ir_measures.nDCG @ k]
    found = list(ir_measures.iter_calc(measures, qrels, run))
    assert len(found) >= 2 * 30
    for entry in found:
        row, name = int(entry.query_id), entry.measure.NAME
        positives = labels[row].sum()
        if positives:
            scale = positives / min(k, positives) if name == "AP" else 1.0
            assert ours[name][row] == pytest.approx(entry.value * scale)


# --- properties --------------------------------------------------------------------------------


@given(problems)
def test_every_metric_lies_in_the_unit_interval_and_the_oracle_reaches_one(
    problem: Problem,
) -> None:
    labels, mask, scores = problem
    order = metrics.order_from_scores(scores, mask)
    best = metrics.list_metrics(labels, mask, metrics.order_from_scores(labels, mask))
    for name, values in metrics.list_metrics(labels, mask, order).items():
        said = ~np.isnan(values)
        assert ((values[said] >= 0) & (values[said] <= 1 + 1e-12)).all()
        np.testing.assert_allclose(best[name][said], 1.0)
        assert (said == ~np.isnan(best[name])).all()


@given(problems, st.integers(1, 7))
def test_padding_never_changes_a_metric(problem: Problem, extra: int) -> None:
    labels, mask, scores = problem
    rng = np.random.default_rng(extra)
    noise = rng.random((len(mask), extra))
    wide = [np.hstack([a, b]) for a, b in ((labels, noise), (mask, noise > 2), (scores, noise * 9))]
    before = metrics.list_metrics(labels, mask, metrics.order_from_scores(scores, mask))
    after = metrics.list_metrics(wide[0], wide[1], metrics.order_from_scores(wide[2], wide[1]))
    for name in metrics.METRICS:
        np.testing.assert_allclose(before[name], after[name], rtol=1e-12)
    expected = metrics.expected_random(labels, mask), metrics.expected_random(wide[0], wide[1])
    for name in metrics.METRICS:
        np.testing.assert_allclose(expected[0][name], expected[1][name])


@given(problems)
def test_average_precision_at_k_never_exceeds_ndcg_on_binary_labels(problem: Problem) -> None:
    labels, mask, scores = problem
    order = metrics.order_from_scores(scores, mask)
    for k in (1, 5, 10):
        precision = metrics.map_at_k(labels, mask, order, k)
        gain = metrics.ndcg_at_k(labels, mask, order, k)
        assert (np.isnan(gain) | (precision <= gain + 1e-12)).all()


@settings(max_examples=20)
@given(st.integers(1, 7), st.integers(0, 2**7 - 1))
def test_the_expected_values_of_a_random_order_are_the_means_over_all_orders(
    items: int, bits: int
) -> None:
    labels = np.array([[float(bits >> place & 1) for place in range(items)]])
    orders = np.array(list(permutations(range(items))))
    ones = np.ones(orders.shape, bool)
    over_all = metrics.list_metrics(np.repeat(labels, len(orders), 0), ones, orders)
    expected = metrics.expected_random(labels, ones[:1])
    for name in metrics.METRICS:
        np.testing.assert_allclose(expected[name][0], over_all[name].mean(), err_msg=name)


def test_the_expected_values_hold_for_long_lists_too() -> None:
    rng = np.random.default_rng(0)
    labels, mask = (np.arange(30) < 12)[None].astype(float), (np.arange(30) < 24)[None]
    repeated, wide = np.repeat(labels, 20_000, 0), np.repeat(mask, 20_000, 0)
    order = metrics.order_from_scores(rng.random(wide.shape), wide)
    sampled = metrics.list_metrics(repeated, wide, order)
    expected = metrics.expected_random(labels, mask)
    for name in metrics.METRICS:
        error = 5 * sampled[name].std() / np.sqrt(len(wide))
        assert expected[name][0] == pytest.approx(sampled[name].mean(), abs=error)


# --- correlation -------------------------------------------------------------------------------


@given(problems)
@settings(max_examples=50, deadline=None)
def test_rank_correlation_is_spearmans_with_shared_ranks(problem: Problem) -> None:
    _, mask, scores = problem
    other = np.random.default_rng(0).integers(0, 4, size=scores.shape).astype(float)
    found = metrics.rank_correlation(scores, other, mask)
    for row, real in enumerate(mask):
        one, two = scores[row][real], other[row][real]
        if len(set(one)) == 1 or len(set(two)) == 1:
            assert np.isnan(found[row])  # a constant correlates with nothing
        else:
            assert found[row] == pytest.approx(stats.spearmanr(one, two).statistic)
