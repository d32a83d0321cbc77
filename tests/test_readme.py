"""Every command in README and CONTRIBUTING is run here, or is shown to be one that can be run.

`psad`, `uvicorn` and `curl` lines are run as they stand, in README's order, on a small generated
log named as README names it. Two things differ: training is cut to one epoch, and the port is a
free one. `make` lines are expanded without being run (`make -n`): `make test` and `make check` are
what runs this, and tests/cli/test_demo.py runs the demo.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from cli import demo_data
from cli.demo_service import free_port
from tests.shell import commands, run, server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

ALL = commands(README) + commands(CONTRIBUTING)
MAKE = [line for line in ALL if line.startswith("make ")]
CURL = [line for line in ALL if line.startswith("curl ")]
PSAD = [line for line in ALL if line.startswith("psad ") and not line.startswith("psad serve ")]
SERVERS = [line for line in ALL if line.startswith("psad serve ") or " uvicorn " in line]
ENVIRONMENT = [". .venv/bin/activate"]  # what every .venv has


def test_no_command_goes_untested() -> None:
    tested = {*MAKE, *CURL, *PSAD, *SERVERS, *ENVIRONMENT}
    assert [line for line in ALL if line not in tested] == []
    assert all((MAKE, CURL, PSAD, SERVERS))


@pytest.mark.parametrize("line", MAKE)
def test_a_make_command_names_a_target_that_runs_our_code(line: str) -> None:
    command = ["make", "-n", *line.removeprefix("make ").split(" PIP_ARGS")[0].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\.venv/bin/python -m (cli\.demo|pytest|ruff)", done.stdout)


def test_pip_arguments_reach_every_installation(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for target in ("demo", "test"):
        done = subprocess.run(
            ["make", "-n", target, "PIP_ARGS=--extra-index-url https://here"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        (install,) = re.findall(r".*-m pip install.*", done.stdout)
        assert "--extra-index-url https://here" in install


def test_the_extras_named_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"pip install (?:-e )?'\.\[(\w+)\]'", README)
    assert named
    assert set(named) <= set(project["optional-dependencies"])


def test_every_folder_of_the_tree_is_there() -> None:
    folders = re.findall(r"^\| `(\w+)/` \|", README, re.MULTILINE)
    assert "features" in folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_every_link_leads_to_a_file() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / target).exists(), target


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with my_logs/, its schema.toml the one that README shows."""
    folder = tmp_path_factory.mktemp("readme")
    demo_data.write(folder / "my_logs")
    (schema,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (folder / "my_logs" / "schema.toml").write_text(schema, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_the_commands_run_in_readmes_order(workplace: Path) -> None:
    port = free_port()
    for line in PSAD:
        run(f"{line} epochs=1" if line.startswith("psad train ") else line, workplace, port)
    for start in SERVERS:
        with server(start, workplace, port):
            for line in CURL:
                answer = json.loads(run(line.replace(":8000/", f":{port}/"), workplace, port))
                assert answer["fallback"] is None
                assert answer.keys() == shown_answer().keys()
                assert answer["timings_ms"].keys() == shown_answer()["timings_ms"].keys()
                assert answer["results"][0].keys() == shown_answer()["results"][0].keys()


def shown_answer() -> dict[str, dict[str, object]]:
    """The answer as README prints it."""
    (text,) = re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    answer: dict[str, dict[str, object]] = json.loads(text)
    return answer
