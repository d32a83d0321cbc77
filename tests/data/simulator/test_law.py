"""The click law, each formula recomputed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from data.simulator.law import LAW, Law, attraction, context, interest_of


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def test_what_stands_above_is_the_sum_that_the_documentation_says() -> None:
    topics, fatigue = np.random.default_rng(0).integers(12, size=(5, 9)), np.linspace(0.2, 1, 5)
    found = context(LAW, topics, fatigue.astype(np.float32))
    for row, shown in enumerate(topics):
        for j in range(9):
            each = LAW.complement * LAW.helps() - fatigue[row] * LAW.similarity()
            by_hand = sum(LAW.memory ** (j - 1 - k) * each[shown[k], shown[j]] for k in range(j))
            assert found[row, j] == pytest.approx(by_hand, abs=1e-5)


def test_a_topic_is_most_like_itself_and_helped_by_two_others() -> None:
    similar, helps = LAW.similarity(), LAW.helps()
    assert (np.diag(similar) == 1).all()
    assert (similar == similar.T).all()
    assert similar[4, 5] == np.float32(LAW.kinship)
    assert similar.sum() == pytest.approx(12 * (1 + LAW.kinship))
    assert (helps.sum(axis=0) == 2).all()
    assert helps[0, 3] == helps[0, 7] == helps[9, 0] == 1
    assert not (helps * similar).any()


def test_interest_is_the_recency_weighted_mean_of_the_topics_clicked() -> None:
    history = np.array([[3, 3, 1, -1], [-1, -1, -1, -1]])
    found, kappa = interest_of(LAW, history), LAW.recency
    assert found[0, 3] == pytest.approx(LAW.drift * kappa * (1 + (1 - kappa)), rel=1e-6)
    assert found[0, 1] == pytest.approx(LAW.drift * kappa * (1 - kappa) ** 2, rel=1e-6)
    assert found.sum() == pytest.approx(found[0, [1, 3]].sum())


def test_clicks_beyond_the_history_that_the_pipeline_cuts_count_nothing() -> None:
    history = np.full((1, 51), 2)
    history[0, 50] = 5
    assert interest_of(LAW, history)[0, 5] == 0
    assert Law().history == 50


def test_the_mean_over_the_mood_is_the_mean_over_the_mood() -> None:
    logits = np.linspace(-5, 4, 7).astype(np.float32)
    z = np.linspace(-9, 9, 200_001)
    density = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    by_hand = [(sigmoid(one + LAW.mood * z) * density).sum() for one in logits]
    np.testing.assert_allclose(attraction(logits, LAW.mood), by_hand, atol=1e-6)
    np.testing.assert_allclose(attraction(logits), sigmoid(logits), rtol=1e-6)


def test_examination_falls_with_the_place_and_patience_eases_fatigue() -> None:
    np.testing.assert_allclose(LAW.examination(3), [1, 1 / 1.1, 1 / 1.2], rtol=1e-6)
    found = LAW.fatigue_of(np.array([0, 0.5, 1], np.float32))
    np.testing.assert_allclose(found, [0.6 * 1.4, 0.6, 0.6 * 0.6], rtol=1e-6)


def test_the_law_is_fixed_and_knows_no_other_constants() -> None:
    """A change of any of these is a new version, and every published number is made anew."""
    assert Law().model_dump() == {
        "version": "1", "topics": 12, "segments": 8, "base": -2.2, "quality": 1.1, "taste": 0.9,
        "drift": 5.0, "recency": 0.15, "history": 50, "mood": 0.5, "fatigue": 0.6,
        "patience": 0.4, "kinship": 0.4, "complement": 0.3, "memory": 0.8, "glance": 0.1,
    }  # fmt: skip
    with pytest.raises(ValidationError, match="boredom"):
        Law(boredom=1.0)
