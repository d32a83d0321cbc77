"""Inference of the generator, PSAD-G (PSAD, section 4.2): search, refine, judge.

Beam search over blocks finds W lists; in each, the γ places chosen with the least confidence are
hidden and filled anew (Eq. (4)); the evaluator reads all of these in their order, and the best is
shown. Without an evaluator it is the refined list of the best beam.

B lists, W beams, M candidates, T places.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from model.decode import Beams, beam_search, choose_in_turn, one_hot_places
from model.layers import masked_log_softmax
from model.psad.evaluator import Evaluator
from model.psad.teacher import Memory, Teacher
from model.ranker import NEVER, NO_ITEM


class Generated(NamedTuple):
    """The list that is shown."""

    chosen: Tensor  # (B, T) items by place; -1 says "no item"
    chances: Tensor  # (B, T) probability of a click (of the choice, where there is no evaluator)
    worth: Tensor  # (B,) what the list was chosen by


class Lists(NamedTuple):
    """L finished lists of each request."""

    chosen: Tensor  # (B, L, T)
    confidence: Tensor  # (B, L, T) log-probability of each choice
    scores: Tensor  # (B, L) of the search; about NEVER where it is no list of its own


def generate(
    teacher: Teacher, evaluator: Evaluator | None, memory: Memory, width: int, refine: int
) -> Generated:
    """The best list that a beam of `width` finds, with `refine` places filled anew."""
    found = search(teacher, memory, width)
    lists = Lists(found.chosen, found.confidence, found.scores)
    refined = refill_least_confident(teacher, memory, found, refine) if refine else lists
    if evaluator is None:
        return Generated(refined.chosen[:, 0], refined.confidence[:, 0].exp(), refined.scores[:, 0])
    if refine:  # keep the better of the two
        lists = Lists(*(torch.cat(pair, 1) for pair in zip(refined, lists, strict=True)))
    return judge(evaluator, memory, lists)


def search(teacher: Teacher, memory: Memory, width: int) -> Beams:
    """W lists by beam search over the generator's blocks."""
    return beam_search(
        partial(teacher.step, memory),
        memory.candidate_mask,
        teacher.list_size,
        teacher.block_size,
        width,
        memory.pairs,
        teacher.config.beam_score,
        discounted=not teacher.config.clicks_depend_on_place,
    )


def refill_least_confident(teacher: Teacher, memory: Memory, found: Beams, refine: int) -> Lists:
    """Every list with its least confident places filled anew, once, from what does not stay."""
    chosen, width, size = found.chosen, *found.chosen.shape[1:]
    count = min(refine, size)
    doubt = found.confidence.masked_fill(chosen < 0, torch.inf)  # "no item" stays
    hidden = doubt.topk(count, dim=2, largest=False).indices  # (B, W, γ)
    hidden = hidden.sort(2).values if count > 1 else hidden
    logits = teacher.refill(memory, chosen, hidden)  # Eq. (4)
    before = chosen.gather(2, hidden)
    free = one_hot_places(before, memory.candidate_mask.shape[1]).any(2) | found.available
    items, _, _ = choose_in_turn(logits.flatten(0, 1), free.flatten(0, 1))
    items = torch.where(before < 0, NO_ITEM, items.unflatten(0, (-1, width)))
    log_probabilities = masked_log_softmax(logits, free.unsqueeze(2))
    renewed = log_probabilities.gather(3, items.clamp(min=0).unsqueeze(3)).squeeze(3)
    return Lists(
        chosen.scatter(2, hidden, items),
        found.confidence.scatter(2, hidden, torch.where(items < 0, 0.0, renewed)),
        found.scores,
    )


def judge(evaluator: Evaluator, memory: Memory, lists: Lists) -> Generated:
    """The list that the evaluator thinks most of, the first of equals."""
    logits = evaluator(memory.candidates, lists.chosen)  # (B, L, T)
    worth = evaluator.worth(logits, lists.chosen)
    worth = torch.where(lists.scores > NEVER / 2, worth, NEVER)
    best = worth.argmax(1, keepdim=True)  # (B, 1)
    place = best.unsqueeze(2).expand(-1, -1, lists.chosen.shape[2])
    return Generated(
        lists.chosen.gather(1, place).squeeze(1),
        torch.sigmoid(logits.gather(1, place).squeeze(1)),
        worth.gather(1, best).squeeze(1),
    )
