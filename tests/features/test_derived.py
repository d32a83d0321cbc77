"""Every derived feature recomputed in plain Python, and what must hold for any list."""

from __future__ import annotations

import dataclasses
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from features.catalogue import Catalogue
from features.derived import (
    BAG_SMOOTHING,
    NEIGHBOUR_SMOOTHING,
    Derivation,
    Items,
    Statistics,
    derived_names,
    in_list_ranks,
)
from features.errors import SchemaError
from features.schema import Feature, FeatureSchema

SLOTS = {"genres": (slice(0, 3), 0), "tags": (slice(3, 8), 6)}  # columns, first of its bag_base
NUMBERS = {"year": 0, "price": 1}  # columns; their missing flags stand two further


def gathered(catalogue: Catalogue, rows: Any) -> Items:
    rows = np.asarray(rows, np.int64)
    return Items(rows, catalogue.bag[rows], catalogue.numeric[rows])


def computed(
    schema: FeatureSchema, catalogue: Catalogue, history: Any, candidates: Any
) -> dict[str, Any]:
    """The derived features of one list by name, each (M,)."""
    derivation = Derivation(schema, catalogue.statistics)
    table = derivation.compute(gathered(catalogue, history), gathered(catalogue, candidates))
    assert table.shape == (len(candidates), len(schema.derived))
    assert table.dtype == np.float32
    return {f.name: table[:, place] for place, f in enumerate(schema.derived)}


def pairs(statistics: Statistics, history: list[int], candidate: int) -> list[dict[str, float]]:
    """What the tables say of (h, candidate) for each h of the history that they pair with it."""
    found = []
    for h in history:
        for place in range(*statistics.neighbour_offsets[h : h + 2]):
            if statistics.neighbour_rows[place] == candidate:
                names = ("clicks", "showings", "lift", "cosine")
                values = (getattr(statistics, f"neighbour_{name}")[place] for name in names)
                found.append(dict(zip(names, map(float, values), strict=True)))
    return found


def held(catalogue: Catalogue, bag: str, row: int) -> set[int]:
    return {int(value) for value in catalogue.bag[row, SLOTS[bag][0]] if value > 1}


def by_hand(catalogue: Catalogue, history: list[int], candidate: int) -> dict[str, float]:
    """The features of one candidate, but for place and ranks, as their definitions read."""
    known, n = catalogue.statistics, len(history)
    rate = float(known.click_rate[candidate])
    found = pairs(known, history, candidate)
    clicks, showings = (sum(pair[name] for pair in found) for name in ("clicks", "showings"))
    features = {
        "exposure": float(known.exposure[candidate]),
        "click_rate": rate,
        "neighbour_rate": (clicks + NEIGHBOUR_SMOOTHING * rate) / (showings + NEIGHBOUR_SMOOTHING),
        "neighbour_lift_mean": sum(pair["lift"] for pair in found) / max(n, 1),
        "neighbour_lift_max": max([0.0, *(pair["lift"] for pair in found)]),
        "cosine_mean": sum(pair["cosine"] for pair in found) / max(n, 1),
        "cosine_max": max([0.0, *(pair["cosine"] for pair in found)]),
        "in_history": float(candidate != 0 and candidate in history),
        "history_length": math.log1p(n),
    }
    for bag, (_, first) in SLOTS.items():
        own = held(catalogue, bag, candidate)
        theirs = [held(catalogue, bag, h) for h in history]
        size = max(len(own), 1)
        base = {value: float(known.bag_base[first + value]) for value in own}
        count = {value: sum(value in bag for bag in theirs) for value in own}
        smoothed = {v: (count[v] + BAG_SMOOTHING * base[v]) / (n + BAG_SMOOTHING) for v in own}
        cosines = [len(own & bag) / math.sqrt(size * max(len(bag), 1)) for bag in theirs]
        features |= {
            f"{bag}_affinity": sum(count.values()) / size / max(n, 1),
            f"{bag}_cosine": sum(cosines) / max(n, 1),
            f"{bag}_lift": sum(math.log(smoothed[v] / base[v]) for v in own) / size if n else 0.0,
        }
    for number, column in NUMBERS.items():
        values, missing = catalogue.numeric[:, column], catalogue.numeric[:, column + 2]
        of_history = [float(values[h]) for h in history if not missing[h]]
        both = of_history and not missing[candidate]
        mean = sum(of_history) / max(len(of_history), 1)
        features[f"{number}_minus_history"] = float(values[candidate]) - mean if both else 0.0
    return features


rows = st.integers(0, 14)
lists = st.tuples(st.lists(rows, max_size=9), st.lists(rows, min_size=1, max_size=14, unique=True))


@given(lists)
def test_every_feature_is_what_its_definition_says(
    schema: FeatureSchema, catalogue: Catalogue, one: tuple[list[int], list[int]]
) -> None:
    history, candidates = one
    got = computed(schema, catalogue, history, candidates)
    for place, candidate in enumerate(candidates):
        expected = by_hand(catalogue, history, candidate)
        expected["list_length"] = math.log1p(len(candidates))
        expected["incoming_position"] = 1 / math.log2(place + 2)
        assert expected.keys() == {name for name in got if not name.endswith("_rank")}
        for name, value in expected.items():
            assert got[name][place] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@given(lists)
def test_every_rank_is_the_share_of_the_others_below(
    schema: FeatureSchema, catalogue: Catalogue, one: tuple[list[int], list[int]]
) -> None:
    history, candidates = one
    got = computed(schema, catalogue, history, candidates)
    numbers = {name: catalogue.numeric[candidates, column] for name, column in NUMBERS.items()}
    ranked = [name.removesuffix("_rank") for name in got if name.endswith("_rank")]
    assert len(ranked) == 2 + 5 + 3 * 2 + 2 + 2
    for name in ranked:
        values = got[name] if name in got else numbers[name]
        others = max(len(candidates) - 1, 1)
        expected = (rankdata(values) - 1) / others if len(values) > 1 else [0.5]
        np.testing.assert_array_equal(got[f"{name}_rank"], np.float32(expected), name)


def test_a_pair_in_the_tables_moves_the_candidate_and_no_other(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    known = catalogue.statistics
    history, candidate = 3, int(known.neighbour_rows[known.neighbour_offsets[3]])
    stranger = next(c for c in range(1, 15) if c != 3 and not pairs(known, [3], c))
    got = computed(schema, catalogue, [history], [candidate, stranger])
    place = known.neighbour_offsets[3]
    assert got["cosine_max"].tolist() == [known.neighbour_cosine[place], 0]
    assert got["neighbour_rate"][1] == got["click_rate"][1]
    assert got["neighbour_rate"][0] != got["click_rate"][0]


def test_without_history_a_neighbour_rate_is_the_click_rate_and_the_rest_is_zero(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    got = computed(schema, catalogue, [], [1, 2, 0])
    np.testing.assert_array_equal(got["neighbour_rate"], got["click_rate"])
    related = [n for n in got if n.endswith(("_mean", "_max", "_affinity", "_cosine", "_lift"))]
    for name in [*related, "year_minus_history", "in_history", "history_length"]:
        assert not got[name].any(), name


def test_a_history_of_unknown_items_says_no_more_than_its_length(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    got = computed(schema, catalogue, [0, 0], [1, 2, 3, 0])
    np.testing.assert_array_equal(got["neighbour_rate"], got["click_rate"])
    assert not got["in_history"].any()
    assert not got["genres_cosine"].any()
    assert got["history_length"][0] == np.float32(math.log(3))


def test_an_item_listed_twice_has_the_same_features_twice(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    got = computed(schema, catalogue, [1, 2, 3], [5, 6, 5, 7])
    once = computed(schema, catalogue, [1, 2, 3], [5, 6, 7])
    for name in ("neighbour_rate", "cosine_mean", "cosine_max", "neighbour_lift_mean", "tags_lift"):
        np.testing.assert_array_equal(got[name][[0, 1, 3]], once[name])
        assert got[name][0] == got[name][2]


def test_two_unknown_values_do_not_match(schema: FeatureSchema, catalogue: Catalogue) -> None:
    bag = np.array([[1, 0, 0, 1, 0, 0, 0, 0]], np.int32)  # one unknown genre, one unknown tag
    item = Items(np.zeros(1, np.int64), bag, catalogue.numeric[:1])
    table = Derivation(schema, catalogue.statistics).compute(item, item)
    names = [f.name for f in schema.derived]
    for bag_name in SLOTS:
        for how in ("affinity", "cosine", "lift"):
            assert table[0, names.index(f"{bag_name}_{how}")] == 0


bags = arrays(np.int32, st.tuples(st.integers(0, 5), st.just(8)), elements=st.integers(0, 5))


@given(bags, bags, st.data())
def test_features_are_finite_for_any_items(
    schema: FeatureSchema, catalogue: Catalogue, theirs: Any, own: Any, data: st.DataObject
) -> None:
    items = []
    for bag in (theirs, own):
        row = data.draw(arrays(np.int64, len(bag), elements=st.integers(0, 14)))
        value = data.draw(arrays(np.float32, (len(bag), 2), elements=st.floats(-10, 10, width=32)))
        flag = data.draw(arrays(np.float32, (len(bag), 2), elements=st.sampled_from([0.0, 1.0])))
        items.append(Items(row, bag, np.concatenate([value * (1 - flag), flag], 1)))
    table = Derivation(schema, catalogue.statistics).compute(*items)
    assert table.shape == (len(own), len(schema.derived))
    assert np.isfinite(table).all()


def test_features_are_finite_where_nothing_was_ever_shown(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    blank = dataclasses.replace(
        Statistics.empty(15, bag_values=14), neighbour_offsets=np.zeros(16, np.int64)
    )
    items = gathered(catalogue, range(15))
    assert np.isfinite(Derivation(schema, blank).compute(items, items)).all()


@given(st.data())
def test_a_selection_of_features_has_the_same_bits_as_all_of_them(
    schema: FeatureSchema, catalogue: Catalogue, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(schema.derived), unique=True, min_size=1))
    fewer = schema.model_copy(update={"derived": tuple(chosen)})
    every = computed(schema, catalogue, [1, 5, 3], [2, 3, 4, 9])
    for name, values in computed(fewer, catalogue, [1, 5, 3], [2, 3, 4, 9]).items():
        np.testing.assert_array_equal(values, every[name])


def test_a_list_computed_meanwhile_in_another_thread_changes_nothing(
    schema: FeatureSchema, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    derivation = Derivation(schema, catalogue.statistics)
    here, own, meanwhile = threading.get_ident(), derivation._positions, []

    def compute(history: list[int], candidates: list[int]) -> Any:
        return derivation.compute(*(gathered(catalogue, side) for side in (history, candidates)))

    class Interrupted(np.ndarray[Any, Any]):
        """Scratch in the middle of whose use another thread computes a whole list."""

        def take(self, *arguments: Any) -> Any:
            with ThreadPoolExecutor(1) as pool:
                meanwhile.append(pool.submit(compute, [1, 2, 3], [9, 8, 7, 6, 5]).result())
            return np.asarray(self).take(*arguments)

    expected = compute([1, 2, 3], [4, 5, 6, 7]), compute([1, 2, 3], [9, 8, 7, 6, 5])
    monkeypatch.setattr(
        derivation,
        "_positions",
        lambda: own().view(Interrupted) if threading.get_ident() == here else own(),
    )
    np.testing.assert_array_equal(compute([1, 2, 3], [4, 5, 6, 7]), expected[0])
    assert meanwhile
    np.testing.assert_array_equal(meanwhile[0], expected[1])


def test_a_failed_list_leaves_no_trace_in_the_next(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    known = catalogue.statistics
    broken = known.neighbour_rows.copy()
    broken[known.neighbour_offsets[14]] = 99  # a row that no catalogue has
    derivation = Derivation(schema, dataclasses.replace(known, neighbour_rows=broken))
    one = gathered(catalogue, [1, 2]), gathered(catalogue, [3, 4])
    before = derivation.compute(*one)
    with pytest.raises(IndexError):
        derivation.compute(gathered(catalogue, [14]), gathered(catalogue, range(1, 15)))
    np.testing.assert_array_equal(derivation.compute(*one), before)


def test_a_feature_this_version_cannot_compute_is_named(
    schema: FeatureSchema, statistics: Statistics
) -> None:
    ahead = schema.model_copy(update={"derived": (Feature(name="mood", kind="numeric"),)})
    with pytest.raises(SchemaError, match=r"cannot compute: \['mood'\]"):
        Derivation(ahead, statistics)


def test_statistics_of_other_bags_are_refused(
    schema: FeatureSchema, statistics: Statistics
) -> None:
    with pytest.raises(SchemaError, match="know 13 bag values, the schema 14"):
        Derivation(schema, dataclasses.replace(statistics, bag_base=statistics.bag_base[1:]))


def test_a_number_named_like_a_statistic_has_no_second_rank() -> None:
    item = (Feature(name="exposure", kind="numeric"), Feature(name="size", kind="numeric"))
    schema = FeatureSchema(name="s", item=item)
    names = derived_names(schema)
    assert len(set(names)) == len(names)
    schema = schema.model_copy(
        update={"derived": tuple(Feature(name=name, kind="numeric") for name in names)}
    )
    known = dataclasses.replace(Statistics.empty(4), exposure=np.float32([0, 3, 2, 1]))
    numbers = {"exposure": [1.0, 2.0, 3.0], "size": [5.0, 9.0, 7.0]}
    catalogue = Catalogue.build(["a", "b", "c"], numbers, schema, known)
    got = computed(schema, catalogue, [], [1, 2, 3])
    assert got["exposure_rank"].tolist() == [1, 0.5, 0]
    assert got["size_rank"].tolist() == [0, 1, 0.5]


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(0, 80), st.integers(0, 4)),
        elements=st.sampled_from([-2.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 1.5, 3e38]),
    )
)
def test_ranks_in_a_list_equal_scipys_bit_for_bit(values: Any) -> None:
    count = len(values)
    got = in_list_ranks(values)
    assert got.shape == values.shape
    assert got.dtype == np.float32
    if count < 2:
        assert (got == 0.5).all()
    else:
        expected = (rankdata(values, axis=0) - 1) / (count - 1) if values.size else values
        np.testing.assert_array_equal(got, np.float32(expected))


@pytest.mark.parametrize("count", [2, 63, 64, 65, 300])
def test_ranks_of_a_long_list_count_the_others_below(count: int) -> None:
    values = np.random.default_rng(count).integers(0, count // 2 + 1, count).astype(np.float32)
    below = [sum(v < own for v in values) for own in values]
    ties = [sum(v == own for v in values) - 1 for own in values]
    expected = [(b + t / 2) / (count - 1) for b, t in zip(below, ties, strict=True)]
    np.testing.assert_array_equal(in_list_ranks(values[:, None])[:, 0], np.float32(expected))


def test_statistics_are_plain_arrays(statistics: Statistics) -> None:
    mapped = dataclasses.replace(statistics, clicks=statistics.clicks.view(np.memmap))
    assert type(mapped.clicks) is np.ndarray
