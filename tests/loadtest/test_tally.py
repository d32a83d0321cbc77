"""Verdicts follow from what was counted."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.answers import SCORED, Outcome
from loadtest.tally import Limits, Tally, capacity, result, together, verdict

FALLBACK, FAILED = Outcome("fallback", "fallback deadline"), Outcome("failed", "timeout")


def tally(
    *outcomes: Outcome, lag: float = 0.0, latency: float = 0.01, seconds: float = 1.0
) -> Tally:
    """Evenly spaced requests over the counted seconds; each left `lag` late."""
    found = Tally()
    for number, outcome in enumerate(outcomes):
        due = seconds * number / len(outcomes)
        ended = due + latency
        found.add(outcome, due, due + lag, ended, counted=True, within=ended < seconds)
    return found


def step(*outcomes: Outcome, rate: float = 100.0, **times: float) -> dict[str, Any]:
    return result(rate, 1.0, tally(*outcomes, **times), Limits())


def test_a_step_without_fault_is_held_and_trusted() -> None:
    found = step(*[SCORED] * 100)
    assert (found["overload"], found["distrust"]) == (None, None)
    assert (found["requests"], found["offered_rate"], found["scored"]) == (100, 100.0, 100)
    assert found["achieved_rate"] == 99.0  # the last one ends at 1.000 s
    assert found["latency_ms"]["p99"] == pytest.approx(10, rel=2e-3)


def test_failures_and_fallbacks_are_counted_apart_with_their_time() -> None:
    found = step(*[SCORED] * 90, *[FALLBACK] * 7, *[FAILED] * 3)
    assert (found["scored"], found["fallbacks"], found["failed"]) == (90, 7, 3)
    assert found["outcomes"] == {"scored": 90, "fallback deadline": 7, "timeout": 3}
    assert found["failed_ms"]["p50"] == pytest.approx(10, rel=2e-3)
    assert found["achieved_rate"] == 97.0  # a fallback is an answer, a failure is none
    assert "10.0% of the requests were not scored" in found["overload"]


def test_a_rate_that_is_not_achieved_is_not_held() -> None:
    found = step(*[SCORED] * 100, latency=0.045)
    assert found["achieved_rate"] == 96.0  # the last in time is due at 0.95 s
    assert found["overload"] == "96 answers a second for 100"


def test_a_slow_p99_is_not_held() -> None:
    found = result(100.0, 1.0, tally(*[SCORED] * 100), Limits(p99_ms=5.0))
    assert found["overload"].startswith("p99 is 10.0 ms, 5 is allowed")


def test_a_late_generator_is_not_trusted_whatever_the_service_did() -> None:
    found = step(*[SCORED] * 100, lag=0.004)
    assert found["overload"] is None
    assert found["distrust"] == (
        "requests left 4.0 ms late (p99), 1.0 ms is allowed: others keep the machine busy"
    )
    late = tally(*[SCORED] * 100, lag=0.004)
    late.cpu_share = 0.9
    assert "its core is full" in result(100.0, 1.0, late, Limits())["distrust"]


def test_a_lag_of_less_than_a_tenth_of_the_latency_is_trusted() -> None:
    assert step(*[SCORED] * 100, lag=0.004, latency=0.045)["distrust"] is None


def test_a_step_without_requests_says_nothing() -> None:
    found = result(1.0, 1.0, Tally(), Limits())
    assert found["distrust"] == "no request was due in the counted seconds"
    assert found["overload"] is None


def test_the_warm_up_counts_for_nothing_but_answers_within_the_counted_seconds() -> None:
    found = Tally()
    found.add(SCORED, 0.0, 0.0, 0.5, counted=False, within=False)
    found.add(FAILED, 0.0, 0.0, 1.5, counted=False, within=True)
    found.add(SCORED, 0.9, 0.9, 1.5, counted=False, within=True)
    assert (len(found.latency), found.labels, found.answered, found.done) == (0, {}, 1, 3)


def test_capacity_is_the_last_rate_before_the_first_that_fails() -> None:
    good = [step(*[SCORED] * 100, rate=rate) for rate in (50.0, 200.0, 100.0)]
    late = step(*[SCORED] * 100, rate=150.0, lag=0.1)
    bad = step(*[FAILED] * 100, rate=400.0)
    assert capacity([*good, bad]) == 200.0
    assert capacity([*good, late, bad]) == 100.0
    assert capacity([bad]) is None
    assert verdict(good) == "holds 200 a second, the highest that was tried"
    assert verdict([*good, bad]) == "holds 200 a second, 400 a second is not held"
    assert verdict([*good, late]) == "holds 100 a second, 150 a second cannot be judged"
    assert verdict([bad]) == "400 a second is not held"


def test_processes_add_up() -> None:
    parts = [tally(*[SCORED] * 10), tally(*[FALLBACK] * 5, *[FAILED] * 5)]
    parts[0].cpu_share, parts[1].cpu_share = 0.25, 0.5
    whole = together(parts)
    assert whole.kinds == {"scored": 10, "fallback": 5, "failed": 5}
    assert (len(whole.latency), len(whole.failed), whole.done) == (20, 5, 20)
    assert whole.answered == parts[0].answered + parts[1].answered
    assert whole.cpu_share == 0.5
