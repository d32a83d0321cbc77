"""The scoring network, PSAD-S: one logit a candidate (PSAD, Eq. (7)).

B lists, M candidates, d width.
"""

from __future__ import annotations

from torch import Tensor, nn

from features.schema import FeatureSchema, Side
from model.layers import FeedForward
from model.psad.config import Config
from model.psad.encoder import Encoded
from model.psad.match import Match


class Student(nn.Module):
    """Scores candidates from their encodings."""

    def __init__(self, schema: FeatureSchema, widths: dict[Side, int], config: Config) -> None:
        """`widths` of the kinds of a side, by its name."""
        super().__init__()
        self.score = FeedForward(config.width, config.width, config.dropout, 1)
        self.match = Match(schema, widths, config)

    def forward(self, encoded: Encoded) -> Tensor:
        """(B, M) logits; Eq. (7) prints their sigmoid."""
        deep: Tensor = self.score(encoded.candidates)  # Eq. (7)
        return (deep + self.match(encoded.kinds)).squeeze(-1)
