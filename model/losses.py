"""Losses over one scored list. A list without what a loss needs contributes exactly 0.

logits, labels, mask: (B, M); each returns a scalar, the mean over the lists that count.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.layers import masked_log_softmax


def binary(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Masked binary cross-entropy, averaged over the valid items of a list, then over lists."""
    losses = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    count = mask.sum(-1).clamp(min=1)
    return ((losses * mask).sum(-1) / count).mean()


def softmax(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """List-wise cross-entropy: −Σ y/Σy log softmax, over lists that have a positive."""
    positives = labels.sum(-1)
    target = labels / positives.clamp(min=1).unsqueeze(-1)
    losses = -(target * masked_log_softmax(logits, mask)).sum(-1)
    has = positives > 0
    return torch.where(has, losses, 0.0).sum() / has.sum().clamp(min=1)


BY_NAME = {"binary": binary, "softmax": softmax}
