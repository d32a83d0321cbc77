"""Whatever becomes of standard error, requests are answered as if nothing were."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.demo_service import free_port
from service import log_thread, logs
from service.log_thread import Lines

BODY = {"candidates": ["100", "109"]}
REQUESTS = 600  # with a line of 300 bytes each: more than a pipe holds


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("psad.service", logging.INFO, "", 0, text, None, None)


class Stuck:
    """A stream whose first line is taken when `go_on` is set."""

    def __init__(self) -> None:
        self.go_on, self.written = threading.Event(), list[str]()

    def write(self, text: str) -> None:
        assert self.go_on.wait(20)
        self.written.append(text)

    def flush(self) -> None:
        pass


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nobody_waits_for_a_stream_that_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, lost = Stuck(), list[int]()
    monkeypatch.setattr(sys, "stderr", stuck)
    monkeypatch.setattr(log_thread, "WAITING", 3)
    lines = Lines()
    lines.lost = lambda: lost.append(1)
    lines.emit(record("0"))
    until(lambda: lines._lines.empty())  # the thread has it, and is stuck with it
    for number in range(1, 6):
        lines.emit(record(str(number)))
    assert len(lost) == 2
    stuck.go_on.set()
    until(lambda: lines._lines.empty())
    lines.flush()
    assert stuck.written == ["0\n", "1\n", "2\n", "3\n"]


@pytest.mark.parametrize("stream", [None, "full", "closed"])
def test_lines_that_cannot_be_written_are_counted(
    stream: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = Path("/dev/full") if stream == "full" else tmp_path / "log"
    opened = file.open("w", buffering=1) if stream else None
    if opened is not None and stream == "closed":
        opened.close()
    lost: list[int] = []
    monkeypatch.setattr(sys, "stderr", opened)
    lines = Lines()
    lines.lost = lambda: lost.append(1)
    lines.emit(record("a"))
    lines.emit(record("b"))
    lines.flush()
    assert len(lost) == 2
    if stream == "full":
        assert opened is not None
        with pytest.raises(OSError, match="No space"):
            opened.close()


def test_what_the_service_loses_is_in_its_metrics(serve: Any, monkeypatch: Any) -> None:
    logs.set_up()  # the level
    monkeypatch.setattr(sys, "stderr", None)
    handler = Lines()
    monkeypatch.setattr("service.logs.LOGGER.handlers", [handler])
    api = serve(bundle=Path("/nowhere"), log_percent=100).loaded()
    before = api.metric("log_lines_lost_total")
    for _ in range(5):
        assert api.post(BODY).status_code == 200
    handler.flush()
    assert api.metric("log_lines_lost_total") - before >= 5


def begun(bundle: Path, port: int, **streams: Any) -> subprocess.Popen[bytes]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RERANK_")}
    environ |= {"RERANK_BUNDLE": str(bundle), "RERANK_PORT": str(port),
                "RERANK_DRAIN_SECONDS": "0", "RERANK_DEADLINE_MS": "10000",
                "RERANK_LOG_PERCENT": "100"}  # fmt: skip
    return subprocess.Popen([sys.executable, "-m", "service"], env=environ, **streams)


@pytest.mark.parametrize("kind", ["full", "closed", "unread"])
def test_a_process_serves_whatever_becomes_of_standard_error(bundle: Path, kind: str) -> None:
    port = free_port()
    with open("/dev/full", "wb") as full:
        streams: dict[str, Any] = {
            "full": {"stderr": full},
            "closed": {"preexec_fn": lambda: os.close(2)},
            "unread": {"stderr": subprocess.PIPE},
        }[kind]
        process = begun(bundle, port, **streams)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            until(lambda: _ready(client))
            for _ in range(REQUESTS):
                answer = client.post("/rerank", json=BODY)
                assert (answer.status_code, answer.json()["fallback"]) == (200, None)
            text = client.get("/metrics").text
            lost = float(text.split("\nrerank_log_lines_lost_total ")[1].split("\n")[0])
            assert lost == 0 if kind == "unread" else lost >= REQUESTS - 5
        if kind == "closed":
            assert os.readlink(f"/proc/{process.pid}/fd/2") == os.devnull
        if kind == "unread":
            assert process.stderr is not None
            first = json.loads(process.stderr.readline())
            assert first["event"] == "starting"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == -signal.SIGTERM  # what uvicorn ends with, once it has stopped
    finally:
        process.kill()
        process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
