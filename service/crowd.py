"""Whether a queue stands, and how many may be inside while it does.

A queue that never empties serves everybody late and nobody more. It shows in the shortest wait of a
tenth of a second (after CoDel, Nichols and Jacobson 2012): a burst leaves some who did not wait. It
stands where even that one took half of the time until the deadline: a few callers who ask again as
soon as they were answered keep a queue too, but a short one.

While one stands, few may be inside, and whoever comes beyond them is sent away at once. Inside is
who was let in and has no answer yet: on a processor that is full, the thread that scores and the
event loop take it from one another, and a wait that is not in the queue turns up in the loop, where
nothing can be refused. With two inside, the loop has read what came before the next job begins. The
room grows by one for each tenth of a second in which few were sent away, shrinks for each in which
many were, and beyond a few nothing stands any more.

What that costs and gains at twice the capacity is in docs/reliability.md, with the command.
"""

from __future__ import annotations

import math
from typing import Final

LOOK_SECONDS: Final = 0.1
_STANDS: Final = 0.5  # of its time until the deadline that everyone waits in a queue that stands
LEAST: Final = 2
_MOST: Final = 8  # inside, or no queue stands
_MANY: Final = 0.2  # of those that came


class Crowd:
    """Not safe by itself: whoever has it holds a lock. Times are perf_counter seconds."""

    def __init__(self) -> None:
        self.room: int | None = None  # None while no queue stands
        self._inside = self._came = self._sent_away = 0
        self._shortest = math.inf  # wait since the last look, as a share of the time there was
        self._look_at = 0.0

    def full(self) -> bool:
        """Whether one who comes now must be sent away."""
        self._came += 1
        full = self.room is not None and self._inside >= self.room
        self._sent_away += full
        return full

    def enter(self) -> None:
        """One was let in."""
        self._inside += 1

    def leave(self) -> None:
        """One of them has its answer, or wants none."""
        self._inside -= 1

    def begins(self, now: float, waited: float) -> None:
        """A job begins that waited for such a share of its time until the deadline."""
        self._shortest = min(self._shortest, waited)
        if now < self._look_at:
            return
        if self.room is not None:
            crowded = self._sent_away > _MANY * self._came
            room = max(LEAST, self.room - 1) if crowded else self.room + 1
            room += int((now - self._look_at) / LOOK_SECONDS)  # looks that a silence left out
            self.room = room if room < _MOST else None
        elif self._shortest > _STANDS:
            self.room = LEAST
        self._came = self._sent_away = 0
        self._shortest, self._look_at = math.inf, now + LOOK_SECONDS
