"""`pip install ".[cpu]"` in an empty environment: no training stack, and the service imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALL_SECONDS = 240
UNWANTED = ("torch", "onnx", "onnxscript", "polars", "pyarrow", "scipy", "matplotlib", "lightgbm")


@pytest.fixture(scope="module")
def serving_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the serving install; skips where pip finds nothing."""
    folder = tmp_path_factory.mktemp("serving")
    source = folder / "source"  # building in a copy leaves no build/ in the project
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package in project["tool"]["setuptools"]["packages"]:
        target = source.joinpath(*package.split("."))
        target.mkdir(parents=True, exist_ok=True)
        for path in ROOT.joinpath(*package.split(".")).glob("*.py"):
            shutil.copy(path, target)
    shutil.copytree(ROOT / "service" / "static", source / "service" / "static")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, f"{source}[cpu]"],
        capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS,
    )  # fmt: skip
    if "No matching distribution" in done.stderr or "Connection" in done.stderr:
        pytest.skip(f"pip reaches no package index here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    return python


def output(python: Path, *words: str) -> str:
    """What a command prints, run away from the project so that only what is installed counts."""
    return subprocess.run(
        [str(python), *words], cwd=python.parent, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_nothing_of_the_training_stack_comes_along(serving_python: Path) -> None:
    listed = output(serving_python, "-m", "pip", "list", "--format=freeze")
    names = {line.partition("==")[0].lower() for line in listed.splitlines()}
    assert "onnxruntime" in names
    assert names.isdisjoint(UNWANTED)


@pytest.mark.slow
def test_the_service_and_the_command_line_import(serving_python: Path) -> None:
    output(serving_python, "-c", "import onnxruntime, service.app, service.__main__")
    psad = serving_python.with_name("psad")
    done = subprocess.run(
        [str(psad), "serve", "--help"], capture_output=True, text=True, check=True
    )
    assert "--deadline-ms" in done.stdout
    files = output(serving_python, "-c", "import service.page as p; print(*p._STATIC.iterdir())")
    assert "page.js" in files


@pytest.mark.slow
def test_training_says_what_to_install(serving_python: Path) -> None:
    psad = serving_python.with_name("psad")
    done = subprocess.run(
        [str(psad), "train", "d", "r"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'.[train]'" in done.stderr
