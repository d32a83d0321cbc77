"""True values in evaluations and tables, and the reference rows that know the truth."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from data.dataset import Dataset
from data.prepare import prepare
from data.simulator.generate import World, drawn_again
from data.simulator.tables import numbers_of
from data.simulator.truth import Truth
from model.evaluate import evaluate, evaluate_references
from model.ranker import Batch
from model.references import NAMES as REFERENCES
from model.report import evaluate_runs
from model.table import Row, tables
from model.train import train
from model.truth import NAMES, TruthError, true_value, truth_of


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("simulator") / "dataset"
    return prepare("simulator", folder, lists=900, report=lambda text: None)


class Backwards:
    """The incoming order from the bottom up."""

    generates = False

    def scores(self, batch: Batch) -> Tensor:
        return torch.arange(batch.candidate_mask.shape[1]).expand(batch.candidate_mask.shape)


def test_the_value_is_that_of_the_order_given(simulated: Dataset) -> None:
    found = evaluate(Backwards(), simulated, "valid")
    lists = drawn_again(World(0, 500), numbers_of(simulated.list_ids(found.lists)))
    truth = Truth.of(World(0, 500), lists)
    lengths = truth.mask.sum(axis=1)
    for row in range(20):
        order = np.arange(lengths[row])[::-1][None]
        alone = truth.select(np.array([row])).value(order)
        assert found.values["value"][row] == pytest.approx(alone[0], rel=1e-5)


def test_reference_rows_know_the_truth_and_lie_where_they_must(simulated: Dataset) -> None:
    rows = evaluate_references(simulated, "test")
    assert tuple(rows) == (*REFERENCES, *NAMES)
    value = {name: row.mean("value") for name, row in rows.items()}
    assert value["random"] < value["incoming"] < value["isolated"] < value["greedy (sees)"]
    assert value["greedy (sees)"] < value["ceiling (sees)"] < value["ceiling (knows)"]
    assert value["oracle"] < value["ceiling (sees)"]  # a log does not show mutual influence
    counts = simulated.lengths[rows["isolated"].lists]
    for name in NAMES:
        for order, count in zip(rows[name].order, counts, strict=True):
            assert sorted(order[order >= 0].tolist()) == list(range(count))


def test_a_dataset_of_unknown_truth_has_no_value(dataset: Dataset) -> None:
    assert truth_of(dataset, dataset.splits["test"]) is None
    assert true_value(dataset, dataset.splits["test"], np.zeros((1, 0), int)) is None
    assert "value" not in evaluate_references(dataset, "test")["incoming"].values


def test_a_dataset_that_is_not_what_it_says_is_refused(simulated: Dataset, tmp_path: Path) -> None:
    shutil.copytree(simulated.folder, tmp_path / "other")
    info = json.loads((tmp_path / "other" / "info.json").read_text())
    info["simulator"]["seed"] = 1
    (tmp_path / "other" / "info.json").write_text(json.dumps(info))
    with pytest.raises(TruthError, match="Prepare it again"):
        evaluate(Backwards(), Dataset.load(tmp_path / "other"), "valid")


def test_tables_show_the_true_value_and_the_way(simulated: Dataset) -> None:
    rows = [Row(name, (one,)) for name, one in evaluate_references(simulated, "valid").items()]
    quality, comparison, *_ = tables(rows, "click_rate", metric="value")
    assert quality.columns[:4] == ("ranker", "seeds", "true value", "way")
    cells = {line[0]: line for line in quality.rows}
    assert cells["incoming"][3] == "0.0%"
    assert cells["ceiling (sees)"][3] == "100.0%"
    mean = {row.name: row.evaluations[0].mean("value") for row in rows}
    way = (mean["isolated"] - mean["incoming"]) / (mean["ceiling (sees)"] - mean["incoming"])
    assert cells["isolated"][2:4] == (f"{mean['isolated']:.4f}", f"{way:.1%}")
    assert comparison.title == "true value against click_rate"
    compared = {line[0] for line in comparison.rows}
    assert "isolated" in compared
    assert not compared & {"oracle", "ceiling (sees)", "ceiling (knows)"}


def test_runs_on_simulated_data_are_compared_by_true_value(
    simulated: Dataset, tmp_path: Path
) -> None:
    quick = {"trees": "10", "threads": "1", "min_rows": "5"}
    train(simulated.folder, tmp_path / "run", model="lambdamart", overrides=quick)
    report = evaluate_runs(
        [tmp_path / "run"], "test", base="click_rate", console=Console(file=io.StringIO())
    )
    assert report.tables[1].title == "true value against click_rate"
    assert "law of docs/simulator.md, version 1, seed 0" in report.header["truth"]
    assert [cells[0] for cells in report.tables[2].rows] == ["lambdamart"]  # the cost table
    by_ndcg = evaluate_runs(
        [tmp_path / "run"], "test", base="click_rate", metric="ndcg@10",
        console=Console(file=io.StringIO()),
    )  # fmt: skip
    assert by_ndcg.tables[1].title == "NDCG@10 against click_rate"


def test_an_id_of_another_form_is_refused(simulated: Dataset) -> None:
    renamed = SimpleNamespace(
        info=simulated.info, folder="renamed", list_ids=lambda lists: ["first"] * len(lists)
    )
    with pytest.raises(TruthError, match="renamed says that it was simulated"):
        truth_of(renamed, np.arange(3))
