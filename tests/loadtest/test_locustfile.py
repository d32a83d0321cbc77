"""locust runs the file headless against a real service, and tells fallbacks apart."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data.dataset import Dataset

ROOT = Path(__file__).parents[2]
if importlib.util.find_spec("locust") is None:
    pytest.skip("locust is not installed: pip install '.[loadtest]'", allow_module_level=True)


def locust(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A headless run of three seconds by four people who hardly think."""
    command = [
        sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--host", url,
        "--users", "4", "--spawn-rate", "4", "--run-time", "3s", "--think", "0.05",
        "--journeys", "20", "--csv", str(folder / "run"), *words,
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def lines(folder: Path) -> dict[str, tuple[int, int]]:
    """Requests and failures of each line of the statistics."""
    with (folder / "run_stats.csv").open(encoding="utf-8") as file:
        return {
            row["Name"]: (int(row["Request Count"]), int(row["Failure Count"]))
            for row in csv.DictReader(file)
        }


def test_people_are_served_and_the_run_ends_well(
    dataset: Dataset, url: str, tmp_path: Path
) -> None:
    done = locust(tmp_path, url, "--dataset", str(dataset.folder), "--deadline-ms", "5000")
    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(tmp_path)
    assert found.keys() == {"/rerank", "Aggregated"}
    assert found["/rerank"][0] > 4
    assert found["/rerank"][1] == 0


def test_fallbacks_have_a_line_of_their_own(dataset: Dataset, url: str, tmp_path: Path) -> None:
    asked = ("--dataset", str(dataset.folder), "--deadline-ms", "0.001", "--shapes", "rows")
    done = locust(tmp_path, url, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    count, failures = lines(tmp_path)["/rerank (fallback deadline)"]
    assert count > 0
    assert failures == 0


def test_fallbacks_fail_where_they_are_told_to(dataset: Dataset, url: str, tmp_path: Path) -> None:
    asked = ("--dataset", str(dataset.folder), "--deadline-ms", "0.001", "--fallbacks-fail")
    done = locust(tmp_path, url, *asked)
    assert done.returncode == 1, done.stdout + done.stderr
    count, failures = lines(tmp_path)["/rerank (fallback deadline)"]
    assert count == failures > 0


def test_a_run_without_a_dataset_says_what_to_name(url: str, tmp_path: Path) -> None:
    done = locust(tmp_path, url)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "name a dataset that `psad prepare` wrote" in done.stdout


def test_every_option_stands_in_the_readme_since_locusts_help_cannot_show_it() -> None:
    source = (ROOT / "loadtest" / "locustfile.py").read_text(encoding="utf-8")
    options = re.findall(r'\badd\(\s*"(--[a-z-]+)"', source)
    assert "--dataset" in options
    text = (ROOT / "loadtest" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(--[a-z-]+)` \|", text, re.MULTILINE) == options
