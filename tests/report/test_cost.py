"""What is timed is the run's own model, or its own bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.dataset import Dataset
from export.bundle import export_run
from model.machine import Load
from model.ranker import Batch
from model.train import train
from report import cost
from report.cost import costs
from report.sides import ReportError, Sides, load, sides


def test_without_a_bundle_the_model_is_timed_in_pytorch(run: Path, both: Sides) -> None:
    (found,) = costs(load(run), both).steps
    assert found.step == "psad-s in PyTorch"
    assert 0 < found.p10 <= found.p50 <= found.p99


def test_the_other_run_is_timed_in_its_own_library(
    run: Path, trees: Path, dataset: Dataset
) -> None:
    trained = load(run)
    quiet = Load(0.3, 2)
    found = costs(trained, sides(trained, dataset, "test", load(trees)), load=quiet)
    assert [one.step for one in found.steps] == ["lambdamart in LightGBM", "psad-s in PyTorch"]
    before, after = found.of("before"), found.of("after")
    assert before is not None
    assert after is not None
    assert (before.step, after.step) == ("lambdamart in LightGBM", "psad-s in PyTorch")
    assert before.p50 > 0
    assert found.load == quiet


def test_only_what_could_be_exported_is_said_to_be_timed_before_it(
    run: Path, trees: Path, both: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    assert costs(load(run), both).unexported
    assert not costs(load(trees), both).unexported


def test_the_order_as_it_came_costs_nothing(run: Path, both: Sides) -> None:
    assert costs(load(run), both).of("before") is None


def test_the_way_that_was_asked_for_is_timed(
    run: Path, both: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []

    def order(ranker: object, batch: Batch, mode: str) -> None:
        seen.append((len(batch.labels), mode))

    monkeypatch.setattr(cost, "order_lists", order)
    monkeypatch.setattr(cost, "SECONDS", 0.0)
    costs(load(run, "generator"), both)
    assert set(seen) == {(1, "generator")}


@pytest.mark.slow
def test_with_a_bundle_its_graphs_are_and_another_run_s_is_refused(
    run: Path, both: Sides, tmp_path: Path
) -> None:
    bundle = export_run(run, tmp_path / "bundles" / "psad" / "1")
    found = costs(load(run), both, bundle.parent)
    steps = [one.step for one in found.steps]
    assert found.of("after") == found.steps[1]
    assert not found.unexported
    assert steps == ["encoding a request", "the scorer in ONNX Runtime",
                     "the generator in ONNX Runtime"]  # fmt: skip
    train(both.dataset.folder, tmp_path / "other", model="dnn", overrides={"epochs": "1"})
    with pytest.raises(ReportError, match="was not exported from"):
        costs(load(tmp_path / "other"), both, bundle.parent)
