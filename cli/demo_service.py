"""A service for the demo and for `psad bench`: `psad serve` as a process, started and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import PsadError

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
# The service is on this machine: a proxy from the environment has no business with it.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServiceError(PsadError):
    """The demo's service did not start or did not answer."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Until the process ends or Ctrl-C. Raises ServiceError where it ends by itself."""
        if code := self.process.wait():
            raise ServiceError(f"the service ended with exit code {code}; its output stands above.")

    def stop(self) -> None:
        """Ask it to finish what is in flight and end; returns when it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    """A port that nothing listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raise ServiceError where something listens there already: found now, not after training."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ServiceError(
                f"port {port} of {HOST} cannot be used ({error}). Stop what listens there (an "
                f"earlier demo?) or choose another: make demo PORT={port + 1}"
            ) from error


def start(bundle: Path, port: int, *flags: str) -> Service:
    """Start `psad serve` and return when it is ready; raises ServiceError."""
    words = ["serve", str(bundle), "--host", HOST, "--port", str(port), *flags]
    words += ["--drain-seconds", "0"]  # nobody else calls it
    print(f"$ psad {' '.join(words)}", flush=True)
    # The demo shows the defaults: RERANK_* settings of this shell are for another service.
    environment = {name: value for name, value in os.environ.items() if name[:7] != "RERANK_"}
    process = subprocess.Popen([sys.executable, "-m", "cli.main", *words], env=environment)
    service = Service(f"http://{HOST}:{port}", process)
    try:
        _until_ready(service)
    except BaseException:
        service.stop()
        raise
    return service


def _until_ready(service: Service) -> None:
    end, said = time.monotonic() + START_SECONDS, "no answer"
    while time.monotonic() < end:
        if service.process.poll() is not None:
            raise ServiceError("the service did not start; the reason stands above.")
        try:
            get(f"{service.url}/readyz")
            return
        except ServiceError as error:
            said = str(error)
        time.sleep(0.1)
    raise ServiceError(f"the service was not ready within {START_SECONDS:.0f} s: {said}")


def get(url: str) -> str:
    """The text at a url of the service; raises ServiceError."""
    return _answer(urllib.request.Request(url))


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """The service's answer to a JSON body; raises ServiceError."""
    headers = {"Content-Type": "application/json"}
    answer: dict[str, Any] = json.loads(
        _answer(urllib.request.Request(url, json.dumps(body).encode(), headers))
    )
    return answer


def _answer(request: urllib.request.Request) -> str:
    try:
        with _opener.open(request, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        raise ServiceError(f"{request.full_url} answered {error.code}: {text[:300]}") from error
    except OSError as error:
        raise ServiceError(f"{request.full_url} cannot be reached: {error}") from error
