"""HTTP as uvicorn reads it, with two facts more for the application: when a request's first byte
came, and whether its caller is still there.

Without it (another server, `uvicorn` by hand) deadlines count from the end of the headers, and
requests whose callers left are scored all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BEGUN = "psad.begun"  # perf_counter of the first byte
LEFT = "psad.left"  # whether the caller's connection is closed


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools."""

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        scope: Any = self.scope
        scope[BEGUN] = perf_counter()
        scope[LEFT] = self.transport.is_closing


def begun(scope: Scope, now: float) -> float:
    """perf_counter of the first byte; `now` where the server does not tell."""
    when: float = scope.get(BEGUN, now)
    return when


def left(scope: Scope) -> Callable[[], bool]:
    """Whether the caller is gone, to be asked from any thread."""
    gone: Callable[[], bool] = scope.get(LEFT, _never)
    return gone


def _never() -> bool:
    return False
