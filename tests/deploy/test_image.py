"""The Dockerfile as it is written; and, where it is asked for, built and run."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from rich.console import Console

from deploy.check import container, image
from deploy.check.__main__ import Report
from deploy.check.tools import ROOT, Wrong, missing

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LOCK = (ROOT / "deploy/image/requirements.txt").read_text(encoding="utf-8")
PINNED = dict(re.findall(r"^([\w.-]+)==([\w.+]+)", LOCK, re.MULTILINE))
NOT_ASKED = "" if os.environ.get("PSAD_IMAGE_CHECK") else "PSAD_IMAGE_CHECK=1 asks for this build"


def instruction(name: str) -> str:
    """What the last one of this name says."""
    found = re.findall(rf"^\s*{name}\s+((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return str(found[-1])


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])  # CMD: of the health check
def test_what_is_started_needs_no_shell(name: str) -> None:
    words = json.loads(instruction(name))
    assert words[0] in ("psad", "python")


def test_both_stages_are_on_debian_slim_and_the_process_is_not_roots() -> None:
    assert "\nARG BASE=docker.io/library/debian:bookworm-slim\n" in DOCKERFILE
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert instruction("USER") == "10001:10001"


def test_the_label_tells_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"\nARG VERSION={project['version']}\n" in DOCKERFILE


def test_the_lock_holds_what_the_project_asks_for_and_nothing_of_training() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["cpu"]):
        asked = Requirement(text)
        assert asked.name in PINNED, f"{text} is not locked: run `make lock`"
        assert Version(PINNED[asked.name]) in asked.specifier, f"{text}: run `make lock`"
    unwanted = {Requirement(text).name for text in extras["train"]}
    assert unwanted.isdisjoint(PINNED)


@pytest.mark.parametrize("name", ["requirements.txt", "build.txt"])
def test_everything_locked_has_hashes(name: str) -> None:
    text = (ROOT / "deploy/image" / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_context_holds_what_the_wheel_is_made_from_and_the_locks() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    files = {"LICENSE", "README.md", "pyproject.toml", "deploy/image/*.txt"}
    assert set(kept) == packages | files
    assert all(list(ROOT.glob(one)) for one in kept)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("opt/psad/lib/python3.11/site-packages/torch/version.py", 0o644),
        ("opt/psad/lib/python3.11/site-packages/pip/__init__.py", 0o644),
        ("usr/bin/gcc", 0o755),
        ("usr/lib/gcc/x86_64-linux-gnu/12/cc1", 0o755),
        ("usr/bin/su", 0o4755),
        ("root/.cache/pip/http/a", 0o644),
        ("var/cache/apt/archives/python3.deb", 0o644),
        ("etc/pip.conf", 0o600),
    ],
)
def test_what_an_image_must_not_hold_is_found(tmp_path: Path, name: str, mode: int) -> None:
    for each, bits in {"usr/bin/python3.11": 0o755, "etc/passwd": 0o644, name: mode}.items():
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).touch()
        (tmp_path / each).chmod(bits)
    assert container.unwanted(tmp_path) == [name]


def told(**changes: Any) -> dict[str, Any]:
    """What podman tells of an image, as this one's should be."""
    names = ("OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "RERANK_HOST=0.0.0.0")
    inner = {
        "Entrypoint": ["psad", "serve"], "User": "10001:10001", "StopSignal": "SIGTERM",
        "Env": [*names, "RERANK_PORT=8000"], "Healthcheck": ["CMD", "python"],
    }  # fmt: skip
    inner |= changes
    return {"Config": inner, "Healthcheck": {"Test": inner.pop("Healthcheck")}}


def test_a_configuration_as_it_should_be_passes() -> None:
    assert container.check_config(told()) == "psad serve as 10001:10001"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"User": ""}, "starts as root"),
        ({"User": "0:0"}, "starts as 0:0"),
        ({"Entrypoint": ["/bin/sh", "-c", "psad serve"]}, "starts .*/bin/sh"),
        ({"Healthcheck": ["CMD-SHELL", "curl localhost"]}, "needs a shell"),
        ({"Env": ["RERANK_HOST=0.0.0.0", "RERANK_PORT=8000"]}, "not pinned"),
        ({"StopSignal": "SIGKILL"}, "SIGKILL"),
    ],
)
def test_a_configuration_that_is_not_is_found(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Wrong, match=said):
        container.check_config(told(**change))


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(bool(NOT_ASKED or missing()), reason=NOT_ASKED or missing())
def test_the_image_builds_starts_answers_and_is_scraped(tmp_path: Path) -> None:
    report = Report(Console(width=140))
    image.check(report, None, ROOT / "build" / "image", tmp_path)
    report.show()
    assert not report.wrong
