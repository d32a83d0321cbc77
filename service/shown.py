"""What was shown, written down to be joined with clicks: `psad join` and docs/own-data.md.

Off unless RERANK_SHOWN_LOG names a folder. A request leaves what is to be written in a bounded
queue and goes on; a thread of its own makes the rows and files of it. Whatever goes wrong there is
counted and costs a request nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service import logs
from service.decode import Asked
from service.metrics import Metrics
from service.models import Model, share_of
from service.settings import Settings
from service.shown_files import ShownFiles
from service.shown_rows import Layout, Shown
from service.visit import Visit

_ROWS: Final = 50_000  # that may wait: some 20 MB
_TICK: Final = 0.1  # seconds between looks at the queue: a kill loses what came since
_BLOCK: Final = 1 << 18  # bytes that are written at once
_BREATH: Final = 1e-4  # seconds after so many lists: requests need the interpreter more
_LISTS: Final = 4
_PAUSE: Final = 1.0  # seconds without a try after the disk refused


class ShownLog:
    """Takes what was answered, and writes it."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        assert settings.shown_log is not None, "made only where it is asked for"
        self._percent, self._with_user = settings.shown_log_percent, settings.shown_log_features
        self._metrics = metrics
        self._files = ShownFiles(
            settings.shown_log,
            int(settings.shown_log_file_mb * 1e6),
            settings.shown_log_file_seconds,
            int(settings.shown_log_max_mb * 1e6),
            metrics.shown_removed.inc,
        )
        self._layouts: dict[str, Layout] = {}  # by the schema's fingerprint
        self._nothing = Layout(None, self._with_user)
        self._queue = deque[tuple[Layout, Shown]]()
        self._put, self._got = 0, 0  # rows; each has one writer, so that neither needs a lock
        self._retry_at = 0.0
        self._seldom = logs.Seldom()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="shown", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Write what waits and end; what is not done after `seconds` the next start recovers."""
        self._stopping.set()
        self._thread.join(seconds)

    def offer(
        self, asked: Asked, model: Model | None, results: Sequence[Mapping[str, Any]], visit: Visit
    ) -> None:
        """Take an answer that leaves now, if its user is drawn. Never raises, never waits."""
        if not results or not self._drawn(asked.user):
            return
        try:
            if self._put - self._got + len(results) > _ROWS:
                self._dropped("queue", 1)
                return
            layout = self._layout(model)
            self._queue.append((layout, layout.take(asked, model, results, visit)))
            self._put += len(results)
        except Exception as fault:  # the boundary: an answer is more than its record
            self._dropped("failed", 1, type(fault).__name__)

    def _drawn(self, user: str | None) -> bool:
        """By user, so that who is logged is logged whole; lists of nobody one by one."""
        if self._percent >= 100.0:
            return True
        share = 100.0 * random.random() if user is None else share_of(user, "shown")
        return share < self._percent

    def _layout(self, model: Model | None) -> Layout:
        if model is None:
            return self._nothing
        fingerprint = model.engine.bundle.manifest.fingerprint
        layout = self._layouts.get(fingerprint)
        if layout is None:
            layout = self._layouts[fingerprint] = Layout(model.engine.schema, self._with_user)
        return layout

    def _loop(self) -> None:
        self._guarded(self._files.recover)
        while not self._stopping.wait(_TICK):
            if time.monotonic() >= self._retry_at:
                self._write()
                self._guarded(self._files.rotate)
        self._write()
        if self._queue:  # the disk refused what came before
            self._dropped("disk", len(self._queue))
        self._guarded(self._files.close)

    def _guarded(self, work: Any) -> None:
        try:
            work()
        except Exception as fault:  # the boundary: the thread must not end
            self._failed(fault)

    def _write(self) -> None:
        """Write what waits, whole lists at once, until nothing does or the disk refuses."""
        blocks: dict[str, list[str]] = {}
        size = taken = 0
        while self._queue:
            taken += 1
            if taken % _LISTS == 0 and not self._stopping.is_set():
                time.sleep(_BREATH)
            layout, one = self._queue.popleft()
            self._got += len(one.results)
            try:
                text = layout.text(one)
            except Exception as fault:  # Unfit, or a value that has no text
                self._dropped("unfit", 1, type(fault).__name__)
                continue
            blocks.setdefault(layout.header, []).append(text)
            size += len(text)
            if size >= _BLOCK:
                if not self._put_down(blocks):
                    return
                blocks, size = {}, 0
        self._put_down(blocks)

    def _put_down(self, blocks: dict[str, list[str]]) -> bool:
        well = True
        for header, texts in blocks.items():
            try:
                self._files.write(header, "".join(texts).encode("utf-8", "backslashreplace"))
            except Exception as fault:  # the disk: full, gone, not ours
                self._dropped("disk", len(texts))
                self._failed(fault)
                self._retry_at, well = time.monotonic() + _PAUSE, False
            else:
                self._metrics.shown_written.inc(len(texts))
        return well

    def _dropped(self, reason: str, lists: int, fault: str | None = None) -> None:
        self._metrics.shown_dropped.labels(reason).inc(lists)
        if reason != "disk":  # which says what the fault was
            self._seldom.event("shown_log_dropped", reason, fault=fault)

    def _failed(self, fault: Exception) -> None:
        said = fault.strerror if isinstance(fault, OSError) else str(fault)[:99]
        self._seldom.event("shown_log_failed", type(fault).__name__, said=said)
