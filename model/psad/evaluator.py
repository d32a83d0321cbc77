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
        self.place = nn.Embedding(max_places, config.width)
        nn.init.normal_(self.place.weight, std=0.02)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.dropout)
            for _ in range(config.evaluator_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, 1)
        self.pairs = PairInfluence(config.width) if config.pairs else None

    def forward(self, candidates: Tensor, orders: Tensor) -> Tensor:
        """candidates (B, M, d), orders (B, L, P) of items, -1 for none; logits (B, L, P)."""
        count, places = orders.shape[1:]
        index = orders.flatten(1).clamp(min=0).unsqueeze(2)
        tokens = self.project(candidates)
        tokens = tokens.gather(1, index.expand(-1, -1, tokens.shape[2]))
        place = torch.arange(places, device=orders.device).clamp(max=self.place.num_embeddings - 1)
        x = tokens.unflatten(1, (count, places)) + self.place(place)
        x = x.flatten(0, 1)  # (B·L, P, d)
        above = torch.ones(places, places, dtype=torch.bool, device=orders.device).tril()
        mask = above & (orders >= 0).flatten(0, 1).unsqueeze(1)  # (B·L, P, P)
        logits = 0.0 if self.pairs is None else self._influence(x, orders.flatten(0, 1) >= 0)
        for block in self.blocks:
            x = block(x, mask)
        logits = self.output(self.norm(x)).squeeze(-1) + logits  # (B·L, P)
        return logits.unflatten(0, (-1, count))

    def _influence(self, x: Tensor, real: Tensor) -> Tensor:
        """(n, P) what the items above add to each place: x (n, P, d), real (n, P)."""
        assert self.pairs is not None
        found = self.pairs(x)
        place = torch.arange(x.shape[1], device=x.device)
        distance = place - place.unsqueeze(1) - 1  # (P above, P below)
        weights = found.decay ** distance.clamp(min=0) * (distance >= 0)
        return (found.influence * weights * real.unsqueeze(2)).sum(1)

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
