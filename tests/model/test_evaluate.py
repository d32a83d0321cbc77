"""One ranker on one split: what is measured, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.dataset import Dataset
from model.evaluate import (
    Evaluation,
    EvaluationError,
    evaluate,
    evaluate_references,
    load_batch,
    row_name,
)
from model.metrics import METRICS, list_metrics
from model.ranker import Batch
from model.references import NAMES


class ByPrice:
    """Scores candidates by the price, the last number before the derived ones."""

    generates = False

    def __init__(self, dataset: Dataset) -> None:
        self.place = -len(dataset.schema.derived) - 2

    def scores(self, batch: Batch) -> Tensor:
        price = batch.tensors["candidate_numeric"][..., self.place]
        return (-price).masked_fill(~batch.candidate_mask, -torch.inf)


class LastFirst:
    """Generates the two last candidates, last first."""

    generates = True

    def generate(self, batch: Batch) -> Tensor:
        count = batch.candidate_mask.sum(1, keepdim=True)
        return torch.cat([count - 1, count - 2, torch.full_like(count, -1)], 1)


def test_a_ranker_is_measured_list_by_list_in_the_order_of_the_split(dataset: Dataset) -> None:
    found = evaluate(ByPrice(dataset), dataset, "valid", batch_size=7)
    assert found.lists.tolist() == dataset.splits["valid"].tolist()
    assert found.users.tolist() == dataset.user_ids(found.lists).tolist()
    for place, index in enumerate(found.lists.tolist()):
        batch = load_batch(dataset, np.array([index]))
        price = batch.tensors["candidate_numeric"][0, :, ByPrice(dataset).place].numpy()
        order = np.argsort(price, kind="stable")
        assert found.order[place][: order.size].tolist() == order.tolist()
        assert (found.order[place][order.size :] == -1).all()
        alone = list_metrics(batch.labels.numpy(), batch.candidate_mask.numpy(), order[None])
        for name in METRICS:
            np.testing.assert_allclose(found.values[name][place], alone[name][0])


def test_batch_size_changes_nothing(dataset: Dataset) -> None:
    one, many = (evaluate(ByPrice(dataset), dataset, "test", batch_size=n) for n in (1, 999))
    assert (one.order == many.order).all()
    for name in METRICS:
        np.testing.assert_allclose(one.values[name], many.values[name], rtol=1e-12)


def test_a_generators_list_comes_first_and_the_rest_follows_as_it_came(dataset: Dataset) -> None:
    found = evaluate(LastFirst(), dataset, "valid", mode="generator")
    for order, index in zip(found.order.tolist(), found.lists.tolist(), strict=True):
        count = int(dataset.lengths[index])
        assert order[:count] == [count - 1, count - 2, *range(count - 2)]


def test_reference_rows_lie_where_they_must(dataset: Dataset) -> None:
    rows = evaluate_references(dataset, "test")
    assert tuple(rows) == NAMES
    quality = {name: row.mean("ndcg@10") for name, row in rows.items()}
    assert quality["oracle"] == 1.0
    assert quality["click_rate"] > quality["random"] + 0.05
    assert rows["random"].mean("auc") == 0.5
    assert (rows["incoming"].order[0][:4] == [0, 1, 2, 3]).all()


def test_popularity_and_click_rate_sort_by_what_training_counted(dataset: Dataset) -> None:
    rows = evaluate_references(dataset, "valid")
    lists = dataset.lists(dataset.splits["valid"])
    statistics = dataset.catalogue.statistics
    for name, values in (("popularity", statistics.clicks), ("click_rate", statistics.click_rate)):
        for place, order in enumerate(rows[name].order):
            start, end = lists.candidate_offsets[place : place + 2]
            shown = values[lists.candidate_rows[start:end]][order[: end - start]]
            assert (np.diff(shown) <= 0).all()


def test_an_evaluation_survives_the_disk(dataset: Dataset, tmp_path: Path) -> None:
    before = evaluate(ByPrice(dataset), dataset, "valid")
    before.save(tmp_path / "valid.npz")
    after = Evaluation.load(tmp_path / "valid.npz")
    assert after.split == "valid"
    assert after.means() == before.means()
    for name in ("lists", "users", "order"):
        assert (getattr(after, name) == getattr(before, name)).all()


def test_a_file_that_is_no_evaluation_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("nothing")
    with pytest.raises(EvaluationError, match=r"x\.npz cannot be read"):
        Evaluation.load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", split="valid")
    with pytest.raises(EvaluationError, match=r"y\.npz cannot be read"):
        Evaluation.load(tmp_path / "y.npz")


def test_a_module_is_judged_without_dropout_and_returns_to_its_mode(dataset: Dataset) -> None:
    class Noisy(nn.Dropout):
        def scores(self, batch: Batch) -> Tensor:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            return self(torch.ones(batch.labels.shape))

    noisy = Noisy().train()
    evaluate(noisy, dataset, "valid")
    assert noisy.training


@pytest.mark.parametrize(
    ("split", "mode", "fault"),
    [
        ("tset", "scorer", "no split 'tset'; it has test, train, valid"),
        ("valid", "both", "known modes: scorer, generator"),
        ("valid", "generator", "has no generator"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    dataset: Dataset, split: str, mode: str, fault: str
) -> None:
    with pytest.raises(EvaluationError, match=fault):
        evaluate(ByPrice(dataset), dataset, split, mode=mode)


def test_an_empty_split_is_refused() -> None:
    empty = SimpleNamespace(splits={"test": np.zeros(0, int)})
    with pytest.raises(EvaluationError, match="'test' has no list"):
        evaluate(SimpleNamespace(generates=False), empty, "test")


def test_scores_that_are_nan_never_become_an_order(dataset: Dataset) -> None:
    broken = SimpleNamespace(scores=lambda batch: batch.labels * torch.nan, generates=False)
    with pytest.raises(ValueError, match="NaN"):
        evaluate(broken, dataset, "valid")


@pytest.mark.parametrize(
    ("student", "teacher", "mode", "name"),
    [
        (True, True, "scorer", "psad-s"),
        (True, True, "generator", "psad-s/generator"),
        (True, False, "scorer", "psad-s (alone)"),
        (False, True, "generator", "psad-g"),
    ],
)
def test_the_three_rows_of_psad(student: bool, teacher: bool, mode: str, name: str) -> None:
    assert row_name("psad", {"student": student, "teacher": teacher}, mode) == name
    assert row_name("prm", {}, "scorer") == "prm"


def test_lists_are_judged_beside_others_of_like_length(dataset: Dataset) -> None:
    batches: list[Batch] = []

    class Watching(ByPrice):
        def scores(self, batch: Batch) -> Tensor:
            batches.append(batch)
            return super().scores(batch)

    evaluate(Watching(dataset), dataset, "valid", batch_size=8)
    lengths = torch.cat([batch.tensors["history_mask"].sum(1) for batch in batches])
    every = dataset.history_lengths[dataset.splits["valid"]]
    assert lengths.tolist() == sorted(every.tolist())
