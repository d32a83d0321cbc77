"""Better lists than the generator's own, by the evaluator: what `context="improved"` teaches.

A generator that is trained on clicks predicts the click on its next item; the item that is best for
the list as a whole may be another. The evaluator can tell two lists apart, but not find good ones.
So each roll-out is improved by exchanges that the evaluator approves, and the generator learns to
produce the improved list in the first place: what is a search in training is one decision online.

B lists, P proposals, T places, M candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.psad.evaluator import Evaluator
from model.ranker import NO_ITEM

PROPOSALS = 24  # exchanges tried at once
ROUNDS = 2


@torch.no_grad()
def improve(evaluator: Evaluator, candidates: Tensor, chosen: Tensor, mask: Tensor) -> Tensor:
    """(B, T) chosen (B, T) after the best of some random exchanges, twice; candidates (B, M, d)."""
    was_training = evaluator.training
    evaluator.eval()
    for _ in range(ROUNDS):
        lists = torch.cat([chosen.unsqueeze(1), exchanges(chosen, mask, PROPOSALS)], 1)
        worth = evaluator.worth(evaluator(candidates, lists), lists)  # (B, 1 + P)
        best = worth.argmax(1)[:, None, None].expand(-1, -1, chosen.shape[1])
        chosen = lists.gather(1, best).squeeze(1)
    evaluator.train(was_training)
    return chosen


def exchanges(chosen: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, count, T) the list with two items exchanged, drawn at random: two of its places, or one
    of them and an item that is left out."""
    lists, size = chosen.shape
    candidates = mask.shape[1]
    filled = (chosen >= 0).sum(1, keepdim=True)  # (B, 1)
    place = (torch.rand(lists, count, device=mask.device) * filled).long()  # (B, P)
    draw = torch.rand(lists, count, candidates, device=mask.device).masked_fill(
        ~mask.unsqueeze(1), -1.0
    )
    item = draw.argmax(2)  # (B, P)
    where = torch.full((lists, candidates + 1), NO_ITEM, device=mask.device)
    places = torch.arange(size, device=mask.device).expand(lists, -1)
    where = where.scatter(1, torch.where(chosen < 0, candidates, chosen), places)
    other = where.gather(1, item)  # (B, P) the place of that item, if it has one
    before = chosen.gather(1, place)
    found = chosen.unsqueeze(1).expand(-1, count, -1)
    found = found.scatter(2, place.unsqueeze(2), item.unsqueeze(2))
    inside = other >= 0
    index, value = torch.where(inside, other, place), torch.where(inside, before, item)
    return found.scatter(2, index.unsqueeze(2), value.unsqueeze(2))
