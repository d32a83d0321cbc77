"""Lists improved by the evaluator: exchanges are exchanges, and none is for the worse."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import Dataset
from model.psad.improve import exchanges, improve
from model.ranker import top_candidates


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 6), st.integers(0, 999))
def test_an_exchange_moves_one_item_or_two_and_repeats_none(
    lists: int, candidates: int, size: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    mask = torch.arange(candidates) < torch.randint(1, candidates + 1, (lists, 1), generator=random)
    chosen = top_candidates(torch.randn(lists, candidates, generator=random), mask, size)
    found = exchanges(chosen, mask, 7)
    assert found.shape == (lists, 7, size)
    for one in range(lists):
        count = int(mask[one].sum())
        before = chosen[one].tolist()
        real = min(count, size)
        for order in found[one].tolist():
            assert order[real:] == [-1] * (size - real)
            assert len(set(order[:real])) == real
            assert set(order[:real]) <= set(range(count))
            changed = [place for place in range(real) if order[place] != before[place]]
            assert len(changed) <= 2
            if len(changed) == 2:  # the two swapped
                one_place, other = changed
                assert (order[one_place], order[other]) == (before[other], before[one_place])
            if len(changed) == 1:
                assert order[changed[0]] not in before


def test_every_place_and_every_item_can_be_drawn() -> None:
    torch.manual_seed(0)
    mask = torch.ones(1, 6, dtype=torch.bool)
    found = exchanges(torch.tensor([[0, 1, 2]]), mask, 500)[0]
    assert {tuple(order) for order in found.tolist()} == {
        (0, 1, 2),
        *((item, 1, 2) for item in (3, 4, 5)),
        *((0, item, 2) for item in (3, 4, 5)),
        *((0, 1, item) for item in (3, 4, 5)),
        (1, 0, 2), (2, 1, 0), (0, 2, 1),
    }  # fmt: skip


def test_an_improved_list_is_never_worth_less(dataset: Dataset, tools: Any) -> None:
    ranker = tools.shaken(dataset, "psad", list_size=4, context="improved", dropout=0.3).train()
    batch = tools.odd(dataset)
    with torch.no_grad():
        memory = ranker.teacher.remember(ranker.encoder(batch.tensors))
        chosen = ranker.teacher.roll_out(memory)
        better = improve(ranker.evaluator, memory.candidates, chosen, batch.candidate_mask)
        assert ranker.evaluator.training  # dropout is as it was
        ranker.evaluator.eval()
        before, after = (
            ranker.evaluator.worth(ranker.evaluator(memory.candidates, o[:, None]), o[:, None])
            for o in (chosen, better)
        )
    assert (after >= before - 1e-6).all()
    assert (after > before + 1e-4).any()
