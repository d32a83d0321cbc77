"""What SIGTERM begins: the service is still there while its callers learn that it is leaving.

uvicorn alone closes its port the moment the signal comes, and whoever has not heard of it yet gets
a refused connection. Here `/readyz` says 503 and every answer closes its connection for
`drain_seconds`; only then does the server stop, as it would have done before. A second SIGTERM ends
the wait. SIGINT (Ctrl-C) never waits.

One of several workers that is replaced is not the service leaving: the others answer on the same
port, so its `/readyz` stays 200. When all leave, their supervisor says so by SIGUSR1, if it is ours
(service/workers.py); a worker of another supervisor takes every SIGTERM for the end.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from service import logs

SUPERVISED: Final = "PSAD_SUPERVISED"  # in the environment of workers whose supervisor is ours

Handler = Callable[[int, FrameType | None], Any]


class Drain:
    """The state of leaving. `seconds` lie between the signal and the stop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._parent = multiprocessing.parent_process()  # of one of several workers
        self._told = self._parent is not None and SUPERVISED in os.environ  # when all leave
        self._stop: Handler | None = None
        self.leaving = False  # this process: answers close their connections
        self.draining = False  # the service: /readyz says 503

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM from the server that runs us, where one does and signals can be taken."""
        stop = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(stop):
            yield
            return
        loop = asyncio.get_running_loop()
        self._stop = stop
        signal.signal(signal.SIGTERM, self._leave)
        if self._parent is not None:
            signal.signal(signal.SIGUSR1, self._drain)
            loop.add_reader(self._parent.sentinel, self._orphaned, loop)
        try:
            yield
        finally:
            if self._parent is not None:
                loop.remove_reader(self._parent.sentinel)
            signal.signal(signal.SIGTERM, stop)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        assert self._stop is not None
        if self.leaving or not self._seconds:
            self._stop(number, frame)
            return
        self.leaving = True
        self.draining = self.draining or not self._told
        # a signal may come in the middle of a log line: what is more than a flag waits for the loop
        asyncio.get_running_loop().call_soon_threadsafe(self._wait)

    def _drain(self, number: int, frame: FrameType | None) -> None:
        self.draining = True

    def _wait(self) -> None:
        assert self._stop is not None
        logs.event("draining", seconds=self._seconds)
        asyncio.get_running_loop().call_later(self._seconds, self._stop, signal.SIGTERM, None)

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        """A worker whose supervisor was killed would hold the port for ever."""
        assert self._parent is not None
        loop.remove_reader(self._parent.sentinel)
        self._told = False  # all of them leave
        logs.event("supervisor_lost", 40)
        os.kill(os.getpid(), signal.SIGTERM)
