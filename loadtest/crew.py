"""The generator's processes: started, given a step at a time, and gathered.

Even one generator runs in a process of its own, so that what draws the progress bar never holds up
a request. Each process sends every n-th request of one schedule, on one clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final

import aiohttp

from loadtest.answers import Payload, judge
from loadtest.errors import LoadError
from loadtest.generator import Generator, Step, Target, event_loop, now, opened
from loadtest.tally import Tally, together

HEAD_START: Final = 0.25  # seconds between giving out a step and its first request
TICK: Final = 0.25  # seconds between two reports of progress
STOP_SECONDS: Final = 1.0
PATH: Final = "/rerank"


@dataclass(frozen=True)
class Refused:
    """Why the service cannot be loaded; sent in place of what was asked for."""

    why: str


class Crew:
    """Generator processes that wait for a step. Made by `gathered`."""

    def __init__(self, pipes: Sequence[Connection], info: dict[str, Any]) -> None:
        self._pipes, self.info = pipes, info

    def run(self, step: Step, progress: Callable[[int], None]) -> Tally:
        """Run a step on all processes; `progress` hears how many requests have ended."""
        begins = now() + HEAD_START
        for number, pipe in enumerate(self._pipes):
            offsets = step.offsets[number :: len(self._pipes)]
            pipe.send(replace(step, begins=begins, offsets=offsets))
        done = [0] * len(self._pipes)
        tallies: dict[int, Tally] = {}
        while len(tallies) < len(self._pipes):
            for number, said in self._heard(tallies):
                if isinstance(said, Tally):
                    tallies[number] = said
                done[number] = said.done if isinstance(said, Tally) else said
            progress(sum(done))
        return together(list(tallies.values()))

    def _heard(self, finished: Container[int]) -> Iterator[tuple[int, Any]]:
        """What processes say that have not finished: requests done so far, or the tally."""
        waiting = {pipe: n for n, pipe in enumerate(self._pipes) if n not in finished}
        for pipe in wait(list(waiting)):
            assert isinstance(pipe, Connection)
            yield waiting[pipe], _received(pipe)


@contextlib.contextmanager
def gathered(target: Target, payloads: Sequence[Payload], processes: int) -> Iterator[Crew]:
    """Start the processes and let each send one request; raises LoadError where it is refused."""
    context = multiprocessing.get_context("spawn")
    started, pipes = [], []
    try:
        for number in range(processes):
            here, there = context.Pipe()
            process = context.Process(
                target=_work, args=(there, target, payloads[number::processes]), daemon=True
            )
            process.start()
            there.close()
            started.append(process)
            pipes.append(here)
        infos = [_received(pipe) for pipe in pipes]
        yield Crew(pipes, infos[0])
    finally:
        for pipe in pipes:
            pipe.close()  # a process that waits for its next step then ends
        for process in started:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.terminate()
                process.join()


def _received(pipe: Connection) -> Any:
    try:
        said = pipe.recv()
    except EOFError:
        raise LoadError("a generator process ended before its time; see above for why.") from None
    if isinstance(said, Refused):
        raise LoadError(said.why)
    return said


def _work(pipe: Connection, target: Target, payloads: Sequence[Payload]) -> None:
    """What a process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    gone = contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError)  # the parent
    with gone, asyncio.Runner(loop_factory=event_loop) as runner:
        runner.run(_steps(pipe, target, payloads))


async def _steps(pipe: Connection, target: Target, payloads: Sequence[Payload]) -> None:
    url = target.url.rstrip("/")
    async with opened(target) as session:
        try:
            await _check(session, url, payloads[0])
            pipe.send(await _info(session, url))
        except LoadError as error:
            pipe.send(Refused(str(error)))
            return
        generator = Generator(session, url + PATH, payloads)
        while True:
            step = await asyncio.to_thread(pipe.recv)
            tally = Tally()
            ticks = asyncio.create_task(_tick(pipe, tally))
            await generator.run(step, tally)
            ticks.cancel()
            pipe.send(tally)


async def _tick(pipe: Connection, tally: Tally) -> None:
    while True:
        await asyncio.sleep(TICK)
        pipe.send(tally.done)


async def _check(session: aiohttp.ClientSession, url: str, payload: Payload) -> None:
    """One request before the load; raises LoadError with what the service says of it."""
    try:
        async with session.post(url + PATH, data=payload.body) as answer:
            status, content = answer.status, await answer.read()
    except (aiohttp.ClientError, OSError, ValueError) as error:  # a timeout is an OSError
        raise LoadError(
            f"{url} cannot be reached ({str(error) or type(error).__name__}). Start the service "
            "there (`psad serve BUNDLE`) or name another with --url."
        ) from error
    outcome = judge(status, content, payload)
    if outcome.kind == "failed":
        said = content[:300].decode(errors="replace")
        raise LoadError(f"{url} refuses the dataset's requests with {outcome.label}: {said}")
    if outcome.label == "fallback no_model":
        raise LoadError(f"{url} has no model loaded yet: wait until {url}/readyz answers 200.")


async def _info(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """What serves there, for the report; nothing where it does not say."""
    try:
        async with session.get(f"{url}/info") as answer:
            found = await answer.json(content_type=None)
    except (aiohttp.ClientError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
