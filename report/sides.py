"""The two orders that a report compares: the one people see today, and the model's.

L lists of the split, M slots, T places that are shown (`list_size`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from features.errors import PsadError
from model.config import RunConfig
from model.evaluate import (
    Evaluation,
    Mode,
    evaluate,
    evaluate_references,
    row_name,
    split_indexes,
)
from model.fit import ways
from model.ranker import Ranker
from model.train import load_run

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
INCOMING, TODAY = "incoming", "the order as it came"


class ReportError(PsadError):
    """A report that cannot be made as asked."""


@dataclass(frozen=True)
class Trained:
    """A run, loaded."""

    folder: Path
    ranker: Ranker
    config: RunConfig
    mode: Mode

    @property
    def name(self) -> str:
        """As in the tables of `psad evaluate`."""
        return row_name(self.config.model, self.config.settings, self.mode)


@dataclass(frozen=True)
class Sides:
    """Both orders of the same lists, and what people chose in them."""

    dataset: Dataset
    before: Evaluation
    after: Evaluation
    before_name: str
    after_name: str
    references: dict[str, Evaluation]
    labels: Floats  # (L, M), 0 at padding
    other: Trained | None = None  # whose order `before` is; None of the order as it came

    @property
    def lists(self) -> Integers:
        """(L,) their index in the dataset."""
        return self.after.lists

    @property
    def users(self) -> NDArray[np.str_]:
        """(L,)"""
        return self.after.users

    @property
    def shown(self) -> int:
        """T, places that are shown in the end."""
        return int(self.dataset.schema.list_size)

    @cached_property
    def lengths(self) -> Integers:
        """(L,) candidates of each list."""
        return self.dataset.lengths[self.lists]


def load(run: Path | str, mode: Mode | None = None) -> Trained:
    """A finished run; `mode` None takes the scorer where there is one.

    Raises RunError where it is not finished, ReportError where it has no such mode.
    """
    folder = Path(run)
    ranker, config = load_run(folder)
    able = ways(ranker)
    chosen = mode or able[0]
    if chosen not in able:
        raise ReportError(f"{folder} has no {chosen}; it can be judged as {' or '.join(able)}.")
    return Trained(folder, ranker, config, chosen)


def dataset_of(run: Trained, folder: Path | str | None = None) -> Dataset:
    """What the run was trained on, or where that lies now. Raises ReportError for another one."""
    dataset = Dataset.load(folder or run.config.dataset)
    if dataset.schema.fingerprint() != run.config.fingerprint:
        raise ReportError(
            f"{dataset.folder} is not the dataset that {run.folder} was trained on, or was "
            "prepared anew since; name the right one by --dataset, or train again."
        )
    return dataset


def sides(run: Trained, dataset: Dataset, split: str, beside: Trained | None = None) -> Sides:
    """Judge the run, and `beside` or the incoming order, on the lists of a split."""
    references = evaluate_references(dataset, split)
    after = evaluate(run.ranker, dataset, split, mode=run.mode)
    before, name, own = references[INCOMING], TODAY, run.name
    if beside is not None:
        if beside.config.fingerprint != run.config.fingerprint:
            raise ReportError(
                f"{beside.folder} and {run.folder} were trained on different datasets; a report "
                "compares two runs of one."
            )
        before, name = evaluate(beside.ranker, dataset, split, mode=beside.mode), beside.name
        if name == own:
            name, own = (f"{one.name} of {one.folder.name}" for one in (beside, run))
    labels = np.asarray(dataset.labels(split_indexes(dataset, split)), np.float64)
    return Sides(dataset, before, after, name, own, references, labels, beside)


def title_of(dataset: Dataset, row: int) -> str:
    """What people call the item of a catalogue row."""
    if row == 0:
        return "an item that is not in the catalogue"
    return dataset.catalogue.title(dataset.catalogue.ids[row - 1])


def rows_of(dataset: Dataset, index: int) -> tuple[Integers, Integers]:
    """Catalogue rows of a list's candidates in incoming order, and of its history."""
    lists: Any = dataset.lists([index])
    return np.asarray(lists.candidate_rows), np.asarray(lists.history_rows)
