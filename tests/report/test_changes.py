"""What an order changes, on two lists that can be counted by eye."""

from __future__ import annotations

import numpy as np
import pytest

from report.changes import Changes

BEFORE = np.array([[0, 1, 2, 3], [0, 1, 2, -1]])
AFTER = np.array([[3, 1, 0, 2], [0, 1, 2, -1]])
FOUND = Changes(BEFORE, AFTER, shown=2)


def test_places_are_counted_from_the_top() -> None:
    assert Changes.places(AFTER).tolist() == [[2, 1, 3, 0], [0, 1, 2, 4]]


def test_lists_are_counted_that_are_no_longer_the_same() -> None:
    assert FOUND.first == 0.5
    assert FOUND.any == 0.5
    assert FOUND.entered.tolist() == [1, 0]  # item 3 came in, item 0 went
    assert FOUND.moved == pytest.approx((2 + 0 + 1 + 3) / 7)


def test_agreement_is_a_rank_correlation() -> None:
    # differences of places 2, 0, 1, 3: 1 − 6 · 14 / (4 · 15)
    np.testing.assert_allclose(FOUND.agreement, [1 - 6 * 14 / 60, 1.0])
    turned = Changes(BEFORE[:1], BEFORE[:1, ::-1], shown=2)
    np.testing.assert_allclose(turned.agreement, [-1.0])


def test_the_flow_says_where_what_now_stands_at_a_place_came_from() -> None:
    flow = FOUND.flow(3)  # the third place stands for the fourth as well
    np.testing.assert_allclose(flow, [[0.5, 0, 0.5], [0, 1, 0], [1 / 3, 0, 2 / 3]])
