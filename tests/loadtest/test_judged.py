"""Each promise of `make chaos` can be broken: figures made by hand, and what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.chaos.judged import judged


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


def test_what_a_late_generator_saw_is_not_judged_but_failures_are() -> None:
    late = step(distrust="requests left 900.0 ms late (p99)")
    assert judged(late) is None
    assert judged(late, timely=False) is None
    assert judged({**late, "fallbacks": 1_000}) is None
    assert judged({**late, "failed": 1}) is False
    assert judged(late, sound=False) is False
    assert judged(step(), timely=False) is False
    assert judged(step(), sound=False) is False
