"""What may happen to a service in production, each under load: each a row of the table.

A scene returns what was seen and whether it kept the promise that docs/reliability.md makes.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from features.bundle import Bundle
from features.publish import publish, roll_back
from loadtest.answers import Payload
from loadtest.chaos import corpus
from loadtest.chaos.judged import (
    REPLACED_SECONDS,
    elsewhere,
    judged,
    overload_kept,
    uncounted,
)  # fmt: skip
from loadtest.chaos.load import Happening, Load, Loaded, half_of_capacity, load, spread
from loadtest.chaos.stage import Replica, balancer, ended, replica, versions, wait_for
from loadtest.errors import LoadError
from loadtest.generator import now
from loadtest.tally import Limits

FLIPS: Final = 600
_FLIPPED: Final = "refused or harmless by proof; the old version serves on"
TIMES: Final = 20
KILLS: Final = 4
WATCH: Final = 0.2
RECOVERY: Final = 1.7  # seconds; with what it takes to start the load anew these are two


@dataclass(frozen=True)
class Row:
    """One line of the table. `kept` is None where nothing could be judged."""

    name: str
    promise: str
    seen: str
    kept: bool | None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scene:
    """What every scene is given."""

    bundle: Bundle
    folder: Path  # logs and copies
    payloads: Sequence[Payload]
    seconds: float
    rate: float  # half of what one service holds
    calm_p99: float = 0.0  # milliseconds at that rate while nothing happens

    def serve(self, stack: ExitStack, bundle: Path | None = None, **settings: object) -> Replica:
        """A service until the scene ends."""
        folder = bundle or self.bundle.folder
        return stack.enter_context(replica(folder, self.folder, **settings))

    def load(self, stack: ExitStack, url: str) -> Load:
        """Somebody who asks it."""
        return stack.enter_context(load(url, self.payloads))


def calm(scene: Scene, rate: float | None, limits: Limits) -> tuple[float, Loaded]:
    """The rate that is half of the capacity, unless one is given, and what it is like.

    Raises LoadError where it is not held: nothing could be compared with that.
    """
    with ExitStack() as stack:
        one = scene.load(stack, scene.serve(stack).url)
        rate = rate or half_of_capacity(one, limits)
        quiet = one.run(rate, scene.seconds)
    why = quiet.found["overload"] or quiet.found["distrust"]
    if why:
        raise LoadError(f"{rate:.0f} requests a second are not calm: {why}. Run it alone on the "
                        "machine, or name another --rate")  # fmt: skip
    return rate, quiet


def reload(scene: Scene) -> Row:
    """Other versions take over, one after the other."""
    home = versions(scene.bundle, scene.folder, TIMES + 1)

    def deed(service: Replica, happening: Happening) -> None:
        def act(number: int) -> None:
            name = str(number + 2)
            publish(home / name)
            wait_for(f"version {name}", lambda: _serves(service, name))

        spread(happening, TIMES, scene.seconds, act)

    return _changes(scene, home, "reload", deed)


def rollback(scene: Scene) -> Row:
    """The version before is taken back, again and again."""
    home = versions(scene.bundle, scene.folder, 2)

    def deed(service: Replica, happening: Happening) -> None:
        def act(number: int) -> None:
            roll_back(home)
            wait_for("the version before", lambda: _serves(service, "12"[number % 2]))

        spread(happening, TIMES, scene.seconds, act)

    publish(home / "2")
    return _changes(scene, home, "rollback", deed)


def _serves(service: Replica, version: str) -> bool:
    return bool((service.info().get("model") or {}).get("version") == version)


def _changes(
    scene: Scene, home: Path, name: str, deed: Callable[[Replica, Happening], None]
) -> Row:
    with ExitStack() as stack:
        service = scene.serve(stack, home, watch_seconds=WATCH)
        done = scene.load(stack, service.url).run(scene.rate, scene.seconds, partial(deed, service))
        taken = int(service.metric('rerank_model_reload_total{result="success"}')) - 1
    ratio = done.p99 / scene.calm_p99
    seen = f"{len(done.times)} times; {_counts(done)}; p99 {_ms(done)}, {ratio:.2f} of calm"
    kept = judged(done.found, sound=len(done.times) == TIMES, timely=ratio <= 2.0)
    figures = {**done.found, "times": done.times, "p99_ratio": ratio, "taken_over": taken}
    return Row(f"{name} ×{TIMES}", "no request fails, p99 at most twice", seen, kept, figures)


def replaced(scene: Scene, drain_seconds: float = 2.0) -> Row:
    """Two replicas behind HAProxy; each is told to stop, ends, and is started anew, in turn."""
    with ExitStack() as stack:
        both = [scene.serve(stack, drain_seconds=drain_seconds) for _ in range(2)]
        url = stack.enter_context(balancer(both, scene.folder))

        def deed(happening: Happening) -> None:
            end = time.monotonic() + scene.seconds - 10.0
            while not happening.times or time.monotonic() < end:
                one = both[len(happening.times) % 2]
                happening(partial(one.signal, signal.SIGTERM))
                one.ended()
                one.again()
                time.sleep(1.5)  # until the balancer has seen it twice

        done = scene.load(stack, url).run(scene.rate, scene.seconds, deed)
    seen = f"{len(done.times)} times; {_counts(done)}; p99 {_ms(done)}"
    kept = judged(done.found, sound=len(done.times) >= 2)
    promise = "no request fails while the other takes over"
    return Row("SIGTERM, two replicas", promise, seen, kept, {**done.found, "times": done.times})


def rolled(scene: Scene) -> Row:
    """SIGHUP: all workers of one port are replaced, one after the other."""

    def deed(service: Replica, happening: Happening) -> None:
        end = time.monotonic() + scene.seconds - 20.0
        while not happening.times or time.monotonic() < end:
            before = service.workers(2)
            happening(partial(service.signal, signal.SIGHUP))
            wait_for("other workers", lambda: not before & service.workers(2))  # noqa: B023
            time.sleep(3.0)

    with ExitStack() as stack:
        service = scene.serve(stack, workers=2)
        done = scene.load(stack, service.url).run(scene.rate, scene.seconds, partial(deed, service))
    seen = f"{len(done.times)} times; {_counts(done)}; p99 {_ms(done)}"
    kept = judged(done.found, sound=len(done.times) >= 1)
    figures = {**done.found, "times": done.times}
    return Row("SIGHUP, two workers", "no request fails", seen, kept, figures)


def killed(scene: Scene) -> Row:
    """kill -9 of one of two workers, again and again."""

    gone: list[float] = []  # when the system had closed its connections

    def deed(service: Replica, happening: Happening) -> None:
        def act(number: int) -> None:
            one = min(service.workers(2))
            happening(lambda: os.kill(one, signal.SIGKILL))
            wait_for("its end", lambda: ended(one))
            gone.append(now() - happening.began)
            wait_for("the death to be counted", lambda: _deaths(service) == number + 1)
            wait_for("two workers", lambda: service.metric("rerank_workers ") == 2)

        for number in range(KILLS):
            act(number)
            time.sleep(max(0.0, scene.seconds / KILLS - 6.0))

    with ExitStack() as stack:
        service = scene.serve(stack, workers=2)
        one = scene.load(stack, service.url)
        before = service.metric("rerank_requests_total")
        done = one.run(scene.rate, scene.seconds, partial(deed, service))
        answered = int(service.metric("rerank_requests_total") - before)
    spans = list(zip(done.times, gone, strict=True))
    other = elsewhere(done.failures, spans, done.found["most_under_way"])
    seen = (f"{len(done.times)} times; {_counts(done)}; {len(other)} of them not in flight "
            f"then; p99 {_ms(done)}")  # fmt: skip
    figures = {**done.found, "times": done.times, "elsewhere": len(other),
               "failures": [one._asdict() for one in done.failures[:50]],
               "sent": done.sent, "counted_by_the_service": answered}  # fmt: skip
    lost = uncounted(done.sent, len(done.failures), answered)
    sound = not other and not lost and len(done.times) == KILLS
    excused = REPLACED_SECONDS * scene.rate * KILLS
    kept = judged({**done.found, "failed": 0}, sound=sound, excused=excused)  # `other` are judged
    return Row("kill -9 of a worker", "only requests in flight there fail", seen, kept, figures)


def _deaths(service: Replica) -> float:
    return service.metric("rerank_worker_deaths_total")


def overloaded(scene: Scene) -> Row:
    """Twice the capacity, and whether it is over when the load is."""
    with ExitStack() as stack:
        one = scene.load(stack, scene.serve(stack).url)
        done = one.run(4 * scene.rate, scene.seconds)
        after = one.run(scene.rate, 10.0, warm_up=RECOVERY)
    found, calm_p99 = done.found, scene.calm_p99
    ratio = (found["scored_ms"]["p99"] or 0.0) / calm_p99
    quiet = after.found["fallbacks"] + after.found["failed"]
    seen = (
        f"{_counts(done)}; {found['scored'] / found['seconds']:.0f} scored a second; "
        f"p99 of scored {found['scored_ms']['p99'] or 0:.0f} ms, {ratio:.2f} of calm, "
        f"of fallbacks {found['fallback_ms']['p99'] or 0:.0f} ms; after it {quiet} of "
        f"{after.found['requests']} not scored"
    )
    promise = "as many as in calm are scored, they and the rest within twice the p99"
    kept = overload_kept(found, after.found, calm_p99, scene.rate)
    figures = {**found, "p99_ratio": ratio, "after": after.found}
    return Row("twice the capacity", promise, seen, kept, figures)


def idle(scene: Scene) -> Row:
    """A service that nobody asks."""
    with ExitStack() as stack:
        service = scene.serve(stack)
        time.sleep(2.0)
        before = service.cpu_seconds()
        time.sleep(scene.seconds)
        share = (service.cpu_seconds() - before) / scene.seconds
        alive = service.ready()  # one that ended takes no time either
    seen = f"{share:.2%} of a core" + ("" if alive else "; it is GONE")
    figures = {"cpu_share": share}
    return Row("idle", "under 1% of a core", seen, alive and share < 0.01, figures)


def flips(scene: Scene) -> Row:
    """Bytes of a published version are altered, one at a time: of the tests' own small bundle."""
    try:
        from tests.chaos.byte_flips import run
    except ModuleNotFoundError:
        return Row("a byte altered", _FLIPPED, "not run: needs the repository's tests", None)
    logging.getLogger("psad.service").addHandler(logging.NullHandler())  # not a line for each
    found = run(FLIPS)
    seen = (
        f"{FLIPS} bytes of {len(found['files'])} files: {found['refused']} refused, "
        f"{found['harmless']} harmless (all of CURRENT), {found['served']} served, "
        f"{found['unnoticed']} not noticed; {found['unanswered']} requests not answered"
    )
    figures = {**found, "files": {name: dict(seen) for name, seen in found["files"].items()}}
    kept = not found["served"] + found["unnoticed"] + found["unanswered"]
    return Row("a byte altered", _FLIPPED, seen, kept, figures)


def hostile(scene: Scene) -> Row:
    """Every place of a request with every odd value, broken HTTP, and thousands of altered ones."""
    with ExitStack() as stack:
        service = scene.serve(stack)
        found = corpus.run(service.url, generated=corpus.GENERATED)
        alive = service.ready()
    statuses = ", ".join(f"{count:,} {status}" for status, count in found["statuses"].items())
    seen = (f"{found['requests']:,} requests: {statuses}; {found['offences']} answered as they "
            f"should not be; it {'serves on' if alive else 'is GONE'}")  # fmt: skip
    return Row("hostile requests", "no 5xx, no status that OpenAPI does not name", seen,
               alive and not found["offences"], found)  # fmt: skip


def _counts(done: Loaded) -> str:
    found = done.found
    text = f"{found['requests']} requests, {found['fallbacks']} fallbacks, {found['failed']} failed"
    return text if not found["distrust"] else f"{text} ({found['distrust']})"


def _ms(done: Loaded) -> str:
    return f"{done.p99:.0f} ms"


SCENES: Final[dict[str, Callable[[Scene], Row]]] = {
    "reload": reload, "rollback": rollback, "replicas": replaced, "restart": rolled,
    "kill": killed, "overload": overloaded, "idle": idle, "flips": flips, "corpus": hostile,
}  # fmt: skip
