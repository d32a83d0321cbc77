"""A run folder: what is in it, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

import model.train as training
from data.dataset import Dataset
from features.errors import PsadError, SchemaError
from model.config import ConfigError, RunConfig
from model.curves import draw_curves
from model.evaluate import evaluate
from model.train import RunError, load_run, train
from model.weights import WeightsError

TINY = {
    "width": "8", "embedding_width": "4", "heads": "2", "layers": "1", "profile_width": "4",
    "epochs": "2", "batch_size": "64",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of PSAD; tests read it only."""
    folder = tmp_path_factory.mktemp("runs") / "psad"
    train(dataset.folder, folder, seed=3, overrides=TINY)
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(run, tmp_path / "psad"))


def test_a_run_folder_holds_what_its_readers_need(run: Path, dataset: Dataset) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.toml", "schema.json", "weights.safetensors", "metrics.json", "progress.jsonl",
        "curves.svg",
    }  # fmt: skip
    config = RunConfig.load(run / "config.toml")
    assert (config.model, config.preset, config.training.seed) == ("psad", "robust", 3)
    assert config.settings["width"] == 8
    assert config.training.epochs == 2
    assert config.fingerprint == dataset.schema.fingerprint()
    assert len((run / "progress.jsonl").read_text().splitlines()) == 2


def test_metrics_say_how_good_it_is_beside_the_references(run: Path, dataset: Dataset) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"psad-s", "psad-s/generator", "incoming", "random", "oracle"} <= set(metrics["valid"])
    ranker, _ = load_run(run)
    for row, mode in (("psad-s", "scorer"), ("psad-s/generator", "generator")):
        again = evaluate(ranker, dataset, "valid", mode=mode).mean("ndcg@10")
        assert metrics["valid"][row]["ndcg@10"] == pytest.approx(again, abs=1e-9)
    assert metrics["parameters"] == sum(one.numel() for one in ranker.parameters())
    assert metrics["training"]["epochs"] == 2
    assert {"finished", "commit", "machine"} <= set(metrics)


def test_curves_are_a_picture_of_both_panels(run: Path, tmp_path: Path) -> None:
    root = ElementTree.parse(run / "curves.svg").getroot()
    assert root.tag.endswith("svg")
    lines = [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]
    one = tmp_path / "progress.jsonl"
    one.write_text(json.dumps(lines[0]) + "\n")  # a single epoch is a picture too
    draw_curves(one, tmp_path / "one.svg", "shop")
    assert (tmp_path / "one.svg").stat().st_size > 1000


def test_a_loaded_run_is_ready_to_judge(run: Path) -> None:
    one, config = load_run(run)
    two, _ = load_run(str(run))
    assert isinstance(one, torch.nn.Module)
    assert not any(module.training for module in one.modules())
    assert config.model == "psad"
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[name])


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({"model": "dnn", "overrides": {"epochs": "1"}}, {"dnn"}),
        ({"overrides": TINY | {"epochs": "1", "teacher": "false"}}, {"psad-s (alone)"}),
        ({"overrides": TINY | {"epochs": "1", "student": "false"}}, {"psad-g"}),
        ({"preset": "paper", "overrides": TINY | {"epochs": "1"}}, {"psad-s", "psad-s/generator"}),
    ],
)
def test_rows_are_named_by_what_was_trained(
    dataset: Dataset, tmp_path: Path, settings: dict[str, Any], rows: set[str]
) -> None:
    metrics = train(dataset.folder, tmp_path / "run", **settings)
    references = {"incoming", "random", "popularity", "click_rate", "order_only", "oracle"}
    assert set(metrics["valid"]) - references == rows
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics


def test_a_model_without_gradients_is_a_run_as_well(dataset: Dataset, tmp_path: Path) -> None:
    metrics = train(
        dataset.folder, tmp_path / "run", model="lambdamart",
        overrides={"trees": "5", "threads": "1", "seed": "2"},
    )  # fmt: skip
    assert metrics["valid"]["lambdamart"]["ndcg@10"] > 0
    assert not (tmp_path / "run" / "curves.svg").exists()
    ranker, config = load_run(tmp_path / "run")
    assert config.training.seed == 2
    assert evaluate(ranker, dataset, "valid").mean("ndcg@10") == pytest.approx(
        metrics["valid"]["lambdamart"]["ndcg@10"]
    )


def test_a_configuration_file_is_followed_and_remembered(dataset: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text('model = "dnn"\ndropout = 0.25\nepochs = 3\n')
    train(dataset.folder, tmp_path / "run", file=file, seed=4, overrides={"epochs": "1"})
    config = RunConfig.load(tmp_path / "run" / "config.toml")
    assert (config.model, config.file, config.settings["dropout"]) == ("dnn", str(file), 0.25)
    assert (config.training.epochs, config.training.seed) == (1, 4)
    with pytest.raises(RunError, match=r"was begun otherwise .*epochs is 1, not 3"):
        train(dataset.folder, tmp_path / "run", file=file, seed=4, resume=True)


def test_a_folder_that_holds_a_run_is_not_overwritten(run: Path, dataset: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    with pytest.raises(RunError, match=r"holds a run already\. Go on with it by --resume"):
        train(dataset.folder, run, overrides=TINY)
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_a_wrong_setting_leaves_no_folder_behind(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean width"):
        train(dataset.folder, tmp_path / "run", overrides={"widht": "8"})
    assert not (tmp_path / "run").exists()


def test_a_finished_run_has_nothing_to_resume(run: Path, dataset: Dataset) -> None:
    weights = (run / "weights.safetensors").read_bytes()
    metrics = train(dataset.folder, run, resume=True)
    assert metrics == json.loads((run / "metrics.json").read_text())
    assert (run / "weights.safetensors").read_bytes() == weights


def test_an_interrupted_run_is_resumed_with_its_own_settings(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_judge", fails)
        with pytest.raises(KeyboardInterrupt):
            train(dataset.folder, tmp_path / "cut", seed=3, overrides=TINY)
    with pytest.raises(RunError, match="has not finished: go on with --resume"):
        load_run(tmp_path / "cut")
    train(dataset.folder, tmp_path / "cut", resume=True)  # the settings are the folder's
    for name in ("config.toml", "weights.safetensors"):
        assert (tmp_path / "cut" / name).read_bytes() == (run / name).read_bytes()


def test_resuming_where_nothing_is_yet_begins(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset.folder, tmp_path / "run", resume=True, overrides=TINY | {"epochs": "1"})
    assert load_run(tmp_path / "run")[1].training.epochs == 1


def test_a_run_is_not_resumed_on_another_dataset(copy: Path, plain: Dataset) -> None:
    (copy / "metrics.json").unlink()
    with pytest.raises(RunError, match="was started on another dataset"):
        train(plain.folder, copy, resume=True)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda f: shutil.rmtree(f), RunError, "psad is no run"),
        (lambda f: (f / "metrics.json").unlink(), RunError, "has not finished"),
        (lambda f: (f / "config.toml").unlink(), ConfigError, r"config\.toml cannot be read"),
        (lambda f: edit(f / "config.toml", "seed", "sead"), ConfigError, "sead"),
        (lambda f: edit(f / "config.toml", "width = 8", "width = 16"), WeightsError, "not hold"),
        (lambda f: edit(f / "config.toml", "width = 8", 'width = "w"'), ConfigError, "width"),
        (lambda f: edit(f / "config.toml", '= "psad"', '= "pasd"'), PsadError, "'psad'"),
        (lambda f: edit(f / "config.toml", 'fingerprint = "', 'fingerprint = "0'), ConfigError,
         r"schema\.json is not the schema that the run was trained with"),
        (lambda f: edit(f / "schema.json", '"shop"', '"stop"'), SchemaError, "edited by hand"),
        (lambda f: (f / "weights.safetensors").unlink(), WeightsError, r"weights\.safetensors"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"no"), WeightsError, "does not hold"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_refused(copy: Path, damage: Any, error: type, message: str) -> None:
    damage(copy)
    with pytest.raises(error, match=message):
        load_run(copy)


def test_weights_are_written_whole_or_not_at_all(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker, _ = load_run(copy)
    before = (copy / "weights.safetensors").read_bytes()

    def fails(state: Any, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("model.weights.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        ranker.save(copy)
    assert (copy / "weights.safetensors").read_bytes() == before
