"""`psad train --from RUN`: what a run begins with, what it remembers, what is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import model.fit
from data.dataset import Dataset
from features.bundle import Bundle, sha256_of
from model.config import RunConfig
from model.elder import START
from model.evaluate import evaluate
from model.runs import RunError, load_run
from model.train import train
from model.warm import WarmStartError
from tests.model.test_train import TINY
from tests.model.test_warm import later

__all__ = ["later"]
ALONE = TINY | {"teacher": "false"}


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests read it only."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    train(dataset.folder, folder, overrides=ALONE | {"seed": "3", "learning_rate": "0.01"})
    return folder


def test_a_run_begins_with_what_the_other_knows_and_its_settings(
    run: Path, later: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    begun: list[dict[str, torch.Tensor]] = []
    epoch = model.fit.Loop.epoch

    def watched(loop: Any) -> None:
        begun.append({k: v.clone() for k, v in loop.ranker.named_parameters()})
        epoch(loop)

    monkeypatch.setattr(model.fit.Loop, "epoch", watched)
    train(later.folder, tmp_path / "run", start=run, overrides={"epochs": "1", "dropout": "0.5"})
    elder, theirs = load_run(run)
    config = RunConfig.load(tmp_path / "run" / "config.toml")
    assert config.settings == theirs.settings | {"dropout": 0.5}
    assert config.training == theirs.training.model_copy(update={"epochs": 1})
    own = dict(elder.named_parameters())  # type: ignore[union-attr]
    name = "encoder.blocks.0.attention.query.weight"
    assert torch.equal(begun[0][name], own[name])
    said = capsys.readouterr().out
    for word in ("weights copied", "item.item_id (categorical)", "grown", "item.weight (numeric)",
                 "dropped", "item.colour (bag)", "new"):  # fmt: skip
        assert word in said
    assert not (tmp_path / "run" / START).exists()


def test_on_the_same_data_it_begins_as_good_as_the_other_ended(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    """One step so small that it changes nothing."""
    train(
        dataset.folder, tmp_path / "run", start=run,
        overrides={"epochs": "1", "learning_rate": "1e-12"},
    )  # fmt: skip
    found = [evaluate(load_run(one)[0], dataset, "valid").mean("ndcg@10")
             for one in (run, tmp_path / "run")]  # fmt: skip
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_a_run_remembers_all_that_it_comes_from(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    for number, start in enumerate((run, tmp_path / "0")):
        train(dataset.folder, tmp_path / str(number), start=start, overrides={"epochs": "1"})
    config = RunConfig.load(tmp_path / "1" / "config.toml")
    assert [one.run for one in config.ancestors] == [str(tmp_path / "0"), str(run)]
    digests = [hashlib.sha256((one / "weights.safetensors").read_bytes()).hexdigest()
               for one in (tmp_path / "0", run)]  # fmt: skip
    assert [one.weights for one in config.ancestors] == digests
    assert {one.fingerprint for one in config.ancestors} == {dataset.schema.fingerprint()}
    assert RunConfig.load(run / "config.toml").ancestors == ()


def test_a_bundle_names_the_chain_by_hashes_alone(
    run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    from export.bundle import export_run

    train(dataset.folder, tmp_path / "run", start=run, overrides={"epochs": "1"})
    folder = export_run(tmp_path / "run", tmp_path / "bundles" / "1")
    (ancestor,) = Bundle.load(folder).manifest.config["ancestors"]
    assert ancestor == {
        "weights": sha256_of(run / "weights.safetensors"),
        "fingerprint": dataset.schema.fingerprint(),
    }
    assert str(run).encode() not in (folder / "manifest.json").read_bytes()


class Killed(Exception):
    """Stands for a process that ended."""


@pytest.mark.parametrize("after", [0, 1])
def test_a_run_that_was_interrupted_goes_on_without_the_other(
    run: Path, later: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Before its first checkpoint or after it; the other run is gone by then."""
    settings = {"epochs": "2", "patience": "9"}
    train(later.folder, tmp_path / "whole", start=run, overrides=settings)
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    done, epoch = [0], model.fit.Loop.epoch

    def killed(loop: Any) -> None:
        if done[0] == after:
            raise Killed
        done[0] += 1
        epoch(loop)

    with monkeypatch.context() as patch:
        patch.setattr(model.fit.Loop, "epoch", killed)
        with pytest.raises(Killed):
            train(later.folder, tmp_path / "run", start=copy, overrides=settings)
    shutil.rmtree(copy)
    train(later.folder, tmp_path / "run", resume=True)
    one, other = (tmp_path / name / "weights.safetensors" for name in ("whole", "run"))
    assert one.read_bytes() == other.read_bytes()


def test_what_it_was_begun_from_may_be_said_again_and_nothing_else(
    run: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(loop: Any) -> None:
        raise Killed

    other = tmp_path / "other"
    train(dataset.folder, other, overrides=ALONE | {"epochs": "1"})
    with monkeypatch.context() as patch:
        patch.setattr(model.fit.Loop, "epoch", killed)
        for start in (run, run):
            with pytest.raises(Killed):
                train(dataset.folder, tmp_path / "run", start=start, resume=True)
    with pytest.raises(RunError, match=r"was not begun from .*other"):
        train(dataset.folder, tmp_path / "run", start=other, resume=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "dnn"}, r"is a run of psad, and dnn was asked for. Leave --model out"),
        ({"overrides": {"width": "16"}}, r"width is 8 there and 16 here. Leave these settings out"),
        ({"overrides": {"heads": "4"}}, r"heads is 2 there and 4 here"),
        ({"preset": "shown"}, r"is built otherwise: embedding_width is 4 there and 8 here; width"),
    ],
)
def test_wrong_use_is_one_error_with_the_remedy(
    run: Path, dataset: Dataset, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(WarmStartError, match=message):
        train(dataset.folder, tmp_path / "run", start=run, **asked)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_begun_from_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset.folder, tmp_path / "trees", model="lambdamart",
          overrides={"trees": "3", "threads": "1"})  # fmt: skip
    with pytest.raises(WarmStartError, match="lambdamart, which grows anew each time"):
        train(dataset.folder, tmp_path / "run", start=tmp_path / "trees")
    with pytest.raises(RunError, match="is no run"):
        train(dataset.folder, tmp_path / "run", start=tmp_path / "none")
    assert not (tmp_path / "run").exists()
