"""Whether a scene kept its promise, from its figures alone: no service is needed to judge.

`found` is a step's figures, as loadtest.tally.result makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FALLBACKS: Final = 0.02  # of the requests: a service that only sends lists back keeps no promise
AFTER: Final = 0.01  # … once an overload is over

Found = Mapping[str, Any]


def judged(found: Found, *, sound: bool = True, timely: bool = True) -> bool | None:
    """No request failed, hardly any fell back, and whatever else the scene wants held.

    `sound` is what no clock can excuse. None where the generator was too late to say more.
    """
    if found["failed"] or not sound:
        return False
    return None if found["distrust"] else timely and few_fallbacks(found)


def few_fallbacks(found: Found) -> bool:
    """Whether nearly all requests were scored."""
    return bool(found["fallbacks"] <= FALLBACKS * found["requests"])


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
