"""The shadow: a version that is asked what it would answer, and never answers.

It has a thread of its own with a short queue; what does not fit is dropped, so that nobody waits
for it. M candidates.
"""

from __future__ import annotations

import asyncio
import random
from time import perf_counter
from typing import Final

import numpy as np

from service import logs
from service.decode import Asked
from service.engine import Int64, Scored, kendall_tau
from service.metrics import Metrics
from service.models import Model, Models
from service.worker import Shed, Worker

_WAITING: Final = 4  # requests at most
_SECONDS: Final = 1.0  # that one may wait and take


class Shadow:
    """Asks the shadow, where there is one, and compares."""

    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models, self._metrics = models, metrics
        self._worker = Worker(_WAITING, late=0.0)
        self._tasks = set[asyncio.Task[None]]()
        self._seldom = logs.Seldom()
        self.start, self.stop = self._worker.start, self._worker.stop

    def offer(self, asked: Asked, body: bytes, served: Model, order: Int64) -> None:
        """A request that got this order (M,): ask the shadow too, if the request is drawn."""
        tried = self._models.shadow
        if tried is None or 100.0 * random.random() >= tried.percent:
            return
        if asked.mode in tried.model.engine.modes:
            task = asyncio.create_task(self._ask(tried.model, asked, body, served, order))
            self._tasks.add(task)  # the loop itself holds it weakly
            task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, model: Model, asked: Asked, body: bytes, served: Model, order: Int64
    ) -> None:
        def work() -> Scored:
            raw = asked.raw if model.reads_as(served) else read_anew(model, asked, body).raw
            return model.engine.rerank(raw, asked.mode)

        begun, counted = perf_counter(), self._metrics.shadow_requests
        try:
            done = await self._worker.run(work, begun + _SECONDS, asked.mode)
            self._compare(done.value, order)
            counted.labels("scored").inc()
        except Shed:
            counted.labels("dropped").inc()
        except Exception as fault:  # the boundary: whatever it is, nobody may notice
            counted.labels("failed").inc()
            self._seldom.event("shadow_failed", type(fault).__name__, said=str(fault)[:99])

    def _compare(self, scored: Scored, order: Int64) -> None:
        seconds = scored.encode + scored.score + scored.ordering
        self._metrics.shadow_seconds.observe(seconds)
        self._metrics.shadow_tau.observe(agreement(order, scored.order))
        self._metrics.shadow_first.inc(bool(order[0] == scored.order[0]))


def read_anew(model: Model, asked: Asked, body: bytes) -> Asked:
    """The request as another schema reads it, with what the store gave for it."""
    again, filler = model.decoder.decode(body), model.decoder.filler
    return again if asked.stored is None or filler is None else filler.fill(again, asked.stored)


def agreement(one: Int64, other: Int64) -> float:
    """Kendall's tau of two orders (M,) of the same places, in -1..1."""
    ranks = np.empty_like(one)
    ranks[one] = np.arange(len(one))
    return kendall_tau(ranks[other])
