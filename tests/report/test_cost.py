"""What is timed is the run's own model, or its own bundle."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import export_run
from model.train import train
from report.cost import costs
from report.sides import ReportError, Sides, load


def test_without_a_bundle_the_model_is_timed_in_pytorch(run: Path, both: Sides) -> None:
    (found,) = costs(load(run), both)
    assert found.step == "psad-s, not exported"
    assert 0 < found.p50 <= found.p99


@pytest.mark.slow
def test_with_a_bundle_its_graphs_are_and_another_run_s_is_refused(
    run: Path, both: Sides, tmp_path: Path
) -> None:
    bundle = export_run(run, tmp_path / "bundles" / "psad" / "1")
    steps = [one.step for one in costs(load(run), both, bundle.parent)]
    assert steps == ["encoding a request", "the scorer in ONNX Runtime", "the generator"]
    train(both.dataset.folder, tmp_path / "other", model="dnn", overrides={"epochs": "1"})
    with pytest.raises(ReportError, match="was not exported from"):
        costs(load(tmp_path / "other"), both, bundle.parent)
