"""The scoring network and its linear path."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import gelu

from data.dataset import Dataset
from model.psad.config import Config
from model.psad.encoder import Encoded
from model.psad.student import Student, WidePath


def test_a_score_is_a_perceptron_of_the_encoding_plus_a_linear_map_of_the_numbers() -> None:
    torch.manual_seed(0)
    student = Student(3, Config(width=4, heads=2, wide=True)).eval()
    torch.nn.init.normal_(student.wide.linear.weight)
    x, numbers, mask = torch.randn(2, 5, 4), torch.randn(2, 5, 3), torch.ones(2, 5).bool()
    first, _, _, second = student.score
    hidden = gelu(x @ first.weight.T + first.bias)
    by_hand = hidden @ second.weight[0] + second.bias  # Eq. (7)
    by_hand = by_hand + numbers @ student.wide.linear.weight[0] + student.wide.linear.bias
    encoded = Encoded(x, mask, x, mask, torch.zeros(2, 1), numbers)
    torch.testing.assert_close(student(encoded), by_hand)


def test_the_linear_path_starts_level() -> None:
    numbers = torch.randn(2, 5, 3)
    found = WidePath(3)(numbers)
    assert torch.equal(found, found[:1, :1].expand(2, 5, 1))


@pytest.mark.parametrize("path", [WidePath(0), WidePath(3)])
def test_without_numbers_there_is_no_linear_path(path: WidePath) -> None:
    assert path(None) == 0.0


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
