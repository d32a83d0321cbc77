"""Choosing in turn, against a loop over sets; beam search, against all permutations."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.decode import Pairs, beam_search, choose_in_turn, one_hot_places, remaining


def by_hand(logits: list[list[float]], available: list[bool]) -> tuple[list[int], set[int]]:
    """One list: the best item that is left, place by place."""
    left, chosen = {item for item, free in enumerate(available) if free}, []
    for row in logits:
        item = max(sorted(left), key=row.__getitem__, default=-1)
        chosen.append(item)
        left -= {item}
    return chosen, left


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**31 - 1))
def test_greedy_choice_takes_the_best_item_that_is_left(
    lists: int, places: int, candidates: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randint(-2, 3, (lists, places, candidates), generator=random).float()  # has ties
    available = torch.rand(lists, candidates, generator=random) < 0.7
    before = available.clone()
    chosen, left, _ = choose_in_turn(logits, available)
    assert torch.equal(available, before)
    for one in range(lists):
        items, free = by_hand(logits[one].tolist(), available[one].tolist())
        assert chosen[one].tolist() == items
        assert set(left[one].nonzero().flatten().tolist()) == free


def test_noise_samples_from_the_softmax_and_never_twice() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0, 9.0]).repeat(20_000, 2, 1)
    available = torch.tensor([True, True, True, False]).repeat(20_000, 1)
    chosen, _, _ = choose_in_turn(logits, available, noise=1.0)
    assert (chosen[:, 0] != chosen[:, 1]).all()
    assert (chosen < 3).all()
    shares = np.bincount(chosen[:, 0], minlength=3) / len(chosen)
    by_hand = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    assert shares == pytest.approx(by_hand, abs=0.015)
    little, _, _ = choose_in_turn(logits, available, noise=0.01)
    assert (little == torch.tensor([0, 1])).all()


def test_one_hot_places_are_empty_at_no_item() -> None:
    hot = one_hot_places(torch.tensor([[2, -1, 0]]), 3)
    assert hot.int().tolist() == [[[0, 0, 1], [0, 0, 0], [1, 0, 0]]]


def test_remaining_is_what_no_earlier_place_took() -> None:
    mask = torch.tensor([[True, True, True, False]])
    left = remaining(torch.tensor([[1, -1, 0, 2]]), mask)
    by_hand = [{0, 1, 2}, {0, 2}, {0, 2}, {2}]
    assert [set(row.nonzero().flatten().tolist()) for row in left[0]] == by_hand


def scripted(lists: int, candidates: int, seed: int) -> Any:
    """Logits that depend on what was chosen before the block, place by place; (B, w, K, M)."""

    def of(one: int, prefix: tuple[int, ...], place: int) -> torch.Tensor:
        key = [seed, one, place, *(item + 1 for item in prefix)]
        return torch.tensor(np.random.default_rng(key).normal(size=candidates) * 2).float()

    def step(chosen: torch.Tensor, start: int, end: int) -> torch.Tensor:
        return torch.stack([
            torch.stack([
                torch.stack([of(one, tuple(beam), place) for place in range(start, end)])
                for beam in chosen[one].tolist()
            ])
            for one in range(lists)
        ])  # fmt: skip

    return step


def pairs_of(lists: int, candidates: int) -> Pairs:
    """Influences drawn at random."""
    random = torch.Generator().manual_seed(candidates)
    influence = torch.randn(lists, candidates, candidates, generator=random)
    return Pairs(influence, torch.tensor(0.7))


def worth_by_hand(
    step: Any, one: int, order: tuple[int, ...], size: int, block: int, mask: Any, pairs: Any
) -> float:
    """Σ ω log p of one order, each place given what stands above."""
    total = 0.0
    for place, item in enumerate(order):
        start = place - place % block
        prefix = torch.full((len(mask), 1, start), -1)
        prefix[one, 0] = torch.tensor(order[:start])
        logits = step(prefix, start, min(start + block, size))[one, 0, place - start].clone()
        for above, earlier in enumerate(order[:place]):
            logits += pairs.influence[one, earlier] * pairs.decay ** (place - above - 1)
        logits[~mask[one]] = -torch.inf
        logits[list(order[:place])] = -torch.inf
        total += torch.log_softmax(logits, 0)[item].item() / np.log2(place + 2)
    return total


@pytest.mark.parametrize("block", [1, 2, 3])
def test_a_wide_beam_finds_the_likeliest_list(block: int) -> None:
    size, candidates, mask = 3, 4, torch.ones(3, 4, dtype=torch.bool)
    mask[1, 3] = mask[2, 2:] = False  # as many as places, and fewer
    step, pairs = scripted(3, candidates, 7), pairs_of(3, candidates)
    beams = beam_search(step, mask, size, block, 24, pairs)
    for one in range(3):
        items = mask[one].nonzero().flatten().tolist()
        filled = min(size, len(items))
        every = {
            order: worth_by_hand(step, one, order, size, block, mask, pairs)
            for order in permutations(items, filled)
        }
        best = max(every, key=every.__getitem__)
        assert tuple(beams.chosen[one, 0].tolist()) == best + (-1,) * (size - filled)
        assert beams.scores[one, 0].item() == pytest.approx(every[best], abs=1e-4)
        weighted = beams.confidence[one, 0] / torch.log2(torch.arange(size) + 2.0)
        assert weighted.sum().item() == pytest.approx(every[best], abs=1e-4)
        alive = beams.alive[one]
        assert alive.sum() == min(len(every), 24)
        found = {
            tuple(item for item in order if item >= 0)
            for order in beams.chosen[one][alive].tolist()
        }
        assert found == set(every)  # each once


@given(
    st.integers(1, 3), st.integers(1, 6), st.integers(1, 4), st.integers(1, 5),
    st.integers(1, 4), st.sampled_from(["likelihood", "utility"]), st.integers(0, 999),
)  # fmt: skip
def test_no_beam_ever_repeats_or_invents_an_item(
    lists: int, candidates: int, size: int, width: int, block: int, score: Any, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    mask = torch.arange(candidates) < torch.randint(1, candidates + 1, (lists, 1), generator=random)
    pairs = pairs_of(lists, candidates)
    beams = beam_search(scripted(lists, candidates, seed), mask, size, block, width, pairs, score)
    assert beams.chosen.shape == (lists, width, size)
    for one in range(lists):
        count = int(mask[one].sum())
        for order in beams.chosen[one].tolist():  # also of beams that are not alive
            real = min(count, size)
            assert len(set(order[:real])) == real
            assert set(order[:real]) <= set(range(count))
            assert order[real:] == [-1] * (size - real)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_a_beam_of_one_is_the_greedy_list(block: int) -> None:
    mask = torch.ones(5, 6, dtype=torch.bool)
    step, pairs = scripted(5, 6, 3), pairs_of(5, 6)
    beams = beam_search(step, mask, 3, block, 1, pairs)
    chosen, available, above = torch.zeros(5, 1, 0, dtype=torch.long), mask, None
    for start in range(0, 3, block):
        logits = step(chosen, start, min(start + block, 3)).squeeze(1)
        items, available, above = choose_in_turn(logits, available, 0.0, pairs, above)
        chosen = torch.cat([chosen, items.unsqueeze(1)], 2)
    assert torch.equal(beams.chosen, chosen)


def test_a_wider_beam_never_finds_a_less_likely_list_when_it_holds_all() -> None:
    """Beam search is no maximisation in general; with every prefix kept it is."""
    mask = torch.ones(4, 5, dtype=torch.bool)
    narrow, wide = (beam_search(scripted(4, 5, 1), mask, 3, 1, width) for width in (1, 60))
    assert (wide.scores[:, 0] >= narrow.scores[:, 0] - 1e-5).all()


def test_the_utility_of_a_list_is_the_sum_of_its_click_probabilities() -> None:
    mask = torch.ones(2, 4, dtype=torch.bool)
    step = scripted(2, 4, 5)
    beams = beam_search(step, mask, 2, 1, 12, score="utility", discounted=False)
    for one in range(2):
        worth = {}
        for order in permutations(range(4), 2):
            first = torch.full((2, 1, 0), 0)
            second = torch.tensor([[[order[0]]], [[order[0]]]])
            logits = [step(first, 0, 1)[one, 0, 0], step(second, 1, 2)[one, 0, 0]]
            worth[order] = sum(
                torch.sigmoid(row[item]).item() for row, item in zip(logits, order, strict=True)
            )
        assert beams.scores[one, 0].item() == pytest.approx(max(worth.values()), abs=1e-5)
        assert tuple(beams.chosen[one, 0].tolist()) == max(worth, key=worth.__getitem__)


def test_influence_before_each_place_is_that_of_the_items_above_in_turn() -> None:
    pairs, items = pairs_of(2, 5), torch.tensor([[3, 0, 4, -1], [1, 2, 0, 3]])
    found = pairs.before(items)
    above: torch.Tensor | None = None
    for place in range(4):
        expected = torch.zeros(2, 5) if above is None else above.squeeze(1)
        torch.testing.assert_close(found[:, place], expected)
        for one in range(2):
            by_hand = sum(
                (pairs.influence[one, item] * 0.7 ** (place - k - 1) for k, item in
                 enumerate(items[one, :place].tolist()) if item >= 0),
                torch.zeros(5),
            )  # fmt: skip
            torch.testing.assert_close(found[one, place], by_hand)
        above = pairs.after(above, items[:, place : place + 1])
