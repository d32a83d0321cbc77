"""`psad evaluate`: runs beside the reference rows, grouped by seed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from data.dataset import Dataset
from data.prepare import prepare
from model.evaluate import Evaluation, EvaluationError, evaluate
from model.latency import latency
from model.references import NAMES
from model.report import evaluate_runs
from model.train import load_run, train

QUIET = {"trees": "20", "threads": "1", "min_rows": "5"}


@pytest.fixture(scope="module")
def runs(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seeds of LambdaMART, one with other leaves, and a small PRM."""
    folder = tmp_path_factory.mktemp("runs")
    wanted = {
        "one": ("lambdamart", 1, QUIET),
        "two": ("lambdamart", 2, QUIET),
        "other": ("lambdamart", 1, {**QUIET, "leaves": "3"}),
        "prm": ("prm", 1, {"epochs": "1", "width": "8", "layers": "1"}),
    }
    for name, (model, seed, settings) in wanted.items():
        train(dataset.folder, folder / name, model=model, seed=seed, overrides=settings)
    return {name: folder / name for name in wanted}


def silent() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_runs_that_differ_by_seed_become_one_row(runs: dict[str, Path]) -> None:
    report = evaluate_runs([runs["one"], runs["prm"], runs["two"]], "test", console=silent())
    rows = {row.name: row for row in report.rows}
    assert list(rows) == [*NAMES, "lambdamart", "prm"]
    assert len(rows["lambdamart"].evaluations) == 2
    assert rows["prm"].parameters > 500
    assert len(rows["lambdamart"].train_seconds) == 2
    assert report.tables[1].title == "NDCG@10 against lambdamart"
    kept = Evaluation.load(runs["two"] / "test-scorer.npz")
    assert kept.means() == rows["lambdamart"].evaluations[1].means()


def test_settings_that_vary_tell_rows_of_one_model_apart(runs: dict[str, Path]) -> None:
    chosen = [runs["one"], runs["other"]]
    report = evaluate_runs(chosen, "valid", base="click_rate", console=silent())
    assert [row.name for row in report.rows[len(NAMES) :]] == [
        "lambdamart (leaves=15)",
        "lambdamart (leaves=3)",
    ]


def test_a_generator_has_a_row_for_each_width_of_its_search(
    dataset: Dataset, tmp_path: Path
) -> None:
    small = {"width": "16", "embedding_width": "4", "profile_width": "4", "epochs": "1"}
    train(dataset.folder, tmp_path / "psad", overrides=small)
    report = evaluate_runs(
        [tmp_path / "psad"], "test", base="click_rate", beams=(1, 3), console=silent()
    )
    assert [row.name for row in report.rows[len(NAMES) :]] == [
        "psad-s", "psad-s/generator, beam 1", "psad-s/generator, beam 3",
    ]  # fmt: skip
    ranker, _ = load_run(tmp_path / "psad")
    ranker.beam = 3
    by_hand = evaluate(ranker, dataset, "test", mode="generator")
    assert np.array_equal(report.rows[-1].evaluations[0].order, by_hand.order)
    kept = Evaluation.load(tmp_path / "psad" / "test-generator-beam-3.npz")
    assert np.array_equal(kept.order, by_hand.order)


def test_the_header_says_what_it_was_made_on(runs: dict[str, Path], dataset: Dataset) -> None:
    text = evaluate_runs([runs["one"]], "test", console=silent()).markdown()
    count = len(dataset.splits["test"])
    assert f"test: {count} lists of" in text
    assert "not a split in time" in text
    assert "of the train lists are later than the median test list" in text
    for name in ("commit", "machine", "command", "date"):
        assert f"- **{name}**: " in text


def test_the_same_seed_twice_or_another_dataset_is_refused(
    runs: dict[str, Path], dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match="a seed is there twice"):
        evaluate_runs([runs["one"], runs["one"]], "test", console=silent())
    with pytest.raises(EvaluationError, match="no run is given"):
        evaluate_runs([], "test", console=silent())
    log = dataset.folder.parent / "log"
    prepare(log, tmp_path / "other", split="user", report=lambda text: None)
    train(tmp_path / "other", tmp_path / "run", model="lambdamart", overrides=QUIET)
    with pytest.raises(EvaluationError, match="one table need one dataset"):
        evaluate_runs([runs["one"], tmp_path / "run"], "test", console=silent())


def test_latency_is_timed_for_every_batch_size(runs: dict[str, Path], dataset: Dataset) -> None:
    ranker, _ = load_run(runs["prm"])
    found = latency(ranker, dataset, "test", sizes=(1, 4), calls=20)
    assert [(one.batch_size, one.calls) for one in found] == [(1, 20), (4, 20)]
    assert all(0 < one.p50 <= one.p99 for one in found)
