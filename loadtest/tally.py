"""What one step measured, in one process or in all of them together, and the verdict on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from loadtest.answers import Outcome
from loadtest.times import Times

KEPT: Final = 1_000  # failures that are kept one by one
FULL: Final = 0.8  # of a core; a generator that uses more has no time to be punctual


class Failure(NamedTuple):
    """A request that failed; seconds after the step's start."""

    label: str
    left: float
    ended: float


@dataclass
class Tally:
    """Of the requests that were due in the counted seconds. Times are seconds after the start."""

    latency: Times = field(default_factory=Times)  # from the intended start, failures too
    from_send: Times = field(default_factory=Times)  # from the moment the request left
    lag: Times = field(default_factory=Times)  # from intended to left: the generator's own
    scored: Times = field(default_factory=Times)  # the latency of what was scored alone
    fallback: Times = field(default_factory=Times)  # … answered by a fallback
    failed: Times = field(default_factory=Times)  # … failures
    failures: list[Failure] = field(default_factory=list)  # the first of them, the warm-up's too
    kinds: Counter[str] = field(default_factory=Counter)  # scored, fallback, failed
    labels: Counter[str] = field(default_factory=Counter)
    answered: int = 0  # that ended well within the counted seconds, whenever they were due
    done: int = 0  # of all requests, the warm-up's too; for the progress bar
    most_open: int = 0  # requests under way at once
    cpu_share: float = 0.0  # of one core, while sending

    def add(
        self,
        outcome: Outcome,
        intended: float,
        left: float,
        ended: float,
        *,
        counted: bool,
        within: bool,
    ) -> None:
        """One request that came to its end."""
        self.done += 1
        self.answered += within and outcome.kind != "failed"
        if outcome.kind == "failed" and len(self.failures) < KEPT:
            self.failures.append(Failure(outcome.label, left, ended))
        if not counted:
            return
        self.latency.record(ended - intended)
        self.from_send.record(ended - left)
        self.lag.record(left - intended)
        self.kinds[outcome.kind] += 1
        self.labels[outcome.label] += 1
        times: Times = getattr(self, outcome.kind)
        times.record(ended - intended)


def together(parts: Sequence[Tally]) -> Tally:
    """The tallies of several processes as one; `cpu_share` is the busiest one's."""
    whole = Tally()
    for part in parts:
        for name in ("latency", "from_send", "lag", "scored", "fallback", "failed"):
            getattr(whole, name).add(getattr(part, name))
        whole.failures = sorted(whole.failures + part.failures, key=lambda one: one.ended)[:KEPT]
        whole.kinds.update(part.kinds)
        whole.labels.update(part.labels)
        whole.answered += part.answered
        whole.done += part.done
        whole.most_open += part.most_open
        whole.cpu_share = max(whole.cpu_share, part.cpu_share)
    return whole


@dataclass(frozen=True)
class Limits:
    """What a step must keep to be trusted, and what the service must keep to hold a rate."""

    lag_ms: float = 1.0  # p99 of the generator's lag, or a tenth of the latency's if that is more
    p99_ms: float = 50.0  # of the latency
    bad_share: float = 0.01  # fallbacks and failures together
    achieved_share: float = 0.98  # of the offered rate


def result(rate: float, seconds: float, tally: Tally, limits: Limits) -> dict[str, Any]:
    """A step as the report shows it; times in milliseconds, rates a second."""
    due = len(tally.latency)
    offered, achieved = due / seconds, tally.answered / seconds
    found = {
        "rate": rate,
        "seconds": seconds,
        "requests": due,
        "offered_rate": offered,
        "achieved_rate": achieved,
        "scored": tally.kinds["scored"],
        "fallbacks": tally.kinds["fallback"],
        "failed": tally.kinds["failed"],
        "outcomes": dict(tally.labels.most_common()),
        "latency_ms": tally.latency.summary(),
        "latency_from_send_ms": tally.from_send.summary(),
        "scored_ms": tally.scored.summary(),
        "fallback_ms": tally.fallback.summary(),
        "failed_ms": tally.failed.summary(),
        "lag_ms": tally.lag.summary(),
        "most_under_way": tally.most_open,
        "generator_cpu_share": tally.cpu_share,
        "curve": tally.latency.curve(),
    }
    return {**found, "distrust": distrust(found, limits), "overload": overload(found, limits)}


def distrust(found: dict[str, Any], limits: Limits) -> str | None:
    """Why the generator's figures are no measure of the service; None where they are."""
    lag, latency = found["lag_ms"]["p99"], found["latency_ms"]["p99"]
    if lag is None:
        return "no request was due in the counted seconds"
    allowed = max(limits.lag_ms, latency / 10.0)
    if lag <= allowed:
        return None
    full = found["generator_cpu_share"] > FULL
    why = "its core is full, give it more --processes" if full else "others keep the machine busy"
    return f"requests left {lag:.1f} ms late (p99), {allowed:.1f} ms is allowed: {why}"


def overload(found: dict[str, Any], limits: Limits) -> str | None:
    """Why the service does not hold this rate; None where it does."""
    if not (due := found["requests"]):
        return None
    bad = (found["fallbacks"] + found["failed"]) / due
    if bad > limits.bad_share:
        return f"{bad:.1%} of the requests were not scored, {limits.bad_share:.1%} is allowed"
    if found["achieved_rate"] < limits.achieved_share * found["offered_rate"]:
        return f"{found['achieved_rate']:.0f} answers a second for {found['offered_rate']:.0f}"
    p99 = found["latency_ms"]["p99"]
    return None if p99 <= limits.p99_ms else f"p99 is {p99:.1f} ms, {limits.p99_ms:g} is allowed"


def capacity(steps: Sequence[dict[str, Any]]) -> float | None:
    """The highest rate that held, with every lower one; None where the lowest did not."""
    held, _ = _first_fault(steps)
    return held


def verdict(steps: Sequence[dict[str, Any]]) -> str:
    """`capacity` in words, and why it is not more."""
    held, fault = _first_fault(steps)
    said = "" if held is None else f"holds {held:g} a second"
    if fault is None:
        return f"{said}, the highest that was tried"
    why = "cannot be judged" if fault["distrust"] else "is not held"
    return f"{said}{', ' if said else ''}{fault['rate']:g} a second {why}"


def _first_fault(steps: Sequence[dict[str, Any]]) -> tuple[float | None, dict[str, Any] | None]:
    """The last rate before the first that is not held or not to be trusted, and that step."""
    held = None
    for step in sorted(steps, key=lambda one: float(one["rate"])):
        if step["overload"] or step["distrust"]:
            return held, step
        held = float(step["rate"])
    return held, None
