"""The shared losses, recomputed in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model import losses

LOGITS = torch.tensor([[1.0, -2.0, 0.5, 9.0], [0.3, 0.1, -0.4, 2.0], [2.0, 1.0, 7.0, 7.0]])
LABELS = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]]).bool()


def lists() -> list[tuple[np.ndarray, np.ndarray]]:
    """Logits and labels of each list's real candidates."""
    return [
        (z[m].double().numpy(), y[m].double().numpy())
        for z, y, m in zip(LOGITS, LABELS, MASK, strict=True)
    ]


def test_binary_is_the_mean_over_items_then_lists() -> None:
    each = [np.mean(np.logaddexp(0, z) - y * z) for z, y in lists()]
    assert losses.binary(LOGITS, LABELS, MASK).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_softmax_is_the_mean_over_lists_that_have_a_positive() -> None:
    each = [-(y / y.sum()) @ (z - np.log(np.exp(z).sum())) for z, y in lists() if y.sum()]
    assert losses.softmax(LOGITS, LABELS, MASK).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_softmax_without_any_positive_is_exactly_zero_with_zero_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = losses.softmax(logits, torch.zeros_like(LABELS), MASK)
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("name", losses.BY_NAME)
def test_padding_changes_neither_loss_nor_gradient(name: str) -> None:
    found = []
    for value in (0.0, 1e4):
        logits = LOGITS.masked_fill(~MASK, value).requires_grad_()
        loss = losses.BY_NAME[name](logits, LABELS, MASK)
        loss.backward()
        assert not logits.grad[~MASK].any()
        found.append((loss.item(), logits.grad))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])
