"""DNN: each candidate alone, with the user's profile and history, through a perceptron.

The pointwise baseline of the PSAD and GReF papers, and the independent ranker that orders a log
which has no order. It sees no other candidate. Binary cross-entropy.

    psad train DATASET RUN --model dnn

B lists, M candidates, N history items.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from features.schema import FeatureSchema
from model import losses
from model.axes import Axis, Name
from model.embed import FeatureEmbedding, Tensors
from model.layers import Dropout
from model.ranker import Batch, NeuralRanker


class Config(BaseModel):
    """Sizes are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # what weights do not depend on: may be another in a run that begins `--from` one
    free: ClassVar[frozenset[str]] = frozenset({"dropout", "unknown_rate", "id_rate"})

    embedding_width: int = Field(default=16, ge=1)  # of one feature's vector
    hidden: tuple[int, ...] = (200, 80)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    unknown_rate: float = Field(default=0.5, ge=0, lt=1)  # values hidden in training
    id_rate: float | None = Field(default=None, ge=0, le=1)  # the same of ids; 1: never read


class Ranker(NeuralRanker):
    """[candidate ⊕ profile ⊕ mean of the history] to a logit."""

    def __init__(self, schema: FeatureSchema, config: Config) -> None:
        super().__init__(schema)
        self.config = config
        self.inputs = PersonalisedCandidates(
            schema, config.embedding_width, config.unknown_rate, config.id_rate
        )
        self.layers = perceptron(self.inputs.width, config.hidden, config.dropout)

    def axes(self) -> dict[str, Axis]:
        """Columns of the first layer."""
        return {"layers.0.weight": Axis(1, self.inputs.names())}

    def forward(self, tensors: Tensors) -> Tensor:
        """(B, M) logits."""
        logits: Tensor = self.layers(self.inputs(tensors)).squeeze(-1)
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Masked binary cross-entropy."""
        logits = self(batch.tensors)
        return {"binary": losses.binary(logits, batch.labels, batch.candidate_mask)}


class PersonalisedCandidates(nn.Module):
    """Every candidate beside what is known of the user; the input of each pointwise baseline."""

    def __init__(
        self,
        schema: FeatureSchema,
        embedding: int,
        unknown_rate: float,
        id_rate: float | None,
    ) -> None:
        super().__init__()
        self.embedding = FeatureEmbedding(schema, embedding, unknown_rate, id_rate)
        self.sides = [side for side in ("user", "history") if self.embedding.widths[side]]
        self.width = sum(self.embedding.widths[side] for side in ("candidate", *self.sides))

    def names(self) -> tuple[Name, ...]:
        """(width,) what each number is of."""
        return tuple(
            (side, *name)
            for side in ("candidate", *self.sides)
            for name in self.embedding.names(side)
        )

    def forward(self, tensors: Tensors) -> Tensor:
        """(B, M, width)."""
        candidates = self.embedding(tensors, "candidate")  # (B, M, ·)
        of_user = [self._pooled(tensors, side) for side in self.sides]
        spread = [known.unsqueeze(1).expand(-1, candidates.shape[1], -1) for known in of_user]
        return torch.cat([candidates, *spread], -1)

    def _pooled(self, tensors: Tensors, side: str) -> Tensor:
        """(B, ·) the profile, or the mean of the history: zeros where there is none."""
        if side == "user":
            return self.embedding(tensors, "user")
        mask = tensors["history_mask"].unsqueeze(-1)  # (B, N, 1)
        history = self.embedding(tensors, "history") * mask
        return history.sum(1) / mask.sum(1).clamp(min=1)


def perceptron(width: int, hidden: tuple[int, ...], dropout: float) -> nn.Sequential:
    """Linear, ReLU and dropout for each hidden width, then one output."""
    layers: list[nn.Module] = []
    for before, after in zip((width, *hidden), hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear((width, *hidden)[-1], 1))
