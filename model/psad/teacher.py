"""The semi-autoregressive generator, PSAD-G: the network (PSAD, section 4.2, Eqs. (3) to (5)).

Queries are learned vectors of the places of the list plus a projection of the profile. They attend
to the encodings of the items chosen in earlier blocks and to one another, then to everything that
was encoded. Items chosen are keys only, so that the places of one block, of all blocks at once
(training) or those being refined go through the same function. What a list's candidates and history
give is computed once (`remember`), however many blocks and beams read it.

Places of one block do not see one another's items, because these are not chosen yet. With `pairs`
an item chosen adds its influence on every other candidate to the places below it, in its block too,
less with each place: attention is a mean of what stands above, this is a sum.

B lists, W beams, S encoded items, M candidates, T places, t places before, Q queries, K places of a
block, h heads, d width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from features.schema import FeatureSchema, Side
from model.axes import Axis, place_names
from model.decode import Pairs, choose_in_turn, influence_of
from model.layers import Attention, FeedForward
from model.psad.config import Config
from model.psad.encoder import Encoded
from model.psad.match import Match
from model.psad.pairs import made_pairs
from model.ranker import NO_ITEM


class Memory(NamedTuple):
    """What the generator needs of a list, computed once."""

    keys: tuple[tuple[Tensor, Tensor], ...]  # (B, S, d) keys and values of each layer
    mask: Tensor  # (B, S)
    profile: Tensor  # (B, 1, 1, d)
    candidates: Tensor  # (B, M, d)
    candidate_mask: Tensor  # (B, M)
    vectors: Tensor  # (B, d, M) what queries are multiplied with
    bias: Tensor  # (B, 1, M) what an item has whatever its place
    pairs: Pairs | None


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

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, S, d) of what was encoded (B, S, d)."""
        return self.cross.keys_values(states)

    def forward(
        self,
        queries: Tensor,
        items: Tensor | None,
        mask: Tensor,
        memory: tuple[Tensor, Tensor],
        memory_mask: Tensor,
    ) -> Tensor:
        """queries (B, W, Q, d), items (B, W, t, d), mask (B, W, Q, t + Q), memory_mask (B, S)."""
        beams, count = queries.shape[1:3]
        normed = self.norms[0](queries)
        keys = normed if items is None else torch.cat([self.item_norm(items), normed], 2)
        own = self.own(normed.flatten(0, 1), keys.flatten(0, 1), mask.flatten(0, 1))
        queries = queries + self.dropout(own.unflatten(0, (-1, beams)))
        attended = self.cross.attend(  # Eq. (3)
            self.cross.query(self.norms[1](queries).flatten(1, 2)),
            *memory,
            memory_mask.unsqueeze(1),
            None,
        )
        queries = queries + self.dropout(attended.unflatten(1, (beams, count)))
        return queries + self.dropout(self.feed_forward(self.norms[2](queries)))


class Teacher(nn.Module):
    """Logits of every candidate at the places of a list, given what stands above."""

    def __init__(self, schema: FeatureSchema, widths: dict[Side, int], config: Config) -> None:
        """`widths` of the kinds of a side, by its name."""
        super().__init__()
        width, list_size = config.width, schema.list_size
        self.config, self.list_size = config, list_size
        self.block_size = min(config.block_size, list_size)
        self.query_places = nn.Parameter(torch.randn(list_size, width) * 0.02)
        self.item_places = nn.Parameter(torch.randn(list_size, width) * 0.02)
        self.from_profile = nn.Linear(config.profile_width, width)
        self.layers = nn.ModuleList(TeacherLayer(config) for _ in range(config.teacher_layers))
        self.norm = nn.LayerNorm(width)
        self.candidate = nn.Linear(width, width + 1)
        self.match = Match(schema, widths, config)
        self.pairs = made_pairs(schema, widths["candidate"], config)
        self.register_buffer("block", torch.arange(list_size) // self.block_size, persistent=False)
        self.block: Tensor

    def axes(self) -> dict[str, Axis]:
        """Rows by place of the list."""
        axis = Axis(0, place_names(self.list_size))
        return {"query_places": axis, "item_places": axis}

    def remember(self, encoded: Encoded) -> Memory:
        """Everything about a list that no choice changes."""
        candidates = encoded.candidates
        keys = self.candidate(candidates)  # (B, M, d + 1)
        bias = (keys[..., -1:] + self.match(encoded.kinds)).transpose(1, 2)
        vectors = keys[..., :-1].transpose(1, 2) / math.sqrt(candidates.shape[-1])
        return Memory(
            tuple(layer.remember(encoded.states) for layer in self.layers),
            encoded.mask,
            self.from_profile(encoded.profile)[:, None, None],
            candidates,
            encoded.candidate_mask,
            vectors,
            bias,
            None if self.pairs is None else self.pairs(encoded),
        )

    def logits(
        self, memory: Memory, chosen: Tensor, places: Tensor, sees: Tensor, together: Tensor
    ) -> Tensor:
        """(B, W, Q, M) logits of every candidate at `places`, without the influence of `pairs`.

        chosen (B, W, t) items by place, -1 where there is none; places (Q,), or (B, W, Q);
        sees whether a query may look at the item of a place, broadcastable to (B, W, Q, t);
        together (Q, Q) whether it may look at another query.
        """
        lists, beams, before = chosen.shape
        count = places.shape[-1]
        queries = (self.query_places[places] + memory.profile).expand(lists, beams, -1, -1)
        items, mask = None, together.expand(lists, beams, count, count)
        if before:
            items = self._items(memory, chosen)
            look = sees & (chosen >= 0).unsqueeze(2)  # (B, W, Q, t)
            mask = torch.cat([look.expand(lists, beams, count, before), mask], 3)
        for layer, kept in zip(self.layers, memory.keys, strict=True):
            queries = layer(queries, items, mask, kept, memory.mask)
        product = self.norm(queries).flatten(1, 2) @ memory.vectors + memory.bias  # Eq. (5)
        return product.unflatten(1, (beams, count))

    def _items(self, memory: Memory, chosen: Tensor) -> Tensor:
        """(B, W, t, d) encodings of the items chosen, with their places."""
        beams, before = chosen.shape[1:]
        width = memory.candidates.shape[2]
        index = chosen.flatten(1).clamp(min=0).unsqueeze(2).expand(-1, -1, width)
        items = memory.candidates.gather(1, index).unflatten(1, (beams, before))
        return items + self.item_places[:before]

    def step(self, memory: Memory, chosen: Tensor, start: int, end: int) -> Tensor:
        """(B, W, K, M) logits of the block of places start … end − 1, given chosen (B, W, t)."""
        places = torch.arange(start, end, device=chosen.device)
        together = torch.ones(end - start, end - start, dtype=torch.bool, device=chosen.device)
        return self.logits(memory, chosen, places, together[:, :1], together)

    def all_places(self, memory: Memory, chosen: Tensor) -> Tensor:
        """(B, T, M) logits of every place at once, each given the items of chosen (B, T) above."""
        block = self.block
        places = torch.arange(self.list_size, device=block.device)
        together = block.unsqueeze(1) == block  # (T, T)
        sees = block.unsqueeze(1) > block
        logits = self.logits(memory, chosen.unsqueeze(1), places, sees, together).squeeze(1)
        return logits if memory.pairs is None else logits + memory.pairs.before(chosen)

    def refill(self, memory: Memory, chosen: Tensor, hidden: Tensor) -> Tensor:
        """(B, W, γ, M) logits of the places `hidden` (B, W, γ), given the items that stay, Eq. (4).

        chosen (B, W, T).
        """
        stays = torch.ones_like(chosen, dtype=torch.bool).scatter(2, hidden, False)  # (B, W, T)
        count, beams, size = hidden.shape[2], *chosen.shape[1:]
        together = torch.ones(count, count, dtype=torch.bool, device=chosen.device)
        logits = self.logits(memory, chosen, hidden, stays.unsqueeze(2), together)
        if memory.pairs is None:
            return logits
        pairs = memory.pairs.influence
        rows = influence_of(pairs, torch.where(stays, chosen, NO_ITEM).flatten(1))  # (B, W·T, M)
        distance = (
            hidden.unsqueeze(3) - torch.arange(size, device=chosen.device) - 1
        )  # (B, W, γ, T)
        weights = memory.pairs.decay ** distance.clamp(min=0) * (distance >= 0)
        return logits + weights @ rows.unflatten(1, (beams, size))

    def roll_out(self, memory: Memory, noise: float = 0.0) -> Tensor:
        """(B, T) a list of items, block by block; greedy, or sampled with `noise`."""
        available, above = memory.candidate_mask, None
        chosen = available.new_zeros((available.shape[0], 1, 0), dtype=torch.long)
        for start in range(0, self.list_size, self.block_size):
            end = min(start + self.block_size, self.list_size)
            logits = self.step(memory, chosen, start, end).squeeze(1)
            items, available, above = choose_in_turn(logits, available, noise, memory.pairs, above)
            chosen = torch.cat([chosen, items.unsqueeze(1)], 2)
        return chosen.squeeze(1)
