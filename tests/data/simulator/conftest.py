"""A world of the default law, its first chunk of lists, and the truth about some of them."""

from __future__ import annotations

import numpy as np
import pytest

from data.simulator.generate import Lists, World, chunk
from data.simulator.law import Law
from data.simulator.truth import Truth


@pytest.fixture(scope="session")
def world() -> World:
    """500 items, seed 3."""
    return World(3, 500)


@pytest.fixture(scope="session")
def lists(world: World) -> Lists:
    """All lists of its first chunk."""
    return chunk(world, 0)


@pytest.fixture(scope="session")
def truth(world: World, lists: Lists) -> Truth:
    """The truth about a few hundred of them."""
    return Truth.of(world, lists.select(slice(0, None, 24)))


class Tools:
    """What several tests make."""

    @staticmethod
    def small(lists: int, slots: int, seed: int = 0) -> Truth:
        """Lists of at most `slots` candidates of few topics, so that what is above matters."""
        random, law = np.random.default_rng(seed), Law()
        topic = random.integers(4, size=(lists, slots))
        own, mood = random.normal(-1, 1, (2, lists, slots)).astype(np.float32)
        lengths = random.integers(2, slots + 1, lists)
        return Truth(
            law, topic, own, mood / 2, law.fatigue_of(random.random(lists, np.float32)),
            np.arange(slots) < lengths[:, None],
        )  # fmt: skip


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    """The makers above."""
    return Tools
