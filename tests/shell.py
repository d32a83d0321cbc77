"""Runs the commands of a document as a reader would, in a shell, with servers beside them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_SECONDS = 60.0
STOP_SECONDS = 30.0


def commands(text: str) -> list[str]:
    """The lines of all ```sh blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"\s+#.*$", "", line) for block in blocks for line in block.splitlines())
    return [line for line in lines if line.strip()]


def environment(port: int) -> dict[str, str]:
    """As after `. .venv/bin/activate`, and with a port of our own for either kind of server."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("RERANK_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}"
    ports = {"RERANK_PORT": str(port), "UVICORN_PORT": str(port)}
    return mine | {"PATH": path, "no_proxy": "127.0.0.1", "RERANK_DRAIN_SECONDS": "0"} | ports


def run(line: str, folder: Path, port: int) -> str:
    """Run a line in a shell; its stdout."""
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment(port), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def server(line: str, folder: Path, port: int) -> Iterator[None]:
    """Run a line that serves until it is told to stop; ready inside the block."""
    process = subprocess.Popen(f"exec env {line}", shell=True, cwd=folder, env=environment(port))
    try:
        wait_until_ready(process, port)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
    assert process.returncode in (0, -signal.SIGTERM)


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Until /readyz answers 200; fails where the process ends first or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            opener.open(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"not ready: exit code {process.poll()}")
