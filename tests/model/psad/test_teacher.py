"""The generator: what a place may see, and what it may choose."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from model.decode import remaining
from model.psad.encoder import Encoded
from model.psad.teacher import Teacher

T = 5  # lists hold 4 to 9 candidates: fewer and more than T


def made(tools: Any, dataset: Dataset, **settings: Any) -> tuple[Teacher, Encoded]:
    """A generator with weights on every path, and encoded lists."""
    settings = {"block_size": 2, "teacher_layers": 2, "refine": 1} | settings
    ranker = tools.shaken(dataset, "psad", list_size=T, **settings)
    with torch.no_grad():
        return ranker.teacher, ranker.encoder(tools.odd(dataset).tensors)


def watched(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Every logits that `generate` is going to see."""
    seen, plain = [], teacher.logits

    def watching(*arguments: Any) -> torch.Tensor:
        seen.append(plain(*arguments))
        return seen[-1]

    monkeypatch.setattr(teacher, "logits", watching)
    return seen


@pytest.mark.parametrize("block_size", [1, 2, 3, T, T + 4])
def test_teacher_forcing_along_the_greedy_list_gives_the_logits_of_each_step(
    dataset: Dataset, tools: Any, monkeypatch: pytest.MonkeyPatch, block_size: int
) -> None:
    teacher, encoded = made(tools, dataset, block_size=block_size)
    seen = watched(teacher, monkeypatch)
    with torch.no_grad():
        chosen = teacher.generate(encoded)
        assert len(seen) == math.ceil(T / min(block_size, T))  # one network call a block
        step_by_step = torch.cat(seen, 1)
        together = teacher.all_places(encoded, chosen)
    assert step_by_step.shape == together.shape == (*chosen.shape, encoded.candidate_mask.shape[1])
    torch.testing.assert_close(together, step_by_step, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block_size", [1, 2, T])
def test_a_place_sees_earlier_blocks_and_nothing_later(
    dataset: Dataset, tools: Any, block_size: int
) -> None:
    teacher, encoded = made(tools, dataset, block_size=block_size)
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(encoded.candidate_mask.shape[0], -1)
    block = [place // block_size for place in range(T)]
    with torch.no_grad():
        before = teacher.all_places(encoded, chosen)
        for changed in range(T):
            other = chosen.clone()
            other[:, changed] = 5
            difference = (teacher.all_places(encoded, other) - before).abs().amax((0, 2))
            for place in range(T):
                assert (difference[place] > 1e-6) == (block[place] > block[changed])


def test_queries_see_one_another_within_a_block_alone(dataset: Dataset, tools: Any) -> None:
    teacher, encoded = made(tools, dataset, block_size=2)
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(encoded.candidate_mask.shape[0], -1)
    with torch.no_grad():
        before = teacher.all_places(encoded, chosen)
        teacher.query_places[2].neg_()
        difference = (teacher.all_places(encoded, chosen) - before).abs().amax((0, 2)) > 1e-6
    assert difference.tolist() == [False, False, True, True, False]


def test_the_first_place_of_an_item_matters_to_those_after_it(dataset: Dataset, tools: Any) -> None:
    """Items carry their places: an order is not a set."""
    teacher, encoded = made(tools, dataset, block_size=2)
    lists = encoded.candidate_mask.shape[0]
    one, two = (
        torch.tensor([order]).expand(lists, -1) for order in ([0, 1, 2, 3, 4], [1, 0, 2, 3, 4])
    )
    with torch.no_grad():
        found, swapped = (teacher.all_places(encoded, each) for each in (one, two))
    assert (found - swapped)[:, 2:].abs().max() > 1e-4


def test_logits_are_scaled_products_with_the_candidates_eq_5(dataset: Dataset, tools: Any) -> None:
    teacher, encoded = made(tools, dataset, block_size=T, wide=True)
    caught: list[torch.Tensor] = []
    teacher.norm.register_forward_hook(lambda module, given, found: caught.append(found))
    with torch.no_grad():
        logits = teacher.all_places(encoded, torch.full((len(encoded.mask), T), -1))
        keys = encoded.candidates @ teacher.candidate.weight.T + teacher.candidate.bias
        width = keys.shape[-1] - 1
        by_hand = caught[0] @ keys[..., :width].mT / math.sqrt(width) + keys[..., None, :, width]
        by_hand = by_hand + teacher.wide.linear(encoded.numbers).mT
    torch.testing.assert_close(logits, by_hand)


def test_noise_explores_and_greedy_does_not(dataset: Dataset, tools: Any) -> None:
    teacher, encoded = made(tools, dataset)
    with torch.no_grad():
        greedy, again = teacher.generate(encoded), teacher.generate(encoded)
        torch.manual_seed(0)
        sampled = teacher.generate(encoded, noise=20.0)
    assert torch.equal(greedy, again)
    assert not torch.equal(greedy, sampled)


@pytest.mark.parametrize("refine", [1, 2, T, T + 3])
def test_refinement_refills_the_least_confident_places_and_never_repeats(
    dataset: Dataset, tools: Any, refine: int
) -> None:
    teacher, encoded = made(tools, dataset, refine=refine)
    with torch.no_grad():
        chosen = teacher.generate(encoded)
        refined = teacher.refine(encoded, chosen)
        logits = teacher.all_places(encoded, chosen)
    left = remaining(chosen, encoded.candidate_mask)
    counts = encoded.candidate_mask.sum(1).tolist()
    for one, count in enumerate(counts):
        before, after = chosen[one].tolist(), refined[one].tolist()
        real = min(count, T)
        assert sorted(before[:real] + [-1] * (T - real)) == sorted(before)
        assert after[real:] == [-1] * (T - real)
        assert len(set(after[:real])) == real
        assert set(after[:real]) <= set(range(count))
        chances = [
            torch.log_softmax(logits[one, p].masked_fill(~left[one, p], -torch.inf), 0)[before[p]]
            for p in range(real)
        ]
        doubtful = sorted(range(real), key=lambda p: chances[p].item())[:refine]
        kept = [p for p in range(real) if p not in doubtful]
        assert [after[p] for p in kept] == [before[p] for p in kept]


def test_a_refined_place_takes_the_best_item_that_does_not_stay(
    dataset: Dataset, tools: Any
) -> None:
    teacher, encoded = made(tools, dataset, refine=1)
    with torch.no_grad():
        chosen = teacher.generate(encoded)
        hidden = teacher._least_confident(encoded, chosen, 1)
        logits = teacher.refill(encoded, chosen, hidden)
        refined = teacher.refine(encoded, chosen)
    for one in range(len(chosen)):
        place = int(hidden[one])
        stays = {item for p, item in enumerate(chosen[one].tolist()) if p != place}
        free = set(encoded.candidate_mask[one].nonzero().flatten().tolist()) - stays
        assert refined[one, place] == max(free, key=lambda item: logits[one, 0, item].item())


def test_a_refill_sees_the_items_that_stay_and_not_the_hidden_one(
    dataset: Dataset, tools: Any
) -> None:
    teacher, encoded = made(tools, dataset)
    lists = encoded.candidate_mask.shape[0]
    chosen = torch.tensor([[0, 1, 2, 3, 4]]).expand(lists, -1)
    hidden = torch.tensor([[1, 3]]).expand(lists, -1)
    with torch.no_grad():
        before = teacher.refill(encoded, chosen, hidden)
        for place in range(T):
            other = chosen.clone()
            other[:, place] = 5
            same = torch.allclose(teacher.refill(encoded, other, hidden), before, atol=1e-6)
            assert same == (place in (1, 3))


def test_refinement_of_nothing_is_the_list_itself(dataset: Dataset, tools: Any) -> None:
    teacher, encoded = made(tools, dataset, refine=0)
    with torch.no_grad():
        chosen = teacher.generate(encoded)
        assert teacher.refine(encoded, chosen) is chosen
