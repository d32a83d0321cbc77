"""The reference rows, each against what it says it is."""

from __future__ import annotations

import numpy as np
import pytest

from features.derived import Statistics
from model.metrics import list_metrics, order_from_scores
from model.references import NAMES, ByItem, Incoming, ListBatch, OrderOnly, references


@pytest.fixture
def batch() -> ListBatch:
    mask = np.array([[1, 1, 1], [1, 1, 0]], bool)
    return ListBatch(
        labels=np.array([[0.0, 0, 1], [0, 1, 0]]),
        candidate_mask=mask,
        candidate_rows=np.array([[3, 1, 2], [0, 2, 0]]),
    )


def order(reference: object, batch: ListBatch) -> list[list[int]]:
    return order_from_scores(reference.scores(batch), batch.candidate_mask).tolist()


def test_incoming_leaves_every_list_as_it_came(batch: ListBatch) -> None:
    assert order(Incoming(), batch) == [[0, 1, 2], [0, 1, 2]]


def test_an_item_is_sorted_by_its_own_number(batch: ListBatch) -> None:
    assert order(ByItem(np.array([5.0, 1, 4, 2])), batch) == [[2, 0, 1], [0, 1, 2]]


def test_order_only_learns_the_rate_of_each_position_and_sees_nothing_else() -> None:
    fitted = OrderOnly.fit(np.array([0.0, 1000, 300]), np.full(3, 1000.0))
    assert fitted.rates == pytest.approx([0.0, 1.0, 0.3], abs=0.01)
    wide = ListBatch(np.zeros((1, 5)), np.ones((1, 5), bool), np.zeros((1, 5), int))
    assert order(fitted, wide) == [[1, 2, 3, 4, 0]]  # beyond training: the last position's rate


def test_order_only_smooths_positions_rarely_seen() -> None:
    rates = OrderOnly.fit(np.array([50.0, 1]), np.array([100.0, 1])).rates
    assert rates[0] == pytest.approx(0.5, abs=0.01)
    assert rates[1] == pytest.approx((1 + 10 * 51 / 101) / 11)


def test_every_name_has_a_row_and_only_the_oracle_is_perfect(batch: ListBatch) -> None:
    rows = references(Statistics.empty(4), np.zeros(3), np.ones(3))
    assert tuple(rows) == NAMES
    for name, row in rows.items():
        found = list_metrics(batch.labels, batch.candidate_mask, np.array(order(row, batch)))
        assert (found["ndcg@10"].mean() == 1.0) == (name == "oracle")
