"""Influence of one item of a list on another below it (not in the paper; `pairs=true`).

Attention takes a mean of what stands above and has to count for itself; what tires or helps a
reader adds up. A low-rank product of the two encodings says by how much the upper item moves the
logit of the lower one, and a learned decay how fast that passes with the places between them.

B lists, M items, d width, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.decode import Pairs

RANK = 16


class PairInfluence(nn.Module):
    """Pairs of a list from its encodings."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * RANK)
        self.fading = nn.Parameter(torch.tensor(0.5))  # before the sigmoid

    def forward(self, items: Tensor) -> Pairs:
        """items (B, M, d); influence of the row's item on the column's."""
        giving, taking = self.project(items).chunk(2, -1)  # (B, M, r)
        influence = giving @ taking.transpose(1, 2) / math.sqrt(RANK)
        return Pairs(influence, torch.sigmoid(self.fading))
