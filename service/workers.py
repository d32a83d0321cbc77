"""Several workers behind one port, watched by the process that started them.

uvicorn's own supervisor starts them, replaces the ones that died or hang, and on SIGHUP replaces
all, one after the other. Added here: their metrics add up over the workers (Prometheus' client
keeps them in files of one folder) and stay right when one is killed, and the service says that it
leaves before its workers do.

Imported before prometheus_client: its values look once, at import, for the folder.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Final

import uvicorn
from pydantic import SecretStr
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service import logs
from service.drain import SUPERVISED
from service.errors import StartRefused
from service.settings import METRICS_FOLDER, PREFIX, Settings

_PING_SECONDS: Final = 10  # a worker that does not answer its supervisor for so long is replaced
_START_SECONDS: Final = 60  # has a worker to load its model before the one it replaces leaves

_IN_A_ROW_SECONDS: Final = 30.0  # between two deaths of workers
_SUFFERED: Final = 3  # of them in a row without a pause
_PAUSE_SECONDS: Final = 16.0  # at most


def run_workers(settings: Settings, **server: Any) -> None:
    """Serve until SIGTERM or SIGINT with `settings.workers` processes.

    Raises StartRefused where one of them cannot start.
    """
    with _metrics_folder() as folder:
        # the workers' own way to their settings
        os.environ |= {**variables(settings), SUPERVISED: "1"}
        config = uvicorn.Config(
            "service.app:create_alone", factory=True, workers=settings.workers,
            timeout_worker_healthcheck=_PING_SECONDS, **server,
        )  # fmt: skip
        logs.set_up()
        supervisor = _Supervisor(config, [config.bind_socket()], folder)
        supervisor.run()
        if any(one.exitcode == STARTUP_FAILURE for one in supervisor.processes):
            raise StartRefused("a worker could not start; its reason stands above.")


def variables(settings: Settings) -> dict[str, str]:
    """Settings as the RERANK_* variables that give them."""
    return {
        f"{PREFIX}{name.upper()}": _text(value) for name, value in settings if value is not None
    }


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@contextmanager
def _metrics_folder(environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """An empty folder for the workers' metrics: the one that is asked for, wiped, or one of ours.

    What an earlier run left would be added to this one's counts. Raises StartRefused.
    """
    asked = environ.get(METRICS_FOLDER)
    try:
        folder = Path(asked) if asked else Path(tempfile.mkdtemp(prefix="psad-metrics-"))
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.db"):
            old.unlink()
    except OSError as error:
        raise StartRefused(
            f"several workers need a folder for their metrics, and {error.filename} cannot be "
            f"written: {error.strerror}. Name one as {METRICS_FOLDER}, best in memory (tmpfs)."
        ) from error
    os.environ[METRICS_FOLDER] = str(folder)
    try:
        yield folder
    finally:
        if not asked:
            shutil.rmtree(folder, ignore_errors=True)


class _Supervisor(Multiprocess):
    """uvicorn's, which also tells metrics and workers what happens, and hears at once to leave."""

    def __init__(self, config: uvicorn.Config, sockets: list[Any], folder: Path) -> None:
        super().__init__(config, sockets)
        from prometheus_client import CollectorRegistry

        from service.metrics import worker_deaths

        self._folder = folder
        self._deaths = worker_deaths(CollectorRegistry())
        self._died_at, self._in_a_row = -math.inf, 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._leave)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        """Also while all workers are replaced, which takes longer than a stop may."""
        self.signal_queue.append(number)
        # by a thread: this one may hold the event's lock just now
        threading.Thread(target=self.should_exit.set).start()

    def keep_subprocess_alive(self) -> None:
        """Replace workers that died, and forget what only the living count."""
        before = {process.pid: process for process in self.processes}
        super().keep_subprocess_alive()
        self._forget_gone()
        died = before.keys() - {process.pid for process in self.processes}
        for pid in died:
            self._deaths.inc()
            logs.event("worker_died", 40, process=pid, exit_code=before[pid].exitcode)
        if died:
            self.should_exit.wait(self._pause(monotonic()))

    def _pause(self, now: float) -> float:
        """Seconds until the next look: workers that die again and again are not worth a core."""
        self._in_a_row = self._in_a_row + 1 if now - self._died_at < _IN_A_ROW_SECONDS else 1
        self._died_at = now
        if self._in_a_row <= _SUFFERED:
            return 0.0
        return min(2.0 ** (self._in_a_row - _SUFFERED), _PAUSE_SECONDS)

    def restart_all(self) -> None:
        """Replace all workers, each once its successor serves."""
        before = {process.pid for process in self.processes}
        self.config.timeout_worker_healthcheck = _START_SECONDS
        super().restart_all()
        self.config.timeout_worker_healthcheck = _PING_SECONDS
        left = before & {process.pid for process in self.processes}
        if left and not self.should_exit.is_set():
            logs.event("workers_not_replaced", 40, workers=len(left))
        elif not left:
            logs.event("workers_replaced", workers=len(self.processes))

    def terminate_all(self) -> None:
        """Stop: workers say that the service leaves, then leave."""
        for process in self.processes:
            if process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGUSR1)
        super().terminate_all()

    def _forget_gone(self) -> None:
        """Whoever it was: one that was replaced, or killed, or never was ready."""
        from service.counts import forget

        forget(self._folder, {os.getpid(), *(process.pid for process in self.processes)})
