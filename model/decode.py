"""Choosing items place by place, never the same one twice.

B lists, M candidates, K places of a block, T of the whole list. -1 says "no item".
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.ranker import NO_ITEM


def choose_in_turn(logits: Tensor, available: Tensor, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Greedy choice at each place of a block in turn; `noise` > 0 samples (Gumbel) instead.

    logits (B, K, M), available (B, M) bool. Returns the items (B, K) and what is left (B, M).
    """
    if noise:
        uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        logits = logits - noise * torch.log(-torch.log(uniform))
    chosen = []
    for place in range(logits.shape[1]):
        allowed = logits[:, place].masked_fill(~available, -torch.inf)
        item = allowed.argmax(1)  # the first of equals: incoming order
        left = available.any(1)
        chosen.append(torch.where(left, item, NO_ITEM))
        taken = torch.nn.functional.one_hot(item, logits.shape[2]).bool() & left.unsqueeze(1)
        available = available & ~taken
    return torch.stack(chosen, 1), available


def one_hot_places(chosen: Tensor, candidates: int) -> Tensor:
    """(B, T) items to (B, T, M) bool; all false at "no item"."""
    hot = torch.nn.functional.one_hot(chosen.clamp(min=0), candidates).bool()
    return hot & (chosen != NO_ITEM).unsqueeze(-1)


def remaining(chosen: Tensor, mask: Tensor) -> Tensor:
    """(B, T, M) bool: candidates not chosen at an earlier place."""
    taken = one_hot_places(chosen, mask.shape[1]).cumsum(1)
    before = torch.cat([torch.zeros_like(taken[:, :1]), taken[:, :-1]], 1)
    return mask.unsqueeze(1) & (before == 0)
