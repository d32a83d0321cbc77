"""Batch and the order that follows from scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.dataset import Dataset
from model.evaluate import load_batch
from model.ranker import NO_ITEM, Batch, Ranker, top_candidates


class Fixed(Ranker):
    """Scores that a test chose."""

    trains_by_gradient = False

    def __init__(self, dataset: Dataset, scores: torch.Tensor) -> None:
        self.schema, self.fixed = dataset.schema, scores

    def fit(self, dataset: Dataset, folder: Path, **options: Any) -> dict[str, Any]:
        return {}

    def scores(self, batch: Batch) -> torch.Tensor:
        return self.fixed

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@given(st.data())
def test_top_candidates_sort_by_score_and_ties_stay_in_incoming_order(data: st.DataObject) -> None:
    lists, candidates, count = (data.draw(st.integers(1, 6)) for _ in range(3))
    scores = torch.tensor(
        data.draw(
            st.lists(
                st.lists(st.integers(-2, 2), min_size=candidates, max_size=candidates),
                min_size=lists, max_size=lists,
            )
        ),
        dtype=torch.float32,
    )  # fmt: skip
    lengths = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=lists, max_size=lists)))
    mask = torch.arange(candidates) < lengths.unsqueeze(1)
    found = top_candidates(scores, mask, count)
    for row, values, length in zip(found.tolist(), scores.tolist(), mask.sum(1), strict=True):
        by_hand = sorted(range(int(length)), key=lambda place: -values[place])[:count]  # stable
        assert row == by_hand + [NO_ITEM] * (count - len(by_hand))


def test_a_huge_score_at_padding_is_never_chosen() -> None:
    scores, mask = torch.tensor([[1.0, 2.0, 1e30]]), torch.tensor([[True, True, False]])
    assert top_candidates(scores, mask, 3).tolist() == [[1, 0, -1]]
    assert torch.equal(scores, torch.tensor([[1.0, 2.0, 1e30]]))  # the argument stays as it was


def test_rank_cuts_to_the_lists_size_and_generate_is_rank_by_default(dataset: Dataset) -> None:
    batch = load_batch(dataset, dataset.splits["test"][:3])
    ranker = Fixed(dataset, torch.arange(batch.labels.numel()).reshape(batch.labels.shape).float())
    found = ranker.rank(batch)
    assert found.shape == (3, dataset.schema.list_size)
    counts = batch.candidate_mask.sum(1).tolist()
    assert [row[0] for row in found.tolist()] == [count - 1 for count in counts]
    assert torch.equal(ranker.generate(batch), found)


def test_a_batch_is_the_encoded_arrays_themselves(dataset: Dataset) -> None:
    arrays, labels = dataset.batch(dataset.splits["test"][:2])
    batch = Batch.from_arrays(arrays, labels, np.zeros(labels.shape, np.int64))
    assert set(batch.tensors) == {spec.name for spec in dataset.schema.tensors()}
    for spec in dataset.schema.tensors():
        assert str(batch.tensors[spec.name].dtype) == f"torch.{spec.dtype}"
        assert batch.tensors[spec.name].data_ptr() == arrays[spec.name].ctypes.data
    assert batch.candidate_mask is batch.tensors["candidate_mask"]


def test_a_batch_moves_whole(dataset: Dataset) -> None:
    arrays, labels = dataset.batch(dataset.splits["test"][:2])
    batch = Batch.from_arrays(arrays, labels, np.zeros(labels.shape, np.int64))
    moved = batch.to(torch.device("meta"))
    assert moved.candidate_rows is not None
    everything = [*moved.tensors.values(), moved.labels, moved.candidate_rows]
    assert {tensor.device.type for tensor in everything} == {"meta"}
    assert batch.labels.device.type == "cpu"
    assert Batch.from_arrays(arrays, labels).to(torch.device("cpu")).candidate_rows is None
