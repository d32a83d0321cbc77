"""How late the event loop runs, so that a request's age counts the time before we saw it."""

from __future__ import annotations

import asyncio
import time

TICK_SECONDS = 0.025


class LoopLag:
    """Measures the lateness of a timer. `seconds()` is the newest measure, at most one tick old."""

    def __init__(self) -> None:
        self._lateness = 0.0
        self._due = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin on the running loop."""
        self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def seconds(self) -> float:
        """The lateness of the last tick, or of the one now overdue if that is more."""
        return max(self._lateness, time.perf_counter() - self._due, 0.0)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = time.perf_counter() + TICK_SECONDS
        self._timer = loop.call_later(TICK_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lateness = max(0.0, time.perf_counter() - self._due)
        self._schedule(loop)
