"""Better lists than the generator's own, by the evaluator: exchanges of one item for another.

A generator that is trained on clicks predicts the click on its next item; the item that is best for
the list as a whole may be another. The evaluator can tell two lists apart, but not find good ones.
So, with `context="improved"`, the generator learns what the evaluator thinks of each item that it
could have chosen: the worth of its own list with that item exchanged in. What is a search in
training is then one decision online. With `polish`, a short search follows there too.

B lists, P exchanges, Q places asked about, T places, M candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.psad.evaluator import Judge
from model.ranker import NO_ITEM

NEAR = 2  # `polish` exchanges items that are so many places apart, or fewer


def exchanged(chosen: Tensor, candidates: int, place: Tensor, item: Tensor) -> Tensor:
    """(B, P, T) lists chosen (B, T) with item (B, P) at place (B, P), which held one.

    What stood there takes the item's place, if it had one.
    """
    count = place.shape[1]
    where = chosen.new_full((chosen.shape[0], candidates + 1), NO_ITEM)
    places = torch.arange(chosen.shape[1], device=chosen.device).expand(len(chosen), -1)
    where = where.scatter(1, torch.where(chosen < 0, candidates, chosen), places)
    other, before = where.gather(1, item), chosen.gather(1, place)
    inside = other >= 0  # the two swap; else the item replaces what stood there
    index, value = torch.where(inside, other, place), torch.where(inside, before, item)
    found = chosen.unsqueeze(1).expand(-1, count, -1)
    found = found.scatter(2, place.unsqueeze(2), item.unsqueeze(2))
    return found.scatter(2, index.unsqueeze(2), value.unsqueeze(2))


@torch.no_grad()
def worth_of_exchanges(judge: Judge, chosen: Tensor, mask: Tensor, places: Tensor) -> Tensor:
    """(B, Q, M) the worth of chosen (B, T) with each candidate at places (B, Q) that hold one.

    mask (B, M); what padding is said to be worth means nothing.
    """
    lists, candidates = mask.shape
    place = places.repeat_interleave(candidates, 1)  # (B, Q·M)
    item = torch.arange(candidates, device=mask.device).expand(lists, -1).repeat(1, places.shape[1])
    was_training = judge.evaluator.training
    judge.evaluator.eval()
    found = exchanged(chosen, candidates, place, item)
    judge.tabulate(chosen.shape[1])
    worth = judge.worth(judge.chances(found), found)
    judge.evaluator.train(was_training)
    return worth.unflatten(1, (-1, candidates))


def swaps(size: int) -> tuple[list[list[int]], list[int]]:
    """(P, T) orders of places with two of them swapped, NEAR apart at most, and the lower of each.

    The first leaves all as it is, for which no place is needed: its lower is -1.
    """
    orders, lowest = [list(range(size))], [-1]
    for apart in range(1, min(NEAR, size - 1) + 1):
        for upper in range(size - apart):
            order = list(range(size))
            order[upper], order[upper + apart] = order[upper + apart], order[upper]
            orders.append(order)
            lowest.append(upper + apart)
    return orders, lowest
