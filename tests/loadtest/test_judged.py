"""Each promise of `make chaos` can be broken: figures made by hand, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.chaos.judged import elsewhere, judged, overload_kept, uncounted
from loadtest.tally import Failure


def step(**other: Any) -> dict[str, Any]:
    """A thousand requests that all went well, but for what is named."""
    return {"requests": 1_000, "fallbacks": 0, "failed": 0, "distrust": None, **other}


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (step(), True),
        (step(fallbacks=20), True),
        (step(fallbacks=21), False),
        (step(fallbacks=1_000), False),
        (step(failed=1), False),
    ],
)
def test_a_request_that_fails_breaks_a_promise_and_so_do_many_that_fall_back(
    found: dict[str, Any], kept: bool
) -> None:
    assert judged(found) is kept


def test_as_many_as_come_while_a_worker_is_replaced_may_fall_back() -> None:
    assert judged(step(fallbacks=80), excused=80.0) is True
    assert judged(step(fallbacks=81), excused=80.0) is False
    assert judged(step(fallbacks=20), excused=8.0) is True


def test_what_a_late_generator_saw_is_not_judged_but_failures_are() -> None:
    late = step(distrust="requests left 900.0 ms late (p99)")
    assert judged(late) is None
    assert judged(late, timely=False) is None
    assert judged({**late, "fallbacks": 1_000}) is None
    assert judged({**late, "failed": 1}) is False
    assert judged(late, sound=False) is False
    assert judged(step(), timely=False) is False
    assert judged(step(), sound=False) is False


def crowded(scored: int, scored_p99: float | None, fallback_p99: float | None) -> dict[str, Any]:
    """Ten seconds at 400 a second, where 200 is half of what is held and its p99 10 ms."""
    return step(
        requests=4_000, seconds=10.0, scored=scored, fallbacks=4_000 - scored,
        scored_ms={"p99": scored_p99}, fallback_ms={"p99": fallback_p99},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (crowded(2_000, 20.0, 20.0), True),
        (crowded(4_000, 20.0, None), True),
        (crowded(1_999, 20.0, 20.0), False),  # fewer than in calm
        (crowded(0, None, 1.0), False),
        (crowded(2_000, 20.1, 5.0), False),
        (crowded(2_000, 20.0, 20.1), False),  # who is sent away waits too long to hear it
        ({**crowded(2_000, 20.0, 5.0), "failed": 1}, False),
        ({**crowded(2_000, 20.0, 5.0), "distrust": "late"}, None),
        ({**crowded(1, 20.0, 9_500.0), "distrust": "late"}, None),
    ],
)
def test_in_an_overload_as_many_as_in_calm_are_scored_and_nobody_waits_long(
    found: dict[str, Any], kept: bool | None
) -> None:
    assert overload_kept(found, step(), 10.0, 200.0) is kept


def test_an_overload_must_be_over_when_the_load_is() -> None:
    found = crowded(3_000, 15.0, 5.0)
    assert overload_kept(found, step(fallbacks=10), 10.0, 200.0) is True
    assert overload_kept(found, step(fallbacks=11), 10.0, 200.0) is False
    assert overload_kept(found, step(failed=1), 10.0, 200.0) is False
    assert overload_kept(found, step(distrust="late"), 10.0, 200.0) is None


SPANS = [(10.0, 10.02)]
BROKEN = "ServerDisconnectedError"


def test_a_failure_is_the_killed_workers_only_where_it_was_under_way_then() -> None:
    def excused(left: float, ended: float) -> bool:
        return not elsewhere([Failure(BROKEN, left, ended)], SPANS, 1)

    assert excused(9.99, 10.01)
    assert excused(10.01, 10.3)  # on a connection that the system had not closed yet
    assert excused(10.05, 10.1)  # the caller had not read yet that it had
    assert not excused(10.13, 10.2)
    assert not excused(9.0, 9.9)
    assert not excused(9.99, 10.6)


@pytest.mark.parametrize(
    "label", ["500 internal", "503", "429 overload", "wrong answer: no results", "timeout"]
)
def test_a_kill_breaks_connections_and_explains_no_other_failure(label: str) -> None:
    other, broken = Failure(label, 9.99, 10.01), Failure(BROKEN, 9.99, 10.01)
    assert elsewhere([other, broken], SPANS, 9) == [other]


def test_a_kill_breaks_no_more_connections_than_were_open() -> None:
    two_kills = [*SPANS, (20.0, 20.02)]
    failures = [Failure(BROKEN, 9.99, 10.01)] * 4 + [Failure("ClientOSError", 19.99, 20.01)]
    assert len(elsewhere(failures, two_kills, 3)) == 1
    assert not elsewhere(failures, two_kills, 4)


def test_a_count_that_went_with_a_worker_is_missed() -> None:
    assert uncounted(sent=1_300, failed=10, counted=1_290) == 0
    assert uncounted(sent=1_300, failed=10, counted=1_295) == 0  # a failed one may be counted
    assert uncounted(sent=1_300, failed=10, counted=1_289) == 1
