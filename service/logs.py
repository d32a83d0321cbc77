"""One line of JSON an event, on standard error; never anything about a user or an item."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from service.log_thread import Lines

if TYPE_CHECKING:  # whoever logs need not have the metrics
    from service.visit import Visit

LOGGER = logging.getLogger("psad.service")
_QUIET_SECONDS = 1.0


def set_up() -> None:
    """Write events to standard error, once, unless whoever runs us has set a handler."""
    if not LOGGER.handlers:
        LOGGER.addHandler(Lines())
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False


def flush() -> None:
    """Wait, a second at most, until everything is written: a signal may end the process next."""
    for handler in LOGGER.handlers:
        handler.flush()


def count_lost(lost: Callable[[], object]) -> None:
    """Tell `lost` of every line that cannot be written."""
    for handler in LOGGER.handlers:
        if isinstance(handler, Lines):
            handler.lost = lost


def event(name: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log `{"time", "level", "event", ...fields}`."""
    if LOGGER.isEnabledFor(level):
        head = {"time": round(time.time(), 3), "level": logging.getLevelName(level).lower()}
        LOGGER.log(level, to_json({**head, "event": name, **fields}, fallback=str).decode())


def request(visit: Visit, status: int, seconds: float, share: float) -> None:
    """A line about a share of the requests: times and counts, nothing of who asked for what."""
    if not share or random.random() >= share:
        return
    event(
        "request", request_id=visit.request_id, status=status, mode=visit.mode,
        version=visit.version, fallback=visit.fallback, late=visit.late,
        candidates=visit.candidates, history=visit.history, unknown_items=visit.unknown_items,
        timings_ms={**visit.timings_ms(), "total": round(1_000.0 * seconds, 3)},
    )  # fmt: skip


class Seldom:
    """At most one event a second of each kind, with how many were left out in between."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def event(self, name: str, kind: str, **fields: Any) -> None:
        """Log, or count for the next time."""
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._next[kind] = now + _QUIET_SECONDS
        left_out = self._left_out.pop(kind, 0)
        event(name, logging.WARNING, reason=kind, left_out=left_out, **fields)
