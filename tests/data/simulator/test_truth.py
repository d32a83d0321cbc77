"""The value of an order, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data.simulator.law import LAW
from data.simulator.truth import Truth


def test_the_value_of_an_order_is_the_sum_of_its_chances(truth: Truth) -> None:
    orders = truth.by(np.random.default_rng(0).random(truth.mask.shape).astype(np.float32))
    for row in (0, 5, 9):
        total, slots = 0.0, orders[row, :10]
        for j, slot in enumerate(slots):
            logit = truth.own[row, slot] + truth.mood[row, slot]
            for k, above in enumerate(slots[:j]):
                pair = truth.topic[row, above], truth.topic[row, slot]
                effect = LAW.complement * LAW.helps()[pair]
                effect -= truth.fatigue[row] * LAW.similarity()[pair]
                logit += LAW.memory ** (j - 1 - k) * effect
            total += 1 / (1 + LAW.glance * j) / (1 + np.exp(-logit))
        assert truth.value(orders)[row] == pytest.approx(total, rel=1e-5)


def test_what_sees_less_is_right_on_average(truth: Truth) -> None:
    """Redraw the moods many times: the mean true value is the value that sees none of them."""
    random, incoming = np.random.default_rng(1), truth.by(np.zeros(truth.mask.shape))
    some = truth.select(slice(0, 5))
    values = []
    for _ in range(4000):
        by_topic = LAW.mood * random.normal(size=(5, LAW.topics))
        mood = np.take_along_axis(by_topic, some.topic, axis=1).astype(np.float32)
        redrawn = Truth(LAW, some.topic, some.own, mood, some.fatigue, some.mask)
        values.append(redrawn.value(incoming[:5]))
    error = np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - some.value(incoming[:5], sees=True)) < 4 * error).all()


def test_only_what_is_shown_counts_and_padding_counts_nothing(tools: Any) -> None:
    truth = tools.small(30, 6)
    orders = truth.by(truth.isolated())
    assert (truth.value(orders, shown=2) <= truth.value(orders)).all()
    wider = np.pad(orders, ((0, 0), (0, 4)), constant_values=-1)
    np.testing.assert_allclose(truth.value(wider), truth.value(orders), rtol=1e-6)
    changed = Truth(
        truth.law, np.where(truth.mask, truth.topic, 0), np.where(truth.mask, truth.own, 99.0),
        truth.mood, truth.fatigue, truth.mask,
    )  # fmt: skip
    np.testing.assert_allclose(changed.value(orders), truth.value(orders), rtol=1e-6)


def test_orders_by_score_hold_every_item_once_and_ties_as_they_came(tools: Any) -> None:
    truth = tools.small(30, 6)
    found = truth.by(np.zeros(truth.mask.shape, np.float32))
    expected = np.where(truth.mask, np.arange(6), -1)
    np.testing.assert_array_equal(found, expected)
