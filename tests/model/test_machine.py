"""The commit and the load that figures carry."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from model import machine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit, of its README alone."""
    (tmp_path / "README").write_text("another project\n")
    git(tmp_path, "init", "--quiet")
    keep(tmp_path, "README")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def keep(folder: Path, *names: str) -> None:
    git(folder, "add", *names)
    git(folder, "commit", "--quiet", "--message", "kept")


def place(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the module says it lies."""
    file = project / "lib" / "model" / "machine.py"
    file.parent.mkdir(parents=True)
    file.write_text("# code\n")
    monkeypatch.setattr(machine, "__file__", str(file))
    return file


def test_the_commit_is_of_the_code_and_tells_what_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place(project, monkeypatch)
    keep(project, "lib")
    head = git(project, "rev-parse", "HEAD")
    assert machine.commit() == head[:12]
    file.write_text("# other code\n")
    assert machine.commit() == f"{head[:12]}+"


def test_installed_inside_another_project_it_is_not_that_project_s_commit(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place(project, monkeypatch)
    assert machine.commit() is None


def test_outside_git_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    place(tmp_path, monkeypatch)
    assert machine.commit() is None


def test_a_machine_is_busy_above_half_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)
    assert machine.load() == machine.Load(3.0, 4)
    assert machine.load().busy
    assert str(machine.load()) == "3.0 on 4 cores"
    assert not machine.Load(2.0, 4).busy
    assert str(machine.Load(0.5, 1)) == "0.5 on 1 core"
