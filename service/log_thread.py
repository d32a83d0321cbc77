"""Log lines are written by a thread of their own, so that no request waits for whoever reads them.

Standard error may be a full disk, a pipe that nobody empties, or closed. What cannot be written is
lost and counted, and so is what comes while too much waits.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Final

WAITING: Final = 10_000  # lines at most: some megabytes
_LAST_SECONDS: Final = 1.0  # that somebody waits for what waits


def hold_descriptors() -> None:
    """Where standard streams are closed, let nothing else be opened in their place.

    A connection that is number 2 would be sent what libraries say on standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, which is this one


class Lines(logging.Handler):
    """Takes lines at once and writes them to standard error when it can."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = sys.stderr
        self.lost: Callable[[], object] = int  # told of every line that is; nobody as yet
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits, and never raises."""
        try:
            self._lines.put_nowait(record.getMessage())
        except Exception:  # no room, or no memory
            self.lost()

    def flush(self) -> None:
        """Return when what waits is written, or when that takes too long. Logging itself asks for
        it at the end of a process, unless a signal ends it.
        """
        reached = threading.Event()
        try:
            self._lines.put_nowait(reached)
        except queue.Full:  # nobody reads
            return
        reached.wait(_LAST_SECONDS)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except Exception:  # a full disk, a closed pipe, no standard error at all
                self.lost()
