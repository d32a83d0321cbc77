"""What figures are made by: the processor, its load and the commit. Needs no torch."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import NamedTuple


def processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Load(NamedTuple):
    """How many processes ran or waited to, on average over a minute."""

    average: float
    cores: int

    @property
    def busy(self) -> bool:
        """Above half the cores: times are then of this moment, and longest times of other work."""
        return self.average > self.cores / 2

    def __str__(self) -> str:
        return f"{self.average:.1f} on {self.cores} core{'s' if self.cores != 1 else ''}"


def load() -> Load:
    """Now; ask before the own work begins, which would count too."""
    return Load(os.getloadavg()[0], os.cpu_count() or 1)


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
