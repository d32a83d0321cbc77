"""The simulator: logs by a click law that is written down, so that any order's true value is known.

    psad prepare simulator datasets/simulator --lists 20000 --seed 0

The law and its constants: docs/simulator.md. The truth about a prepared dataset: model/truth.py.
"""

from __future__ import annotations

from data.lists import RawLog
from data.simulator.generate import Lists, World
from data.simulator.tables import (
    ITEMS,
    LISTS_BY_DEFAULT,
    SPEC,
    check_size,
    drawn,
    facts_of,
    impressions,
    items_of,
    users_of,
)


def read(seed: int = 0, *, lists: int = LISTS_BY_DEFAULT, items: int = ITEMS) -> RawLog:
    """Draw a log; the same seed and size give the same one. Raises DataError for a size below 1."""
    check_size(lists, items, seed)
    world = World(seed, items)
    whole = Lists.joined(list(drawn(world, lists)))
    facts = {"simulator": facts_of(world, lists)}
    return RawLog(impressions(whole), items_of(world), users_of(whole), SPEC, facts=facts)
