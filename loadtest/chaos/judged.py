"""Whether a scene kept its promise, from its figures alone: no service is needed to judge.

`found` is a step's figures, as loadtest.tally.result makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FALLBACKS: Final = 0.02  # of the requests: a service that only sends lists back keeps no promise

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
