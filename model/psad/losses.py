"""The generative loss, the scorer's loss and the distillation (PSAD, Eqs. (6) to (10)).

B lists, M candidates, J places of the list that are trained, i over candidates, j over places.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model import losses
from model.layers import masked_log_softmax
from model.psad.config import Config
from model.ranker import NEVER

ADVICE = 0.02  # clicks


def place_weights(places: Tensor) -> Tensor:
    """ω_j = 1 / log2(j + 1) for j = places + 1."""
    return 1.0 / torch.log2(places + 2.0)


def generative(
    logits: Tensor, labels: Tensor, left: Tensor, places: Tensor, config: Config
) -> Tensor:
    """Eq. (6): logits and left (B, J, M), labels (B, M), places (B or 1, J); a scalar.

    `left` says which candidates a place may still take.
    """
    y = labels.unsqueeze(1) * left  # (B, J, M)
    step = _softmax_step(logits, y, left, config) if config.step_loss == "softmax" else (
        _binary_step(logits, y, left, config)
    )  # fmt: skip
    if config.hinge:
        step = step + config.hinge * _hinge(logits, y, left, config)
    weights = place_weights(places) * left.any(2)  # (B, J)
    # Eq. (6)
    return (step * weights).sum() / weights.sum().clamp(min=1e-6)


def _softmax_step(logits: Tensor, y: Tensor, left: Tensor, config: Config) -> Tensor:
    """(B, J) cross-entropy to the positives still left; where none is, to the incoming order."""
    log_probabilities = masked_log_softmax(logits, left)
    positives = y.sum(2)
    loss = -(y * log_probabilities).sum(2) / positives.clamp(min=1)
    first = left.int().argmax(2, keepdim=True)  # the first in incoming order
    tail = -log_probabilities.gather(2, first).squeeze(2) * left.any(2)
    return torch.where(positives > 0, loss, config.tail_weight * tail)


def _binary_step(logits: Tensor, y: Tensor, left: Tensor, config: Config) -> Tensor:
    """(B, J) cross-entropy of each item left, averaged over them; or of positives alone."""
    if config.step_loss_classes == "positive":  # as printed
        return -(y * functional.logsigmoid(logits)).sum(2)
    terms = functional.binary_cross_entropy_with_logits(logits, y, reduction="none")
    return (terms * left).sum(2) / left.sum(2).clamp(min=1)


def _hinge(logits: Tensor, y: Tensor, left: Tensor, config: Config) -> Tensor:
    """(B, J) max{0, 1 − min positive + max negative}; 0 where either is missing."""
    values = torch.sigmoid(logits) if config.hinge_on == "probabilities" else logits
    positive, negative = y > 0, left & (y == 0)
    both = positive.any(2) & negative.any(2)
    lowest = values.masked_fill(~positive, -NEVER).amin(2)
    highest = values.masked_fill(~negative, NEVER).amax(2)
    margin = torch.where(both, 1.0 - lowest + highest, 0.0)  # finite gradients where one is missing
    return margin.clamp(min=0)


def exposed(logits: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
    """The label of the item that was shown at each place, given what stood above it.

    logits (B, T, M), labels (B, M), chosen (B, T) the shown order; a scalar.
    """
    shown, index = chosen >= 0, chosen.clamp(min=0)
    own = logits.gather(2, index.unsqueeze(2)).squeeze(2)  # (B, T)
    terms = functional.binary_cross_entropy_with_logits(
        own, labels.gather(1, index), reduction="none"
    )
    return (terms * shown).sum() / shown.sum().clamp(min=1)


def advised(logits: Tensor, worth: Tensor, left: Tensor) -> Tensor:
    """Cross-entropy to what lists are worth with each item at a place: all (B, J, M); a scalar.

    A difference of ADVICE clicks in worth is one in logits.
    """
    goal = torch.where(left, worth / ADVICE, NEVER).softmax(2)
    terms = (goal * masked_log_softmax(logits, left).masked_fill(~left, 0.0)).sum(2)
    held = left.any(2)
    return -(terms * held).sum() / held.sum().clamp(min=1)


def scorer(logits: Tensor, labels: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Eq. (7) with both classes (binary), list-wise (softmax), or as printed (positive)."""
    if config.scorer_loss == "positive":
        return -(labels * functional.logsigmoid(logits) * mask).sum(1).mean()
    return losses.BY_NAME[config.scorer_loss](logits, labels, mask)


def decay_weights(places: int, decay: float | str, device: torch.device) -> Tensor:
    """(T,) normalised weights w_j of the places in the distillation target."""
    j = torch.arange(1, places + 1, device=device, dtype=torch.float32)
    weights = 1.0 / torch.log2(j + 1) if decay == "dcg" else torch.exp(-float(decay) * j)
    return weights / weights.sum()


def target(logits: Tensor, left: Tensor, mask: Tensor, config: Config) -> Tensor:
    """(B, M) the generator's distribution over items, Eq. (8); sums to 1 over valid items.

    logits, left (B, T, M). `config.target` says what the softmax of a place runs over: "left", the
    items it may still take; "valid", all of them; "placed", those left, where an item chosen at an
    earlier place counts in full, so that an item's mass is the discounted chance that it stands at
    a place or above it. With "left" alone an item that is chosen early gets the mass of its one
    place, and an item never chosen that of all: of a flat teacher it is the order upside down.
    """
    weights = decay_weights(logits.shape[1], config.decay, logits.device)
    if config.distillation == "printed":
        each = masked_log_softmax(torch.sigmoid(logits), mask.unsqueeze(1)).exp()
        mean = (each * weights[:, None]).sum(1)  # Eq. (8)
        return masked_log_softmax(mean / config.temperature, mask).exp()
    if config.target == "valid":
        left = mask.unsqueeze(1).expand_as(left)
    each = masked_log_softmax(logits / config.temperature, left).exp() * left
    if config.target == "placed":
        each = each + (mask.unsqueeze(1) & ~left)  # chosen before: there for certain
    mean = (each * weights[:, None]).sum(1)  # Eq. (8)
    return mean / mean.sum(1, keepdim=True).clamp(min=1e-9)


def distillation(logits: Tensor, goal: Tensor, mask: Tensor, config: Config) -> Tensor:
    """Eq. (9): KL(goal ‖ student), times τ² on logits; logits, goal, mask (B, M); a scalar."""
    goal = goal if config.mutual else goal.detach()
    scores = torch.sigmoid(logits) if config.distillation == "printed" else logits
    log_student = masked_log_softmax(scores / config.temperature, mask)
    entropy = torch.where(goal > 0, goal * goal.clamp(min=1e-12).log(), 0.0).sum(1)
    divergence = entropy - (goal * log_student.masked_fill(~mask, 0.0)).sum(1)  # Eq. (9)
    scale = 1.0 if config.distillation == "printed" else config.temperature**2
    return divergence.mean() * scale


def relative_entropy(goal: Tensor, mask: Tensor) -> Tensor:
    """(B,) entropy of a distribution over valid items, as a share of the uniform one's."""
    entropy = -torch.where(goal > 0, goal * goal.clamp(min=1e-12).log(), 0.0).sum(1)
    return entropy / mask.sum(1).clamp(min=2).float().log()
