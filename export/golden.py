"""Which lists a bundle is proved by: its golden requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.encode import RawItems, Request

if TYPE_CHECKING:
    from data.dataset import Dataset

GOLDEN_REQUESTS = 8


def golden_requests(data: Dataset) -> list[Request]:
    """Real lists of the validation split, and what is not in it: nobody known, nothing known."""
    indexes = next(lists for lists in (data.splits["valid"], np.arange(len(data))) if len(lists))
    places = np.linspace(0, len(indexes) - 1, min(GOLDEN_REQUESTS, len(indexes))).astype(int)
    real = [data.request(int(indexes[place])) for place in places]
    first = real[0]
    cold = [f"never-seen-{number}" for number in range(3)]
    return [
        *real,
        Request({}, RawItems([]), RawItems(list(first.candidates.ids))),
        Request(first.user, first.history, RawItems([*first.candidates.ids, *cold])),
    ]
