"""Running other programs for the check: with their words in the message when they fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]  # of the repository
RULES: Final = ROOT / "deploy/prometheus/rules"
IMAGE_TOOLS: Final = ("buildah", "podman", "runc", "debootstrap", "prometheus", "promtool")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Wrong(Exception):
    """Something that the check looked at is not as it should be; the message says what."""


def run(*command: str | Path, seconds: float = 120, errors: bool = False) -> str:
    """What a command prints, on stderr too where `errors` asks for it.

    Raises Wrong with its last lines where it fails or takes too long.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=seconds, cwd=ROOT)
    except subprocess.TimeoutExpired:
        raise Wrong(f"`{_short(words)}` did not end within {seconds:g} s") from None
    said, aside = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    if done.returncode:
        lines = (said + aside).strip().splitlines()
        raise Wrong(f"`{_short(words)}` ended with {done.returncode}:\n" + "\n".join(lines[-25:]))
    return said + aside if errors else said


def missing(tools: Sequence[str] = IMAGE_TOOLS) -> str:
    """Why these tools cannot be used here, or "" where they can."""
    if lacking := [name for name in tools if shutil.which(name) is None]:
        return f"not on this machine: {', '.join(lacking)} (Debian has a package of each name)"
    if set(tools) & {"buildah", "podman", "debootstrap"} and os.geteuid() != 0:
        return "building and running the image here needs root"
    return ""


def get(url: str, body: Any = None) -> str:
    """The answer to a GET, or to a POST of JSON; past any proxy."""
    data = None if body is None else json.dumps(body).encode()
    with _DIRECT.open(url, data=data, timeout=5) as answer:
        return str(answer.read().decode())


def wait_for(what: str, holds: Callable[[], Any], seconds: float = 60) -> Any:
    """Ask until the answer is true, and return it. OSError counts as no. Raises Wrong."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if answer := holds():
                return answer
        except OSError:
            pass
        time.sleep(0.2)
    raise Wrong(f"after {seconds:g} s there was still no {what}")


def _short(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) < 160 else text[:157] + "…"
