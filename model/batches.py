"""Batches for training: lists of like length together, so that little is padding.

Order depends on seed and epoch alone, which is what makes a resumed run the run it would have been.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as Indexed

from data.dataset import Dataset
from model.ranker import Batch

Int64 = npt.NDArray[np.int64]
POOL = 16  # batches' worth of lists that are sorted by length together


class LengthBatches(Sampler[list[int]]):
    """Batches of list indexes: shuffled, then sorted by length within pools, then shuffled."""

    def __init__(self, indexes: Int64, lengths: Int64, batch_size: int, seed: int) -> None:
        self.indexes, self.lengths = indexes, lengths  # lengths[i] belongs to indexes[i]
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self.drop_last = False  # read by accelerate, which shares batches out to processes

    def __len__(self) -> int:
        return -(-len(self.indexes) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.indexes))
        pool = self.batch_size * POOL
        by_length = [
            part[np.argsort(self.lengths[part], kind="stable")]
            for part in np.split(order, range(pool, len(order), pool))
        ]
        ordered = np.concatenate(by_length)
        batches = np.split(ordered, range(self.batch_size, len(ordered), self.batch_size))
        for place in random.permutation(len(batches)):
            yield self.indexes[batches[place]].tolist()


def sort_lengths(dataset: Dataset, indexes: Int64) -> Int64:
    """(L,) numbers that sort lists by history, then candidates: both sides are padded apart."""
    history, candidates = dataset.history_lengths[indexes], dataset.lengths[indexes]
    return history * (candidates.max(initial=0) + 1) + candidates


class _Indexes(Indexed[int]):
    """A list's index is its own sample; collating reads the lists of a batch at once."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        return index


class _Collate:
    """Reads the lists of a batch."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, indexes: Sequence[int]) -> Batch:
        arrays, labels = self.dataset.batch(indexes)
        return Batch.from_arrays(arrays, labels)


def training_batches(dataset: Dataset, batch_size: int, seed: int) -> DataLoader[int]:
    """A loader over the train split; set `loader.batch_sampler.epoch` before each epoch."""
    indexes = dataset.splits["train"]
    lengths = sort_lengths(dataset, indexes)
    sampler = LengthBatches(indexes, lengths, batch_size, seed)
    return DataLoader(_Indexes(len(dataset)), batch_sampler=sampler, collate_fn=_Collate(dataset))
