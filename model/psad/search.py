"""Inference of the generator, PSAD-G (PSAD, section 4.2): search, refine, judge.

Beam search over blocks finds W lists; in each, the γ places chosen with the least confidence are
hidden and filled anew (Eq. (4)); the evaluator reads all of these in their order, and the best is
shown, or what a few swaps make of it (`polish`, not in the paper). Without an evaluator it is the
refined list of the best beam.

B lists, W beams, M candidates, T places.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from model.decode import Beams, beam_search, is_alive, remaining
from model.layers import masked_log_softmax
from model.psad.evaluator import Judge
from model.psad.improve import swaps
from model.psad.losses import place_weights
from model.psad.steps import Steps
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
    teacher: Teacher,
    memory: Memory,
    judge: Judge | None,
    width: int,
    refine: int,
    polish: int = 0,
) -> Generated:
    """The best list that a beam of `width` finds, with `refine` places filled anew.

    Then `polish` rounds of the best swap of two neighbours, where the evaluator approves of one.
    """
    found = search(teacher, memory, width)
    lists = Lists(found.chosen, found.confidence, found.scores)
    refined = refill_least_confident(teacher, memory, found, refine) if refine else lists
    if judge is None:
        return Generated(refined.chosen[:, 0], refined.confidence[:, 0].exp(), refined.scores[:, 0])
    if refine:  # keep the better of the two
        lists = Lists(*(torch.cat(pair, 1) for pair in zip(refined, lists, strict=True)))
    if polish:
        judge.tabulate(lists.chosen.shape[2])
    best = best_of(judge, lists.chosen, is_alive(lists.scores))
    return polished(judge, best.chosen, polish) if polish else best


def search(teacher: Teacher, memory: Memory, width: int) -> Beams:
    """W lists by beam search over the generator's blocks."""
    return beam_search(
        Steps(teacher, memory),
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
    chosen, count = found.chosen, min(refine, found.chosen.shape[2])
    places = torch.arange(1.0, chosen.shape[2] + 1.0, device=chosen.device)
    doubt = torch.where(chosen < 0, places, found.confidence)  # "no item" comes last, in its order
    hidden = doubt.topk(count, dim=2, largest=False).indices  # (B, W, γ)
    hidden = hidden.sort(2).values if count > 1 else hidden
    logits = Steps(teacher, memory).refill(chosen, hidden)  # Eq. (4)
    before = chosen.gather(2, hidden)
    closed = torch.where(found.available, 0.0, NEVER)  # (B, W, M)
    free = closed.scatter(2, before.clamp(min=0), 0.0)
    items, renewed = _in_turn(logits, free)
    nothing = before < 0
    return Lists(
        chosen.scatter(2, hidden, items.masked_fill(nothing, NO_ITEM)),
        found.confidence.scatter(2, hidden, renewed.masked_fill(nothing, 0.0)),
        found.scores,
    )


def _in_turn(logits: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The best of what is free at each place (B, W, γ), and its log-probability among all of it.

    logits (B, W, γ, M); free (B, W, M) is 0, or NEVER.
    """
    possible = logits + free.unsqueeze(2)
    log_probabilities, items = possible.log_softmax(3), []
    for place in range(logits.shape[2]):
        items.append(possible[:, :, place].argmax(2, keepdim=True))  # the first of equals
        possible = possible + torch.zeros_like(free).scatter(2, items[-1], NEVER).unsqueeze(2)
    chosen = torch.cat(items, 2)
    return chosen, log_probabilities.gather(3, chosen.unsqueeze(3)).squeeze(3)


def best_of(judge: Judge, chosen: Tensor, real: Tensor | None = None) -> Generated:
    """The list of chosen (B, L, T) that the evaluator thinks most of, the first of equals.

    real (B, L) says which are lists at all.
    """
    chances = judge.chances(chosen, gaps=False)  # (B, L, T)
    worth = judge.worth(chances, chosen)
    if real is not None:
        worth = torch.where(real, worth, NEVER)
    return _taken(chosen, chances, worth)


def polished(judge: Judge, chosen: Tensor, rounds: int) -> Generated:
    """Lists (B, T) after so many rounds of the best swap, where the evaluator approves of one.

    Only what holds an item is swapped, so that no gap opens.
    """
    orders, lowest = (torch.tensor(one, device=chosen.device) for one in swaps(chosen.shape[1]))
    held = (chosen >= 0).unsqueeze(1)  # (B, 1, T)
    possible = held.sum(2) > lowest  # (B, P)
    items, best = chosen.clamp(min=0), None
    for _ in range(rounds):
        tried = items.index_select(1, orders.flatten()).unflatten(1, orders.shape)  # (B, P, T)
        chances, worth = judge.full(tried, held)
        best = _taken(tried, chances, torch.where(possible, worth, NEVER))
        items = best.chosen
    assert best is not None
    return best._replace(chosen=torch.where(held.squeeze(1), items, NO_ITEM))


def _taken(lists: Tensor, chances: Tensor, worth: Tensor) -> Generated:
    """Of lists (B, L, T) that of the greatest worth (B, L), the first of equals."""
    best = worth.argmax(1, keepdim=True)  # (B, 1)
    place = best.unsqueeze(2).expand(-1, -1, lists.shape[2])
    return Generated(
        lists.gather(1, place).squeeze(1),
        chances.gather(1, place).squeeze(1),
        worth.gather(1, best).squeeze(1),
    )


def worth_of(teacher: Teacher, memory: Memory, judge: Judge | None, chosen: Tensor) -> Tensor:
    """(B, L) what finished lists (B, L, T) are worth, by what `generate` chooses by."""
    if judge is not None:
        return judge.worth(judge.chances(chosen), chosen)
    return torch.stack([_own_worth(teacher, memory, one) for one in chosen.unbind(1)], 1)


def _own_worth(teacher: Teacher, memory: Memory, chosen: Tensor) -> Tensor:
    """(B,) the score that the search gives a list (B, T)."""
    logits = teacher.all_places(memory, chosen)
    gains = masked_log_softmax(logits, remaining(chosen, memory.candidate_mask))
    if teacher.config.beam_score == "utility":
        gains = torch.sigmoid(logits)
    gains = gains.gather(2, chosen.clamp(min=0).unsqueeze(2)).squeeze(2) * (chosen >= 0)
    if teacher.config.beam_score == "likelihood" or not teacher.config.clicks_depend_on_place:
        gains = gains * place_weights(torch.arange(chosen.shape[1], device=chosen.device))
    return gains.sum(1)
