"""Encoding: padding, inline values, requests against logged lists, and what is counted unknown."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import KINDS, Catalogue, pack_features
from features.derived import Statistics
from features.encode import Encoder, Lists, RawItems, Request, nearest
from features.errors import ValueRefused
from features.schema import Feature, FeatureSchema
from features.values import ABSENT

USER = {"age": 40, "gender": "M", "likes": ["noir", "drama", "war"]}


@pytest.fixture(scope="session")
def encoder(schema: FeatureSchema, catalogue: Catalogue) -> Encoder:
    return Encoder(schema, catalogue)


def lists_of(
    schema: FeatureSchema, history: list[list[int]], candidates: list[list[int]], seed: int = 0
) -> Lists:
    """Lists by catalogue row, with random encoded users and context."""
    rng, count, items = np.random.default_rng(seed), len(history), sum(map(len, candidates))

    def packed(features: tuple[Feature, ...], kind: str, rows: int) -> Any:
        width = sum(feature.width for feature in features if feature.kind == kind)
        if kind == "numeric":
            return rng.normal(size=(rows, width)).astype(np.float32)
        return rng.integers(0, 4, (rows, width)).astype(np.int32)

    return Lists(
        history_rows=np.array([row for one in history for row in one], np.int64),
        history_offsets=np.cumsum([0, *map(len, history)]),
        candidate_rows=np.array([row for one in candidates for row in one], np.int64),
        candidate_offsets=np.cumsum([0, *map(len, candidates)]),
        **{f"user_{kind}": packed(schema.user, kind, count) for kind in KINDS},
        **{f"context_{kind}": packed(schema.context, kind, items) for kind in KINDS},
    )


def only(lists: Lists, index: int) -> Lists:
    """One list of a batch by itself."""
    history = slice(*lists.history_offsets[index : index + 2])
    items = slice(*lists.candidate_offsets[index : index + 2])
    return Lists(
        history_rows=lists.history_rows[history],
        history_offsets=np.array([0, history.stop - history.start]),
        candidate_rows=lists.candidate_rows[items],
        candidate_offsets=np.array([0, items.stop - items.start]),
        **{f"user_{k}": getattr(lists, f"user_{k}")[index : index + 1] for k in KINDS},
        **{f"context_{k}": getattr(lists, f"context_{k}")[items] for k in KINDS},
    )


def assert_equal(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], name)
        assert left[name].dtype == right[name].dtype, name


def assert_fits(schema: FeatureSchema, arrays: dict[str, Any], **sizes: int) -> None:
    """Names, types and axes are those of schema.tensors()."""
    assert arrays.keys() == {spec.name for spec in schema.tensors()}
    for spec in schema.tensors():
        shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in spec.axes)
        assert arrays[spec.name].shape == shape, spec.name
        assert arrays[spec.name].dtype == spec.dtype, spec.name
        assert arrays[spec.name].flags.c_contiguous, spec.name


rows = st.lists(st.integers(0, 14), max_size=6)
some = st.lists(st.tuples(rows, st.lists(st.integers(0, 14), min_size=1, max_size=8)), max_size=4)


@given(some)
def test_a_batch_is_what_the_schema_says_and_padding_is_zero(
    schema: FeatureSchema, encoder: Encoder, batch: list[tuple[list[int], list[int]]]
) -> None:
    history, candidates = [one[0] for one in batch], [one[1] for one in batch]
    arrays = encoder.encode(lists_of(schema, history, candidates))
    longest = {"history": max(map(len, history), default=0),
               "candidates": max(map(len, candidates), default=0)}  # fmt: skip
    assert_fits(schema, arrays, batch=len(batch), **longest)
    for side, ragged in (("history", history), ("candidate", candidates)):
        mask = arrays[f"{side}_mask"]
        assert mask.sum(1).tolist() == [len(one) for one in ragged]
        assert (np.diff(mask.astype(int), axis=1) <= 0).all()  # what is real stands first
        for kind in KINDS:
            assert not arrays[f"{side}_{kind}"][~mask].any()


@given(some)
def test_a_list_alone_has_the_bits_of_its_row_in_a_batch(
    schema: FeatureSchema, encoder: Encoder, batch: list[tuple[list[int], list[int]]]
) -> None:
    lists = lists_of(schema, [one[0] for one in batch], [one[1] for one in batch])
    arrays = encoder.encode(lists)
    for index in range(len(batch)):
        alone = encoder.encode(only(lists, index))
        for name, array in alone.items():
            row = arrays[name][index][tuple(slice(size) for size in array.shape[1:])]
            np.testing.assert_array_equal(array[0], row, name)


def test_columns_are_item_then_context_then_derived(
    schema: FeatureSchema, catalogue: Catalogue, encoder: Encoder
) -> None:
    lists = lists_of(schema, [[1, 2]], [[3, 0, 5]])
    arrays, picked = encoder.encode(lists), [3, 0, 5]
    derived = encoder.derive(lists).astype(np.float64)
    derived -= [feature.mean for feature in schema.derived]
    derived /= [feature.scale for feature in schema.derived]
    np.testing.assert_array_equal(
        arrays["candidate_numeric"][0],
        np.concatenate([catalogue.numeric[picked], lists.context_numeric,
                        np.clip(derived, -10, 10).astype(np.float32)], 1),
    )  # fmt: skip
    np.testing.assert_array_equal(
        arrays["candidate_bag"][0], np.concatenate([catalogue.bag[picked], lists.context_bag], 1)
    )
    np.testing.assert_array_equal(arrays["history_numeric"][0], catalogue.numeric[[1, 2]])
    np.testing.assert_array_equal(arrays["user_bag"], lists.user_bag)


def test_derived_statistics_given_are_used_in_place_of_the_catalogues(
    schema: FeatureSchema, encoder: Encoder
) -> None:
    lists = lists_of(schema, [[1], []], [[3, 4], [5]])
    given_too = dataclasses.replace(lists, derived=encoder.derive(lists))
    assert_equal(encoder.encode(given_too), encoder.encode(lists))
    means = np.array([[f.mean for f in schema.derived]] * 3, np.float32)
    arrays = encoder.encode(dataclasses.replace(lists, derived=means))
    width = len(schema.derived)
    np.testing.assert_allclose(arrays["candidate_numeric"][..., -width:], 0, atol=1e-7)


def test_a_derived_statistic_beyond_the_limit_is_cut(
    schema: FeatureSchema, encoder: Encoder
) -> None:
    raw = np.full((1, len(schema.derived)), 1e9, np.float32)
    lists = dataclasses.replace(lists_of(schema, [[]], [[1]]), derived=raw)
    assert (encoder.encode(lists)["candidate_numeric"][0, 0, -len(schema.derived) :] == 10).all()
    lists = dataclasses.replace(lists, derived=-raw)
    assert (encoder.encode(lists)["candidate_numeric"][0, 0, -len(schema.derived) :] == -10).all()


@pytest.mark.parametrize(
    "sides",
    [
        {"item": (Feature(name="n", kind="numeric"),)},
        {"item": (Feature(name="c", kind="categorical"),)},
        {"item": (Feature(name="b", kind="bag", max_length=2),)},
        {"context": (Feature(name="score", kind="numeric"),)},
        {"derived": (Feature(name="click_rate", kind="numeric"),)},
        {"item": (Feature(name="c", kind="categorical"),),
         "user": (Feature(name="u", kind="categorical"),),
         "derived": (Feature(name="click_rate_rank", kind="numeric"),)},
    ],
)  # fmt: skip
def test_a_schema_with_few_features_has_only_their_arrays(sides: dict[str, Any]) -> None:
    schema = FeatureSchema(name="s", **sides)
    bags = sum(feature.size for feature in schema.item if feature.kind == "bag")
    catalogue = Catalogue.build(["a", "b"], {}, schema, Statistics.empty(3, bags))
    encoder = Encoder(schema, catalogue)
    arrays, _ = encoder.encode_request(Request({}, RawItems(["a"]), RawItems(["b", "x"])))
    assert_fits(schema, arrays, batch=1, history=1, candidates=2)
    arrays = encoder.encode(lists_of(schema, [[1, 2], []], [[1], [2, 0]]))
    assert_fits(schema, arrays, batch=2, history=2, candidates=2)


def test_a_request_is_encoded_as_the_logged_list_is(
    schema: FeatureSchema, catalogue: Catalogue, encoder: Encoder
) -> None:
    context: dict[str, list[Any]] = {
        "score": [0.5, None, 1.0], "slot": ["top", "side", "x"], "badges": [["new"], [], None]
    }  # fmt: skip
    packed = {
        f"{side}_{kind}": pack_features([f for f in features if f.kind == kind], kind, values, n)
        for side, features, values, n in (
            ("user", schema.user, {name: [value] for name, value in USER.items()}, 1),
            ("context", schema.context, context, 3),
        )
        for kind in KINDS
    }
    lists = Lists(
        history_rows=np.array([5, 0, 1]), history_offsets=np.array([0, 3]),
        candidate_rows=np.array([2, 3, 0]), candidate_offsets=np.array([0, 3]), **packed,
    )  # fmt: skip
    request = Request(USER, RawItems(["i4", "new", "i0"]), RawItems(["i1", "i2", "?"], context))
    arrays, counts = encoder.encode_request(request)
    assert_equal(arrays, encoder.encode(lists))
    assert (counts.unknown_items, counts.unknown_features, counts.history_cut) == (2, {}, 0)
    assert_fits(schema, arrays, batch=1, history=3, candidates=3)


def test_nothing_but_candidates_is_needed(schema: FeatureSchema, encoder: Encoder) -> None:
    arrays, _ = encoder.encode_request(Request({}, RawItems([]), RawItems(["i1"])))
    assert_fits(schema, arrays, batch=1, history=0, candidates=1)
    assert arrays["user_numeric"].tolist() == [[0, 1]]
    assert arrays["user_categorical"].tolist() == [[1]]
    arrays, _ = encoder.encode_request(Request({}, RawItems(["i1"]), RawItems([])))
    assert_fits(schema, arrays, batch=1, history=1, candidates=0)


def test_a_history_too_long_keeps_its_newest(encoder: Encoder) -> None:
    ids = [f"i{i}" for i in range(9)]
    years = [1950.0 + i for i in range(9)]
    cut, counts = encoder.encode_request(
        Request({}, RawItems(ids, {"year": years}), RawItems(["i1"]))
    )
    kept, _ = encoder.encode_request(
        Request({}, RawItems(ids[:6], {"year": years[:6]}), RawItems(["i1"]))
    )
    assert counts.history_cut == 3
    assert_equal(cut, kept)


def test_candidates_may_outnumber_those_of_training(
    schema: FeatureSchema, encoder: Encoder
) -> None:
    ids = [f"i{i % 14}" for i in range(schema.max_candidates + 20)]
    arrays, _ = encoder.encode_request(Request({}, RawItems(["i3"]), RawItems(ids)))
    assert arrays["candidate_mask"].sum() == len(ids)


INLINE: dict[str, Any] = {
    "item_id": "i3", "genres": ["war", "noir"], "year": 1999.0, "tags": ["tag1"], "price": 7,
    "maker": "b",
}  # fmt: skip


@pytest.mark.parametrize("side", ["history", "candidates"])
def test_an_item_given_inline_is_the_item_that_the_catalogue_would_hold(
    side: str, schema: FeatureSchema, catalogue: Catalogue, columns: dict[str, list[Any]]
) -> None:
    """Everything but statistics, and of these too what rests on features alone."""
    changed = {name: [*values[:4], INLINE[name], *values[5:]] for name, values in columns.items()}
    other = Catalogue.build(catalogue.ids, changed, schema, catalogue.statistics)
    plain = {"history": ["i0", "i4", "i5"], "candidates": ["i1", "i4", "i2"]}
    inline = {name: [ABSENT, value, ABSENT] for name, value in INLINE.items()}

    def request(**given_inline: Any) -> Request:
        items = {
            which: RawItems(ids, given_inline if which == side else {})
            for which, ids in plain.items()
        }
        other_side = "candidates" if side == "history" else "history"
        items[other_side] = RawItems([i for i in plain[other_side] if i != "i4"])
        return Request({}, **items)

    got, _ = Encoder(schema, catalogue).encode_request(request(**inline))
    expected, _ = Encoder(schema, other).encode_request(request())
    unchanged, _ = Encoder(schema, catalogue).encode_request(request())
    assert_equal(got, expected)
    changed_array = f"{'history' if side == 'history' else 'candidate'}_bag"
    assert (got[changed_array] != unchanged[changed_array]).any()


def test_an_inline_value_that_is_missing_is_missing(encoder: Encoder) -> None:
    columns = {"year": [None, ABSENT], "genres": [None, ABSENT], "maker": [None, ABSENT]}
    arrays, _ = encoder.encode_request(Request({}, RawItems([]), RawItems(["i3", "i3"], columns)))
    assert arrays["candidate_numeric"][0, :, 2].tolist() == [1, 0]
    assert arrays["candidate_bag"][0, 0, :3].tolist() == [0, 0, 0]
    assert arrays["candidate_bag"][0, 1, :3].any()
    assert arrays["candidate_categorical"][0, :, 1].tolist() == [1, 2]


def test_encoding_never_writes_to_the_catalogue(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    frozen = Catalogue(
        catalogue.ids, *(getattr(catalogue, kind).copy() for kind in KINDS), catalogue.statistics
    )
    for kind in KINDS:
        getattr(frozen, kind).flags.writeable = False
    columns = {name: [value] for name, value in INLINE.items()}
    items = RawItems(["i1"], columns)
    arrays, _ = Encoder(schema, frozen).encode_request(Request(USER, items, items))
    for array in arrays.values():
        array[:] = 0  # what a caller does to its arrays stays its own


def test_unknown_features_are_counted_under_names_of_the_schema_or_other(encoder: Encoder) -> None:
    request = Request(
        {"age": 3, "year": 1, "colour": 2, "shape": 1},
        RawItems(["i1"], {"score": [1.0], "mood": [1]}),
        RawItems(["i1", "new"], {"score": [1.0, 2.0], "age": [1, 2], "maker": ["a", ABSENT]}),
    )
    _, counts = encoder.encode_request(request)
    assert counts.unknown_features == {"year": 1, "other": 3, "score": 1, "age": 1}
    assert counts.unknown_items == 1


def test_context_comes_with_the_candidate(encoder: Encoder) -> None:
    columns = {
        "score": [1.0, ABSENT, None],
        "slot": ["side", ABSENT, "new"],
        "badges": [["sale"]] * 3,
    }
    arrays, _ = encoder.encode_request(
        Request({}, RawItems([]), RawItems(["i1", "i2", "i3"], columns))
    )
    assert arrays["candidate_numeric"][0, :, 4:6].tolist() == [[2, 0], [0, 1], [0, 1]]
    assert arrays["candidate_categorical"][0, :, 2].tolist() == [3, 1, 1]
    assert arrays["candidate_bag"][0, :, 8:].tolist() == [[3, 0]] * 3


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (Request({"age": "old"}, RawItems([]), RawItems(["i1"])), "user.features.age"),
        (Request({"likes": ["war", b"x"]}, RawItems([]), RawItems(["i1"])),
         "user.features.likes[1]"),
        (Request({}, RawItems(["i1", "i2"], {"price": [ABSENT, "x"]}), RawItems(["i1"])),
         "history[1].features.price"),
        (Request({}, RawItems([]), RawItems(["i1", "i2"], {"genres": [ABSENT, ["a", {}]]})),
         "candidates[1].features.genres[1]"),
        (Request({}, RawItems([]), RawItems(["i1", "i2"], {"score": [1, []]})),
         "candidates[1].features.score"),
    ],
)  # fmt: skip
def test_a_refused_value_is_named_as_the_caller_wrote_it(
    encoder: Encoder, request_: Request, param: str
) -> None:
    with pytest.raises(ValueRefused) as refused:
        encoder.encode_request(request_)
    assert refused.value.param == param


def test_values_beyond_the_history_kept_are_not_read(encoder: Encoder) -> None:
    ids = ["i1"] * 7
    encoder.encode_request(
        Request({}, RawItems(ids, {"year": [1.0] * 6 + ["x"]}), RawItems(["i1"]))
    )


def test_threads_share_an_encoder(encoder: Encoder) -> None:
    rng = np.random.default_rng(1)
    requests = [
        Request({}, *(RawItems([f"i{i}" for i in rng.permutation(16)[:6]]) for _ in range(2)))
        for _ in range(100)
    ]
    expected = [encoder.encode_request(request)[0] for request in requests]
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(encoder.encode_request, requests), expected, strict=True):
            assert_equal(got[0], want)


def test_the_nearest_name_is_proposed() -> None:
    assert nearest("genre", ["year", "genres"]) == "genres"
    assert nearest("colour", ["year", "genres"]) is None
