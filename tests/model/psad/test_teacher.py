"""The generator: what a place may see, and what it may choose."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from model.decode import remaining
from model.psad.teacher import Memory, Teacher

T = 5  # lists hold 4 to 9 candidates: fewer and more than T


def made(tools: Any, dataset: Dataset, **settings: Any) -> tuple[Teacher, Memory]:
    """A generator with weights on every path, and lists that it has read."""
    settings = {"block_size": 2, "teacher_layers": 2, "refine": 1, "pairs": "none"} | settings
    ranker = tools.shaken(dataset, "psad", list_size=T, **settings)
    with torch.no_grad():
        return ranker.teacher, ranker.teacher.remember(ranker.encoder(tools.odd(dataset).tensors))


def encoded(tools: Any, dataset: Dataset, **settings: Any) -> Any:
    """What the generator of `made` has read."""
    settings = {"block_size": 2, "teacher_layers": 2, "refine": 1, "pairs": "none"} | settings
    with torch.no_grad():
        ranker = tools.shaken(dataset, "psad", list_size=T, **settings)
        return ranker.encoder(tools.odd(dataset).tensors)


def watched(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every logits that the roll-out is going to see."""
    seen, plain = [], teacher.logits

    def watching(*arguments: Any) -> torch.Tensor:
        found = plain(*arguments)
        seen.append(found.squeeze(1))
        return found

    monkeypatch.setattr(teacher, "logits", watching)
    return seen


@pytest.mark.parametrize("block_size", [1, 2, 3, T, T + 4])
def test_teacher_forcing_along_the_greedy_list_gives_the_logits_of_each_step(
    dataset: Dataset, tools: Any, monkeypatch: pytest.MonkeyPatch, block_size: int
) -> None:
    teacher, memory = made(tools, dataset, block_size=block_size)
    seen = watched(teacher, monkeypatch)
    with torch.no_grad():
        chosen = teacher.roll_out(memory)
        assert len(seen) == math.ceil(T / min(block_size, T))  # one network call a block
        step_by_step = torch.cat(seen, 1)
        together = teacher.all_places(memory, chosen)
    assert step_by_step.shape == together.shape == (*chosen.shape, memory.candidate_mask.shape[1])
    torch.testing.assert_close(together, step_by_step, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block_size", [1, 2, T])
def test_a_place_sees_earlier_blocks_and_nothing_later(
    dataset: Dataset, tools: Any, block_size: int
) -> None:
    teacher, memory = made(tools, dataset, block_size=block_size)
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(memory.candidate_mask.shape[0], -1)
    block = [place // block_size for place in range(T)]
    with torch.no_grad():
        before = teacher.all_places(memory, chosen)
        for changed in range(T):
            other = chosen.clone()
            other[:, changed] = 5
            difference = (teacher.all_places(memory, other) - before).abs().amax((0, 2))
            for place in range(T):
                assert (difference[place] > 1e-6) == (block[place] > block[changed])


def test_queries_see_one_another_within_a_block_alone(dataset: Dataset, tools: Any) -> None:
    teacher, memory = made(tools, dataset, block_size=2)
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(memory.candidate_mask.shape[0], -1)
    with torch.no_grad():
        before = teacher.all_places(memory, chosen)
        teacher.query_places[2].neg_()
        difference = (teacher.all_places(memory, chosen) - before).abs().amax((0, 2)) > 1e-6
    assert difference.tolist() == [False, False, True, True, False]


def test_the_first_place_of_an_item_matters_to_those_after_it(dataset: Dataset, tools: Any) -> None:
    """Items carry their places: an order is not a set."""
    teacher, memory = made(tools, dataset, block_size=2)
    lists = memory.candidate_mask.shape[0]
    one, two = (
        torch.tensor([order]).expand(lists, -1) for order in ([0, 1, 2, 3, 4], [1, 0, 2, 3, 4])
    )
    with torch.no_grad():
        found, swapped = (teacher.all_places(memory, each) for each in (one, two))
    assert (found - swapped)[:, 2:].abs().max() > 1e-4


def test_logits_are_scaled_products_with_the_candidates_eq_5(dataset: Dataset, tools: Any) -> None:
    teacher, memory = made(tools, dataset, block_size=T, wide=True)
    caught: list[torch.Tensor] = []
    teacher.norm.register_forward_hook(lambda module, given, found: caught.append(found))
    with torch.no_grad():
        logits = teacher.all_places(memory, torch.full((len(memory.mask), T), -1))
        keys = memory.candidates @ teacher.candidate.weight.T + teacher.candidate.bias
        width = keys.shape[-1] - 1
        queries = caught[0].squeeze(1)
        by_hand = queries @ keys[..., :width].mT / math.sqrt(width) + keys[..., None, :, width]
        by_hand = by_hand + teacher.match(encoded(tools, dataset, block_size=T).kinds).mT
    torch.testing.assert_close(logits, by_hand)


def test_noise_explores_and_greedy_does_not(dataset: Dataset, tools: Any) -> None:
    teacher, memory = made(tools, dataset)
    with torch.no_grad():
        greedy, again = teacher.roll_out(memory), teacher.roll_out(memory)
        torch.manual_seed(0)
        sampled = teacher.roll_out(memory, noise=20.0)
    assert torch.equal(greedy, again)
    assert not torch.equal(greedy, sampled)


def test_a_refill_sees_the_items_that_stay_and_not_the_hidden_one(
    dataset: Dataset, tools: Any
) -> None:
    teacher, memory = made(tools, dataset)
    lists = memory.candidate_mask.shape[0]
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(lists, -1)
    hidden = torch.tensor([[1, 3]]).expand(lists, -1)

    def refilled(teacher: Teacher, memory: Memory, chosen: torch.Tensor) -> torch.Tensor:
        return teacher.refill(memory, chosen.unsqueeze(1), hidden.unsqueeze(1))

    with torch.no_grad():
        before = refilled(teacher, memory, chosen)
        for place in range(T):
            other = chosen.clone()
            other[:, place] = 5
            same = torch.allclose(refilled(teacher, memory, other), before, atol=1e-6)
            assert same == (place in (1, 3))


@pytest.mark.parametrize("block_size", [1, 3, T])
def test_items_above_move_a_place_by_their_pairs(
    dataset: Dataset, tools: Any, block_size: int
) -> None:
    teacher, memory = made(tools, dataset, block_size=block_size, pairs="kinds")
    chosen = torch.tensor([[0, 1, 2, 3, -1]]).expand(memory.candidate_mask.shape[0], -1)
    with torch.no_grad():
        found = teacher.all_places(memory, chosen)
        plain = teacher.all_places(memory._replace(pairs=None), chosen)
        kinds = encoded(tools, dataset, block_size=block_size, pairs="kinds").kinds
        giving, taking = teacher.pairs.project(kinds.candidates).chunk(2, -1)
        giving = giving * (1 + teacher.pairs.scale(kinds.profile)).unsqueeze(1)
        decay = torch.sigmoid(teacher.pairs.fading)
        for place in range(T):
            by_hand = torch.zeros_like(found[:, place])
            for above in range(place):
                by_hand += (
                    (giving[:, above : above + 1] @ taking.mT).squeeze(1)
                    / 4.0
                    * decay ** (place - above - 1)
                )
            difference = found[:, place] - plain[:, place]
            torch.testing.assert_close(difference, by_hand, atol=1e-4, rtol=1e-4)


def test_a_refilled_place_is_moved_by_those_above_that_stay(dataset: Dataset, tools: Any) -> None:
    teacher, memory = made(tools, dataset, pairs="kinds")
    lists = memory.candidate_mask.shape[0]
    chosen = torch.tensor([[[4, 1, 2, 3, 0]]]).expand(lists, 2, -1)
    hidden = torch.tensor([[[1, 3], [0, 2]]]).expand(lists, -1, -1)
    with torch.no_grad():
        found = teacher.refill(memory, chosen, hidden)
        plain = teacher.refill(memory._replace(pairs=None), chosen, hidden)
        rows, decay = memory.pairs.influence, memory.pairs.decay
        first = found[:, 0, 1] - plain[:, 0, 1]  # place 3, above it stay 0 and 2
        by_hand = rows[:, 2] + decay**2 * rows[:, 4]
        torch.testing.assert_close(first, by_hand, atol=1e-4, rtol=1e-4)
        nothing = found[:, 1, 0] - plain[:, 1, 0]  # place 0: nothing stands above it
        torch.testing.assert_close(nothing, torch.zeros_like(nothing))


def test_influence_is_part_of_what_the_roll_out_chooses_by(dataset: Dataset, tools: Any) -> None:
    """Teacher-forced logits along the greedy list have each choice as the best that is left."""
    teacher, memory = made(tools, dataset, block_size=3, pairs="kinds")
    with torch.no_grad():
        chosen = teacher.roll_out(memory)
        logits = teacher.all_places(memory, chosen)
    left = remaining(chosen, memory.candidate_mask)
    best = logits.masked_fill(~left, -torch.inf).argmax(2)
    assert torch.equal(torch.where(chosen < 0, -1, best), chosen)
