"""The scoring thread: bounds, deadlines, and what the moving average may do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from service.errors import Fallback
from service.worker import Shed, Worker


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


def test_a_thread_that_hangs_in_one_job_is_not_well(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("service.worker._HANGS_SECONDS", 0.1)
    assert worker.well

    async def hung() -> list[bool]:
        job = asyncio.create_task(worker.run(go_on.wait, perf_counter() + 5))
        await asyncio.sleep(0.03)
        seen = [worker.well]
        await asyncio.sleep(0.2)
        seen.append(worker.well)
        go_on.set()
        await job
        return seen

    assert asyncio.run(hung())[-1] is False
    assert worker.well
    worker.stop()
    assert not worker.well


def together(worker: Worker, jobs: int) -> list[str]:
    """What became of jobs of a few milliseconds that come in waves of 8."""

    async def asked() -> str:
        try:
            await worker.run(lambda: time.sleep(0.002), perf_counter() + 0.1)
        except Shed as shed:
            return shed.cause
        except Fallback:
            return "late"
        return "done"

    async def all_of_them() -> list[str]:
        tasks = []
        for _ in range(jobs // 8):
            tasks += [asyncio.create_task(asked()) for _ in range(8)]
            await asyncio.sleep(0.008)
        return await asyncio.gather(*tasks)

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("held", [True, False])
def test_a_queue_that_stands_is_held_short_only_where_it_should(held: bool) -> None:
    worker = Worker(limit=1_000, late=0.0, held=held)
    worker.start()
    found = together(worker, jobs=480)  # twice what can be done, for half a second
    worker.stop()
    assert ("queue" in found) == held
    assert found.count("done") > 100


def test_who_had_an_answer_or_was_cancelled_is_inside_no_more() -> None:
    worker = Worker(limit=1_000, late=0.0, held=True)
    worker.start()
    assert worker._crowd is not None

    async def cancelled() -> None:
        work = worker.run(lambda: time.sleep(0.05), perf_counter() + 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work, 0.01)

    asyncio.run(cancelled())
    with pytest.raises(ZeroDivisionError):
        run(worker, lambda: 1 / 0)
    with pytest.raises(Shed):
        run(worker, lambda: None, seconds=-1.0)
    together(worker, jobs=80)
    assert worker._crowd._inside == 0
    worker.stop()
