"""Lists and their exchanges: what is exchanged, and what the evaluator is asked about."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import Dataset
from model.psad import losses
from model.psad.improve import exchanged, swaps, worth_of_exchanges
from model.ranker import top_candidates


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(0, 999))
def test_an_exchange_moves_one_item_or_two_and_repeats_none(
    lists: int, candidates: int, size: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(candidates) < torch.randint(1, candidates + 1, (lists, 1), generator=random)
    count = mask.sum(1, keepdim=True)
    chosen = top_candidates(torch.randn(lists, candidates, generator=random), mask, size)
    place = (torch.rand(lists, 7, generator=random) * count.clamp(max=size)).long()
    item = (torch.rand(lists, 7, generator=random) * count).long()
    found = exchanged(chosen, candidates, place, item)
    assert found.shape == (lists, 7, size)
    for one in range(lists):
        before = chosen[one].tolist()
        for each, order in enumerate(found[one].tolist()):
            at, new = int(place[one, each]), int(item[one, each])
            by_hand = list(before)
            if new in before:
                by_hand[before.index(new)] = before[at]
            by_hand[at] = new
            assert order == by_hand


@pytest.mark.parametrize("size", range(1, 7))
def test_swaps_are_all_those_of_near_places_once(size: int) -> None:
    orders, lowest = swaps(size)
    by_hand = [(list(range(size)), -1)]
    for upper, lower in itertools.combinations(range(size), 2):
        if lower - upper <= 2:
            order = list(range(size))
            order[upper], order[lower] = lower, upper
            by_hand.append((order, lower))
    assert sorted(zip(orders, lowest, strict=True)) == sorted(by_hand)
    assert (orders[0], lowest[0]) == by_hand[0]


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("pairs", ["none", "encoded"])
def test_a_judge_with_a_table_judges_as_one_without(
    dataset: Dataset, tools: Any, layers: int, pairs: str
) -> None:
    ranker = tools.shaken(
        dataset, "psad", list_size=4, context="improved", evaluator_layers=layers, pairs=pairs
    ).eval()
    batch = tools.odd(dataset)
    with torch.no_grad():
        encoded = ranker.encoder(batch.tensors)
        plain, tabled = (ranker.evaluator.read(encoded) for _ in range(2))
        tabled.tabulate(4)
        assert (tabled.table is None) == bool(layers)
        orders = torch.tensor([[[0, 1, 2, 3], [2, -1, 0, -1]]]).expand(len(batch.labels), -1, -1)
        torch.testing.assert_close(tabled.logits(orders), plain.logits(orders))
        other = orders[:, :, :3]  # of another length
        torch.testing.assert_close(tabled.logits(other), plain.logits(other))


def test_the_evaluator_is_asked_about_every_item_at_a_place(dataset: Dataset, tools: Any) -> None:
    ranker = tools.shaken(dataset, "psad", list_size=4, context="improved", dropout=0.3).train()
    batch = tools.odd(dataset)
    mask = batch.candidate_mask
    with torch.no_grad():
        encoded = ranker.encoder(batch.tensors)
        judge = ranker.evaluator.read(encoded)
        chosen = ranker.teacher.roll_out(ranker.teacher.remember(encoded))
        worth = worth_of_exchanges(judge, chosen, mask, torch.tensor([[0, 3]]).expand(len(mask), 2))
        assert ranker.evaluator.training  # dropout is as it was
        ranker.evaluator.eval()
        as_it_is = judge.worth(judge.chances(chosen[:, None]), chosen[:, None])
        own = worth[:, 0].gather(1, chosen[:, :1])
        torch.testing.assert_close(own, as_it_is)  # an item at its own place
        last = worth[:, 1].gather(1, chosen[:, :1])  # the first and the last swap
        swapped = chosen[:, [3, 1, 2, 0]].unsqueeze(1)
        torch.testing.assert_close(last, judge.worth(judge.chances(swapped), swapped))


def test_advice_is_followed_where_it_is_clear() -> None:
    """The loss is least where logits differ as worth does, a fiftieth of a click to one."""
    worth = torch.tensor([[[0.50, 0.46, 0.52, 9.0]]])
    left = torch.tensor([[[True, True, True, False]]])
    logits = (worth / 0.02).clone().requires_grad_()
    losses.advised(logits, worth, left).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6
    other = torch.zeros_like(worth)
    assert losses.advised(other, worth, left) > losses.advised(worth / 0.02, worth, left) + 0.1
    nothing = torch.zeros_like(left)
    assert losses.advised(other, worth, nothing) == 0.0  # a place where no item is left


def test_what_the_generator_is_advised_moves_no_encoder(dataset: Dataset, tools: Any) -> None:
    """It learns about lists from what others have learnt about users and items."""
    ranker = tools.shaken(dataset, "psad", list_size=4, context="improved", alpha=0.0).train()
    terms = ranker.loss(tools.odd(dataset))
    (terms["generator"] + terms["refinement"]).backward()
    assert all(one.grad is None for one in ranker.encoder.parameters())
    assert all(one.grad is None for one in ranker.evaluator.parameters())
    assert sum(float(p.grad.abs().sum()) for p in ranker.teacher.parameters() if p.grad is not None)
