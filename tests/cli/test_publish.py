"""The verbs that say which version of a bundle is in service."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from features.bundle import resolve
from features.pointer import read_pointer
from tests.service.conftest import write_bundle


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """bundles/toy with version 1 in service, and 2 beside it."""
    write_bundle(tmp_path)
    return write_bundle(tmp_path, name="2", published=False)


def psad(*words: object) -> tuple[int, str]:
    """Exit code, and what was said, on one line."""
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    return done.exit_code, " ".join(done.output.split())


def test_a_version_is_published_and_taken_back(home: Path) -> None:
    code, said = psad("publish", home / "2")
    assert (code, resolve(home).manifest.version) == (0, "2")
    assert said.endswith("and 1 the one before it")
    assert psad("rollback", home)[0] == 0
    assert resolve(home).manifest.version == "1"


def test_an_altered_version_is_not_published(home: Path) -> None:
    with (home / "2" / "scorer.onnx").open("ab") as file:
        file.write(b"x")
    code, said = psad("publish", home / "2")
    assert code == 2
    assert "scorer.onnx was altered since export" in said
    assert psad("try", home / "2", "--split", 5)[0] == 2
    assert resolve(home).manifest.version == "1"
    assert read_pointer(home).split is None


def test_an_altered_version_is_not_gone_back_to(home: Path) -> None:
    psad("publish", home / "2")
    with (home / "1" / "scorer.onnx").open("ab") as file:
        file.write(b"x")
    assert psad("rollback", home)[0] == 2
    assert read_pointer(home).version == "2"


def test_a_version_is_tried_and_the_trial_ends(home: Path) -> None:
    code, said = psad("try", home / "2", "--split", 10, "--shadow", 25)
    assert code == 0
    assert said.endswith("2 answers 10% of the users 2 is asked 25% of the requests, as a shadow")
    pointer = read_pointer(home)
    assert pointer.split
    assert pointer.shadow
    assert (pointer.version, pointer.split.percent, pointer.shadow.percent) == ("1", 10, 25)
    assert psad("try", home, "--end")[0] == 0
    assert (read_pointer(home).split, read_pointer(home).shadow) == (None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("publish", "."), "is no version of a bundle"),
        (("try", "2"), "say --split PERCENT or --shadow PERCENT"),
        (("try", "2", "--split", 5, "--end"), "say --split PERCENT or --shadow PERCENT"),
        (("try", "2", "--split", 0), "0 is no share in percent"),
        (("try", "2", "--shadow", 101), "101 is no share in percent"),
        (("try", "1", "--split", 5), "1 is the version in service"),
        (("try", ".", "--split", 5), "is no version of a bundle"),
        (("rollback", "."), "names no version before 1"),
    ],
)
def test_what_cannot_be_done_is_said(home: Path, words: tuple[object, ...], said: str) -> None:
    before = (home / "CURRENT").read_bytes()
    code, output = psad(words[0], home / str(words[1]), *words[2:])
    assert code == 2
    assert said in output
    assert (home / "CURRENT").read_bytes() == before
