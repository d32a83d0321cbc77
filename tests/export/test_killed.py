"""`prepare` and `export`, killed with SIGKILL: a final name holds what is whole, or nothing."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from data.dataset import Dataset
from data.prepare import prepare
from export.bundle import export_run
from features.bundle import resolve

Exported = Any  # of conftest.py


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """They are forked from one that has imported what both verbs need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["data.prepare", "export.bundle"])
    return context


def killed_after(process: Any, seconds: float) -> bool:
    """Start it, kill it then; whether it was still at work."""
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9)
    return bool(process.exitcode == -9)


def moments(lasts: Callable[[], Any], count: int) -> list[float]:
    """Random moments within what the undisturbed work takes, of which the last is late."""
    began = time.monotonic()
    lasts()
    took = time.monotonic() - began
    drawn = random.Random(1)
    return [*(drawn.uniform(0, took) for _ in range(count - 1)), 0.97 * took]


def quiet(text: str) -> None:
    """Says nothing."""


@pytest.mark.slow
def test_a_killed_prepare_leaves_the_dataset_that_was_there_or_a_whole_one(
    processes: ForkServerContext, dataset: Dataset, tmp_path: Path
) -> None:
    log, target = dataset.folder.parent / "log", tmp_path / "dataset"
    before = prepare(log, target, split="user", report=quiet).info
    after = prepare(log, tmp_path / "other", split="time", report=quiet).info
    assert before != after

    def work(folder: Path) -> Any:
        return processes.Process(
            target=prepare, args=(log, folder), kwargs={"split": "time", "report": quiet}
        )

    def undisturbed() -> None:
        process = work(tmp_path / "timed")
        process.start()
        process.join()

    undisturbed()  # the first process also starts the one it is forked from
    kills = 0
    for moment in moments(undisturbed, 8):
        kills += killed_after(work(target), moment)
        assert Dataset.load(target).info in (before, after)
    assert kills >= 4
    shutil.rmtree(target)
    for moment in moments(undisturbed, 4):
        killed_after(work(target), moment)
        assert not target.exists() or Dataset.load(target).info == after


@pytest.mark.slow
@pytest.mark.parametrize("written", ["scorer.onnx", "generator.onnx"])
def test_a_killed_export_leaves_no_version_and_the_one_in_service_in_service(
    processes: ForkServerContext, exported: Exported, tmp_path: Path, written: str
) -> None:
    """Killed while it proves what it has just written, which lies under a hidden name."""
    name = tmp_path / "bundles" / "psad"
    shutil.copytree(exported.bundle.parent, name)
    process = processes.Process(target=export_run, args=(exported.run, name / "2"))
    process.start()
    while not list(name.glob(f".2-*/{written}")):
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not (name / "2").exists()
    assert resolve(name).manifest.version == "1"  # every checksum verified
