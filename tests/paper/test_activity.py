"""Lists by the length of their histories."""

from __future__ import annotations

import numpy as np
import pytest

from paper.activity import buckets, means


def test_fifths_hold_every_list_once_from_short_to_long() -> None:
    history = np.random.default_rng(0).permutation(100).astype(np.int32)
    parts = buckets(history)
    assert [int(part.mask.sum()) for part in parts] == pytest.approx([20] * 5, abs=1)
    assert (np.sum([part.mask for part in parts], axis=0) == 1).all()
    assert parts[0].title.startswith("0–")
    assert parts[-1].title.endswith("–99")


def test_equal_histories_stay_together() -> None:
    history = np.array([0] * 7 + [3, 9, 50], np.int32)
    parts = buckets(history)
    assert parts[0].title == "0"
    assert parts[0].mask.tolist() == [True] * 7 + [False] * 3
    assert len(buckets(np.zeros(5, np.int32))) == 1


def test_a_list_without_the_metric_does_not_count() -> None:
    history = np.array([1, 1, 9, 9, 9], np.int32)
    low, *_, high = means(np.array([0.2, np.nan, 1.0, 0.0, 0.5]), buckets(history))
    assert (low, high) == (0.2, 0.5)
