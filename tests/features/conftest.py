"""A small schema with every kind of feature on every side, and a catalogue with random statistics.

Tests recompute from what these fixtures give; nothing here is a copy of the code under test.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.catalogue import Catalogue
from features.derived import Statistics, derived_names
from features.schema import Feature, FeatureSchema

ITEMS = 14
GENRES = ("drama", "comedy", "noir", "war")
TAGS = tuple(f"tag{i}" for i in range(6))

PLAIN = FeatureSchema(
    name="toy",
    user=(
        Feature(name="age", kind="numeric", mean=30, scale=10),
        Feature(name="gender", kind="categorical", vocabulary=("F", "M")),
        Feature(name="likes", kind="bag", vocabulary=GENRES, max_length=2),
    ),
    item=(
        Feature(name="item_id", kind="categorical", vocabulary=tuple(f"i{i}" for i in range(9))),
        Feature(name="genres", kind="bag", vocabulary=GENRES, max_length=3),
        Feature(name="year", kind="numeric", mean=2000, scale=10),
        Feature(name="tags", kind="bag", vocabulary=TAGS, max_length=5),
        Feature(name="price", kind="numeric", transform="log", mean=2, scale=0.5),
        Feature(name="maker", kind="categorical", vocabulary=("a", "b")),
    ),
    context=(
        Feature(name="score", kind="numeric", mean=0.5, scale=0.25),
        Feature(name="slot", kind="categorical", vocabulary=("top", "side")),
        Feature(name="badges", kind="bag", vocabulary=("new", "sale"), max_length=2),
    ),
    max_history=6,
    list_size=4,
)


@pytest.fixture(scope="session")
def schema() -> FeatureSchema:
    """All derived features, each with a mean and scale of its own."""
    derived = tuple(
        Feature(name=name, kind="numeric", mean=0.01 * place, scale=0.5 + 0.01 * place)
        for place, name in enumerate(derived_names(PLAIN))
    )
    return PLAIN.model_copy(update={"derived": derived})


@pytest.fixture(scope="session")
def columns() -> dict[str, list[Any]]:
    """Raw item features of items i0 to i13, of which the schema knows the first nine ids."""
    rng = np.random.default_rng(3)
    return {
        "item_id": [f"i{i}" for i in range(ITEMS)],
        "genres": [
            list(rng.choice([*GENRES, "other"], i % 4, replace=False)) for i in range(ITEMS)
        ],
        "year": [None if i % 5 == 4 else 1990.0 + i for i in range(ITEMS)],
        "tags": [None if i == 2 else list(rng.choice(TAGS, i % 6)) for i in range(ITEMS)],
        "price": [float(3**i) if i % 3 else None for i in range(ITEMS)],
        "maker": ["abc"[i % 3] for i in range(ITEMS)],
    }


@pytest.fixture(scope="session")
def statistics() -> Statistics:
    """Random statistics; about half of all pairs of different items are neighbours."""
    rng = np.random.default_rng(4)
    rows = ITEMS + 1
    neighbours = [
        [c for c in range(1, rows) if h and c != h and rng.random() < 0.5] for h in range(rows)
    ]
    pairs = sum(map(len, neighbours))
    numbers = [rng.random(rows).astype(np.float32) for _ in range(4)]
    return Statistics(
        *numbers,
        bag_base=rng.uniform(0.05, 0.5, len(GENRES) + len(TAGS) + 4).astype(np.float32),
        neighbour_offsets=np.cumsum([0, *map(len, neighbours)]),
        neighbour_rows=np.concatenate([*map(np.array, neighbours)]).astype(np.int32),
        neighbour_clicks=rng.integers(0, 9, pairs).astype(np.float32),
        neighbour_showings=rng.integers(9, 30, pairs).astype(np.float32),
        neighbour_lift=rng.uniform(-0.3, 0.3, pairs).astype(np.float32),
        neighbour_cosine=rng.random(pairs).astype(np.float32),
    )


@pytest.fixture(scope="session")
def catalogue(
    schema: FeatureSchema, columns: dict[str, list[Any]], statistics: Statistics
) -> Catalogue:
    """Items i0 to i13 in rows 1 to 14."""
    titles = [f"The {i}th" for i in range(ITEMS)]
    return Catalogue.build([f"i{i}" for i in range(ITEMS)], columns, schema, statistics, titles)
