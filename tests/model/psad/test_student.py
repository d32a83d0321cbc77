"""The scoring network and what it reads beside the encodings."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import gelu

from data.dataset import Dataset


def test_a_score_is_a_perceptron_of_the_encoding_plus_the_match(
    dataset: Dataset, tools: Any
) -> None:
    ranker, batch = tools.shaken(dataset, "psad"), tools.batch(dataset, 4)
    with torch.no_grad():
        encoded = ranker.encoder(batch.tensors)
        first, _, _, second = ranker.student.score
        hidden = gelu(encoded.candidates @ first.weight.T + first.bias)
        by_hand = hidden @ second.weight[0] + second.bias  # Eq. (7)
        by_hand = by_hand + ranker.student.match(encoded.kinds).squeeze(2)
        torch.testing.assert_close(ranker.student(encoded), by_hand)


def test_the_scoring_network_sees_the_whole_list(dataset: Dataset, tools: Any) -> None:
    """Changing one candidate moves the scores of the others: list-wise, not pointwise."""
    ranker, batch = tools.shaken(dataset, "psad"), tools.batch(dataset, 1)
    numbers = batch.tensors["candidate_numeric"].clone()
    numbers[0, 0] += 3.0
    with torch.no_grad():
        before, after = (
            ranker(batch.tensors | changed) for changed in ({}, {"candidate_numeric": numbers})
        )
    assert ((before - after)[0, 1:].abs() > 1e-5).all()
