"""One dedicated thread that scores, behind a bounded queue, with a deadline for every job.

How long a job takes is learnt for each kind apart: a generated list takes several times a score.

A queue that stands is held short, if the worker is told to (service/crowd.py).

A job that cannot make its deadline is not begun; one that is under way is waited for a little
longer and its late result still used. What is promised is judged on the event loop, never by the
thread: a model that hangs holds its thread, not the callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final

from service.crowd import Crowd
from service.errors import Fallback

_WEIGHT: Final = 0.2  # of the newest time in the moving average
_JUMP: Final = 4.0  # one time counts at most as this many averages: a hiccup is not a trend
_HANGS_SECONDS: Final = 10.0  # in one job
_PROBE_SECONDS: Final = 0.1  # between trial runs while the average says that nothing can make it


class Shed(Fallback):
    """Not given to the model; `cause` says by which bound: inflight, queue or deadline."""

    def __init__(self, cause: str) -> None:
        super().__init__("deadline" if cause == "deadline" else "overload")
        self.cause = cause


class Left(Exception):
    """Nobody is left to answer."""


@dataclass(eq=False, slots=True)
class _Job:
    kind: str
    work: Callable[[], Any]
    deadline: float  # perf_counter seconds
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    left: Callable[[], bool]
    probe: bool = False  # run to learn how long it takes; nobody waits
    queued_at: float = field(default_factory=perf_counter)
    begun_at: float = 0.0
    abandoned: bool = False
    timer: asyncio.TimerHandle | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What a job gave, and the seconds it waited for its turn."""

    value: Any
    queued: float


class Worker:
    """Runs jobs one at a time. `limit` jobs may wait; `late` seconds a late one is waited for.

    `held`: a queue that stands is held short, far below `limit`.
    """

    def __init__(self, limit: int, late: float, name: str = "scorer", held: bool = False) -> None:
        self._limit, self._late, self._name = limit, late, name
        self._crowd, self._held = Crowd(), held
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = Counter[str]()  # by kind
        self._busy_since: float | None = None
        self._busy_with = ""
        self._probe_at = defaultdict[str, float](float)  # by kind
        self._thread: threading.Thread | None = None
        self.averages = defaultdict[str, float](float)  # seconds a job of a kind takes, of late

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """Let the thread finish what is queued and end; give up waiting after `seconds`."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def well(self) -> bool:
        """Whether it runs and does not hang in one job."""
        since = self._busy_since
        return self.alive and (since is None or perf_counter() - since < _HANGS_SECONDS)

    @property
    def waiting(self) -> int:
        """Jobs in the queue, those that nobody waits for any more included."""
        return self._waiting.total()

    async def run(
        self,
        work: Callable[[], Any],
        deadline: float,
        kind: str = "",
        left: Callable[[], bool] = lambda: False,
    ) -> Done:
        """Run `work` on the thread. Raises Shed, Left, or whatever `work` raises.

        `left` is asked, on the thread, whether the result is still wanted.
        """
        loop = asyncio.get_running_loop()
        job = _Job(kind, work, deadline, loop, loop.create_future(), left)
        self._admit(job)
        job.timer = loop.call_later(max(0.0, deadline - perf_counter()), self._expire, job)
        try:
            value = await job.future
        finally:
            job.abandoned = True  # also where the caller was cancelled
            job.timer.cancel()
            with self._lock:
                self._crowd.leave()
        return Done(value, job.begun_at - job.queued_at)

    def _admit(self, job: _Job) -> None:
        now = perf_counter()
        with self._lock:
            if self.waiting >= self._limit or self._crowd.full():
                raise Shed("queue")
            if now + self._ahead(now) + self.averages[job.kind] <= job.deadline:
                self._enqueue(job)
                self._crowd.enter()
                return
            idle = not self.waiting and self._busy_since is None
            if idle and now >= self._probe_at[job.kind]:
                self._probe_at[job.kind] = now + _PROBE_SECONDS
                self._enqueue(replace(job, probe=True))
        raise Shed("deadline")

    def _enqueue(self, job: _Job) -> None:
        self._waiting[job.kind] += 1
        self._queue.put(job)

    def _ahead(self, now: float) -> float:
        """Seconds until a job queued now would begin."""
        ahead = sum(count * self.averages[other] for other, count in self._waiting.items())
        if self._busy_since is not None:
            running, usual = now - self._busy_since, self.averages[self._busy_with]
            # one that runs longer than the average is expected to take as long again
            ahead += usual - running if running < usual else running
        return ahead

    def _expire(self, job: _Job) -> None:
        """At the deadline: give up what has not begun, wait a little for what has."""
        with self._lock:
            begun = job.begun_at > 0.0
            job.abandoned = not begun
        if begun:
            job.timer = job.loop.call_later(self._late, _settle, job, Fallback("deadline"))
        else:
            _settle(job, Shed("deadline"))

    def _loop(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                self._serve(job)
            except Exception as fault:  # no memory, say: the thread goes on, whatever it is
                self._busy_since = None
                _deliver(job, fault)

    def _serve(self, job: _Job) -> None:
        now = perf_counter()
        with self._lock:
            self._waiting[job.kind] -= 1
            if job.abandoned:
                return
            if not job.probe and now + self.averages[job.kind] > job.deadline:
                job.abandoned = True
                _deliver(job, Shed("deadline"))
                return
            if not job.probe and job.left():
                job.abandoned = True
                _deliver(job, Left())
                return
            if self._held and not job.probe:
                waited = (now - job.queued_at) / (job.deadline - job.queued_at)
                self._crowd.begins(now, waited if self.waiting else 0.0)  # a last one has no queue
            job.begun_at = self._busy_since = now
            self._busy_with = job.kind
        outcome: Any
        try:
            outcome = job.work()
        except Exception as error:  # the boundary: any fault of the model becomes a fallback
            outcome = error
        self._finished(job.kind, perf_counter() - now)
        if not job.probe:
            _deliver(job, outcome)

    def _finished(self, kind: str, seconds: float) -> None:
        with self._lock:
            self._busy_since = None
        self.learn(kind, seconds)

    def learn(self, kind: str, seconds: float) -> None:
        """Move the average of a kind; the first time counts in full."""
        if average := self.averages[kind]:
            seconds = min(seconds, _JUMP * average + 0.001)
            seconds = _WEIGHT * seconds + (1 - _WEIGHT) * average
        self.averages[kind] = seconds


def _deliver(job: _Job, outcome: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: nobody is left to tell
        job.loop.call_soon_threadsafe(_settle, job, outcome)


def _settle(job: _Job, outcome: Any) -> None:
    if job.future.done():
        return
    if isinstance(outcome, BaseException):
        job.future.set_exception(outcome)
    else:
        job.future.set_result(outcome)
