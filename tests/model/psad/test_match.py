"""What an item is worth to a user beside the network: by hand, and what it may not read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from model.psad.match import Hinges, Match, kinds_of


def read(tools: Any, dataset: Dataset, **settings: Any) -> tuple[Match, Any, Any]:
    """A match with weights on every path, what it reads, and the batch."""
    ranker, batch = tools.shaken(dataset, "psad", **settings), tools.odd(dataset)
    with torch.no_grad():
        return ranker.student.match, ranker.encoder(batch.tensors).kinds, batch


def test_it_is_numbers_values_and_what_a_user_is_after_times_what_an_item_is(
    dataset: Dataset, tools: Any
) -> None:
    match, kinds, batch = read(tools, dataset, factors=3)
    sizes = [f.size for f in dataset.schema.of("candidate", "categorical")]
    starts = [sum(sizes[:n]) for n in range(len(sizes))]
    factors = match.factors
    kept = torch.sigmoid(factors.memory)
    with torch.no_grad():
        found = match(kinds).squeeze(2)
        for one, slot in batch.candidate_mask.nonzero().tolist():
            by_hand = match.numbers(kinds.numbers[one, slot]).squeeze()
            for start, value in zip(starts, kinds.values[one, slot].tolist(), strict=True):
                by_hand = by_hand + match.values.weight[start + value, 0]
            after = factors.profile(kinds.profile[one])
            for ago in range(int(kinds.history_mask[one].sum())):
                item = factors.history.weight @ kinds.history[one, ago]
                after = after + (1 - kept) * kept**ago * item
            item = factors.candidate.weight @ kinds.candidates[one, slot]
            by_hand = by_hand + (item * after).sum() / math.sqrt(3)
            assert found[one, slot].item() == pytest.approx(by_hand.item(), rel=1e-4, abs=1e-4)


def test_hinges_are_numbers_and_the_larger_of_them_and_each_knot() -> None:
    numbers = torch.tensor([[[-3.0, 0.7]]])
    by_hand = [-3.0, 0.7, -1.0, 0.7, 0.0, 0.7, 1.0, 1.0]  # at knots −1, 0, 1
    torch.testing.assert_close(Hinges(2, 3)(numbers), torch.tensor([[by_hand]]))
    assert Hinges(2, 0)(numbers) is numbers
    assert Hinges(1, 4).at.tolist() == [-math.inf, -1.5, -0.5, 0.5, 1.5]


def test_the_wide_path_may_bend_for_each_number_alone(dataset: Dataset, tools: Any) -> None:
    """A spline that is flat up to a knot and then rises, as trees could have it."""
    match, kinds, batch = read(tools, dataset, factors=0, knots=4)
    numbers = batch.tensors["candidate_numeric"]
    count = numbers.shape[2]
    with torch.no_grad():
        match.values.weight.zero_()
        match.numbers.weight.zero_()
        match.numbers.weight[0, 3 * count + 1] = 2.0  # number 1 above the third knot, 0.5
        found = match(kinds).squeeze(2)
    torch.testing.assert_close(found, 2 * numbers[:, :, 1].clamp(min=0.5))


def test_each_part_can_be_left_out(dataset: Dataset, tools: Any) -> None:
    assert read(tools, dataset, factors=0)[0].factors is None
    plain, kinds, _ = read(tools, dataset, factors=0, wide=False)
    assert plain(kinds) == 0.0
    assert plain.numbers is None
    assert plain.values is None


def test_it_starts_as_the_factors_alone(dataset: Dataset, tools: Any) -> None:
    """Numbers and values have learnt nothing yet."""
    ranker, batch = tools.model(dataset, "psad", factors=4), tools.odd(dataset)
    ranker.eval()
    with torch.no_grad():
        match, kinds = ranker.student.match, ranker.encoder(batch.tensors).kinds
        found = match(kinds) - match.factors(kinds)
    torch.testing.assert_close(found, found[:1, :1].expand_as(found))


def test_kinds_are_normalised_and_numbers_are_none(dataset: Dataset, tools: Any) -> None:
    _, kinds, batch = read(tools, dataset, factors=4)
    some = kinds.candidates[batch.candidate_mask]
    torch.testing.assert_close(some.mean(1), torch.zeros(len(some)), atol=1e-5, rtol=0)
    torch.testing.assert_close(some.var(1, correction=0), torch.ones(len(some)), atol=0.1, rtol=0)
    numbers = batch.tensors["candidate_numeric"]
    assert kinds_of(numbers, 0).shape == (*numbers.shape[:2], 1)  # a side without kinds


def test_without_history_a_user_is_after_what_the_profile_says(
    dataset: Dataset, tools: Any
) -> None:
    match, kinds, _ = read(tools, dataset, wide=False, factors=4)
    nothing = kinds._replace(history_mask=torch.zeros_like(kinds.history_mask))
    cut = kinds._replace(history=kinds.history[:, :0], history_mask=kinds.history_mask[:, :0])
    with torch.no_grad():
        torch.testing.assert_close(match(nothing), match(cut))


def test_history_beyond_what_was_trained_is_forgotten_as_the_last(
    dataset: Dataset, tools: Any
) -> None:
    match, kinds, _ = read(tools, dataset, wide=False, factors=4)
    factors, longest = match.factors, dataset.schema.max_history
    one = kinds.history[:, :1]
    long = kinds._replace(
        history=torch.cat([torch.zeros_like(one).expand(-1, longest + 3, -1), one], 1),
        history_mask=torch.ones(len(one), longest + 4, dtype=torch.bool),
    )
    short = long._replace(
        history=long.history[:, -longest:], history_mask=long.history_mask[:, -longest:]
    )
    with torch.no_grad():
        torch.testing.assert_close(factors(long), factors(short))
