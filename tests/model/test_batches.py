"""Every list once an epoch, lists of like length together, an order that seed and epoch fix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from model.batches import POOL, LengthBatches, sort_lengths, training_batches
from model.evaluate import load_batch

INDEXES = np.arange(1000, 1203)
LENGTHS = np.random.default_rng(0).integers(1, 100, len(INDEXES))


def epoch(seed: int, number: int, batch_size: int = 8) -> list[list[int]]:
    batches = LengthBatches(INDEXES, LENGTHS, batch_size, seed)
    batches.epoch = number
    return list(batches)


@pytest.mark.parametrize("batch_size", [1, 8, 64, 203, 500])
def test_each_list_comes_once_an_epoch(batch_size: int) -> None:
    batches = epoch(0, 3, batch_size)
    assert sorted(index for batch in batches for index in batch) == INDEXES.tolist()
    assert len(batches) == len(LengthBatches(INDEXES, LENGTHS, batch_size, 0))
    assert max(map(len, batches)) <= batch_size


def test_seed_and_epoch_alone_decide_the_order() -> None:
    assert epoch(1, 2) == epoch(1, 2)
    orders = [epoch(1, 2), epoch(1, 3), epoch(2, 2), epoch(0, 0)]
    assert len({str(order) for order in orders}) == len(orders)
    batches = LengthBatches(INDEXES, LENGTHS, 8, 1)
    batches.epoch = 2
    assert list(batches) == list(batches) == epoch(1, 2)


def test_lists_of_a_batch_are_alike_in_length() -> None:
    by_index = dict(zip(INDEXES.tolist(), LENGTHS.tolist(), strict=True))
    spreads = [np.ptp([by_index[index] for index in batch]) for batch in epoch(0, 0)]
    assert np.mean(spreads) < 100 / POOL * 1.5  # a shuffled batch of 8 spreads over nearly all 100


def test_the_loader_reads_the_training_lists_as_they_are_encoded(dataset: Dataset) -> None:
    loader, found = training_batches(dataset, 16, seed=3), 0
    for indexes, batch in zip(list(loader.batch_sampler), loader, strict=True):
        assert set(indexes) <= set(dataset.splits["train"].tolist())
        expected = load_batch(dataset, np.array(indexes))
        assert torch.equal(batch.labels, expected.labels)
        assert all(torch.equal(batch.tensors[name], one) for name, one in expected.tensors.items())
        found += len(indexes)
    assert found == len(dataset.splits["train"])


def test_lists_sort_by_history_then_by_candidates(dataset: Dataset) -> None:
    indexes = dataset.splits["train"]
    history, candidates = dataset.history_lengths[indexes], dataset.lengths[indexes]
    found = np.argsort(sort_lengths(dataset, indexes), kind="stable")
    assert found.tolist() == np.lexsort((candidates, history)).tolist()
