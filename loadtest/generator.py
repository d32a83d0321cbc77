"""Sends requests at their intended times, whatever the answers do: the open loop itself.

A request's latency counts from the moment it should have left, so that a service that stalls is
charged for everybody who would have come meanwhile, not only for the one request that was under
way ("coordinated omission"). How late requests really left is measured too: that lag is the
generator's own fault and says whether the latencies can be trusted.

aiohttp, because a request costs it 0.35 ms of processor time where httpx takes 2.4 ms (each against
a bare asyncio server at 1,000 requests a second, Python 3.11): httpx could not keep up with 500 a
second on one core.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import select
import selectors
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp
import numpy as np
import numpy.typing as npt

from loadtest.answers import Outcome, Payload, judge
from loadtest.tally import Tally

KEEP_ALIVE: Final = 3.0  # seconds; uvicorn closes idle connections after 5
Float64 = npt.NDArray[np.float64]
now = time.monotonic  # one clock for all processes of a machine


@dataclass(frozen=True)
class Target:
    """The service, and how long it is waited for."""

    url: str
    api_key: str | None = None
    timeout: float = 2.0  # seconds, from the moment a request left

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        key = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"Content-Type": "application/json", **key}


@dataclass(frozen=True)
class Step:
    """One rate: when requests are to leave, and which of them count."""

    begins: float  # on the clock `now`
    offsets: Float64  # (n,) seconds after `begins`, ascending
    counted_from: float  # seconds after `begins`; what is due before is the warm-up
    seconds: float  # counted, after the warm-up


def arrivals(rate: float, seconds: float, *, poisson: bool = False, seed: int = 0) -> Float64:
    """(n,) times in [0, seconds): evenly spaced, or as independent callers come."""
    if not poisson:
        return np.arange(int(np.ceil(rate * seconds))) / rate
    random, times = np.random.default_rng(seed), np.zeros(0)
    while not len(times) or times[-1] < seconds:
        gaps = random.exponential(1.0 / rate, size=int(rate * seconds) + 16)
        times = np.concatenate([times, np.cumsum(gaps) + (times[-1] if len(times) else 0.0)])
    return times[times < seconds]


class Generator:
    """One process's part of the load, on one event loop."""

    def __init__(self, session: aiohttp.ClientSession, url: str, payloads: Sequence[Payload]):
        self._session, self._url, self._payloads = session, url, payloads
        self._next = 0

    async def run(self, step: Step, tally: Tally) -> None:
        """Send a step's requests and wait for what becomes of each."""
        under_way: set[asyncio.Task[None]] = set()
        cpu = time.process_time()
        for offset in step.offsets.tolist():
            await asyncio.sleep(max(0.0, step.begins + offset - now()))
            task = asyncio.create_task(self._send(self._draw(), step, offset, tally))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            tally.most_open = max(tally.most_open, len(under_way))
        tally.cpu_share = (time.process_time() - cpu) / max(now() - step.begins, 1e-9)
        if under_way:
            await asyncio.wait(under_way)

    def _draw(self) -> Payload:
        payload = self._payloads[self._next % len(self._payloads)]
        self._next += 1
        return payload

    async def _send(self, payload: Payload, step: Step, offset: float, tally: Tally) -> None:
        left = now() - step.begins
        status, content, failure = 0, b"", ""
        try:
            async with self._session.post(self._url, data=payload.body) as answer:
                status, content = answer.status, await answer.read()
        except TimeoutError:
            failure = "timeout"
        except (aiohttp.ClientError, OSError) as error:
            failure = type(error).__name__
        ended = now() - step.begins  # before the answer is looked at, which takes its time too
        outcome = Outcome("failed", failure) if failure else judge(status, content, payload)
        counted = offset >= step.counted_from
        within = 0.0 <= ended - step.counted_from < step.seconds
        tally.add(outcome, offset, left, ended, counted=counted, within=within)


def opened(target: Target) -> aiohttp.ClientSession:
    """A session with as many connections as there are requests under way."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
        timeout=aiohttp.ClientTimeout(total=target.timeout),
        headers=target.headers,
    )


class FineSelector(selectors.DefaultSelector):
    """Waits to the microsecond where the machine can: epoll alone rounds up to a millisecond.

    The epoll descriptor can itself be waited for, and select() takes its time in microseconds. It
    knows no descriptor above its own limit: there the wait is epoll's.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the base class does."""
        fileno = getattr(self, "fileno", None)
        if timeout is not None and timeout > 0.0 and fileno is not None:
            with contextlib.suppress(ValueError):
                select.select([fileno()], [], [], timeout)
                timeout = 0.0
        return super().select(timeout)


def event_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are as fine as the machine's."""
    gc.freeze()  # payloads and libraries stay: the collector need not look at them again
    return asyncio.SelectorEventLoop(FineSelector())
