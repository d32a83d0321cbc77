"""The import rules of pyproject.toml hold, and each part runs with no more than it may need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRAINING = ("torch", "onnx", "onnxscript", "polars", "pyarrow", "accelerate", "matplotlib", "scipy")

# Imports everything below the packages named in argv[2] while those in argv[1] cannot be found.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(","), None))
for name in sys.argv[2].split(","):
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(found.name)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run in the project's folder, errors shown."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_one_way() -> None:
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("packages", "absent"),
    [
        ("features", (*TRAINING, "onnxruntime", "fastapi", "starlette", "typer")),
        ("service,cli.main", TRAINING),
        ("cli.bench,cli.bench_view", TRAINING),
        ("export.refresh,cli.refresh", ("torch", "onnx", "onnxscript", "accelerate", "fastapi")),
        ("data", ("torch", "onnx", "onnxruntime", "fastapi")),
        ("loadtest", ("torch", "onnx", "onnxruntime", "scipy", "pyarrow", "httpx")),
        ("loadtest.generator,loadtest.crew", ("polars", "matplotlib", "locust")),
    ],
)
def test_a_package_imports_without_what_it_may_not_need(
    packages: str, absent: tuple[str, ...]
) -> None:
    done = run(sys.executable, "-c", IMPORT_ALL, ",".join(absent), packages)
    assert done.returncode == 0, done.stderr


def test_the_check_above_notices_a_forbidden_import() -> None:
    done = run(sys.executable, "-c", IMPORT_ALL, "torch", "model.ranker")
    assert "import of torch halted" in done.stderr


def test_every_package_is_listed_for_installation() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in ROOT.glob("[a-z]*/**/__init__.py")
        if path.parts[len(ROOT.parts)] not in ("build", "tests")
    }
    assert set(listed["tool"]["setuptools"]["packages"]) == found
