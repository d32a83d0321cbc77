"""What the command line makes of an error: one clear line for what a user can mend.

Anything unforeseen keeps its traceback, because it is a fault of this project and worth reporting
whole.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from features.errors import PsadError

USER_ERROR = 2  # exit code; also typer's own for a wrong flag or argument

# Imported package -> the extra of pyproject.toml that brings it.
EXTRAS = {
    "accelerate": "train",
    "jinja2": "train",
    "lightgbm": "baselines",
    "matplotlib": "train",
    "onnx": "train",
    "onnxruntime": "cpu",
    "onnxscript": "train",
    "polars": "train",
    "pyarrow": "train",
    "redis": "redis",
    "safetensors": "train",
    "scipy": "train",
    "tensorboard": "tensorboard",
    "tomli_w": "train",
    "torch": "train",
    "tqdm": "train",
}


class Verbs(TyperGroup):
    """A group of commands in which a user's error ends as a line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with --debug every error keeps its traceback."""
        try:
            return super().invoke(ctx)
        except (PsadError, OSError, ModuleNotFoundError) as error:
            text = remedy(error) if isinstance(error, ModuleNotFoundError) else str(error)
            if text is None or ctx.params.get("debug"):
                raise
            typer.echo(f"psad: {text}", err=True)
            raise typer.Exit(USER_ERROR) from error


def remedy(error: ModuleNotFoundError) -> str | None:
    """What to install for a package that is missing; None where no extra of ours brings it."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    extra = EXTRAS[package]
    other = ", or '.[gpu]' on a CUDA machine" if extra == "cpu" else ""
    return (
        f"this command needs {package}, which is not installed here. "
        f"In the project's folder: {sys.executable} -m pip install -e '.[{extra}]'{other}"
    )
