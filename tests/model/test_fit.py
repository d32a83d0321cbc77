"""The training loop: the same seed is the same run, also when it was interrupted."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from model.config import Training
from model.evaluate import evaluate, load_batch
from model.fit import Diverged, Loop, _groups, _shape
from model.ranker import NeuralRanker

BRIEF = Training(epochs=4, patience=4, batch_size=64, learning_rate=0.02, average=0.9)
# everything random at once: dropout, hidden values, a roll-out that samples, places to refill
NOISY: dict[str, Any] = {
    "dropout": 0.2,
    "unknown_rate": 0.2,
    "exploration": 1.0,
    "refine": 1,
    "alpha": 0.5,
}

DRAWN = itertools.count(1)


def training(**changes: Any) -> Training:
    return BRIEF.model_copy(update=changes)


def fitted(
    dataset: Dataset,
    tools: Any,
    folder: Path,
    name: str = "psad",
    resume: bool = False,
    **changes: Any,
) -> tuple[NeuralRanker, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    settings = NOISY if name == "psad" else {"dropout": 0.2}
    ranker = tools.model(dataset, name, list_size=4, **settings)
    torch.rand(next(DRAWN))  # what was drawn before is of no consequence
    return ranker, ranker.fit(dataset, folder, training=training(**changes), resume=resume)


def progress(folder: Path) -> list[dict[str, Any]]:
    """Its lines, without the clock."""
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    return [{key: value for key, value in one.items() if key != "seconds"} for one in lines]


def same(one: NeuralRanker, two: NeuralRanker) -> bool:
    states = one.state_dict(), two.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    one, _ = fitted(dataset, tools, tmp_path / "one", epochs=2)
    two, _ = fitted(dataset, tools, tmp_path / "two", epochs=2)
    other, _ = fitted(dataset, tools, tmp_path / "other", epochs=2, seed=1)
    assert same(one, two)
    assert progress(tmp_path / "one") == progress(tmp_path / "two")
    assert not same(one, other)


class Interrupted(Exception):
    """The power went."""


@pytest.fixture(scope="module", params=[0.9, 0.0], ids=["averaged", "plain"])
def whole(
    request: pytest.FixtureRequest, dataset: Dataset, tools: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[float, Path, NeuralRanker, dict[str, Any]]:  # fmt: skip
    """The average, and a run with it that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return request.param, folder, *fitted(dataset, tools, folder, average=request.param)


@pytest.mark.parametrize(
    ("method", "at", "left"),
    [
        pytest.param("step", 2, 0, id="in-the-first-epoch"),
        pytest.param("step", 9, 2, id="in-a-later-epoch"),
        pytest.param("_keep", 2, 1, id="before-the-record"),
        pytest.param("_checkpoint", 3, 2, id="between-record-and-checkpoint"),
    ],
)
def test_an_interrupted_run_becomes_the_run_it_would_have_been(
    dataset: Dataset, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    whole: tuple[float, Path, NeuralRanker, dict[str, Any]], method: str, at: int, left: int,
) -> None:  # fmt: skip
    average, folder, ranker, summary = whole
    plain, calls = getattr(Loop, method), []

    def fails(self: Loop, *arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise Interrupted
        return plain(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, method, fails)
        with pytest.raises(Interrupted):
            fitted(dataset, tools, tmp_path / "cut", average=average)
    found = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").glob("epoch-*"))
    assert found == ([f"epoch-{left:04d}"] if left else [])
    again, resumed = fitted(dataset, tools, tmp_path / "cut", resume=True, average=average)
    assert same(ranker, again)
    assert progress(tmp_path / "cut") == progress(folder)
    assert resumed["best_epoch"] == summary["best_epoch"]
    assert resumed["epochs"] == summary["epochs"]


def test_a_half_written_checkpoint_is_not_resumed_from(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    whole, _ = fitted(dataset, tools, tmp_path / "whole", epochs=2)
    (tmp_path / "cut" / "checkpoints" / "writing").mkdir(parents=True)
    again, _ = fitted(dataset, tools, tmp_path / "cut", epochs=2, resume=True)
    assert same(whole, again)


@pytest.mark.parametrize("name", ["psad", "dnn"])
def test_the_weights_that_remain_are_those_of_the_best_epoch(
    dataset: Dataset, tools: Any, tmp_path: Path, name: str
) -> None:
    ranker, found = fitted(dataset, tools, tmp_path / "run", name)
    records = progress(tmp_path / "run")
    values = [record["valid"] for record in records]
    assert found["best_epoch"] == int(np.argmax(values)) + 1
    assert evaluate(ranker, dataset, "valid").mean("ndcg@10") == pytest.approx(
        max(values), abs=1e-6
    )
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    left = list((tmp_path / "run" / "checkpoints").iterdir())
    assert [one.name for one in left] == ["epoch-0004"]  # `train` clears them when all is written


def test_a_line_of_progress_says_losses_quality_and_pace(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    fitted(dataset, tools, tmp_path / "run", epochs=2)
    for record in progress(tmp_path / "run"):
        losses = {key for key in record if key.startswith("loss_")}
        assert losses >= {"loss_scorer", "loss_generator", "loss_refinement", "loss_distillation"}
        assert record["valid"] == record["ndcg_scorer"]
        assert {"ndcg_generator", "target_entropy", "learning_rate"} <= set(record)


def test_training_stops_when_validation_no_longer_improves(
    dataset: Dataset, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    monkeypatch.setattr(Loop, "_validate", lambda self: {"ndcg_scorer": 0.0, "valid": next(values)})
    _, found = fitted(dataset, tools, tmp_path / "run", "dnn", epochs=20, patience=3)
    assert found["best_epoch"] == 2  # a tie is no improvement
    assert found["epochs"] == 5


def test_the_epoch_that_is_kept_can_be_the_one_of_the_least_loss(
    dataset: Dataset, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.9, 0.4, 0.7, 0.8])
    monkeypatch.setattr(Loop, "_validation_loss", lambda self: next(losses))
    _, found = fitted(dataset, tools, tmp_path / "run", "dnn", select="loss")
    assert found["best_epoch"] == 2
    lines = (tmp_path / "run/progress.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [one["valid"] for one in records] == [-0.9, -0.4, -0.7, -0.8]


def test_the_validation_loss_is_a_mean_over_lists(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    """Whatever the batches, of which the last is shorter."""
    ranker = tools.model(dataset, "dnn").eval()
    found = [
        Loop(ranker, dataset, tmp_path / str(size), training(batch_size=size, average=0.0))
        ._validation_loss()
        for size in (7, 1000)
    ]  # fmt: skip
    lists = len(dataset.splits["valid"])
    assert lists % 7
    with torch.no_grad():
        each = [
            ranker.loss(load_batch(dataset, dataset.splits["valid"][[n]]))["binary"].item()
            for n in range(lists)
        ]
    assert found[0] == pytest.approx(sum(each) / lists, rel=1e-5)
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_and_says_what_to_do(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    ranker, calls = tools.model(dataset, "dnn"), []
    plain = ranker.loss

    def breaks(batch: Any) -> dict[str, torch.Tensor]:
        calls.append(1)
        return {
            name: term * (math.nan if len(calls) == 6 else 1) for name, term in plain(batch).items()
        }

    ranker.loss = breaks
    with pytest.raises(
        Diverged, match=r"'binary': nan.* in epoch 2. Lower learning_rate \(now 0.02"
    ):
        ranker.fit(dataset, tmp_path, training=training(batch_size=64))


def test_validation_uses_the_averaged_weights(dataset: Dataset, tools: Any, tmp_path: Path) -> None:
    loop = Loop(tools.model(dataset, "dnn"), dataset, tmp_path, training(average=0.5))
    before = {name: one.clone() for name, one in loop.ranker.named_parameters()}
    seen: list[dict[str, torch.Tensor]] = []
    plain = loop.step

    def watching(batch: Any) -> dict[str, float]:
        values = plain(batch)
        seen.append({name: one.detach().clone() for name, one in loop.ranker.named_parameters()})
        return values

    loop.step = watching
    loop._train()
    for name, found in loop.judged.named_parameters():
        mean = seen[0][name]  # the average begins with the first step's weights
        for taken, one in enumerate(seen[1:], start=1):
            keep = min(0.5, (1 + taken) / (10 + taken))  # of the average so far
            mean = keep * mean + (1 - keep) * one[name]
        torch.testing.assert_close(found, mean)
        assert not torch.equal(seen[-1][name], before[name]) or not before[name].any()
    assert Loop(tools.model(dataset, "dnn"), dataset, tmp_path, training(average=0.0)).judged


def test_each_epoch_has_an_order_of_its_own_that_the_seed_fixes(
    dataset: Dataset, tools: Any, tmp_path: Path
) -> None:
    def orders(seed: int) -> list[list[float]]:
        """What the batches of two epochs sum to."""
        loop, sums = Loop(tools.model(dataset, "dnn"), dataset, tmp_path, training(seed=seed)), []
        step = loop.step

        def watching(batch: Any) -> dict[str, float]:
            sums.append(batch.tensors["candidate_numeric"].sum().item())
            return step(batch)

        loop.step = watching
        loop.epoch()
        loop.epoch()
        return [sums[: loop.steps], sums[loop.steps :]]

    first, again, other = orders(0), orders(0), orders(1)
    assert first == again
    assert len({tuple(order) for order in (*first, *other)}) == 4


def test_the_learning_rate_warms_up_and_falls_as_half_a_cosine() -> None:
    at = _shape(100, 0.1)
    assert [at(0), at(4), at(9), at(10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert at(55) == pytest.approx((1 + 0.05) / 2)
    assert at(100) == at(1000) == pytest.approx(0.05)
    assert [_shape(3, 0.0)(step) for step in (0, 1)] == [1.0, 1.0]


def test_weights_decay_by_kind(dataset: Dataset, tools: Any) -> None:
    ranker = tools.model(dataset, "psad")
    groups = _groups(ranker, training(weight_decay=0.02, embedding_weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert len(decay) == sum(len(group["params"]) for group in groups)
    for name, parameter in ranker.named_parameters():
        embeds = "vectors" in name or "values" in name
        matrix = parameter.ndim > 1 and name.endswith(".weight")
        assert decay[id(parameter)] == (0.1 if embeds else 0.02 if matrix else 0.0), name
