"""One dedicated thread that scores, behind a bounded queue, with a deadline for every job.

How long a job takes is learnt for each kind apart: a generated list takes several times a score.

A job that cannot make its deadline is not begun; one that is under way is waited for a little
longer and its late result still used. What is promised is judged on the event loop, never by the
thread: a model that hangs holds its thread, not the callers.

Being woken costs an event loop much of what scoring a short list does. So a loop that has one
request only stands still for its job, a few milliseconds at most (`_STAY_SECONDS`), and goes on as
with any other where that was not enough. Whoever has arrived already is let in first, while the job
runs, so that no queue forms that nobody sees; `stood` is told how long it was.
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

from service.errors import Fallback

_WEIGHT: Final = 0.2  # of the newest time in the moving average
_JUMP: Final = 4.0  # one time counts at most as this many averages: a hiccup is not a trend
_STAY_SECONDS: Final = 0.005  # the longest that the event loop stands still for a job
_TURNS: Final = 3  # of the loop: to read what came, to make a task of it, to begin the task
_USUAL: Final = 3.0  # it stays for so many averages, since most jobs end by then
_PROBE_SECONDS: Final = 0.1  # between trial runs while the average says that nothing can make it


class Shed(Fallback):
    """Not given to the model; `cause` says by which bound: inflight, queue or deadline."""

    def __init__(self, cause: str) -> None:
        super().__init__("deadline" if cause == "deadline" else "overload")
        self.cause = cause


@dataclass(eq=False, slots=True)
class _Job:
    kind: str
    work: Callable[[], Any]
    deadline: float  # perf_counter seconds
    loop: asyncio.AbstractEventLoop
    bell: threading.Lock  # released at the end, where the loop stays
    future: asyncio.Future[Any] | None = None  # set at the end, where the loop goes on
    outcome: Any = None
    over: bool = False
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
    """Runs jobs one at a time. `limit` jobs may wait; `late` seconds a late one is waited for."""

    def __init__(
        self, limit: int, late: float, stood: Callable[[float], None] = lambda _: None
    ) -> None:
        self._limit, self._late, self._stood = limit, late, stood
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
        self._thread = threading.Thread(target=self._loop, name="scorer", daemon=True)
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
    def waiting(self) -> int:
        """Jobs in the queue, those that nobody waits for any more included."""
        return self._waiting.total()

    async def run(
        self, work: Callable[[], Any], deadline: float, kind: str = "",
        alone: Callable[[], bool] = lambda: False,
    ) -> Done:  # fmt: skip
        """Run `work` on the thread. Raises Shed, or whatever `work` raises.

        `alone` tells whether the event loop has no other request, and may stay for a short job.
        """
        loop = asyncio.get_running_loop()
        job = _Job(kind, work, deadline, loop, threading.Lock())
        stay = self._stay(job) if alone() else 0.0
        if not stay:
            job.future = loop.create_future()
        job.bell.acquire()
        self._admit(job)
        try:
            if not (stay and await self._stood_still(job, stay, alone)):
                await self._awaited(job)
        finally:
            job.abandoned = True  # also where the caller was cancelled
        return Done(_result(job), job.begun_at - job.queued_at)

    async def _stood_still(self, job: _Job, stay: float, alone: Callable[[], bool]) -> bool:
        """Wait on the loop's own thread, unless others came; whether the job is over."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if not alone():
            return False
        begun = perf_counter()
        over = job.bell.acquire(timeout=stay)
        self._stood(perf_counter() - begun)
        return over

    def _stay(self, job: _Job) -> float:
        """Seconds to stand still for a job; 0 where it is not short, or others are before it."""
        average = self.averages[job.kind]
        if self._busy_since is not None or self.waiting or not 0.0 < average < _STAY_SECONDS:
            return 0.0
        return max(0.0, min(_STAY_SECONDS, _USUAL * average, job.deadline - perf_counter()))

    async def _awaited(self, job: _Job) -> None:
        """Let the loop go on until the job is over or its deadline has passed."""
        with self._lock:
            if job.over:
                return
            if job.future is None:
                job.future = job.loop.create_future()
        left = max(0.0, job.deadline - perf_counter())
        job.timer = job.loop.call_later(left, self._expire, job)
        try:
            job.outcome = await job.future
        finally:
            job.timer.cancel()

    def _admit(self, job: _Job) -> None:
        now = perf_counter()
        with self._lock:
            if self.waiting >= self._limit:
                raise Shed("queue")
            if now + self._expected(now, job.kind) <= job.deadline:
                self._enqueue(job)
                return
            idle = not self.waiting and self._busy_since is None
            if idle and now >= self._probe_at[job.kind]:
                self._probe_at[job.kind] = now + _PROBE_SECONDS
                self._enqueue(replace(job, probe=True))
        raise Shed("deadline")

    def _enqueue(self, job: _Job) -> None:
        self._waiting[job.kind] += 1
        self._queue.put(job)

    def _expected(self, now: float, kind: str) -> float:
        """Seconds until a job queued now would end."""
        ahead = sum(count * self.averages[other] for other, count in self._waiting.items())
        if self._busy_since is not None:
            running, usual = now - self._busy_since, self.averages[self._busy_with]
            # one that runs longer than the average is expected to take as long again
            ahead += usual - running if running < usual else running
        return ahead + self.averages[kind]

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
            self._serve(job)

    def _serve(self, job: _Job) -> None:
        now = perf_counter()
        with self._lock:
            self._waiting[job.kind] -= 1
            if job.abandoned:
                return
            late = not job.probe and now + self.averages[job.kind] > job.deadline
            if late:
                job.abandoned = True
            else:
                job.begun_at = self._busy_since = now
                self._busy_with = job.kind
        if late:
            self._deliver(job, Shed("deadline"))
            return
        outcome: Any
        try:
            outcome = job.work()
        except Exception as error:  # the boundary: any fault of the model becomes a fallback
            outcome = error
        self._finished(job.kind, perf_counter() - now)
        if not job.probe:
            self._deliver(job, outcome)

    def _deliver(self, job: _Job, outcome: Any) -> None:
        with self._lock:
            job.outcome, job.over = outcome, True
            gone_on = job.future is not None
        if not gone_on:
            job.bell.release()
            return
        with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: nobody is left to tell
            job.loop.call_soon_threadsafe(_settle, job, outcome)

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


def _result(job: _Job) -> Any:
    if isinstance(job.outcome, BaseException):
        raise job.outcome
    return job.outcome


def _settle(job: _Job, outcome: Any) -> None:
    assert job.future is not None, "only jobs that are awaited expire or are told"
    if job.future.done():
        return
    if isinstance(outcome, BaseException):
        job.future.set_exception(outcome)
    else:
        job.future.set_result(outcome)
