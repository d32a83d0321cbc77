"""PRM: a transformer over the candidates in their incoming order (Pei et al., RecSys 2019).

Each candidate with the user's profile and history, plus a learned vector of its place, passes
through self-attention; one logit each. `head="softmax"` is the paper's loss, −Σ y/Σy log p over the
list. With `head="sigmoid"` each logit is a click probability of its own, which is what an evaluator
of finished lists needs: a softmax gives every order of the same items the same sum.

    psad train DATASET RUN --model prm

B lists, M candidates, N history items, S tokens, d width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from features.schema import FeatureSchema
from model import losses
from model.axes import Axis, place_names
from model.baselines.dnn import PersonalisedCandidates
from model.embed import Tensors
from model.layers import Block
from model.ranker import Batch, NeuralRanker


class Config(BaseModel):
    """Sizes are starting points."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    # what weights do not depend on: may be another in a run that begins `--from` one
    free: ClassVar[frozenset[str]] = frozenset({"dropout", "unknown_rate", "id_rate"})

    embedding_width: int = Field(default=8, ge=1)  # of one feature's vector
    width: int = Field(default=64, ge=1)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    unknown_rate: float = Field(default=0.5, ge=0, lt=1)  # values hidden in training
    id_rate: float | None = Field(default=None, ge=0, le=1)  # the same of ids; 1: never read
    head: Literal["softmax", "sigmoid"] = "softmax"
    reads_history: bool = False  # history items are tokens too, beside their mean

    @model_validator(mode="after")
    def _divisible(self) -> Config:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        return self


class Ranker(NeuralRanker):
    """Self-attention over the list, one logit a candidate."""

    def __init__(self, schema: FeatureSchema, config: Config) -> None:
        super().__init__(schema)
        self.config = config
        width = config.width
        self.inputs = PersonalisedCandidates(
            schema, config.embedding_width, config.unknown_rate, config.id_rate
        )
        self.project = nn.Linear(self.inputs.width, width)
        self.place = nn.Embedding(schema.max_candidates, width)
        nn.init.normal_(self.place.weight, std=0.02)
        history = self.inputs.embedding.widths["history"]
        self.reads_history = config.reads_history and history > 0
        if self.reads_history:
            self.project_history = nn.Linear(history, width)
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, 1)

    def axes(self) -> dict[str, Axis]:
        """Columns of what reads features, and rows of the places."""
        found = {
            "project.weight": Axis(1, self.inputs.names()),
            "place.weight": Axis(0, place_names(self.place.num_embeddings)),
        }
        if self.reads_history:
            names = self.inputs.embedding.names("history")
            found["project_history.weight"] = Axis(1, names)
        return found

    def forward(self, tensors: Tensors) -> Tensor:
        """(B, M) logits."""
        tokens, mask = self._candidates(tensors), tensors["candidate_mask"]
        candidates = tokens.shape[1]
        if self.reads_history:
            history = self.project_history(self.inputs.embedding(tensors, "history"))
            tokens = torch.cat([history, tokens], 1)  # (B, S, d)
            mask = torch.cat([tensors["history_mask"], mask], 1)  # (B, S)
        for block in self.blocks[:-1]:
            tokens = block(tokens, mask.unsqueeze(1))
        # of the last layer only the candidates are read, so that only they are made
        tokens = self.blocks[-1](
            tokens, mask.unsqueeze(1), last=candidates if self.reads_history else None
        )
        logits: Tensor = self.output(self.norm(tokens)).squeeze(-1)
        return logits

    def _candidates(self, tensors: Tensors) -> Tensor:
        """(B, M, d); places beyond training share the last one's vector."""
        projected = self.project(self.inputs(tensors))  # (B, M, d)
        places = torch.arange(projected.shape[1], device=projected.device)
        return projected + self.place(places.clamp(max=self.place.num_embeddings - 1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """List-wise cross-entropy, or binary where the head is a sigmoid."""
        name = "softmax" if self.config.head == "softmax" else "binary"
        logits = self(batch.tensors)
        return {name: losses.BY_NAME[name](logits, batch.labels, batch.candidate_mask)}
