"""A user's features and history beside a request: within a budget, and never at its expense.

A read has `store_ms`, and no more than the deadline leaves beside the score. After a few that
failed in a row the store counts as down: nobody waits for it until a read of our own, tried every
second, is answered within the budget. What is slow is not cut off at once, since connections would
be made anew for ever: it goes on beside, of so many at a time.
"""

from __future__ import annotations

import asyncio
import random
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from service import logs
from service.metrics import Metrics
from service.store.base import SECONDS, WAITING, Store, Unavailable
from service.store.record import Stored, Unreadable
from service.visit import Visit

if TYPE_CHECKING:
    from service.decode import Asked, Decoder

FAILURES: Final = 5  # in a row
_LONG: Final = 0.02  # seconds in which a store that is well has answered
_PAUSE: Final = 1.0  # seconds between trials, a fifth more or less
Status = Literal["hit", "miss", "timeout", "error"]


class Lookup:
    """Asks a store for what requests lack. `seconds` is a read's budget."""

    def __init__(self, store: Store, seconds: float, metrics: Metrics) -> None:
        self._store, self._seconds, self._metrics = store, seconds, metrics
        self._reads = set[asyncio.Task[Stored | None]]()
        self._failures, self._stopping = 0, False
        self._trial: asyncio.Task[None] | None = None  # while the store counts as down
        self._seldom = logs.Seldom()

    @property
    def down(self) -> bool:
        """Whether requests are not to wait for the store."""
        return self._trial is not None

    def start(self) -> None:
        """Begin with a trial, which makes the first connection beside requests."""
        self._give_up()

    async def stop(self) -> None:
        """Let go of the store, in a second whatever becomes of what is under way."""
        self._stopping = True
        tasks = [*self._reads, *([self._trial] if self._trial else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SECONDS)
        await self._store.close()

    async def filled(self, asked: Asked, decoder: Decoder, visit: Visit, until: float) -> Asked:
        """The request with what it lacks, by perf_counter `until`; as it was where that fails."""
        filler, user = decoder.filler, asked.user
        if user is None or filler is None or not filler.lacks(asked):
            return asked
        begun = perf_counter()
        try:
            stored = await self._read(user, min(self._seconds, until - begun))
            if stored is None:
                visit.store = "miss"
                return asked
            asked = filler.fill(asked, stored)
            visit.store = "hit"
        except TimeoutError:
            visit.store = "timeout"
        except Exception as fault:  # the boundary: no fault of the store may touch a request
            visit.store = "error"
            if not isinstance(fault, _Down):
                self._say(fault)
        finally:
            visit.stages["store"] = perf_counter() - begun
        return asked

    async def _read(self, user: str, seconds: float) -> Stored | None:
        """Raises TimeoutError, or what the store raises."""
        if self._trial is not None:
            raise _Down
        if seconds <= 0 or len(self._reads) >= WAITING:
            raise TimeoutError
        task = asyncio.create_task(self._store.read(user))
        self._reads.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            await asyncio.sleep(0)  # the loop itself was late: what has come is looked at
        try:
            if not task.done():
                raise TimeoutError
            found = task.result()
        except Unreadable:
            raise
        except TimeoutError:
            if seconds >= min(self._seconds, _LONG):  # a request in a hurry says nothing of it
                self._failed()
            raise
        except Exception:  # it has answered, however soon
            self._failed()
            raise
        self._failures = 0
        return found

    def _ended(self, task: asyncio.Task[Stored | None]) -> None:
        self._reads.discard(task)
        if not task.cancelled():
            task.exception()  # was told to whoever waited, or is nobody's concern any more

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES and self._trial is None:
            self._metrics.store_down.set(1)
            logs.event("store_down", 30, after=self._failures)
            self._give_up()

    def _give_up(self) -> None:
        self._trial = asyncio.create_task(self._until_back())

    async def _until_back(self) -> None:
        while not await self._answers():
            if self._stopping:  # a client may make an error of its own of being cancelled
                return
            self._metrics.store_down.set(1)
            await asyncio.sleep(_PAUSE * random.uniform(0.8, 1.2))
        self._metrics.store_down.set(0)
        self._failures, self._trial = 0, None
        logs.event("store_up")

    async def _answers(self) -> bool:
        """Once to be connected, which may take longer, then as fast as a request needs it."""
        try:
            await self._store.ping()
            async with asyncio.timeout(self._seconds):
                await self._store.ping()
        except Exception as fault:  # whatever it is, the next trial has to come
            self._say(fault)
            return False
        return True

    def _say(self, fault: Exception) -> None:
        """Without what others than we wrote, which may name a user or the address."""
        said = str(fault) if isinstance(fault, Unavailable | Unreadable) else ""
        self._seldom.event("store_failed", type(fault).__name__, said=said)


class _Down(Exception):
    """Not asked."""
