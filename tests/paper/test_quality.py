"""The quality table's rows can be trained, and a run that is finished is not trained again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.errors import PsadError
from model.config import configure
from paper import quality


@pytest.mark.parametrize("row", quality.ROWS)
def test_every_row_is_a_configuration_that_exists(row: str) -> None:
    words = quality.ROWS[row]
    overrides = dict(word.split("=", 1) for word in words[2:])
    assert words[0] == "--model"
    configure(words[1], "robust", overrides)


def test_finished_runs_are_kept_and_the_others_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    monkeypatch.setattr(
        quality, "_train", lambda dataset, run, row, seed: trained.append(f"{row}-{seed}")
    )
    runs = {("prm", seed): tmp_path / f"prm-{seed}" for seed in range(3)}
    runs["prm", 1].mkdir()
    (runs["prm", 1] / "metrics.json").write_text("{}")
    quality._train_all(tmp_path, runs, 1)
    assert trained == ["prm-0", "prm-2"]


def test_a_training_that_fails_is_reported_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Done:
        returncode, stderr = 2, "no such dataset"

    def run(*_: Any, **__: Any) -> Done:
        return Done()

    monkeypatch.setattr(quality.subprocess, "run", run)
    with pytest.raises(PsadError, match=r"(?s)train .*prm-0.*no such dataset"):
        quality._train(tmp_path, tmp_path / "runs" / "prm-0", "prm", 0)
