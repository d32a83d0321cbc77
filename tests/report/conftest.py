"""The small dataset of tests/model, and two runs on it: a network and trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.dataset import Dataset
from model.train import train
from report import collect
from report.answer import Report
from report.sides import Sides, dataset_of, load, sides
from tests.model import conftest as shared

dataset, plain = shared.dataset, shared.plain

TINY = {
    "width": "8", "embedding_width": "4", "heads": "2", "profile_width": "4", "epochs": "3",
    "batch_size": "64",
}  # fmt: skip


@pytest.fixture(scope="session")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A joint run of PSAD; tests read it only."""
    folder = tmp_path_factory.mktemp("runs") / "psad"
    train(dataset.folder, folder, overrides=TINY)
    return folder


@pytest.fixture(scope="session")
def trees(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LambdaMART on the same lists."""
    folder = tmp_path_factory.mktemp("runs") / "trees"
    train(dataset.folder, folder, model="lambdamart", overrides={"trees": "5", "threads": "1"})
    return folder


@pytest.fixture(scope="session")
def both(run: Path) -> Sides:
    """The run's scorer beside the incoming order, on the test lists."""
    trained = load(run)
    return sides(trained, dataset_of(trained), "test")


@pytest.fixture(scope="session")
def many(run: Path) -> Sides:
    """The same on the training lists: more of them, with histories of every length."""
    trained = load(run)
    return sides(trained, dataset_of(trained), "train")


@pytest.fixture(scope="session")
def made(run: Path, many: Sides) -> Report:
    """All that a page says of them."""
    return collect(load(run), many)
