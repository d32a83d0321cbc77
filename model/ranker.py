"""Ranker: what every model is, and Batch: what every model reads.

B lists, M candidates, N history items, T places of the shown list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from features.schema import FeatureSchema

if TYPE_CHECKING:
    from data.dataset import Dataset

NO_ITEM = -1
NEVER = -1e9  # a logit that no real item has: its probability is exactly 0 in float32


@dataclass(frozen=True)
class Batch:
    """Encoded lists with their labels."""

    tensors: dict[str, Tensor]  # by the names of schema.tensors()
    labels: Tensor  # (B, M) float, 1 positive, 0 negative or padding
    candidate_rows: Tensor | None = None  # (B, M) catalogue rows, 0 at padding

    @property
    def candidate_mask(self) -> Tensor:
        """(B, M) bool, true at real candidates."""
        return self.tensors["candidate_mask"]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        rows = None if self.candidate_rows is None else self.candidate_rows.to(device)
        return replace(self, tensors=moved, labels=self.labels.to(device), candidate_rows=rows)

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        labels: np.ndarray[Any, Any],
        candidate_rows: np.ndarray[Any, Any] | None = None,
    ) -> Batch:
        """Tensors over encoded arrays (no copy)."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        rows = None if candidate_rows is None else torch.from_numpy(candidate_rows)
        return cls(tensors, torch.from_numpy(labels), rows)


class Ranker(ABC):
    """A model that puts candidates in order."""

    trains_by_gradient: ClassVar[bool]
    library: ClassVar[str]  # that it computes in, as people call it
    schema: FeatureSchema

    @abstractmethod
    def fit(self, dataset: Dataset, folder: Path, **options: Any) -> dict[str, Any]:
        """Learn from the train split, select on valid; returns what is worth reporting."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """(B, M) a logit for each candidate, -inf at padding."""

    def rank(self, batch: Batch) -> Tensor:
        """(B, T) indices of the shown list, best first; -1 says "no item"."""
        return top_candidates(self.scores(batch), batch.candidate_mask, self.schema.list_size)

    def generate(self, batch: Batch) -> Tensor:
        """(B, T) the list of a model that generates; of any other the same as `rank`."""
        return self.rank(batch)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` needs into a run folder."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""


class NeuralRanker(nn.Module, Ranker):
    """A ranker trained by gradient descent through the shared `fit`."""

    trains_by_gradient = True
    library = "PyTorch"

    def __init__(self, schema: FeatureSchema) -> None:
        super().__init__()
        self.schema = schema

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named terms, each a scalar; training minimises their sum."""
        raise NotImplementedError

    def validation_loss(self, batch: Batch) -> Tensor:
        """What epochs are compared by where they are by loss; a scalar."""
        return torch.stack(list(self.loss(batch).values())).sum()

    def on_progress(self, done: float) -> None:
        """Told the share of training that is done, 0..1, before each step; for schedules."""

    def observe(self, batch: Batch) -> dict[str, float]:
        """Figures worth a line in progress.jsonl, measured on a validation batch."""
        return {}

    def scores(self, batch: Batch) -> Tensor:
        logits: Tensor = self(batch.tensors)
        return logits.masked_fill(~batch.candidate_mask, -torch.inf)

    def fit(self, dataset: Dataset, folder: Path, **options: Any) -> dict[str, Any]:
        from model.fit import fit_by_gradient  # the loop reads this module

        return fit_by_gradient(self, dataset, folder, **options)

    def save(self, folder: Path) -> None:
        from model.weights import save_weights

        save_weights(self, folder)

    def load(self, folder: Path) -> None:
        from model.weights import load_weights

        load_weights(self, folder)


def top_candidates(scores: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, count) indices by falling score, ties in incoming order, -1 where candidates run out."""
    masked = scores.masked_fill(~mask, -torch.inf)
    order = torch.argsort(masked, dim=1, descending=True, stable=True)
    padded = nn.functional.pad(order[:, :count], (0, max(count - order.shape[1], 0)))
    place = torch.arange(count, device=scores.device)
    return torch.where(place < mask.sum(1, keepdim=True), padded, NO_ITEM)
