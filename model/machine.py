"""What figures are made by: the processor and the commit. Needs no torch."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of this code, with "+" where it was changed since; None outside git.

    Also where git knows the folder but not this file: installed inside another project, it is that
    project's commit. Results that are being written into paper/results are no change of the code.
    """
    file = Path(__file__)
    here = file.parents[1]

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", str(file))
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".",
                      ":!paper/results")  # fmt: skip
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
