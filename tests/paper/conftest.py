"""The small datasets of tests/model, and PSAD cut so small that a cell takes a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper import runner, study, worker
from paper.cells import Run
from paper.study import Asked
from tests.model import conftest as shared

dataset, plain = shared.dataset, shared.plain

TINY = {
    "width": "8", "embedding_width": "4", "heads": "2", "profile_width": "4", "epochs": "1",
    "batch_size": "128", "trees": "3", "threads": "1",
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny() -> dict[str, str]:
    """Settings that go before every configuration file."""
    return TINY


@pytest.fixture
def asked(dataset: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Both seeds of a study on the small log, in folders of the test's own."""
    monkeypatch.setattr(study, "QUICK_SETTINGS", TINY)
    folder = dataset.folder  # type: ignore[attr-defined]
    return Asked((folder,), 2, 1, tmp_path / "runs", tmp_path / "results", ("wo-ce",), quick=True)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs are made in this process; the names of their variants and seeds, as they are begun."""
    begun: list[str] = []

    def train(run: Run) -> str | None:
        begun.append(f"{run.variant}-{run.seed}")
        worker.main(run.words)
        return None

    monkeypatch.setattr(runner, "train", train)
    return begun
