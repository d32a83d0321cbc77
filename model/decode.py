"""Choosing items place by place, never the same one twice: greedy, sampled, or by beam search.

Everything is a fixed number of tensor operations for a fixed list size, block size and width, so
that a decoder can be exported as one graph.

What may not be chosen has a logit far below any other, so that a choice is an addition and a top-k.

B lists, M candidates, W beams, n = B·W, K places of a block, t places filled so far, T of the list.
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
_TAKEN = 1e3 * NEVER  # a logit whose choice makes a list worse than any that is only not alive
_ONLY = -1e3 * _TAKEN  # a logit beside which all others are as good as taken


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
    """W lists, the best first."""

    chosen: Tensor  # (B, W, T) items by place
    scores: Tensor  # (B, W) sum over the places; about NEVER where fewer lists exist than beams
    confidence: Tensor  # (B, W, T) log-probability of each choice
    available: Tensor  # (B, W, M) what each may still take

    @property
    def alive(self) -> Tensor:
        """(B, W) whether this beam is a list of its own."""
        return is_alive(self.scores)


def is_alive(scores: Tensor) -> Tensor:
    """Whether a score of the search is that of a list of its own."""
    return scores > NEVER / 2


class _Growing(NamedTuple):
    """Lists in the making, W a request, the best first."""

    scores: Tensor  # (n, 1, 1)
    codes: Tensor  # (n, t) what was chosen, as numbers of `_Choices`
    seen: tuple[Tensor, ...]  # (n·M,) log-probabilities that each place chose from


class _Choices(NamedTuple):
    """What number b·W·M + w·M + m of the choices at a place means: looked up, never divided."""

    first: Tensor  # (B, 1) b·W·M
    beam: Tensor  # (n·M,) b·W + w
    item: Tensor  # (n·M,) m
    row: Tensor  # (n·M,) of `effects`
    effects: Tensor  # (rows, e, M) what taking an item adds: to be out of reach, and its influence
    decay: Tensor | None  # () of the influence

    def below(self, places: range, above: range) -> Tensor:
        """(K, t·e) weights of the effects of items `above` on `places`."""
        upper = torch.tensor([[place - other - 1 for other in above] for place in places])
        if self.decay is None:
            return torch.ones(upper.shape, device=self.effects.device)
        fading = self.decay ** upper.to(self.decay.device)
        return torch.stack([torch.ones_like(fading), fading], 2).flatten(1)


Step = Callable[[Tensor, int, int], Tensor]  # chosen (B, w, t), start, end -> (B, w, end−start, M)
Gain = Callable[[Tensor, Tensor, int], Tensor]  # logits, log-probabilities, place; of one shape


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

    `step` is asked for one beam where nothing is chosen that could tell beams apart. Of a list that
    has no candidates left it is told arbitrary items, and its answer does not matter.
    """
    gain = partial(_gain, score=score, discounted=discounted or score == "likelihood")
    choices, beams, reach = _choices(mask, pairs, width), _begin(mask, width), _reach(mask, size)
    chosen = mask.new_zeros((mask.shape[0], 1, 0), dtype=torch.long)
    for start in range(0, size, block_size):
        places = range(start, min(start + block_size, size))
        logits = step(chosen, start, places.stop) + reach[:, :, start : places.stop]
        logits = logits.expand(-1, width, -1, -1).flatten(0, 1)  # (n, K, M)
        if start:
            effects = choices.effects[choices.row[beams.codes]].flatten(1, 2)  # (n, t·e, M)
            logits = logits + choices.below(places, range(start)) @ effects
        beams = _block(beams, logits, places, choices, gain)
        chosen = choices.item[beams.codes].unflatten(0, (-1, width))  # (B, W, t)
    return _finished(beams, chosen, mask)


def _block(
    beams: _Growing, logits: Tensor, places: range, choices: _Choices, gain: Gain
) -> _Growing:
    """Fill the places of one block in turn: logits (n, K, M)."""
    lists = choices.first.shape[0]
    for place in places:
        now, logits = logits.split([1, places.stop - place - 1], 1)
        log_probabilities = now.log_softmax(2)  # (n, 1, M)
        total = beams.scores + gain(now, log_probabilities, place)
        best = total.reshape(lists, -1).topk(total.shape[0] // lists)  # (B, W)
        code = (best.indices + choices.first).flatten()  # (n,)
        parent = choices.beam[code]
        if place + 1 in places:
            effects = choices.effects[choices.row[code]]
            weights = choices.below(places[place + 1 - places.start :], range(place, place + 1))
            logits = logits[parent] + weights @ effects
        codes = torch.cat([beams.codes[parent], code.unsqueeze(1)], 1)
        seen = (*beams.seen, log_probabilities.flatten())
        beams = _Growing(best.values.reshape(-1, 1, 1), codes, seen)
    return beams


def _gain(
    logits: Tensor, log_probabilities: Tensor, place: int, *, score: BeamScore, discounted: bool
) -> Tensor:
    """What each choice at a place adds to a beam's score; "no item" adds nothing."""
    gains = log_probabilities
    if score == "utility":
        clicks = torch.sigmoid(logits) * (logits < _ONLY / 2)
        gains = torch.where(gains > NEVER, clicks, gains)
    return gains / math.log2(place + 2.0) if discounted and place else gains


def _begin(mask: Tensor, width: int) -> _Growing:
    """One empty list a request, and W − 1 that come to life when there are lists enough."""
    scores = torch.where(torch.arange(width, device=mask.device) == 0, 0.0, NEVER)
    scores = scores.repeat(mask.shape[0])  # (n,)
    nothing = scores.new_zeros((scores.shape[0], 0), dtype=torch.long)
    return _Growing(scores[:, None, None], nothing, ())


def _reach(mask: Tensor, size: int) -> Tensor:
    """(B, 1, T, M) to be added to logits: padding is out of reach; without candidates left, all
    but the first, so that a list goes on as it is."""
    places = torch.arange(size, device=mask.device)
    beyond = places >= mask.sum(1, keepdim=True)  # (B, T)
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    last = torch.where(beyond.unsqueeze(2) & first, _ONLY, 0.0)  # (B, T, M)
    return (last + torch.where(mask, 0.0, _TAKEN).unsqueeze(1)).unsqueeze(1)


def _choices(mask: Tensor, pairs: Pairs | None, width: int) -> _Choices:
    """The tables of one search."""
    lists, candidates = mask.shape
    item = torch.arange(candidates, device=mask.device)
    one = torch.arange(lists, device=mask.device).unsqueeze(1)
    beam = torch.arange(lists * width, device=mask.device).unsqueeze(1)
    row = (one * candidates + item).repeat(1, width)  # (B, W·M)
    taken = torch.where(item.unsqueeze(1) == item, _TAKEN, 0.0).expand(lists, -1, -1)
    effects = [taken] if pairs is None else [taken, pairs.influence]
    return _Choices(
        one * (width * candidates),
        beam.expand(-1, candidates).flatten(),
        item.repeat(lists * width),
        row.flatten(),
        torch.stack(effects, 2).flatten(0, 1),
        None if pairs is None else pairs.decay,
    )


def _finished(beams: _Growing, chosen: Tensor, mask: Tensor) -> Beams:
    """What is known of the lists at the end: chosen (B, W, T), mask (B, M)."""
    width, size = chosen.shape[1:]
    present = torch.arange(size, device=mask.device) < mask.sum(1)[:, None, None]  # (B, 1, T)
    confidence = torch.stack(beams.seen).gather(1, beams.codes.t()).t()  # (n, T)
    left = mask.to(confidence.dtype).unsqueeze(1).expand(-1, width, -1)
    return Beams(
        torch.where(present, chosen, NO_ITEM),
        beams.scores.reshape(-1, width),
        confidence.unflatten(0, (-1, width)),
        left.scatter(2, chosen, 0.0) > 0,
    )


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
