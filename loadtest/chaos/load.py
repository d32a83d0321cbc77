"""A constant load from one process, while something happens to the service."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from loadtest.answers import Payload
from loadtest.chaos.stage import cores, shared_out
from loadtest.crew import HEAD_START, Crew, gathered
from loadtest.errors import LoadError
from loadtest.generator import Step, Target, arrivals, now
from loadtest.tally import Failure, Limits, Tally, result

WARM_UP: Final = 3.0
_PATIENCE: Final = 10.0  # seconds: what is slow is slow and not failed
_TRUSTED: Final = Limits(lag_ms=5.0)


@dataclass
class Happening:
    """What was done while the load ran: the times, in seconds after its start."""

    began: float
    times: list[float] = field(default_factory=list)

    def __call__(self, act: Callable[[], object]) -> None:
        """Do it and note when."""
        self.times.append(now() - self.began)
        act()


Deed = Callable[[Happening], None]


@dataclass(frozen=True)
class Loaded:
    """A step under load: figures as open_loop's report has them, and each failure."""

    found: dict[str, Any]
    failures: Sequence[Failure]
    times: Sequence[float]
    sent: int  # the warm-up's too

    @property
    def p99(self) -> float:
        """Milliseconds, from the intended start."""
        return float(self.found["latency_ms"]["p99"])


class Load:
    """The generator, ready to send."""

    def __init__(self, crew: Crew) -> None:
        self._crew, self._seed = crew, 0

    def run(
        self, rate: float, seconds: float, deed: Deed | None = None, warm_up: float = WARM_UP
    ) -> Loaded:
        """Poisson arrivals for so many counted seconds, and meanwhile the deed, in a thread."""
        self._seed += 1
        offsets = arrivals(rate, warm_up + seconds, poisson=True, seed=self._seed)
        happening = Happening(now() + HEAD_START)
        faults: list[BaseException] = []

        def act() -> None:
            time.sleep(HEAD_START + warm_up)
            try:
                if deed is not None:
                    deed(happening)
            except BaseException as fault:  # shown where the load has ended
                faults.append(fault)

        doer = threading.Thread(target=act)
        doer.start()
        tally: Tally = self._crew.run(Step(0.0, offsets, warm_up, seconds), lambda _: None)
        doer.join()
        if faults:
            raise faults[0]
        found = result(rate, seconds, tally, _TRUSTED)
        del found["curve"]
        return Loaded(found, tally.failures, happening.times, tally.done)


@contextmanager
def load(url: str, payloads: Sequence[Payload]) -> Iterator[Load]:
    """A generator on the core that is kept for it."""
    with cores(shared_out()[1]):
        context = gathered(Target(url, timeout=_PATIENCE), payloads, 1)
        crew = context.__enter__()
    try:
        yield Load(crew)
    finally:
        context.__exit__(None, None, None)


def spread(happening: Happening, count: int, seconds: float, act: Callable[[int], object]) -> None:
    """Do something `count` times, evenly over the time; what takes longer goes on at once."""
    begins = now()
    for number in range(count):
        time.sleep(max(0.0, begins + number * seconds / count - now()))
        happening(lambda number=number: act(number))  # type: ignore[misc]


def half_of_capacity(one: Load, limits: Limits, start: float = 50.0) -> float:
    """Half of the highest rate that is held, found by doubling and then halving the gap.

    Raises LoadError where none is.
    """
    held, lost, rate = 0.0, 0.0, start
    while not lost or lost - held > 0.15 * held:
        found = one.run(rate, 5.0).found
        bad = (found["fallbacks"] + found["failed"]) / max(1, found["requests"])
        holds = bad <= limits.bad_share and found["latency_ms"]["p99"] <= limits.p99_ms
        held, lost = (rate, lost) if holds else (held, rate)
        if not held and rate < start / 8:
            raise LoadError(f"the service does not hold even {rate:.1f} requests a second: of "
                            f"{found['requests']}, {bad:.1%} were not scored, and p99 is "
                            f"{found['latency_ms']['p99']:.0f} ms")  # fmt: skip
        rate = (held + lost) / 2 if lost else 2 * rate
    return held / 2
