"""Folds hold nothing of the test lists, and a model is set beside the first on the same folds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data import sources
from data.dataset import Dataset
from data.lists import arrange
from data.simulator.tables import simulate
from paper import folds


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small log whose users have several lists each."""
    folder = tmp_path_factory.mktemp("log")
    simulate(folder / "log", lists=600, seed=0, items=120)
    return folder / "log"


def test_a_fold_holds_no_list_that_the_tables_test_on(log: Path) -> None:
    raw = sources.read(log)
    lists = arrange(raw, "last-list").lists
    ranked = lists.filter("evaluable")
    left = raw
    for times in (1, 2):
        cut = folds.without_last_lists(raw, times)
        gone = set(raw.impressions["list_id"]) - set(cut.impressions["list_id"])
        last = ranked.group_by("user_id", maintain_order=True).tail(times)["list_id"]
        assert gone == set(last)
        assert len(cut.impressions) < len(left.impressions)
        left = cut
    assert not set(arrange(left, "last-list").lists["list_id"]) & set(
        lists.filter(pl.col("split").is_in(["test", "valid"]))["list_id"]
    )


def test_a_model_is_trained_and_judged_once_a_fold(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(folds, "FOLDER", tmp_path)
    monkeypatch.setattr(folds, "FOLDS", {"last": (1, "last-list", 0), "users": (1, "user", 3)})
    words = [str(log), "dnn epochs=1 embedding_width=8", "dnn epochs=1 embedding_width=4"]
    folds.main(words)
    first = capsys.readouterr().out
    assert "dnn epochs=1 embedding_width=4" in first
    monkeypatch.setattr(folds, "train", lambda *_, **__: pytest.fail("trained again"))
    folds.main(words)
    assert first.splitlines()[-8:] == capsys.readouterr().out.splitlines()[-8:]
    names = {path.name for path in tmp_path.glob("*/*")}
    assert names == {"last", "users"}
    assert Dataset.load(next(tmp_path.glob("*/users"))).info["split"] == "user"


def test_differences_are_of_the_same_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "FOLDS", {"a": (1, "user", 0), "b": (1, "user", 1)})
    found = {("x", "a"): 0.5, ("x", "b"): 0.7, ("y", "a"): 0.6, ("y", "b"): 0.78}
    rows = folds.table(found, ["x", "y"]).rows
    assert rows[0] == ("x", "0.5000", "0.7000", "0.6000", "+0.0000 ± 0.0000")
    assert rows[1] == ("y", "0.6000", "0.7800", "0.6900", "+0.0900 ± 0.0100")
