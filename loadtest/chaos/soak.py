"""A million requests of many sizes, one after the other, and what memory does meanwhile."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from typing import Any, Final

import aiohttp

from loadtest.answers import Payload, judge
from loadtest.chaos.judged import few_fallbacks
from loadtest.chaos.scenes import Row, Scene
from loadtest.chaos.stage import Replica, cores, shared_out
from loadtest.generator import Target, opened

CALLERS: Final = 8  # who ask again as soon as they were answered
SIZES: Final = 4_000  # different requests
SETTLED: Final = 0.1  # of the requests: memory is compared with what it was then
GROWTH: Final = 0.05
LOOKS: Final = 100


def soak(scene: Scene, requests: int, progress: Callable[[int], None]) -> Row:
    """Send so many requests and look at the service's memory a hundred times."""
    bodies = [*scene.payloads, *islice(_sizes(scene.payloads), SIZES)]
    random.Random(0).shuffle(bodies)
    with ExitStack() as stack:
        service = scene.serve(stack, deadline_ms=1_000)
        stack.enter_context(cores(shared_out()[1]))
        begun = time.monotonic()
        found = asyncio.run(_asked(service, bodies, requests, progress))
        rate = requests / (time.monotonic() - begun)
    memory: list[float] = found["memory_mib"]
    settled, last = memory[int(SETTLED * len(memory))], max(memory[-LOOKS // 10 :])
    growth = last / settled - 1.0
    seen = (f"{requests:,} requests, {found['fallbacks']} fallbacks, {found['failed']} failed; "
            f"{settled:.0f} MiB after the first tenth, {last:.0f} MiB at the end: {growth:+.1%}; "
            f"{rate:.0f} a second")  # fmt: skip
    kept = growth < GROWTH and not found["failed"] and few_fallbacks(found)
    return Row("soak", f"memory grows under {GROWTH:.0%} after the first tenth", seen, kept,
               {**found, "growth": growth, "rate": rate})  # fmt: skip


def _sizes(payloads: Sequence[Payload]) -> Iterator[Payload]:
    """Lists of 1 to 500 candidates with histories of 0 to 200, as often short as long."""
    draw = random.Random(1)
    known = sorted({item for payload in payloads for item in payload.ids})
    while True:
        count = min(len(known), int(500 ** draw.random()))
        ids = tuple(draw.sample(known, count))
        history = draw.choices(known, k=int(201 ** draw.random()) - 1)
        body = {"candidates": ids, "history": history, "top_k": count}
        yield Payload(json.dumps(body).encode(), ids)


async def _asked(
    service: Replica, bodies: Sequence[Payload], requests: int, progress: Callable[[int], None]
) -> dict[str, Any]:
    waiting, labels = islice(cycle(bodies), requests), Counter[str]()
    memory: list[float] = []
    async with opened(Target(service.url, timeout=30.0)) as session:
        url = f"{service.url}/rerank"
        look = partial(_look, service, memory, requests, progress)
        callers = (_call(session, url, waiting, labels, look) for _ in range(CALLERS))
        await asyncio.gather(*callers)
    fallbacks = sum(n for label, n in labels.items() if label.startswith("fallback"))
    return {
        "requests": requests, "fallbacks": fallbacks,
        "failed": labels.total() - labels["scored"] - fallbacks, "outcomes": dict(labels),
        "memory_mib": memory,
    }  # fmt: skip


def _look(
    service: Replica, memory: list[float], requests: int, progress: Callable[[int], None],
    done: int,
) -> None:  # fmt: skip
    if done * LOOKS >= (len(memory) + 1) * requests:
        memory.append(service.resident())
        progress(done)


async def _call(
    session: aiohttp.ClientSession, url: str, waiting: Iterator[Payload], labels: Counter[str],
    look: Callable[[int], None],
) -> None:  # fmt: skip
    for payload in waiting:
        try:
            async with session.post(url, data=payload.body) as answer:
                outcome = judge(answer.status, await answer.read(), payload)
            labels[outcome.label] += 1
        except (aiohttp.ClientError, OSError) as error:
            labels[type(error).__name__] += 1
        look(labels.total())
