"""How long one request takes to encode: 50 items of history, 30 candidates, 2,000 items known.

    OMP_NUM_THREADS=1 python -m benchmarks.encode

Prints, for a schema of 24 features and for one with all 48 derived ones, the median over 2,000
requests (the best of five rounds, since other work on the machine only ever adds time) and its
ratio to what a plain numpy gather of the same rows takes in the same round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from features.catalogue import KINDS, Catalogue
from features.derived import Statistics, derived_names
from features.encode import Encoder, RawItems, Request
from features.schema import Feature, FeatureSchema

ITEMS, HISTORY, CANDIDATES = 2_000, 50, 30
REQUESTS, ROUNDS = 2_000, 5
GENRES, TAGS, MAKERS = 20, 3_000, 500


def schema_of(derived: int | None) -> FeatureSchema:
    """Ten item features, and the given number of derived ones, evenly spread, or all of them."""
    schema = FeatureSchema(
        name="benchmark",
        item=(
            Feature(name="item_id", kind="categorical", vocabulary=_names(ITEMS)),
            Feature(name="maker", kind="categorical", vocabulary=_names(MAKERS)),
            Feature(name="genres", kind="bag", vocabulary=_names(GENRES), max_length=5),
            Feature(name="tags", kind="bag", vocabulary=_names(TAGS), max_length=10),
            *(Feature(name=f"number{i}", kind="numeric") for i in range(6)),
        ),
    )
    names = derived_names(schema)
    chosen = np.linspace(0, len(names) - 1, derived or len(names)).round().astype(int)
    features = tuple(Feature(name=names[i], kind="numeric") for i in chosen)
    return schema.model_copy(update={"derived": features})


def _names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def catalogue_of(schema: FeatureSchema, rng: np.random.Generator) -> Catalogue:
    """Random items; each has 20 to 199 neighbours."""
    neighbours = np.concatenate([[0], rng.integers(20, 200, ITEMS)])
    pairs = int(neighbours.sum())

    def shares(count: int) -> np.ndarray:
        return rng.random(count).astype(np.float32)

    known = Statistics(
        *(shares(ITEMS + 1) for _ in range(4)),
        bag_base=np.full(GENRES + TAGS + 4, 0.01, np.float32),
        neighbour_offsets=np.cumsum([0, *neighbours]),
        neighbour_rows=rng.integers(1, ITEMS + 1, pairs).astype(np.int32),
        neighbour_clicks=shares(pairs),
        neighbour_showings=shares(pairs),
        neighbour_lift=shares(pairs),
        neighbour_cosine=shares(pairs),
    )
    columns = {
        "item_id": list(range(ITEMS)),
        "maker": rng.integers(0, MAKERS + 100, ITEMS).tolist(),
        "genres": rng.integers(0, GENRES, (ITEMS, 3)).tolist(),
        "tags": rng.integers(0, TAGS, (ITEMS, 8)).tolist(),
        **{f"number{i}": rng.normal(size=ITEMS).tolist() for i in range(6)},
    }
    return Catalogue.build(_names(ITEMS), columns, schema, known)


def median_ms(call: Callable[[], object]) -> float:
    """Median time of one call in milliseconds."""
    times = []
    for _ in range(REQUESTS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure(derived: int | None) -> None:
    """Print one line."""
    rng = np.random.default_rng(0)
    schema = schema_of(derived)
    catalogue = catalogue_of(schema, rng)
    history = list(map(str, rng.integers(0, ITEMS, HISTORY)))
    candidates = list(map(str, rng.permutation(ITEMS)[:CANDIDATES]))
    encoder, request = (
        Encoder(schema, catalogue),
        Request({}, RawItems(history), RawItems(candidates)),
    )
    arrays = [getattr(catalogue, kind) for kind in KINDS]
    rows = [catalogue.rows(history), catalogue.rows(candidates)]
    rounds = [
        (
            median_ms(lambda: encoder.encode_request(request)),
            median_ms(lambda: [array[side] for side in rows for array in arrays]),
        )
        for _ in range(ROUNDS)
    ]
    best, gather = min(rounds)
    print(
        f"{len(schema.item):>3} item + {len(schema.derived):>2} derived features: "
        f"p50 {best:.3f} ms, {best / gather:.0f} times a plain gather ({gather:.4f} ms)"
    )


if __name__ == "__main__":
    for count in (14, None):
        measure(count)
