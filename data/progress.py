"""Progress bars: a name for the phase, a total that is known, nothing where nobody looks.

A bar is silent where stderr is no terminal, and where there is so little to do that it would only
flash.
"""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

FEW = 200_000  # rows that take no time worth a bar
SCALED = 10_000  # steps that are shown as 10.0k
SMALL = 10_000_000  # bytes, likewise


def bar(what: str, total: int, unit: str, *, rows: int = 0, size: int = 0) -> tqdm[Any]:
    """A bar of `total` steps, for a log of so many rows or bytes."""
    hidden = (
        True if rows <= FEW and size <= SMALL else None
    )  # None: tqdm looks whether stderr is a terminal
    return tqdm(total=total, unit=unit, desc=what, unit_scale=total >= SCALED, disable=hidden)
