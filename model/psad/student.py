"""The scoring network, PSAD-S: one logit a candidate (PSAD, Eq. (7)).

B lists, M candidates, d width, F numeric features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.layers import FeedForward
from model.psad.config import Config
from model.psad.encoder import Encoded


class WidePath(nn.Module):
    """A linear path from the candidates' numbers to their logits.

    Without it a deep model of this size loses to logistic regression on good statistics.
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.linear = nn.Linear(numbers, 1) if numbers else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)

    def forward(self, numbers: Tensor | None) -> Tensor | float:
        """(B, M, F) to (B, M, 1)."""
        if self.linear is None or numbers is None:
            return 0.0
        return torch.as_tensor(self.linear(numbers))


class Student(nn.Module):
    """Scores candidates from their encodings."""

    def __init__(self, numbers: int, config: Config) -> None:
        super().__init__()
        self.score = FeedForward(config.width, config.width, config.dropout, 1)
        self.wide = WidePath(numbers if config.wide else 0)

    def forward(self, encoded: Encoded) -> Tensor:
        """(B, M) logits; Eq. (7) prints their sigmoid."""
        deep: Tensor = self.score(encoded.candidates)  # Eq. (7)
        return (deep + self.wide(encoded.numbers)).squeeze(-1)
