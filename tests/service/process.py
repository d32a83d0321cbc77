"""A service process of its own, for tests that need a socket, its memory or its log."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cli.demo_service import free_port

PATIENCE = 30.0  # of the tests; nothing of the server's
BODY = b'{"candidates":["100","109"]}'


class Served:
    """A service process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port, self.url = process, port, f"http://127.0.0.1:{port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def metric(self, sample: str) -> float:
        text = httpx.get(f"{self.url}/metrics", trust_env=False).text
        return float(text.split(f"\nrerank_{sample} ")[1].split("\n")[0])

    def memory(self) -> int:
        """Resident megabytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1000

    def serves(self) -> bool:
        answer = httpx.post(f"{self.url}/rerank", content=BODY, trust_env=False)
        return answer.status_code == 200 and self.metric("inflight_requests") == 0


@contextmanager
def serving(bundle: Path, **variables: str) -> Iterator[Served]:
    port = free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RERANK_")}
    environ |= {"RERANK_BUNDLE": str(bundle), "RERANK_PORT": str(port)}
    environ |= {"RERANK_DEADLINE_MS": "10000", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "service"], env=environ, stderr=subprocess.PIPE
    )
    try:
        served, end = Served(process, port), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if httpx.get(f"{served.url}/readyz", trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        yield served
    finally:
        process.kill()
        process.communicate()
