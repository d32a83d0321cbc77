"""`python -m service`: serve with settings from RERANK_* variables."""

from __future__ import annotations

import sys

import uvicorn

from features.errors import PsadError
from service.app import create_app
from service.settings import Settings


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight get `stop_seconds` to finish."""
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_level="warning",  # our own events say what happens, a line of JSON each
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.stop_seconds,
    )


def main() -> None:
    """Settings from the environment; a setting that is wrong ends with one sentence."""
    try:
        settings = Settings.from_env()
    except PsadError as error:
        sys.exit(f"error: {error}")
    serve(settings)


if __name__ == "__main__":
    main()
