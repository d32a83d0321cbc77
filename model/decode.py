"""Choosing items place by place, never the same one twice: greedy, sampled, or by beam search.

Everything is a fixed number of tensor operations for a fixed list size, block size and width, so
that a decoder can be exported as one graph.

B lists, M candidates, W beams, K places of a block, t places filled so far, T of the whole list.
-1 says "no item".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from model.ranker import NEVER, NO_ITEM

BeamScore = Literal["likelihood", "utility"]
_TAKEN = 4 * NEVER  # below any sum that a beam can have, also one that never came to life


class Pairs(NamedTuple):
    """What an item chosen adds to the logits of the places below it, less with every place."""

    influence: Tensor  # (B, M, M) of the row's item on the column's
    decay: Tensor  # () what is left of it a place further down

    def after(self, above: Tensor | None, items: Tensor) -> Tensor:
        """(B, n, M) influence on the place below items (B, n), given that on their own place."""
        added = influence_of(self.influence, items)
        return added if above is None else added + self.decay * above

    def before(self, items: Tensor) -> Tensor:
        """(B, T, M) influence on each place of the items (B, T) above it."""
        place = torch.arange(items.shape[1], device=items.device)
        distance = place.unsqueeze(1) - place - 1  # (T, T)
        weights = self.decay ** distance.clamp(min=0) * (distance >= 0)
        return weights @ influence_of(self.influence, items)


class Beams(NamedTuple):
    """W lists in the making, the best first."""

    chosen: Tensor  # (B, W, t) items by place
    scores: Tensor  # (B, W) sum over the places; about NEVER where fewer lists exist than beams
    confidence: Tensor  # (B, W, t) log-probability of each choice
    available: Tensor  # (B, W, M) what each may still take

    @property
    def alive(self) -> Tensor:
        """(B, W) whether this beam is a list of its own."""
        return self.scores > NEVER / 2


Step = Callable[[Tensor, int, int], Tensor]  # chosen (B, w, t), start, end -> (B, w, end−start, M)
Gain = Callable[[Tensor, Tensor, int], Tensor]  # logits, log-probabilities (B, W, M), place


def beam_search(
    step: Step,
    mask: Tensor,
    size: int,
    block_size: int,
    width: int,
    pairs: Pairs | None = None,
    score: BeamScore = "likelihood",
    discounted: bool = True,
) -> Beams:
    """Lists of `size` items in blocks: one call of `step` a block, and within it place by place.

    mask (B, M). `pairs`, if given, are added to what `step` says, also inside a block, where it
    cannot know what was chosen. A beam's score is the sum over places of masked log-softmax,
    weighted as Eq. (6) weights losses ("likelihood"): unweighted, the lists with the surest tail
    win over those with the best head. Or it is that of click probabilities ("utility"), weighted
    likewise if `discounted`. With width 1 it is the greedy list.
    """
    beams, above = _begin(mask, width), None
    for start in range(0, size, block_size):
        end = min(start + block_size, size)
        # nothing is chosen before the first block, so that one beam stands for all
        logits = step(beams.chosen if start else beams.chosen[:, :1], start, end)
        gain = partial(_gain, score=score, discounted=discounted or score == "likelihood")
        beams, above = _block(beams, logits.expand(-1, width, -1, -1), pairs, above, gain)
    return beams


def _gain(
    logits: Tensor, log_probabilities: Tensor, place: int, *, score: BeamScore, discounted: bool
) -> Tensor:
    """(B, W, M) what each choice at a place adds to a beam's score."""
    weight = 1.0 / math.log2(place + 2.0) if discounted else 1.0
    return weight * (log_probabilities if score == "likelihood" else torch.sigmoid(logits))


def _begin(mask: Tensor, width: int) -> Beams:
    """One empty list a row, and width − 1 that come to life when there are lists enough."""
    scores = torch.full((mask.shape[0], width), NEVER, device=mask.device)
    first = torch.arange(width, device=mask.device) == 0
    nothing = torch.zeros(mask.shape[0], width, 0, device=mask.device)
    return Beams(
        nothing.long(),
        scores.masked_fill(first, 0.0),
        nothing,
        mask.unsqueeze(1).expand(-1, width, -1),
    )


def _block(
    beams: Beams, logits: Tensor, pairs: Pairs | None, above: Tensor | None, gain: Gain
) -> tuple[Beams, Tensor | None]:
    """Fill the places of one block in turn: logits (B, W, K, M); above (B, W, M) by `pairs`."""
    width, places = logits.shape[1], logits.shape[2]
    origin = torch.arange(width, device=logits.device).expand(logits.shape[0], -1)
    for place in range(places):
        own = _of(logits[:, :, place], origin) if place else logits[:, :, place]
        beams, parent = _extend(beams, own if above is None else own + above, gain)
        origin = origin.gather(1, parent)
        if pairs is not None:
            above = None if above is None else _of(above, parent)
            above = pairs.after(above, beams.chosen[:, :, -1])
    return beams, above


def _extend(beams: Beams, logits: Tensor, gain: Gain) -> tuple[Beams, Tensor]:
    """The W best continuations of W beams by one place; (B, W) the beam each one continues."""
    width, candidates = logits.shape[1], logits.shape[2]
    log_probabilities = logits.masked_fill(~beams.available, NEVER).log_softmax(-1)  # (B, W, M)
    gains = gain(logits, log_probabilities, beams.chosen.shape[2])
    left = beams.available.any(2, keepdim=True)
    items = torch.arange(candidates, device=logits.device)
    # a list that ran out of candidates goes on with "no item", which costs nothing
    gains = torch.where(left, gains, 0.0)
    allowed = torch.where(left, beams.available, items == 0)
    total = (beams.scores.unsqueeze(2) + gains).masked_fill(~allowed, _TAKEN)
    scores, flat = total.flatten(1).topk(width)  # (B, W)
    parent = torch.div(flat, candidates, rounding_mode="floor")
    item = torch.where(_of(left, parent).squeeze(2), flat - parent * candidates, NO_ITEM)
    confidence = torch.where(left, log_probabilities, 0.0).flatten(1).gather(1, flat)
    longer = Beams(
        _append(beams.chosen, parent, item),
        scores,
        _append(beams.confidence, parent, confidence),
        _of(beams.available, parent) & (items != item.unsqueeze(2)),
    )
    return longer, parent


def _of(values: Tensor, parent: Tensor) -> Tensor:
    """(B, W, n) rows of the beams that `parent` (B, W) names."""
    return values.gather(1, parent.unsqueeze(2).expand(-1, -1, values.shape[2]))


def _append(sequence: Tensor, parent: Tensor, value: Tensor) -> Tensor:
    """(B, W, t + 1) the parents' sequences and what came after them."""
    last = value.unsqueeze(2)
    return torch.cat([_of(sequence, parent), last], 2) if sequence.shape[2] else last


def influence_of(pairs: Tensor, items: Tensor) -> Tensor:
    """(B, n, M) the rows of pairs (B, M, M) of items (B, n); zeros at "no item"."""
    rows = items.clamp(min=0).unsqueeze(2).expand(-1, -1, pairs.shape[2])
    return pairs.gather(1, rows) * (items >= 0).unsqueeze(2)


def choose_in_turn(
    logits: Tensor,
    available: Tensor,
    noise: float = 0.0,
    pairs: Pairs | None = None,
    above: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Greedy choice at each place of a block in turn; `noise` > 0 samples (Gumbel) instead.

    logits (B, K, M), available (B, M) bool, above (B, M) the influence by `pairs` of what stands
    above the block. Returns the items (B, K), what is left (B, M), and the influence below.
    """
    if noise:
        uniform = torch.rand_like(logits).clamp(1e-6, 1 - 1e-6)
        logits = logits - noise * torch.log(-torch.log(uniform))
    candidates = torch.arange(logits.shape[2], device=logits.device)
    chosen: list[Tensor] = []
    for place in range(logits.shape[1]):
        own = logits[:, place] if above is None else logits[:, place] + above
        item = own.masked_fill(~available, -torch.inf).argmax(1)  # the first of equals
        item = torch.where(available.any(1), item, NO_ITEM)
        chosen.append(item)
        available = available & (candidates != item.unsqueeze(1))
        if pairs is not None:
            before = None if above is None else above.unsqueeze(1)
            above = pairs.after(before, item.unsqueeze(1)).squeeze(1)
    return torch.stack(chosen, 1), available, above


def one_hot_places(chosen: Tensor, candidates: int) -> Tensor:
    """(B, T) items to (B, T, M) bool; all false at "no item"."""
    return chosen.unsqueeze(-1) == torch.arange(candidates, device=chosen.device)


def remaining(chosen: Tensor, mask: Tensor) -> Tensor:
    """(B, T, M) bool: candidates not chosen at an earlier place."""
    taken = one_hot_places(chosen, mask.shape[1]).cumsum(1)
    before = torch.cat([torch.zeros_like(taken[:, :1]), taken[:, :-1]], 1)
    return mask.unsqueeze(1) & (before == 0)
