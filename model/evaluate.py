"""Judges a ranker on one split of a dataset, list by list, and keeps the result beside the run.

Per-list values are kept, not only means, so that any two runs on the same split can be compared
afterwards (model/compare.py) without running either again. `psad evaluate` is model/report.py.
L lists of the split, B of them a batch, M padded slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from features.errors import PsadError
from model.batches import sort_lengths
from model.metrics import (
    METRICS,
    complete_order,
    expected_random,
    list_metrics,
    order_from_scores,
)
from model.ranker import Batch
from model.references import ListBatch, RandomOrder, Reference, references
from model.truth import VALUE, true_orders, true_value

if TYPE_CHECKING:
    from data.dataset import Dataset
    from model.ranker import Ranker

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mode = Literal["scorer", "generator"]
Judged = tuple[dict[str, Floats], Integers]
Judge = Callable[[Integers], Judged]  # lists -> metric values of each, and their orders

BATCH_SIZE = 128  # what a core's cache holds; 512 takes longer by the list
NO_ITEM = -1


class EvaluationError(PsadError):
    """A split or a run that cannot be evaluated."""


@dataclass(frozen=True)
class Evaluation:
    """What one ranker did on one split: each metric for each list, and the order it gave."""

    split: str
    lists: Integers  # (L,) index in the dataset
    users: NDArray[np.str_]  # (L,)
    values: dict[str, Floats]  # metric -> (L,); NaN where the list says nothing
    order: Integers  # (L, M) slots from the top down, −1 after the last; (L, 0) where there is none

    def mean(self, metric: str) -> float:
        """Over the lists that have the metric; NaN where none has."""
        said = self.values[metric][~np.isnan(self.values[metric])]
        return float(said.mean()) if said.size else float("nan")

    def means(self) -> dict[str, float]:
        """Every metric's mean."""
        return {metric: self.mean(metric) for metric in self.values}

    def save(self, path: Path) -> None:
        """Write one .npz, free of pickles."""
        arrays = {f"metric/{name}": values for name, values in self.values.items()}
        np.savez_compressed(
            path,
            split=np.array(self.split),
            lists=self.lists,
            users=self.users,
            order=self.order.astype(np.int32),
            **arrays,
        )

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote. Raises EvaluationError where it is no such file."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {k.split("/", 1)[1]: file[k] for k in file if k.startswith("metric/")}
                order = file["order"].astype(np.int64)
                return cls(str(file["split"]), file["lists"], file["users"], values, order)
        except (OSError, ValueError, KeyError) as error:
            raise EvaluationError(
                f"{path} cannot be read as an evaluation ({error}); run `psad evaluate` again."
            ) from error


def evaluate(
    ranker: Ranker,
    dataset: Dataset,
    split: str,
    *,
    mode: Mode = "scorer",
    batch_size: int = BATCH_SIZE,
) -> Evaluation:
    """Judge `ranker.scores` (mode scorer) or `ranker.generate` (mode generator) on every list.

    Raises EvaluationError for an unknown split or mode, or an empty split; ValueError for scores
    that are NaN and generated lists that repeat or invent an item.
    """
    _check_mode(ranker, mode)

    def judge(indexes: Integers) -> Judged:
        batch = load_batch(dataset, indexes)
        order = order_lists(ranker, batch, mode)
        return _judge(batch.labels.numpy(), batch.candidate_mask.numpy(), order)

    with in_evaluation(ranker):
        return _over_lists(dataset, split, batch_size, judge)


def evaluate_references(
    dataset: Dataset, split: str, *, batch_size: int = BATCH_SIZE
) -> dict[str, Evaluation]:
    """Every reference row of model/references.py on the split, fitted on `train`, and those of
    model/truth.py where the truth is known."""
    rows = references(dataset.catalogue.statistics, *_position_counts(dataset, batch_size))
    judges = {name: _reference_judge(dataset, row) for name, row in rows.items()}
    known = true_orders(dataset, split_indexes(dataset, split))
    judges |= {name: _known_judge(dataset, split, orders) for name, orders in known.items()}
    return {name: _over_lists(dataset, split, batch_size, judge) for name, judge in judges.items()}


def load_batch(dataset: Dataset, indexes: Integers) -> Batch:
    """The lists `indexes` (B,) as tensors, padded to their longest."""
    return Batch.from_arrays(*dataset.batch(indexes))


def order_lists(ranker: Ranker, batch: Batch, mode: Mode) -> Integers:
    """The order the ranker gives (B, M): by its scores, or its generated list and then the rest."""
    mask = batch.candidate_mask.cpu().numpy()
    batch = batch.to(_device(ranker))
    if mode == "generator":
        return complete_order(ranker.generate(batch).cpu().numpy(), mask)
    return order_from_scores(ranker.scores(batch).cpu().numpy(), mask)


@contextmanager
def in_evaluation(ranker: Ranker) -> Iterator[None]:
    """No gradients and no dropout inside; a module returns to the mode it came in."""
    module = ranker if isinstance(ranker, torch.nn.Module) else None
    training = module is not None and module.training
    if module is not None:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if module is not None:
            module.train(training)


def row_name(model: str, settings: Mapping[str, Any], mode: Mode) -> str:
    """What a model is called in tables. PSAD has three rows: `psad-s` and `psad-s/generator` of a
    joint run, and `psad-g` (or `psad-s (alone)`) of a run of the generator (scorer) alone."""
    if model != "psad":
        return model
    alone = not (settings["student"] and settings["teacher"])
    if mode == "scorer":
        return "psad-s (alone)" if alone else "psad-s"
    return "psad-g" if alone else "psad-s/generator"


def split_indexes(dataset: Dataset, split: str) -> Integers:
    """The split's lists (L,). Raises EvaluationError where it is unknown or empty."""
    if split not in dataset.splits:
        known = ", ".join(sorted(dataset.splits))
        raise EvaluationError(f"the dataset has no split {split!r}; it has {known}.")
    indexes = np.asarray(dataset.splits[split], np.int64)
    if not indexes.size:
        raise EvaluationError(f"split {split!r} has no list; prepare the dataset from more data.")
    return indexes


def _over_lists(dataset: Dataset, split: str, batch_size: int, judge: Judge) -> Evaluation:
    indexes = split_indexes(dataset, split)
    by_length = np.argsort(sort_lengths(dataset, indexes), kind="stable")  # less is padding
    places = np.split(by_length, range(batch_size, indexes.size, batch_size))
    parts = [judge(indexes[some]) for some in places]
    back = np.argsort(by_length)
    values = {
        name: np.concatenate([metrics[name] for metrics, _ in parts])[back] for name in METRICS
    }
    users = np.asarray(dataset.user_ids(indexes), np.str_)
    order = _stack([order for _, order in parts])[back]
    if (value := true_value(dataset, indexes, order)) is not None:
        values[VALUE] = value
    return Evaluation(split, indexes, users, values, order)


def _judge(labels: Floats, mask: NDArray[np.bool_], order: Integers) -> Judged:
    return list_metrics(labels, mask, order), np.where(
        np.take_along_axis(mask, order, axis=1), order, NO_ITEM
    )


def _reference_judge(dataset: Dataset, row: Reference) -> Judge:
    def judge(indexes: Integers) -> Judged:
        batch = _list_batch(dataset, indexes)
        if isinstance(row, RandomOrder):
            nothing = np.zeros((indexes.size, 0), np.int64)
            return expected_random(batch.labels, batch.candidate_mask), nothing
        order = order_from_scores(row.scores(batch), batch.candidate_mask)
        return _judge(batch.labels, batch.candidate_mask, order)

    return judge


def _known_judge(dataset: Dataset, split: str, orders: Integers) -> Judge:
    """Judges orders (L, M) of the split's lists, padding last."""

    def judge(indexes: Integers) -> Judged:
        batch = _list_batch(dataset, indexes)
        rows = np.searchsorted(split_indexes(dataset, split), indexes)
        order = orders[rows, : batch.candidate_mask.shape[1]]
        return _judge(batch.labels, batch.candidate_mask, order)

    return judge


def _list_batch(dataset: Dataset, indexes: Integers) -> ListBatch:
    """Labels, mask and catalogue rows (B, M), without encoding a feature."""
    lists = dataset.lists(indexes)
    lengths = np.diff(lists.candidate_offsets)
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]  # (B, M)
    rows = np.zeros(mask.shape, np.int64)
    rows[mask] = lists.candidate_rows
    labels = np.asarray(dataset.labels(indexes), np.float64)[:, : mask.shape[1]]
    return ListBatch(labels, mask, rows)


def _position_counts(dataset: Dataset, batch_size: int) -> tuple[Floats, Floats]:
    """Positives and showings of each incoming position in training (P,)."""
    counts = np.zeros((2, int(dataset.schema.max_candidates)))
    train = np.asarray(dataset.splits["train"], np.int64)
    for start in range(0, train.size, batch_size):
        batch = _list_batch(dataset, train[start : start + batch_size])
        width = batch.candidate_mask.shape[1]
        clicked = (batch.labels > 0) & batch.candidate_mask
        counts[:, :width] += clicked.sum(axis=0), batch.candidate_mask.sum(axis=0)
    return counts[0], counts[1]


def _stack(orders: list[Integers]) -> Integers:
    """Batches of different widths, one under another, filled with −1."""
    width = max(order.shape[1] for order in orders)
    padded = [
        np.pad(order, ((0, 0), (0, width - order.shape[1])), constant_values=NO_ITEM)
        for order in orders
    ]
    return np.concatenate(padded)


def _device(ranker: Ranker) -> torch.device:
    """Where the ranker computes; a ranker that is no module does so on the host."""
    parameters = ranker.parameters() if isinstance(ranker, torch.nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))


def _check_mode(ranker: Ranker, mode: str) -> None:
    if mode not in get_args(Mode):
        raise EvaluationError(f"mode is {mode!r}; known modes: {', '.join(get_args(Mode))}.")
    if mode == "generator" and not getattr(ranker, "generates", False):
        raise EvaluationError("this model has no generator; evaluate it with mode scorer.")
