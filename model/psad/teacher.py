"""The semi-autoregressive generator, PSAD-G (PSAD, section 4.2, Eqs. (3) to (5)).

Queries are learned vectors of the places of the list plus a projection of the profile. They attend
to the encodings of the items chosen in earlier blocks and to one another, then to everything that
was encoded. Items chosen are keys only, so that the places of one block, of all blocks at once
(training) or those being refined go through the same function.

B lists, S encoded items, M candidates, T places, Q queries, K places of a block, d width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from model.decode import choose_in_turn, one_hot_places, remaining
from model.layers import Attention, FeedForward, masked_log_softmax
from model.psad.config import Config
from model.psad.encoder import Encoded
from model.psad.student import WidePath


class TeacherLayer(nn.Module):
    """Self-attention over chosen items and queries, cross-attention, feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.own = Attention(width, config.heads)
        self.cross = Attention(width, config.heads)
        self.feed_forward = FeedForward(width, 2 * width, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.item_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, queries: Tensor, items: Tensor, mask: Tensor, states: Tensor, state_mask: Tensor
    ) -> Tensor:
        """queries (B, Q, d), items (B, T, d), mask (B, Q, T + Q), states (B, S, d)."""
        normed = self.norms[0](queries)
        keys = torch.cat([self.item_norm(items), normed], 1)
        queries = queries + self.dropout(self.own(normed, keys, mask))
        attended = self.cross(self.norms[1](queries), states, state_mask.unsqueeze(1))  # Eq. (3)
        queries = queries + self.dropout(attended)
        return queries + self.dropout(self.feed_forward(self.norms[2](queries)))


class Teacher(nn.Module):
    """Generates lists of T items in blocks of K."""

    def __init__(self, numbers: int, list_size: int, config: Config) -> None:
        super().__init__()
        self.config, self.list_size = config, list_size
        self.block_size = min(config.block_size, list_size)
        self.query_places = nn.Parameter(torch.randn(list_size, config.width) * 0.02)
        self.item_places = nn.Parameter(torch.randn(list_size, config.width) * 0.02)
        self.from_profile = nn.Linear(config.profile_width, config.width)
        self.layers = nn.ModuleList(TeacherLayer(config) for _ in range(config.teacher_layers))
        self.norm = nn.LayerNorm(config.width)
        self.candidate = nn.Linear(config.width, config.width + 1)
        self.wide = WidePath(numbers if config.wide else 0)
        self.register_buffer("block", torch.arange(list_size) // self.block_size, persistent=False)
        self.block: Tensor

    def logits(
        self, encoded: Encoded, chosen: Tensor, places: Tensor, sees: Tensor, together: Tensor
    ) -> Tensor:
        """(B, Q, M) logits of every candidate at `places`.

        chosen (B, T) items by place, -1 where there is none; places (B, Q) or (1, Q);
        sees (B or 1, Q, T) whether a query may look at the item of a place;
        together (B or 1, Q, Q) whether it may look at another query.
        """
        items, held = self._items(encoded, chosen)
        lists, count = chosen.shape[0], places.shape[1]
        queries = self.query_places[places] + self.from_profile(encoded.profile).unsqueeze(1)
        look = sees & held.unsqueeze(1)  # (B, Q, T)
        mask = torch.cat([look, together.expand(lists, count, count)], 2)
        for layer in self.layers:
            queries = layer(queries, items, mask, encoded.states, encoded.mask)
        keys = self.candidate(encoded.candidates)  # (B, M, d + 1)
        vectors, bias = keys[..., :-1], keys[..., -1]
        product = self.norm(queries) @ vectors.transpose(1, 2) / math.sqrt(vectors.shape[-1])
        return product + (bias + self.wide(encoded.numbers)).unsqueeze(1)  # Eq. (5)

    def _items(self, encoded: Encoded, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, d) encodings of the items chosen, with their places; (B, T) which are there."""
        index = chosen.clamp(min=0).unsqueeze(-1).expand(-1, -1, encoded.candidates.shape[-1])
        return encoded.candidates.gather(1, index) + self.item_places[
            : chosen.shape[1]
        ], chosen >= 0

    def all_places(self, encoded: Encoded, chosen: Tensor) -> Tensor:
        """(B, T, M) logits of every place at once, each given the blocks before its own."""
        block = self.block
        places = torch.arange(self.list_size, device=block.device).unsqueeze(0)
        sees = (block.unsqueeze(1) > block).unsqueeze(0)  # (1, T, T)
        together = (block.unsqueeze(1) == block).unsqueeze(0)
        return self.logits(encoded, chosen, places, sees, together)

    def refill(self, encoded: Encoded, chosen: Tensor, hidden: Tensor) -> Tensor:
        """(B, γ, M) logits of the places `hidden` (B, γ), given the items that stay, Eq. (4)."""
        stays = torch.ones_like(chosen, dtype=torch.bool).scatter(1, hidden, False)  # (B, T)
        count = hidden.shape[1]
        together = torch.ones(1, count, count, dtype=torch.bool, device=chosen.device)
        sees = stays.unsqueeze(1).expand(-1, count, -1)
        return self.logits(encoded, chosen, hidden, sees, together)

    def generate(self, encoded: Encoded, noise: float = 0.0) -> Tensor:
        """(B, T) a list of items, block by block; greedy, or sampled with `noise`."""
        lists, device = encoded.candidate_mask.shape[0], encoded.candidate_mask.device
        chosen = torch.full((lists, self.list_size), -1, dtype=torch.long, device=device)
        available = encoded.candidate_mask
        for start in range(0, self.list_size, self.block_size):
            end = min(start + self.block_size, self.list_size)
            places = torch.arange(start, end, device=device).unsqueeze(0)
            # later places hold no item yet, so a query sees what was chosen and nothing else
            sees = torch.ones(1, end - start, self.list_size, dtype=torch.bool, device=device)
            together = torch.ones(1, end - start, end - start, dtype=torch.bool, device=device)
            logits = self.logits(encoded, chosen, places, sees, together)
            items, available = choose_in_turn(logits, available, noise)
            chosen = torch.cat([chosen[:, :start], items, chosen[:, end:]], 1)
        return chosen

    def refine(self, encoded: Encoded, chosen: Tensor) -> Tensor:
        """(B, T) the list with its γ least confident places filled anew, once."""
        count = min(self.config.refine, self.list_size)
        if count == 0:
            return chosen
        hidden = self._least_confident(encoded, chosen, count)
        logits = self.refill(encoded, chosen, hidden)  # Eq. (4)
        stays = chosen.scatter(1, hidden, -1)
        taken = one_hot_places(stays, encoded.candidate_mask.shape[1]).any(1)
        items, _ = choose_in_turn(logits, encoded.candidate_mask & ~taken)
        # a list shorter than T keeps its tail of "no item": those places are never hidden
        return chosen.scatter(1, hidden, torch.where(chosen.gather(1, hidden) < 0, -1, items))

    def _least_confident(self, encoded: Encoded, chosen: Tensor, count: int) -> Tensor:
        """(B, γ) places whose item was chosen with the least probability, in order of place."""
        logits = self.all_places(encoded, chosen)
        left = remaining(chosen, encoded.candidate_mask)
        chances = masked_log_softmax(logits, left).gather(2, chosen.clamp(min=0).unsqueeze(2))
        confidence = chances.squeeze(2).masked_fill(chosen < 0, torch.inf)
        return confidence.topk(count, dim=1, largest=False).indices.sort(1).values
