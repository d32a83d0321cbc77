"""Eqs. (6) to (9), recomputed place by place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from model.psad import losses
from model.psad.config import Config

BASE: dict[str, Any] = {
    "step_loss": "binary", "step_loss_classes": "both", "hinge": 0.0, "hinge_on": "logits",
    "tail_weight": 0.0, "scorer_loss": "binary", "decay": 0.5, "temperature": 1.0,
    "distillation": "logits", "mutual": False,
}  # fmt: skip
B, J, M = 4, 3, 5
PLACES = torch.arange(J).unsqueeze(0)


def config(**changes: Any) -> Config:
    return Config.model_validate(BASE | changes)


@pytest.fixture
def lists() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """logits (B, J, M), labels (B, M), left (B, J, M), mask (B, M).

    List 0 is ordinary, 1 has no positive, 2 no negative, 3 one candidate for three places.
    """
    torch.manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]).bool()
    labels = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]])
    left = mask.unsqueeze(1).repeat(1, J, 1)
    for place in range(1, J):  # item `place - 1` was taken by each place before
        left[:, place:, place - 1] = False
    return torch.randn(B, J, M, requires_grad=True), labels.float(), left, mask


def step_by_hand(z: np.ndarray, y: np.ndarray, **c: Any) -> float:
    """Eq. (6) at one place, over the items that are left."""
    c = BASE | c
    if c["step_loss"] == "softmax":
        log_p = log_softmax(z)
        loss = -(y / y.sum() @ log_p) if y.any() else -c["tail_weight"] * log_p[0]
    elif c["step_loss_classes"] == "positive":
        loss = (y * np.logaddexp(0, -z)).sum()
    else:
        loss = np.mean(np.logaddexp(0, z) - y * z)
    if y.any() and not y.all():
        v = expit(z) if c["hinge_on"] == "probabilities" else z
        loss += c["hinge"] * max(0, 1 - v[y == 1].min() + v[y == 0].max())
    return loss


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"step_loss_classes": "positive"}, {"step_loss": "softmax"},
        {"step_loss": "softmax", "tail_weight": 0.3}, {"hinge": 2.0},
        {"hinge": 2.0, "hinge_on": "probabilities", "step_loss_classes": "positive"},
    ],
)  # fmt: skip
def test_the_generative_loss_is_eq_6_place_by_place(lists, changes: dict[str, Any]) -> None:
    logits, labels, left, _ = lists
    terms, weights = [], []
    for one in range(B):
        for place in range(J):
            free = left[one, place].numpy()
            if free.any():
                z = logits[one, place].detach().double().numpy()[free]
                terms.append(step_by_hand(z, labels[one].numpy()[free], **changes))
                weights.append(1 / np.log2(place + 2))  # ω_j, j from 1
    by_hand = np.dot(terms, weights) / np.sum(weights)
    found = losses.generative(logits, labels, left, PLACES, config(**changes))
    assert found.item() == pytest.approx(by_hand, abs=1e-5)


def test_the_first_place_weighs_one_and_later_ones_less() -> None:
    weights = losses.place_weights(torch.arange(3))
    assert weights.tolist() == pytest.approx([1.0, 1 / np.log2(3), 0.5])


@pytest.mark.parametrize("changes", [{"hinge": 1.0}, {"hinge": 1.0, "hinge_on": "probabilities"}])
@pytest.mark.parametrize("one", [1, 2, 3])
def test_a_list_of_one_class_adds_exactly_nothing_to_the_hinge(lists, one, changes) -> None:
    logits, labels, left, _ = lists
    arguments = (logits[[one]], labels[[one]], left[[one]], PLACES)
    with_hinge, without = losses.generative(*arguments, config(**changes)), losses.generative(
        *arguments, config()
    )  # fmt: skip
    assert with_hinge.item() == without.item()
    (gradient,) = torch.autograd.grad(with_hinge - without, logits)
    assert gradient.isfinite().all()
    assert not gradient.any()


def test_a_hinge_on_logits_can_be_satisfied_and_one_on_probabilities_cannot() -> None:
    logits, labels = torch.tensor([[[9.0, -9.0]]]), torch.tensor([[1.0, 0.0]])
    left = torch.ones(1, 1, 2).bool()
    found = [
        losses._hinge(logits, labels.unsqueeze(1), left, config(hinge_on=how)).item()
        for how in ("logits", "probabilities")
    ]
    assert found[0] == 0.0
    assert found[1] > 0.0


@pytest.mark.parametrize("changes", [
    {"hinge": 1.0}, {"step_loss_classes": "positive", "hinge": 1.0, "hinge_on": "probabilities"},
    {"step_loss": "softmax", "tail_weight": 0.1, "hinge": 1.0},
])  # fmt: skip
def test_an_item_that_is_not_left_gets_no_gradient_and_all_others_finite_ones(
    lists, changes
) -> None:
    logits, labels, left, _ = lists
    losses.generative(logits, labels, left, PLACES, config(**changes)).backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[~left].any()
    empty = torch.zeros_like(left)
    assert losses.generative(logits, labels, empty, PLACES, config(**changes)).item() == 0.0


def test_without_a_tail_places_after_the_last_positive_learn_nothing(lists) -> None:
    logits, labels, left, _ = lists
    for tail in (0.0, 0.1):
        settings = config(step_loss="softmax", tail_weight=tail)
        (gradient,) = torch.autograd.grad(
            losses.generative(logits, labels, left, PLACES, settings), logits
        )
        assert gradient[1].any() == (tail > 0)  # list 1 has no positive
        assert gradient[0, 0].any()


def test_exposure_reads_the_label_of_the_item_shown_at_each_place(lists) -> None:
    logits, labels, _, _ = lists
    chosen = torch.tensor([[2, 0, 1], [0, 1, 2], [4, 3, 2], [0, -1, -1]])
    terms = []
    for one in range(B):
        for place, item in enumerate(chosen[one].tolist()):
            if item >= 0:
                z, y = logits[one, place, item].item(), labels[one, item].item()
                terms.append(np.logaddexp(0, z) - y * z)
    assert losses.exposed(logits, labels, chosen).item() == pytest.approx(np.mean(terms), abs=1e-6)
    nothing = losses.exposed(logits, labels, torch.full((B, J), -1))
    assert nothing.item() == 0.0


def test_the_scorers_loss_is_eq_7_in_three_readings(lists) -> None:
    logits, labels, _, mask = lists
    z = logits[:, 0]
    each = [(z[b][mask[b]].detach().double().numpy(), labels[b][mask[b]].numpy()) for b in range(B)]
    by_hand = {
        "positive": np.mean([(y * np.logaddexp(0, -z)).sum() for z, y in each]),
        "binary": np.mean([np.mean(np.logaddexp(0, z) - y * z) for z, y in each]),
        "softmax": np.mean([-(y / y.sum()) @ log_softmax(z) for z, y in each if y.any()]),
    }
    for name, value in by_hand.items():
        found = losses.scorer(z, labels, mask, config(scorer_loss=name)).item()
        assert found == pytest.approx(value, abs=1e-6), name


def test_place_weights_of_the_target_decay_and_sum_to_one() -> None:
    device = torch.device("cpu")
    for decay, raw in (
        (0.5, np.exp(-0.5 * np.arange(1, 6))),
        ("dcg", 1 / np.log2(np.arange(2, 7))),
    ):
        found = losses.decay_weights(5, decay, device).numpy()
        np.testing.assert_allclose(found, raw / raw.sum(), rtol=1e-6)


def target_by_hand(z: np.ndarray, free: np.ndarray, real: np.ndarray, how: str, tau: float) -> Any:
    """Eq. (8) of one list: z, free (J, M), real (M,)."""
    weights = np.exp(-0.5 * np.arange(1, J + 1))
    weights /= weights.sum()
    total = np.zeros(M)
    for place in range(J):
        over = real if how == "valid" else free[place]
        each = np.zeros(M)
        if over.any():
            each[over] = softmax(z[place][over] / tau)
        if how == "placed":
            each[real & ~free[place]] = 1.0  # chosen above: there for certain
        total += weights[place] * each
    return total / total.sum()


@pytest.mark.parametrize("how", ["placed", "left", "valid"])
@pytest.mark.parametrize("tau", [1.0, 2.5])
def test_the_target_is_eq_8_on_logits(lists, how: str, tau: float) -> None:
    logits, _, left, mask = lists
    found = losses.target(logits, left, mask, config(target=how, temperature=tau)).detach()
    for one in range(B):
        z = logits[one].detach().double().numpy()
        by_hand = target_by_hand(z, left[one].numpy(), mask[one].numpy(), how, tau)
        np.testing.assert_allclose(found[one].numpy(), by_hand, atol=1e-6)


@pytest.mark.parametrize("changes", [
    {"distillation": "printed"}, {"target": "placed"}, {"target": "left"}, {"target": "valid"},
    {"decay": "dcg"}, {"distillation": "printed", "temperature": 0.5},
])  # fmt: skip
def test_a_target_sums_to_one_over_real_items(lists, changes: dict[str, Any]) -> None:
    logits, _, left, mask = lists
    goal = losses.target(logits, left, mask, config(**changes))
    torch.testing.assert_close(goal.sum(1), torch.ones(B))
    assert (goal >= 0).all()
    assert not goal[~mask].any()


def test_the_printed_target_is_nearly_uniform_and_the_robust_one_is_not() -> None:
    torch.manual_seed(0)
    lists, places, items = 200, 10, 30
    logits = 3 * torch.randn(lists, places, items)  # a teacher that is sure of itself
    mask = torch.ones(lists, items).bool()
    left = mask.unsqueeze(1).expand(-1, places, -1)
    printed = losses.target(logits, left, mask, config(distillation="printed", decay=1.0))
    robust = losses.target(logits, left, mask, config())
    spread = (printed.amax(1) / printed.amin(1)).mean().item()
    assert spread == pytest.approx(1.03, abs=0.005)
    shares = [losses.relative_entropy(one, mask).mean().item() for one in (printed, robust)]
    assert shares[0] > 0.9999
    assert shares[1] < 0.85


def test_relative_entropy_is_the_share_of_the_uniform_ones() -> None:
    goal, mask = torch.tensor([[0.5, 0.5, 0.0], [0.7, 0.2, 0.1]]), torch.ones(2, 3).bool()
    mask[0, 2] = False
    p = np.array([0.7, 0.2, 0.1])
    by_hand = [1.0, -(p @ np.log(p)) / np.log(3)]
    assert losses.relative_entropy(goal, mask).tolist() == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize("changes", [{}, {"temperature": 2.0}, {"distillation": "printed"}])
def test_distillation_is_the_divergence_of_eq_9(lists, changes: dict[str, Any]) -> None:
    logits, _, left, mask = lists
    settings = config(**changes)
    goal, scores = losses.target(logits, left, mask, settings).detach(), torch.randn(B, M)
    tau, printed = settings.temperature, settings.distillation == "printed"
    each = []
    for g, s, m in zip(goal, scores, mask, strict=True):
        p, z = g[m].double().numpy(), s[m].double().numpy()
        log_student = log_softmax((expit(z) if printed else z) / tau)
        each.append((p * (np.log(np.maximum(p, 1e-30)) - log_student)).sum())
    by_hand = np.mean(each) * (1 if printed else tau**2)
    found = losses.distillation(scores, goal, mask, settings).item()
    assert found == pytest.approx(by_hand, abs=1e-5)
    assert found > 0


def test_distillation_of_a_student_that_agrees_is_zero(lists) -> None:
    _, _, _, mask = lists
    scores = torch.randn(B, M)
    for tau in (1.0, 3.0):
        goal = torch.softmax((scores / tau).masked_fill(~mask, -torch.inf), 1)
        found = losses.distillation(scores, goal, mask, config(temperature=tau))
        assert found.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("how", ["logits", "printed"])
def test_the_teacher_gets_a_gradient_only_where_learning_is_mutual(lists, mutual, how) -> None:
    logits, _, left, mask = lists
    settings = config(mutual=mutual, distillation=how)
    scores = torch.randn(B, M, requires_grad=True)
    goal = losses.target(logits, left, mask, settings)
    losses.distillation(scores, goal, mask, settings).backward()
    assert scores.grad.any()
    assert scores.grad.isfinite().all()
    assert not scores.grad[~mask].any()
    assert (logits.grad is not None) == mutual
    if mutual:
        assert logits.grad.isfinite().all()
