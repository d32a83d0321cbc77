"""Whether a scene kept its promise, from its figures alone: no service is needed to judge.

`found` is a step's figures, as loadtest.tally.result makes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtest.tally import Failure

FALLBACKS: Final = 0.02  # of the requests: a service that only sends lists back keeps no promise
AFTER: Final = 0.01  # … once an overload is over
REPLACED_SECONDS: Final = 0.2  # of requests may fall back while a killed worker's next one starts
KILLED_SECONDS: Final = 0.5  # a request that was lost in a killed process fails within that time
NOTICED_SECONDS: Final = 0.1  # has a caller to read that its connection ended, on a busy machine

Found = Mapping[str, Any]


def judged(
    found: Found, *, sound: bool = True, timely: bool = True, excused: float = 0.0
) -> bool | None:
    """No request failed, hardly any fell back, and whatever else the scene wants held.

    `sound` is what no clock can excuse, `excused` how many may fall back even where that is more
    than the usual share. None where the generator was too late to say more.
    """
    if found["failed"] or not sound:
        return False
    return None if found["distrust"] else timely and few_fallbacks(found, excused)


def few_fallbacks(found: Found, excused: float = 0.0) -> bool:
    """Whether nearly all requests were scored."""
    return bool(found["fallbacks"] <= max(FALLBACKS * found["requests"], excused))


def overload_kept(found: Found, after: Found, calm_p99: float, calm_rate: float) -> bool | None:
    """Twice the capacity: whether as many as in calm are scored in time, and the rest sent back.

    Both are held to twice the calm p99 (ms); and once it is over nearly all are scored again.
    """
    if found["failed"] or after["failed"]:
        return False
    if found["distrust"] or after["distrust"]:
        return None
    return (
        found["scored"] >= calm_rate * found["seconds"]
        and all(_p99(found, kind) <= 2.0 * calm_p99 for kind in ("scored", "fallback"))
        and after["fallbacks"] <= AFTER * after["requests"]
    )


def _p99(found: Found, kind: str) -> float:
    return float(found[f"{kind}_ms"]["p99"] or 0.0)  # of none there is none


def elsewhere(
    failures: Sequence[Failure], spans: Sequence[tuple[float, float]], most_open: int
) -> list[Failure]:
    """The failures that no kill explains; `spans` are a kill and when the system had cleaned up.

    A kill breaks connections and nothing else, each once, and no more than were ever open.
    """
    room = Counter(dict.fromkeys(range(len(spans)), most_open))
    found = []
    for one in failures:
        at = next((n for n, span in enumerate(spans) if room[n] and _under_way(one, span)), None)
        if at is None or not _connection(one.label):
            found.append(one)
        else:
            room[at] -= 1
    return found


def _connection(label: str) -> bool:
    """Whether a request failed without any answer, and not for being slow."""
    return not label[:1].isdigit() and not label.startswith(("wrong answer", "timeout"))


def _under_way(failure: Failure, span: tuple[float, float]) -> bool:
    """Whether it was under way to a worker between its kill and its end, as its caller saw it."""
    at, gone = span
    left_in_time = failure.left <= gone + NOTICED_SECONDS
    return left_in_time and at <= failure.ended <= gone + KILLED_SECONDS


def uncounted(sent: int, failed: int, counted: int) -> int:
    """Answers, the warm-up's too, that are missing in what the service counted meanwhile."""
    return max(0, sent - failed - counted)
