"""What an item is worth to a user beside the network (not in the paper; `factors`, `wide`).

A network of this size has to learn from data that a user who chose a kind of item lately wants more
of it: a product of two things it reads. A factorisation machine has that product in its form
(Rendle, ICDM 2010): here between the candidate's kinds (its categorical and bag features) and what
the user is after, which is the profile plus the kinds of the history, each factor forgetting at a
rate that it learns. And an item has a worth of its own, one number each (Wide & Deep, Cheng et al.,
DLRS 2016), where a vector each would be learnt by heart.

Each head has one of its own. B lists, N history, M candidates, r factors, e width of the kinds of a
side, F numeric features, c categorical features, k knots.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from features.schema import FeatureSchema, Side
from model.axes import Axis, number_names, or_presence, value_names, vector_names
from model.psad.config import Config


class Kinds(NamedTuple):
    """What is known of the items of a list before any network has read it."""

    history: Tensor  # (B, N, e) normalised vectors of categorical and bag features
    history_mask: Tensor  # (B, N)
    candidates: Tensor  # (B, M, e')
    profile: Tensor  # (B, p)
    numbers: Tensor | None  # (B, M, (1 + k)F) the candidates' numeric features, bent
    values: Tensor | None  # (B, M, c) the candidates' categorical features, as indices

    def detached(self) -> Kinds:
        """The same, through which no gradient goes."""
        return Kinds(*(None if one is None else one.detach() for one in self))


def kinds_of(embedded: Tensor, width: int) -> Tensor:
    """(B, n, e) normalised: categorical and bag vectors are the first `width` of a side's."""
    if not width:  # of a side without such features: its presence
        return torch.ones_like(embedded[..., :1])
    return functional.layer_norm(embedded[..., :width], (width,))


class Hinges(nn.Module):
    """Each number, and the larger of it and each of k knots: their sum, weighted, bends there.

    That is a linear spline of every number, as in a generalised additive model (Hastie and
    Tibshirani, Statistical Science 1986). Numbers come standardised, and knots are one standard
    deviation apart.
    """

    def __init__(self, numbers: int, knots: int) -> None:
        super().__init__()
        at = [-math.inf, *(torch.arange(knots) - (knots - 1) / 2).tolist()]
        self.at: Tensor
        self.register_buffer("at", torch.tensor(at).repeat_interleave(numbers), persistent=False)
        self.knots = knots

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, M, F) to (B, M, (1 + k)F): numbers as they are, those cut at the first knot, …"""
        if not self.knots:
            return numbers
        return torch.maximum(torch.cat([numbers] * (1 + self.knots), 2), self.at)


class Match(nn.Module):
    """A logit for each candidate, whatever stands beside it."""

    def __init__(self, schema: FeatureSchema, widths: dict[Side, int], config: Config) -> None:
        """`widths` of the kinds of a side, by its name."""
        super().__init__()
        numbers = schema.width("candidate", "numeric") * (1 + config.knots) if config.wide else 0
        self.numbers = nn.Linear(numbers, 1, bias=False) if numbers else None
        if self.numbers is not None:
            nn.init.zeros_(self.numbers.weight)
        sizes = [f.size for f in schema.of("candidate", "categorical")] if config.wide else []
        self.values = nn.Embedding(sum(sizes), 1) if sizes else None
        if self.values is not None:
            nn.init.zeros_(self.values.weight)
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.starts: Tensor
        self.factors = Factors(schema, widths, config) if config.factors else None
        self._schema, self._knots = schema, config.knots

    def axes(self) -> dict[str, Axis]:
        """Columns by number and knot, rows by value."""
        found = {}
        if self.numbers is not None:
            numbers = number_names(self._schema, "candidate")
            knots = range(1 + self._knots)
            names = tuple((*one, "knot", str(knot)) for knot in knots for one in numbers)
            found["numbers.weight"] = Axis(1, names)
        if self.values is not None:
            names = value_names(self._schema.of("candidate", "categorical"))
            found["values.weight"] = Axis(0, names)
        return found

    def forward(self, kinds: Kinds) -> Tensor | float:
        """(B, M, 1), or 0 where there is nothing to read."""
        parts: list[Tensor] = []
        if self.numbers is not None and kinds.numbers is not None:
            parts.append(self.numbers(kinds.numbers))
        if self.values is not None and kinds.values is not None:
            each = self.values.weight.squeeze(1)[kinds.values + self.starts]  # (B, M, c)
            parts.append(each.sum(2, keepdim=True) if each.shape[2] > 1 else each)
        if self.factors is not None:
            parts.append(self.factors(kinds))
        return sum(parts[1:], parts[0]) if parts else 0.0


class Factors(nn.Module):
    """What a user is after, times what an item is."""

    def __init__(self, schema: FeatureSchema, widths: dict[Side, int], config: Config) -> None:
        """History beyond what was trained is forgotten as much as the last of it."""
        super().__init__()
        rank = config.factors
        self.slots = max(schema.max_history, 1)
        self._schema, self._width = schema, config.embedding_width
        self.candidate = nn.Linear(widths["candidate"], rank, bias=False)
        self.history = nn.Linear(widths["history"], rank, bias=False)
        self.profile = nn.Linear(config.profile_width, rank)
        # before the sigmoid: half of what was chosen is forgotten after 1 to 40 items
        self.memory = nn.Parameter(torch.linspace(0.0, 4.0, rank))

    def axes(self) -> dict[str, Axis]:
        """Columns by the kinds of a side."""
        return {
            f"{side}.weight": Axis(1, or_presence(vector_names(self._schema, side, self._width)))
            for side in ("candidate", "history")
        }

    def forward(self, kinds: Kinds) -> Tensor:
        """(B, M, 1)."""
        kept = torch.sigmoid(self.memory)  # (r,)
        ago = torch.arange(self.slots, device=kept.device).unsqueeze(1)  # newest first
        weights = (1.0 - kept) * torch.exp(ago * kept.log())  # of every slot: in a graph, stored
        slot = torch.arange(kinds.history.shape[1], device=kept.device).clamp(max=self.slots - 1)
        weighted = self.history(kinds.history) * weights[slot]  # (B, N, r)
        # a sum as a product: ONNX Runtime's ReduceSum gets the shape of an empty history wrong
        recent = kinds.history_mask.to(weighted.dtype).unsqueeze(1) @ weighted  # (B, 1, r)
        after = self.profile(kinds.profile).unsqueeze(1) + recent
        items = self.candidate(kinds.candidates) / math.sqrt(len(kept))  # (B, M, r)
        return torch.as_tensor(items @ after.transpose(1, 2))
