"""Choosing in turn, against a loop over sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.decode import choose_in_turn, one_hot_places, remaining


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
    chosen, left = choose_in_turn(logits, available)
    assert torch.equal(available, before)
    for one in range(lists):
        items, free = by_hand(logits[one].tolist(), available[one].tolist())
        assert chosen[one].tolist() == items
        assert set(left[one].nonzero().flatten().tolist()) == free


def test_noise_samples_from_the_softmax_and_never_twice() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([1.0, 0.0, -1.0, 9.0]).repeat(20_000, 2, 1)
    available = torch.tensor([True, True, True, False]).repeat(20_000, 1)
    chosen, _ = choose_in_turn(logits, available, noise=1.0)
    assert (chosen[:, 0] != chosen[:, 1]).all()
    assert (chosen < 3).all()
    shares = np.bincount(chosen[:, 0], minlength=3) / len(chosen)
    by_hand = np.exp([1.0, 0.0, -1.0]) / np.exp([1.0, 0.0, -1.0]).sum()
    assert shares == pytest.approx(by_hand, abs=0.015)
    little, _ = choose_in_turn(logits, available, noise=0.01)
    assert (little == torch.tensor([0, 1])).all()


def test_one_hot_places_are_empty_at_no_item() -> None:
    hot = one_hot_places(torch.tensor([[2, -1, 0]]), 3)
    assert hot.int().tolist() == [[[0, 0, 1], [0, 0, 0], [1, 0, 0]]]


def test_remaining_is_what_no_earlier_place_took() -> None:
    mask = torch.tensor([[True, True, True, False]])
    left = remaining(torch.tensor([[1, -1, 0, 2]]), mask)
    by_hand = [{0, 1, 2}, {0, 2}, {0, 2}, {2}]
    assert [set(row.nonzero().flatten().tolist()) for row in left[0]] == by_hand
