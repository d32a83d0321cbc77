"""`python -m service`: serve with settings from RERANK_* variables."""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn

from features.errors import PsadError
from service.errors import StartRefused
from service.log_thread import hold_descriptors
from service.settings import Settings
from service.wire import Bounded
from service.workers import run_workers


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; SIGTERM leaves `drain_seconds` for callers to go elsewhere.

    Requests in flight then get `stop_seconds` to finish. Raises StartRefused where the address
    cannot be listened on.
    """
    hold_descriptors()
    _refuse_taken(settings.host, settings.port)
    server: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": Bounded,
        "ws": "none",
        "log_level": "warning",  # our own events say what happens, a line of JSON each
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": settings.keep_alive_seconds,
        "timeout_graceful_shutdown": settings.stop_seconds,
    }
    if settings.workers > 1:
        run_workers(settings, **server)
        return
    from service.app import create_alone  # not before: it imports prometheus_client

    uvicorn.run(create_alone(settings), **server)


def _refuse_taken(host: str, port: int) -> None:
    """uvicorn would say it too, by number and without a way out."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartRefused(
                f"cannot listen on {host}, port {port}: {error.strerror}. Choose others with "
                "--host and --port (RERANK_HOST, RERANK_PORT)."
            ) from error


def main() -> None:
    """Settings from the environment; a setting that is wrong ends with one sentence."""
    try:
        serve(Settings.from_env())
    except PsadError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
