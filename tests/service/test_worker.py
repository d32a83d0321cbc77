"""The scoring thread: bounds, deadlines, and what the moving average may do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from service.worker import _ALLOWED, Shed, Worker, _Job


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker(limit=4, late=0.02)
    worker.start()
    yield worker
    worker.stop()


def run(worker: Worker, work: Any, seconds: float = 2.0) -> Any:
    return asyncio.run(worker.run(work, perf_counter() + seconds))


def test_work_runs_on_the_one_thread(worker: Worker) -> None:
    names = {run(worker, lambda: threading.current_thread().name).value for _ in range(3)}
    assert names == {"scorer"}


def test_a_fault_reaches_the_caller_and_the_thread_goes_on(worker: Worker) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(worker, fail)
    assert run(worker, lambda: 5).value == 5
    assert worker.alive


def test_what_cannot_make_it_is_never_begun(worker: Worker) -> None:
    worker.averages[""], worker._probe_at[""] = 1.0, perf_counter() + 60
    begun = []
    with pytest.raises(Shed, match="deadline"):
        run(worker, lambda: begun.append(1), 0.5)
    assert run(worker, lambda: 7, 1.5).value == 7
    assert not begun


def test_a_deadline_that_passed_on_the_way_is_not_begun(worker: Worker) -> None:
    begun = []
    with pytest.raises(Shed, match="deadline"):
        run(worker, lambda: begun.append(1), -0.001)
    time.sleep(0.02)
    assert not begun or worker.averages[""]  # at most the trial run


def test_an_abandoned_job_is_skipped(worker: Worker) -> None:
    begun = []

    async def leave() -> None:
        running = asyncio.create_task(worker.run(lambda: time.sleep(0.1), perf_counter() + 2))
        await asyncio.sleep(0.02)
        waiting = asyncio.create_task(worker.run(lambda: begun.append(1), perf_counter() + 2))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await running

    asyncio.run(leave())
    run(worker, lambda: None)
    assert not begun
    assert worker.waiting == 0


def test_the_average_follows_a_trend_but_not_a_hiccup(worker: Worker) -> None:
    worker.learn("", 0.001)
    assert worker.averages[""] == 0.001
    worker.learn("", 10.0)
    assert worker.averages[""] < 0.003
    for _ in range(60):
        worker.learn("", 0.02)
    assert worker.averages[""] == pytest.approx(0.02, rel=0.01)


def test_each_kind_of_job_has_its_own_average(worker: Worker) -> None:
    worker.learn("generator", 1.0)
    worker.learn("scorer", 0.001)
    worker._probe_at["generator"] = perf_counter() + 60
    work, begun = (lambda: begun.append(1)), []
    for _ in range(2):
        with pytest.raises(Shed, match="deadline"):
            asyncio.run(worker.run(work, perf_counter() + 0.5, "generator"))
        asyncio.run(worker.run(work, perf_counter() + 0.5, "scorer"))
    assert len(begun) == 2
    assert worker.averages["generator"] == 1.0


def test_what_waits_and_runs_is_expected_to_take_its_own_time(worker: Worker) -> None:
    worker.averages |= {"scorer": 0.001, "generator": 0.01}
    worker._waiting.update({"scorer": 3, "generator": 2})
    assert worker._ahead(5.0) == pytest.approx(0.023)
    worker._busy_since, worker._busy_with = 5.0, "generator"
    assert worker._ahead(5.004) == pytest.approx(0.023 + 0.006)
    worker._waiting.clear()


def test_a_job_that_overruns_is_expected_to_go_on(worker: Worker) -> None:
    worker.averages[""] = 0.01
    worker._busy_since = 100.0
    assert worker._ahead(100.004) == pytest.approx(0.006)
    assert worker._ahead(103.0) == pytest.approx(3.0)


def test_a_loop_that_closed_meanwhile_does_not_kill_the_thread(worker: Worker) -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(worker.run(lambda: time.sleep(0.1), perf_counter() + 2), 0.02))
    time.sleep(0.15)
    assert run(worker, lambda: 3).value == 3


def test_what_has_not_begun_by_its_deadline_is_given_up_at_once(worker: Worker) -> None:
    worker._late = 5.0  # patience is for what has begun

    async def behind_a_slow_one() -> float:
        first = asyncio.create_task(worker.run(lambda: time.sleep(1.5), perf_counter() + 4))
        await asyncio.sleep(0.02)
        worker.averages[""] = 0.0
        begun = perf_counter()
        with pytest.raises(Shed, match="deadline"):
            await worker.run(lambda: None, perf_counter() + 0.1)
        waited = perf_counter() - begun
        await first
        return waited

    assert asyncio.run(behind_a_slow_one()) < 1.0


class Clocked:
    """A worker whose thread is this one, by a clock that is set: jobs of 2 ms, one at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.worker = 100.0, Worker(limit=1_000, late=0.0)
        monkeypatch.setattr("service.worker.perf_counter", lambda: self.now)
        self.worker.averages[""] = self.worker._usual = 0.002
        self.loop = asyncio.new_event_loop()
        self.free_at, self.waits, self.shed = self.now, list[float](), list[str]()
        self.age = 0.0  # of a job when it comes
        self.arrived: list[float] = []  # of the jobs that wait

    def job(self) -> Any:
        job = _Job("", lambda: None, self.now + 0.05, self.loop, self.loop.create_future(), bool,
                   self.now - self.age)  # fmt: skip
        job.queued_at = self.now
        return job

    def offer(self, rate: float, seconds: float) -> None:
        """Even arrivals; what is due to begin before the next one begins."""
        end = self.now + seconds
        while self.now < end:
            arrives = self.now + 1.0 / rate
            while self.arrived and max(self.free_at, self.arrived[0]) < arrives:
                begins = max(self.free_at, self.arrived[0])
                self.worker._waiting[""] -= 1
                self.worker._queue.get()
                self.waits.append(begins - self.arrived.pop(0))
                self.worker._look(begins, self.waits[-1] if self.arrived else 0.0)
                self.free_at = begins + 0.002
            self.now = arrives
            try:
                self.worker._admit(self.job())
                self.arrived.append(self.now)
            except Shed as shed:
                self.shed.append(shed.cause)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clocked]:
    one = Clocked(monkeypatch)
    yield one
    one.loop.close()


def test_a_queue_that_stands_is_held_short_and_the_rest_sent_away(clocked: Clocked) -> None:
    clocked.offer(rate=750.0, seconds=0.5)  # half as much again as 500 jobs a second
    clocked.shed.clear()
    begun = len(clocked.waits)
    clocked.offer(rate=750.0, seconds=3.0)
    late = clocked.waits[begun + 20 :]
    assert max(late) <= (_ALLOWED + 1) * 0.002 + 1e-9  # and the job under way
    assert set(clocked.shed) == {"queue"}  # nobody came near the deadline
    assert len(late) >= 3.0 * 500 - 30  # and the thread was never without a job


def test_a_queue_stands_no_more_when_the_load_is_over(clocked: Clocked) -> None:
    clocked.offer(rate=1_000.0, seconds=1.0)
    assert clocked.worker.standing
    clocked.shed.clear()
    clocked.offer(rate=250.0, seconds=2.0)
    assert not clocked.worker.standing
    assert len(clocked.shed) <= 1


def test_a_burst_is_no_queue_that_stands(clocked: Clocked) -> None:
    for _ in range(20):
        clocked.offer(rate=10_000.0, seconds=0.002)  # twenty at once: 40 ms of work
        clocked.offer(rate=50.0, seconds=0.1)
    assert not clocked.shed
    assert max(clocked.waits) > 2 * _ALLOWED * 0.002


def test_while_a_queue_stands_who_is_late_already_is_sent_away(clocked: Clocked) -> None:
    clocked.age = 0.03  # of 50 ms
    clocked.offer(rate=250.0, seconds=0.5)
    assert not clocked.shed  # there is time
    clocked.age = 0.0
    clocked.offer(rate=1_000.0, seconds=1.0)
    assert clocked.worker.standing
    clocked.age = 0.03
    begun = len(clocked.waits)
    clocked.offer(rate=1_000.0, seconds=0.2)
    assert len(clocked.waits) - begun <= _ALLOWED + 1  # those that waited


def test_a_slow_machine_is_no_queue(clocked: Clocked) -> None:
    for _ in range(50):  # one job at a time, whose thread takes 30 ms to wake
        clocked.worker._admit(clocked.job())
        clocked.now += 0.03
        job = clocked.worker._queue.get()
        assert job is not None
        clocked.worker._serve(job)
        clocked.now += 0.1
    assert not clocked.worker.standing
