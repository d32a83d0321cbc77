"""Attention and its block against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.layers import Attention, Block, Dropout, FeedForward, masked_log_softmax
from model.ranker import NEVER

B, Q, S, D, H = 2, 3, 4, 6, 2


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: one.detach().double().numpy() for name, one in module.named_parameters()}


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """queries (B, Q, d), keys (B, S, d), mask (B, 1, S), bias (B, Q, S)."""
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False, True], [True, False, False, False]])
    return torch.randn(B, Q, D), torch.randn(B, S, D), mask.unsqueeze(1), torch.randn(B, Q, S)


@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_attention_is_eq_1_head_by_head(inputs, post: bool, biased: bool) -> None:
    queries, keys, mask, bias = inputs
    attention = Attention(D, H, post_bias=post)
    found = attention(queries, keys, mask, bias if biased else None).detach().numpy()
    w, p = arrays(attention), bias.double().numpy() if biased else np.zeros((B, Q, S))
    x, y, m = queries.double().numpy(), keys.double().numpy(), mask.numpy()
    q = x @ w["query.weight"].T + w["query.bias"]
    k, v = np.split(y @ w["key_value.weight"].T + w["key_value.bias"], 2, axis=-1)
    heads = []
    for part in np.split(np.arange(D), H):
        logits = q[..., part] @ k[..., part].swapaxes(1, 2) / np.sqrt(D / H)
        if post:
            weights = softmax(np.where(m, logits, -np.inf)) + p * m  # P stands outside, masked
        else:
            weights = softmax(np.where(m, logits + p, -np.inf))
        heads.append(weights @ v[..., part])
    by_hand = np.concatenate(heads, -1) @ w["output.weight"].T + w["output.bias"]
    np.testing.assert_allclose(found, by_hand, atol=1e-5)


@pytest.mark.parametrize("post", [False, True])
def test_a_masked_key_has_no_influence_and_gets_no_gradient(inputs, post: bool) -> None:
    queries, keys, mask, bias = inputs
    attention = Attention(D, H, post_bias=post)
    changed = torch.where(mask.transpose(1, 2), keys, 100.0).requires_grad_()
    other = torch.where(mask, bias, -50.0)
    found = attention(queries, changed, mask, other)
    torch.testing.assert_close(found, attention(queries, keys, mask, bias))
    found.sum().backward()
    assert not changed.grad[~mask.squeeze(1)].any()
    assert changed.grad[mask.squeeze(1)].any()


def test_a_query_without_any_key_stays_finite(inputs) -> None:
    queries, keys, mask, _ = inputs
    assert Attention(D, H)(queries, keys, torch.zeros_like(mask)).isfinite().all()


def test_a_block_is_pre_norm_with_residuals(inputs) -> None:
    _, x, mask, _ = inputs
    block = Block(D, H, 0.0)
    normed = block.norms[0](x)
    between = x + block.attention(normed, normed, mask)
    by_hand = between + block.feed_forward(block.norms[1](between))
    torch.testing.assert_close(block(x, mask), by_hand)


def test_a_block_as_printed_has_neither_norm_nor_residual(inputs) -> None:
    _, x, mask, bias = inputs
    block = Block(D, H, 0.0, residual=False, post_bias=True)
    bias = torch.randn(B, S, S)
    by_hand = block.feed_forward(block.attention(x, x, mask, bias))
    torch.testing.assert_close(block(x, mask, bias), by_hand)
    assert not [name for name, _ in block.named_parameters() if "norm" in name]


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("last", [1, 2, S])
def test_asking_for_the_last_positions_gives_those_of_all(inputs, residual, last) -> None:
    _, x, mask, _ = inputs
    block, bias = Block(D, H, 0.0, residual), torch.randn(B, S, S)
    found = block(x, mask, bias[:, S - last :], last)
    torch.testing.assert_close(found, block(x, mask, bias)[:, S - last :])


def test_dropout_acts_in_training_alone(inputs) -> None:
    _, x, mask, _ = inputs
    block = Block(D, H, 0.5)
    assert not torch.equal(block(x, mask), block(x, mask))
    block.eval()
    assert torch.equal(block(x, mask), block(x, mask))


def test_feed_forward_has_the_output_asked_for() -> None:
    x = torch.randn(2, 4)
    assert FeedForward(4, 8, 0.0)(x).shape == (2, 4)
    assert FeedForward(4, 8, 0.0, 1)(x).shape == (2, 1)


def test_masked_log_softmax_is_that_of_the_true_entries() -> None:
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.0, 3.0, 1.0]], requires_grad=True)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    found = masked_log_softmax(logits, mask)
    by_hand = np.log(softmax(np.array([1.0, 2.0])))
    np.testing.assert_allclose(found[0, :2].detach().numpy(), by_hand, atol=1e-6)
    assert found[0, 2] == NEVER
    assert (found[1] == NEVER).all()
    assert found.exp()[~mask].eq(0).all()
    torch.where(mask, found, 0.0).sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[~mask].any()


def test_attention_without_a_bias_is_attention_with_one_of_zeros(inputs) -> None:
    queries, keys, mask, bias = inputs
    attention, found = Attention(D, H), []
    for zeros in (None, torch.zeros_like(bias)):
        moved = keys.clone().requires_grad_()
        out = attention(queries, moved, mask, zeros)
        (gradient,) = torch.autograd.grad(out.square().sum(), moved)
        found.append((out, gradient))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_drops_at_its_rate_and_keeps_the_mean_and_the_gradient(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(101, 997, requires_grad=True)  # no multiple of the four that share a draw
    out = Dropout(rate)(x)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - rate)])
    error = (rate * (1 - rate) / x.numel()) ** 0.5
    assert float((out == 0).double().mean()) == pytest.approx(rate, abs=4 * error)
    neighbours = (out[:, 1:] == 0) & (out[:, :-1] == 0)  # also of the same draw
    assert float(neighbours.double().mean()) == pytest.approx(rate**2, abs=0.006)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, out)


def test_dropout_is_fixed_by_the_seed_and_absent_in_evaluation() -> None:
    x, drops = torch.randn(7, 5), []
    for _ in range(2):
        torch.manual_seed(3)
        drops.append(Dropout(0.3)(x))
    assert torch.equal(drops[0], drops[1])
    assert torch.equal(Dropout(0.3).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
