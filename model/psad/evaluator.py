"""The evaluator of finished lists: PRM with a sigmoid head on the shared encodings.

It is trained on logged lists in the order they were shown, so that it learns what an item is worth
below those above it, and judges the lists a beam search found in the order they were generated. PRM
(Pei et al., RecSys 2019) is a transformer over items and their places; its softmax head would give
every order of the same items the same sum, so this one has a click probability of its own for each
place. Attention looks upward alone: a list that is cut at T then means what its beginning meant.

B lists, L orders of each, P places, M candidates, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import Block
from model.psad.config import Config
from model.psad.losses import place_weights
from model.psad.pairs import PairInfluence


class Evaluator(nn.Module):
    """Click probabilities of the items of a list in its order, and what the list is worth."""

    def __init__(self, max_places: int, config: Config) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Linear(config.width, config.width)
        self.place = nn.Parameter(torch.randn(max_places, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout)
            for _ in range(config.evaluator_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, 1)
        self.pairs = PairInfluence(config.width) if config.pairs else None

    def forward(self, candidates: Tensor, orders: Tensor, gaps: bool = True) -> Tensor:
        """candidates (B, M, d), orders (B, L, P) of items, -1 for none; logits (B, L, P).

        Without `gaps`, "no item" stands at the ends of orders alone, where no item looks up at it.
        """
        count, places = orders.shape[1:]
        x = self._tokens(candidates, orders)  # (B·L, P, d)
        mask = torch.ones(1, places, places, dtype=torch.bool, device=orders.device).tril()
        real = (orders >= 0).flatten(0, 1) if gaps else None  # (B·L, P)
        mask = mask if real is None else mask & real.unsqueeze(1)  # (B·L, P, P)
        influence = 0.0 if self.pairs is None else self._influence(x, real)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.output(self.norm(x)).squeeze(-1) + influence  # (B·L, P)
        return logits.unflatten(0, (-1, count))

    def _tokens(self, candidates: Tensor, orders: Tensor) -> Tensor:
        """(B·L, P, d) what stands at each place of the orders (B, L, P)."""
        lists, items, _ = candidates.shape
        first = torch.arange(lists, device=orders.device)[:, None, None] * items
        rows = (first + orders.clamp(min=0)).flatten(0, 1)  # (B·L, P)
        place = torch.arange(orders.shape[2], device=orders.device)
        place = place.clamp(max=len(self.place) - 1)
        items = self.project(candidates).flatten(0, 1)  # (B·M, d)
        return functional.embedding(rows, items) + self.place[place]

    def _influence(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(n, P) what the items above add to each place: x (n, P, d), real (n, P)."""
        assert self.pairs is not None
        found = self.pairs(x)
        place = torch.arange(x.shape[1], device=x.device)
        distance = place - place.unsqueeze(1) - 1  # (P above, P below)
        weights = found.decay ** distance.clamp(min=0) * (distance >= 0)
        weighted = found.influence * weights
        return (weighted if real is None else weighted * real.unsqueeze(2)).sum(1)

    def worth(self, logits: Tensor, orders: Tensor) -> Tensor:
        """(B, L) expected gain of each list: discounted as DCG is, or the clicks themselves.

        Where lists are trained in the state that was shown, the probability of a click already
        falls with the place, and a discount would count that twice.
        """
        chances = torch.sigmoid(logits) * (orders >= 0)
        if not self.config.clicks_depend_on_place:
            places = torch.arange(orders.shape[2], device=orders.device)
            chances = chances * place_weights(places)
        return chances.sum(2)

    def loss(self, candidates: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Cross-entropy of the clicks in the order that was shown; labels and mask (B, M)."""
        if self.config.evaluator_stop_gradient:
            candidates = candidates.detach()
        order = torch.arange(mask.shape[1], device=mask.device)
        logits = self(candidates, torch.where(mask, order, -1).unsqueeze(1)).squeeze(1)
        terms = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return (terms * mask).sum() / mask.sum().clamp(min=1)
