"""The open loop: what is due is sent, whatever the answers do, and its time counts from then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from loadtest.answers import Payload
from loadtest.generator import FineSelector, Generator, Step, Target, arrivals, now, opened
from loadtest.tally import Limits, Tally, result

PAYLOADS = [Payload(b'{"candidates": ["a"]}', ("a",))]
ANSWER: dict[str, Any] = {"results": [{"id": "a", "index": 0, "rank": 1}], "fallback": None}
Pretend = Callable[..., str]


async def at_once(request: web.Request) -> web.Response:
    await request.read()
    return web.json_response(ANSWER)


def sent(url: str, step: Step, payloads: Any = PAYLOADS, **target: Any) -> Tally:
    """Run one step in this process."""
    tally = Tally()

    async def run() -> None:
        async with opened(Target(url, **{"timeout": 5.0, **target})) as session:
            await session.post(f"{url}/rerank", data=b"{}")  # the first connection takes its time
            begun = Step(now(), step.offsets, step.counted_from, step.seconds)
            await Generator(session, f"{url}/rerank", payloads).run(begun, tally)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FineSelector())) as runner:
        runner.run(run())
    return tally


def step(rate: float, seconds: float, warm_up: float = 0.0) -> Step:
    return Step(0.0, arrivals(rate, warm_up + seconds), warm_up, seconds)


def test_a_descriptor_that_select_does_not_know_is_waited_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FineSelector, "fileno", lambda self: 1_000_000)
    with FineSelector() as selector:
        begun = now()
        assert selector.select(0.02) == []
        assert now() - begun >= 0.02


def test_constant_arrivals_are_evenly_spaced() -> None:
    assert arrivals(4.0, 1.0).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert len(arrivals(100.0, 0.999)) == 100


def test_poisson_arrivals_have_the_rate_and_the_spread_of_independent_callers() -> None:
    times = arrivals(1000.0, 20.0, poisson=True, seed=1)
    gaps = np.diff(times)
    assert 0.0 <= times[0] <= times[-1] < 20.0
    assert abs(len(times) - 20_000) < 5 * np.sqrt(20_000)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # so is an exponential's
    assert np.array_equal(times, arrivals(1000.0, 20.0, poisson=True, seed=1))


def test_a_stall_is_charged_to_everybody_who_would_have_come_meanwhile(pretend: Pretend) -> None:
    """100 a second for 2 s, and once the whole server sleeps for 0.5 s.

    What is due while it sleeps waits for the rest of the sleep: 0.50, 0.49, 0.48 … s, 50 requests
    of 200. So the p99, third of the slowest, is at least 0.47 s, and the p90, the twenty-first, at
    least 0.29 s. A closed loop would have sent one request meanwhile, one of 200, and its p99 would
    show nothing.
    """
    served = count()

    async def stalls(request: web.Request) -> web.Response:
        if next(served) == 50:
            time.sleep(0.5)  # the event loop too, as a long collection of garbage would
        return await at_once(request)

    tally = sent(pretend(stalls), step(100.0, 2.0))
    assert tally.labels == {"scored": 200}
    assert (tally.latency.percentile(99.0) or 0.0) >= 470
    assert (tally.latency.percentile(90.0) or 0.0) >= 290
    assert tally.most_open >= 45  # it did not wait for answers


def test_a_late_generator_is_charged_to_the_latency_and_shown_as_lag(pretend: Pretend) -> None:
    """The generator sleeps 0.3 s before one request: those due meanwhile leave late by up to it."""

    class Late(list[Payload]):
        asked = count()

        def __getitem__(self, place: Any) -> Any:
            if next(self.asked) == 20:
                time.sleep(0.3)
            return super().__getitem__(place)

    tally = sent(pretend(at_once), step(100.0, 1.0), payloads=Late(PAYLOADS))
    assert (tally.lag.percentile(99.0) or 0.0) >= 280
    assert (tally.latency.percentile(99.0) or 0.0) >= 280
    found = result(100.0, 1.0, tally, Limits())
    assert "requests left" in found["distrust"]
    whole = zip(*(one.summary().values() for one in (tally.latency, tally.from_send)), strict=True)
    assert all(latency >= from_send for latency, from_send in whole if latency and from_send)


def test_a_request_that_is_given_up_is_a_failure_with_its_time(pretend: Pretend) -> None:
    served = count()

    async def forgets(request: web.Request) -> web.Response:
        if next(served) % 10 == 5:
            await asyncio.sleep(60)
        return await at_once(request)

    tally = sent(pretend(forgets), step(50.0, 1.0), timeout=0.4)
    assert tally.kinds["failed"] >= 5
    assert tally.labels["timeout"] == tally.kinds["failed"]
    assert (tally.failed.percentile(50.0) or 0.0) >= 390
    assert (tally.latency.percentile(100.0) or 0.0) >= 390
    assert len(tally.latency) == 50


def test_a_connection_that_breaks_is_a_failure_with_its_time(pretend: Pretend) -> None:
    served = count()

    async def breaks(request: web.Request) -> web.Response:
        if next(served) > 20 and request.transport is not None:
            request.transport.abort()
        return await at_once(request)

    tally = sent(pretend(breaks), step(50.0, 1.0))
    assert tally.kinds == {"scored": 20, "failed": 30}
    assert len(tally.failed) == 30
    assert all(label in ("scored", "ServerDisconnectedError", "ClientOSError")
               for label in tally.labels)  # fmt: skip


def test_fallbacks_and_errors_are_counted_by_reason(pretend: Pretend) -> None:
    served = count(-1)  # the first is not counted

    async def sheds(request: web.Request) -> web.Response:
        number = next(served)
        if number % 4 == 0:
            return web.json_response({**ANSWER, "fallback": "overload"})
        if number % 4 == 1:
            return web.json_response({"error": {"type": "overload"}}, status=429)
        return await at_once(request)

    tally = sent(pretend(sheds), step(40.0, 1.0))
    assert tally.labels == {"scored": 20, "fallback overload": 10, "429 overload": 10}


def test_the_key_goes_with_every_request(pretend: Pretend) -> None:
    async def guards(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            return web.json_response({"error": {"type": "unauthorized"}}, status=401)
        return await at_once(request)

    url = pretend(guards)
    assert sent(url, step(20.0, 0.5), api_key="secret").labels == {"scored": 10}
    assert sent(url, step(20.0, 0.5)).labels == {"401 unauthorized": 10}


def test_the_warm_up_is_sent_and_not_counted(pretend: Pretend) -> None:
    tally = sent(pretend(at_once), step(40.0, 1.0, warm_up=0.5))
    assert tally.done == 60
    assert len(tally.latency) == sum(tally.labels.values()) == 40


def test_a_service_that_cannot_keep_up_achieves_less_than_is_offered(pretend: Pretend) -> None:
    """One answer at a time, 50 ms each: 20 a second of the 100 that are offered."""
    turn = asyncio.Lock()

    async def slow(request: web.Request) -> web.Response:
        async with turn:
            await asyncio.sleep(0.05)
            return await at_once(request)

    tally = sent(pretend(slow), step(100.0, 1.0), timeout=0.5)
    found = result(100.0, 1.0, tally, Limits())
    assert found["offered_rate"] == 100.0
    assert 1.0 <= found["achieved_rate"] <= 21.0
    assert found["overload"] is not None


def test_payloads_are_sent_in_their_order_and_again(pretend: Pretend) -> None:
    seen: list[bytes] = []

    async def listens(request: web.Request) -> web.Response:
        seen.append(await request.read())
        return web.json_response(ANSWER)

    payloads = [Payload(b'{"n": %d}' % number, ("a",)) for number in range(3)]
    sent(pretend(listens), step(20.0, 0.35), payloads=payloads)
    assert seen[0] == b"{}"
    assert sorted(seen[1:]) == sorted(payloads[number % 3].body for number in range(7))
