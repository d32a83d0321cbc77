"""The generator's network as inference runs it: the logits of teacher.py in fewer operations.

All beams of a list ask the same questions until they have seen what each has chosen, and one row of
keys holds the items of all of them, with a fixed mask that keeps every beam to its own. A list that
has an item at some place has one at all places above, so that only what is refilled needs to know
where a list ended.

B lists, W beams, S encoded items, M candidates, T places, t places before, Q queries, K places of a
block, γ places refilled, I items among the keys, h heads, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.layers import attention
from model.psad.teacher import Memory, Teacher, TeacherLayer
from model.ranker import NEVER


class Steps:
    """Logits at the places of a list, for `beam_search` and for what is filled anew after it."""

    def __init__(self, teacher: Teacher, memory: Memory) -> None:
        self.teacher, self.memory = teacher, memory
        self.queries = teacher.query_places + memory.profile.squeeze(1)  # (B, T, d)
        self.unseen = _closed(memory.mask)[:, None, None]  # (B, 1, 1, S)
        lists, candidates, _ = memory.candidates.shape
        self.first = torch.arange(lists, device=memory.mask.device)[:, None, None] * candidates
        self.rows = memory.candidates.flatten(0, 1)  # (B·M, d)

    def __call__(self, chosen: Tensor, start: int, end: int) -> Tensor:
        """(B, W, K, M) logits of the block of places start … end − 1, given chosen (B, W, t)."""
        beams, before = chosen.shape[1:]
        queries, items = self.queries[:, start:end], None  # (B, K, d)
        if before:
            items = self._items(chosen)
        masks = [_shared(beams, before, end - start, queries), None]
        if len(self.teacher.layers) > 1:
            masks[1] = _apart(beams, before, end - start, queries)
        return self._logits(queries, items, masks, beams)

    def refill(self, chosen: Tensor, hidden: Tensor) -> Tensor:
        """(B, W, γ, M) as `Teacher.refill`: places `hidden` (B, W, γ) of chosen (B, W, T)."""
        (beams, size), count = chosen.shape[1:], hidden.shape[2]
        queries = (self.teacher.query_places[hidden] + self.memory.profile).flatten(1, 2)
        stays = _closed(chosen >= 0).scatter(2, hidden, NEVER).flatten(1)  # (B, W·T)
        seen = torch.cat([stays, torch.zeros_like(stays[:, : beams * count])], 1)
        mask = _apart(beams, size, count, queries) + seen[:, None, None]
        logits = self._logits(queries, self._items(chosen.clamp(min=0)), [mask, mask], beams)
        pairs = self.memory.pairs
        if pairs is None:
            return logits
        below = torch.arange(size).unsqueeze(1) - torch.arange(size) - 1  # (T, T)
        below = below.to(hidden.device)
        weights = torch.where(below >= 0, pairs.decay ** below.clamp(min=0), 0.0)[hidden]
        if count > 1:  # alone, the hidden place is not above itself
            weights = weights * (stays == 0).unflatten(1, (beams, size)).unsqueeze(2)
        rows = pairs.influence.flatten(0, 1)[self.first + chosen.clamp(min=0)]  # (B, W, T, M)
        return logits + weights @ rows

    def _items(self, chosen: Tensor) -> Tensor:
        """(B, W·t, d) encodings of the items chosen (B, W, t), with their places."""
        items = self.rows[self.first + chosen]  # (B, W, t, d)
        return (items + self.teacher.item_places[: chosen.shape[2]]).flatten(1, 2)

    def _logits(
        self, queries: Tensor, items: Tensor | None, masks: list[Tensor | None], beams: int
    ) -> Tensor:
        """Of queries (B, Q, d): all beams', or one's for all, which the first mask tells apart."""
        for number, layer in enumerate(self.teacher.layers):
            queries = self._layer(layer, number, queries, items, masks[min(number, 1)])
        product = self.teacher.norm(queries) @ self.memory.vectors + self.memory.bias  # Eq. (5)
        return product.unflatten(1, (beams, -1))

    def _layer(
        self,
        layer: TeacherLayer,
        number: int,
        queries: Tensor,
        items: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        normed, own = layer.norms[0](queries), layer.own
        keys = normed if items is None else torch.cat([layer.item_norm(items), normed], 1)
        q = own.query(normed)
        if mask is not None and mask.shape[2] != q.shape[1]:  # from here on each beam has its own
            beams = mask.shape[2] // q.shape[1]
            q, queries = q.repeat(1, beams, 1), queries.repeat(1, beams, 1)  # (B, W·K, d)
        found = attention(q, *own.keys_values(keys), own.heads, mask)
        queries = queries + own.output(found)
        q, cross = layer.cross.query(layer.norms[1](queries)), layer.cross
        found = attention(q, *self.memory.keys[number], cross.heads, self.unseen)
        queries = queries + cross.output(found)
        return queries + layer.feed_forward(layer.norms[2](queries))


def _closed(seen: Tensor) -> Tensor:
    """0 where it is seen, NEVER elsewhere."""
    return torch.where(seen, 0.0, NEVER)


def _shared(beams: int, items: int, queries: int, like: Tensor) -> Tensor | None:
    """(1, 1, W·K, W·t + K): each beam sees its own items and the one set of queries."""
    if beams == 1:
        return None
    own = torch.eye(beams, dtype=torch.bool).repeat_interleave(items, 1)  # (W, W·t)
    seen = torch.cat([own, torch.ones(beams, queries, dtype=torch.bool)], 1)
    return _closed(seen.repeat_interleave(queries, 0))[None, None].to(like.device)


def _apart(beams: int, items: int, queries: int, like: Tensor) -> Tensor:
    """(1, 1, W·K, W·t + W·K): each beam sees its own items and its own queries."""
    same = torch.eye(beams, dtype=torch.bool).repeat_interleave(queries, 0)  # (W·K, W)
    seen = [same.repeat_interleave(count, 1) for count in (items, queries)]
    return _closed(torch.cat(seen, 1))[None, None].to(like.device)
