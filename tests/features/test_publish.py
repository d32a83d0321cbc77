"""CURRENT is read, changed and written by one at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import features.publish
from features.bundle import MANIFEST
from features.errors import BundleError
from features.pointer import Pointer, read_pointer, write_pointer
from features.publish import end_trial, named, publish, roll_back, try_beside


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Versions 1 to 3, the first in service."""
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / MANIFEST).write_text(name)
    publish(tmp_path / "1")
    return tmp_path


def test_nobody_undoes_what_another_published(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(folder: Path, pointer: Pointer) -> None:
        time.sleep(0.002)  # in which the other one would read
        write_pointer(folder, pointer)

    monkeypatch.setattr(features.publish, "write_pointer", slowly)
    ended, undone = threading.Event(), []

    def trials() -> None:
        while not ended.is_set():
            try_beside(home / "3", "shadow", 10.0)
            end_trial(home, "shadow")

    other = threading.Thread(target=trials)
    other.start()
    for number in range(40):
        name = str(1 + number % 2)
        publish(home / name)
        undone += [] if read_pointer(home).version == name else [name]
    ended.set()
    other.join()
    assert not undone
    assert {path.name for path in home.iterdir()} == {"1", "2", "3", "CURRENT"}


def test_another_than_the_one_expected_stays_in_service(home: Path) -> None:
    first = named(home / "1")
    publish(home / "2", instead_of=first)
    with pytest.raises(BundleError, match=r"2 was put in service meanwhile, in place of 1: .*/3"):
        publish(home / "3", instead_of=first)
    assert read_pointer(home).version == "2"
    assert roll_back(home).version == "1"


def test_where_folders_cannot_be_locked_it_works_all_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    publish(home / "2")
    assert read_pointer(home).version == "2"
