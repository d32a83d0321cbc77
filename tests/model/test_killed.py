"""Trainings that are killed with SIGKILL: what is resumed becomes what it would have been.

Each attempt is a process of its own, forked from one that has the imports behind it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from data.dataset import Dataset

EPOCHS, KILLS = 14, 10
SETTINGS = {
    "width": "16", "embedding_width": "4", "heads": "2", "profile_width": "4", "batch_size": "64",
    "epochs": str(EPOCHS), "patience": str(EPOCHS), "dropout": "0.2", "unknown_rate": "0.2",
}  # fmt: skip
PATIENCE = 120.0  # seconds that something may take before the test gives up


def attempt(dataset: Path, run: Path, slow: bool = False) -> None:
    """What a process does: `psad train DATASET RUN --resume`; `slow` lingers in a checkpoint."""
    import torch
    from accelerate import accelerator

    from model.train import train

    torch.set_num_threads(1)
    if slow:
        save = accelerator.save_accelerator_state

        def lingers(*arguments: Any, **named: Any) -> Any:
            found = save(*arguments, **named)
            time.sleep(PATIENCE)
            return found

        accelerator.save_accelerator_state = lingers
    train(dataset, run, seed=5, resume=True, overrides=SETTINGS)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """They are forked from one that has imported what training needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["model.train", "model.psad.model", "accelerate.accelerator"])
    return context


@pytest.fixture(scope="module")
def whole(
    processes: ForkServerContext, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Hash of the weights of a training that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    finish(processes, dataset, run)
    return weights(run)


def finish(processes: ForkServerContext, dataset: Dataset, run: Path) -> None:
    process = processes.Process(target=attempt, args=(dataset.folder, run))
    process.start()
    process.join()
    assert process.exitcode == 0


def weights(run: Path) -> str:
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


@contextmanager
def killed(processes: ForkServerContext, *arguments: Any) -> Iterator[BaseProcess]:
    """A training that is killed when the block ends; it must not have ended by itself."""
    process = processes.Process(target=attempt, args=arguments)
    process.start()
    yield process
    process.kill()
    process.join()
    assert process.exitcode == -9


def wait(process: BaseProcess, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process.is_alive(), f"ended with {process.exitcode}"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def epochs(run: Path) -> int:
    path = run / "progress.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_no_weight(
    processes: ForkServerContext, dataset: Dataset, tmp_path: Path, whole: str
) -> None:
    """The moments lie anywhere from the first line of code to within the last epochs."""
    run, moments = tmp_path / "run", random.Random(0)
    for number in range(KILLS):
        with killed(processes, dataset.folder, run) as process:
            wait(process, lambda done=number: epochs(run) >= done)  # type: ignore[misc]
            time.sleep(moments.uniform(0, 0.3))
    assert epochs(run) < EPOCHS
    finish(processes, dataset, run)
    assert weights(run) == whole


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written_changes_no_weight(
    processes: ForkServerContext, dataset: Dataset, tmp_path: Path, whole: str
) -> None:
    run = tmp_path / "run"
    written = run / "checkpoints" / "writing"
    for start in (lambda: epochs(run) >= 1, lambda: epochs(run) >= 4):
        with killed(processes, dataset.folder, run) as process:
            wait(process, start)
        with killed(processes, dataset.folder, run, True) as process:
            wait(process, lambda: written.exists() and any(written.iterdir()))
        assert any(written.iterdir())  # half a checkpoint is left behind
    finish(processes, dataset, run)
    assert weights(run) == whole
