"""Eqs. (11) to (13) in numpy, with the concatenations that the paper prints."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import nn

from model.psad.config import Config
from model.psad.upn import Gate, PersonalPosition, Profile

WIDTH, PROFILE = 6, 3
BASE = {"width": WIDTH, "profile_width": PROFILE, "heads": 2, "gate_bias": 3.0}


def config(**changes: object) -> Config:
    return Config.model_validate(BASE | {"gate_add_profile": False} | changes)


def shake(module: nn.Module) -> dict[str, np.ndarray]:
    """Draw every weight anew; returns them."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return {name: one.detach().double().numpy() for name, one in module.named_parameters()}


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """x (B, S, d) and profile (B, p)."""
    torch.manual_seed(0)
    return torch.randn(2, 4, WIDTH), torch.randn(2, PROFILE)


@pytest.mark.parametrize("add", [False, True])
def test_the_gate_is_the_perceptron_of_item_and_profile_side_by_side(inputs, add: bool) -> None:
    x, profile = inputs
    gate = Gate(config(gate_add_profile=add))
    w = shake(gate)
    both = np.concatenate([x.numpy(), np.repeat(profile.numpy()[:, None], 4, 1)], -1)  # X ⊕ P_u
    first = np.concatenate([w["from_items.weight"], w["from_profile.weight"]], 1)
    plain, activated = np.split(both @ first.T + w["from_items.bias"], 2, -1)
    product = plain * gelu(activated)  # Eq. (11)
    hidden = gelu(product @ w["signal.0.weight"].T + w["signal.0.bias"])
    signal = expit(hidden @ w["signal.3.weight"].T + w["signal.3.bias"])
    by_hand = signal * x.numpy()  # Eq. (12)
    if add:
        by_hand += (profile.numpy() @ w["add.weight"].T + w["add.bias"])[:, None]
    np.testing.assert_allclose(gate(x, profile).detach().numpy(), by_hand, atol=1e-5)


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_the_gate_starts_at_the_sigmoid_of_its_bias_for_everyone(inputs, bias: float) -> None:
    x, profile = inputs
    found = Gate(config(gate_bias=bias))(x, profile)
    torch.testing.assert_close(found, expit(bias).item() * x)


@pytest.mark.parametrize("stop", [True, False])
def test_no_gradient_enters_the_gate_through_the_item(inputs, stop: bool) -> None:
    x, profile = inputs[0].requires_grad_(), inputs[1].requires_grad_()
    gate = Gate(config(gate_stop_gradient=stop))
    shake(gate)
    found = gate(x, profile)
    found.sum().backward()
    signal = (found / x).detach()  # what is left where S is a constant
    assert torch.allclose(x.grad, signal, atol=1e-6) == stop
    assert profile.grad.any()


@pytest.mark.parametrize("stop", [True, False])
def test_personal_position_is_the_perceptron_of_profile_and_entry_side_by_side(stop: bool) -> None:
    torch.manual_seed(0)
    table, profile = torch.randn(5, requires_grad=True), torch.randn(2, PROFILE, requires_grad=True)
    personal = PersonalPosition(config(position_stop_gradient=stop))
    w = shake(personal)
    found = personal(table, profile)
    first = np.concatenate([w["from_profile.weight"], w["from_position.weight"]], 1)
    p, entries = profile.detach().numpy(), table.detach().numpy()
    for user in range(2):
        both = np.stack([np.append(p[user], entry) for entry in entries])  # P_u ⊕ P_ij
        hidden = gelu(both @ first.T + w["from_profile.bias"])
        change = np.tanh(hidden @ w["output.weight"].T + w["output.bias"])[:, 0]  # Eq. (13)
        np.testing.assert_allclose(found[:, user].detach().numpy(), entries + change, atol=1e-5)
    found.sum().backward()
    assert table.grad.any()
    assert (profile.grad is None) == stop


def test_positions_start_out_alike_for_everyone() -> None:
    table, profile = torch.randn(5), torch.randn(2, PROFILE)
    torch.testing.assert_close(
        PersonalPosition(config())(table, profile), table.unsqueeze(1).expand(-1, 2), atol=0, rtol=0
    )


def test_a_user_without_features_has_the_learned_profile() -> None:
    alone, known = Profile(0, config()), Profile(4, config())
    for profile in (alone, known):
        shake(profile)
    assert torch.equal(alone(None, 2), alone.base.expand(2, -1))
    assert torch.equal(known(None, 2), known.base.expand(2, -1))
    user = torch.randn(2, 4)
    torch.testing.assert_close(known(user, 2), known.base + known.project(user))
