"""The command against a real service: its report, and what it says of what it cannot do."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from data.dataset import Dataset
from loadtest.errors import LoadError
from loadtest.open_loop import Mode, app, parse_rates
from loadtest.picture import draw
from service.errors import MODES

ROOT = Path(__file__).parents[2]


def open_loop(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "loadtest.open_loop", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def report(dataset: Dataset, url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes at two rates measured of the real service, and where it was written."""
    out = tmp_path_factory.mktemp("report") / "deeper"
    done = open_loop(
        "--url", url, "--dataset", str(dataset.folder), "--rates", "40,20", "--seconds", "1",
        "--warm-up", "0.5", "--processes", "2", "--pool", "60", "--out", str(out),
        "--arrivals", "poisson", "--deadline-ms", "5000", "--timeout", "20",
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stdout + done.stderr  # 3: this machine is too busy
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {**content, "out": out, "said": done.stdout, "code": done.returncode}


def test_every_request_was_answered_and_counted(report: dict[str, Any]) -> None:
    assert [step["rate"] for step in report["steps"]] == [40.0, 20.0]
    for step in report["steps"]:
        assert step["outcomes"] == {"scored": step["requests"]}
        assert 0 < step["requests"] < 90
        latency = step["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
        assert step["latency_from_send_ms"]["p50"] <= latency["p50"]


def test_the_report_says_what_was_loaded_and_how(report: dict[str, Any]) -> None:
    assert report["model"] == {"name": "toy-s", "version": "1"}
    assert report["service"]["deadline_ms"] == 50.0
    assert (report["processes"], report["arrivals"], report["mode"]) == (2, "poisson", "scorer")
    assert (report["deadline_ms"], report["timeout"], report["pool"]) == (5000.0, 20.0, 60)


def test_the_exit_code_says_whether_the_generator_kept_up(report: dict[str, Any]) -> None:
    distrusted = any(step["distrust"] for step in report["steps"])
    assert report["code"] == (3 if distrusted else 0)
    assert ("NOT TO BE TRUSTED" in report["said"]) == distrusted


def test_pictures_stand_beside_the_report_and_nothing_half_written(report: dict[str, Any]) -> None:
    names = sorted(path.name for path in report["out"].iterdir())
    assert names == ["report.json", "report.png", "report.svg"]
    assert (report["out"] / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (report["out"] / "report.svg").read_text(encoding="utf-8")


def test_a_report_with_faults_of_every_kind_can_be_drawn(
    report: dict[str, Any], tmp_path: Path
) -> None:
    one, two = report["steps"]
    nothing = dict.fromkeys(one["latency_ms"])
    empty = {**two, "requests": 0, "latency_ms": nothing, "lag_ms": nothing, "curve": []}
    faults = {"distrust": "late", "failed": one["requests"], "fallbacks": 0}
    draw({**report, "steps": [{**one, **faults}, empty], "model": None, "capacity": None},
         tmp_path / "faults.svg")  # fmt: skip
    assert (tmp_path / "faults.svg").stat().st_size > 10_000


def test_a_service_that_is_not_there_is_named(dataset: Dataset) -> None:
    done = open_loop("--url", "http://127.0.0.1:9", "--dataset", str(dataset.folder), "--pool", "2")
    assert done.returncode == 2
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_requests_that_the_service_refuses_stop_the_run_with_its_words(
    dataset: Dataset, url: str
) -> None:
    done = open_loop(
        "--url", url, "--dataset", str(dataset.folder), "--mode", "generator", "--pool", "2"
    )
    assert done.returncode == 2
    assert "422 no_generator" in done.stderr
    assert "this bundle carries no generator" in done.stderr


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    done = open_loop("--dataset", str(tmp_path))
    assert done.returncode == 2
    assert f"{tmp_path} is not a prepared dataset" in done.stderr


@pytest.mark.parametrize("text", ["", "x", "0", "-5", "10,,20", "nan", "inf"])
def test_rates_that_are_no_rates_are_refused(text: str) -> None:
    with pytest.raises(LoadError, match="--rates"):
        parse_rates(text)


def test_the_modes_are_the_services() -> None:
    assert tuple(Mode) == MODES


def test_help_shows_examples_that_the_command_takes() -> None:
    text = CliRunner().invoke(app, ["--help"], terminal_width=200).output
    readme = (ROOT / "loadtest" / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"^ *python -m loadtest\.open_loop (.*)$", text + readme, re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        get_command(app).make_context("open_loop", shlex.split(example))
