"""Influence of one item of a list on another below it (not in the paper; `pairs`).

Attention takes a mean of what stands above and has to count for itself; what tires or helps a
reader adds up. A low-rank product of what is known of the two items says by how much the upper one
moves the logit of the lower one, the profile how much that is for this user, and a learned decay
how fast it passes with the places between them. Known is what the encoder makes of an item, or (as
`kinds`) its categorical and bag features alone, see match.py.

B lists, M items, e width of what is known of one, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from features.schema import FeatureSchema
from model.axes import Axis, or_presence, vector_names
from model.decode import Pairs
from model.psad.config import Config
from model.psad.encoder import Encoded

RANK = 16


class PairInfluence(nn.Module):
    """Pairs of a list."""

    def __init__(self, schema: FeatureSchema, kinds: int, config: Config) -> None:
        """`kinds` is the width of the candidates' kinds."""
        super().__init__()
        self._schema, self._width = schema, config.embedding_width
        self.of_kinds = config.pairs == "kinds"
        self.project = nn.Linear(kinds if self.of_kinds else config.width, 2 * RANK)
        self.scale = nn.Linear(config.profile_width, 1)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)
        self.fading = nn.Parameter(torch.tensor(0.5))  # before the sigmoid

    def axes(self) -> dict[str, Axis]:
        """Columns by the candidates' kinds, where they are what is read."""
        names = vector_names(self._schema, "candidate", self._width)
        return {"project.weight": Axis(1, or_presence(names))} if self.of_kinds else {}

    def forward(self, encoded: Encoded) -> Pairs:
        """Influence of the row's item on the column's."""
        items = encoded.kinds.candidates if self.of_kinds else encoded.candidates  # (B, M, e)
        giving, taking = self.project(items).chunk(2, -1)  # (B, M, r)
        giving = giving * ((1.0 + self.scale(encoded.profile)) / math.sqrt(RANK)).unsqueeze(1)
        return Pairs(giving @ taking.transpose(1, 2), torch.sigmoid(self.fading))


def made_pairs(schema: FeatureSchema, kinds: int, config: Config) -> PairInfluence | None:
    """As the configuration has it."""
    return None if config.pairs == "none" else PairInfluence(schema, kinds, config)
