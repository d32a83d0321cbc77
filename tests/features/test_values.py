"""Text forms, encoded columns, and what is refused."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ValueRefused
from features.schema import PADDING, UNKNOWN, Feature
from features.values import LARGEST, encode_column, number_of, standardise, text_of

MAKER = Feature(name="maker", kind="categorical", vocabulary=("a", "24", "true", "0.5", ""))
GENRES = Feature(name="genres", kind="bag", vocabulary=("a", "b", "24", "true"), max_length=3)
PRICE = Feature(name="price", kind="numeric", mean=2.0, scale=4.0)
KINDS = (MAKER, GENRES, PRICE)

NEITHER_TEXT_NOR_NUMBER: list[Any] = [
    b"a", bytearray(b"a"), 1j, {}, {"a": 1}, [], ["a"], ("a",), {"a"}, object(), date(2020, 1, 1),
    math.inf, -math.inf, np.float32("inf"), 10**101, -(10**101), 10**5000, 1e200, np.array("a"),
]  # fmt: skip
NO_NUMBER: list[Any] = [
    "1", "", b"1", 1j, {}, [], [1.0], (1,), {1}, object(), date(2020, 1, 1),
    math.inf, -math.inf, np.float16("inf"), 10**31, -(10**31), 10**5000, 1.1e30, np.array([1.0]),
]  # fmt: skip
NO_LIST: list[Any] = [
    "a", b"a", 1, 1.5, True, {}, {"a": 1}, {"a"}, frozenset("a"), object(), math.inf,
    np.array("a"), iter(["a"]), range(2),
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"), ("", ""), (" A ", " A "), ("24.0", "24.0"), (np.str_("a"), "a"),
        (24, "24"), (24.0, "24"), (np.int8(24), "24"), (np.float32(24), "24"), (-0.0, "0"),
        (-3, "-3"), (1e22, "10000000000000000000000"), (0.5, "0.5"), (np.float32(0.5), "0.5"),
        (True, "true"), (False, "false"), (np.True_, "true"), (10**100, "1" + "0" * 100),
        (None, None), (math.nan, None), (np.float32("nan"), None),
    ],
)  # fmt: skip
def test_the_text_form_of_a_value_does_not_depend_on_its_type(
    value: object, text: str | None
) -> None:
    assert text_of(value) == text


@given(st.integers(-(10**100), 10**100))
def test_whole_numbers_survive_their_text_form(number: int) -> None:
    assert int(text_of(number) or "") == number


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e99, max_value=1e99))
def test_numbers_survive_their_text_form(number: float) -> None:
    assert float(text_of(number) or "") == number


@given(st.lists(st.text(), unique=True, max_size=8), st.lists(st.text(), max_size=4))
def test_known_text_finds_its_place_and_unknown_text_the_unknown_one(
    vocabulary: list[str], others: list[str]
) -> None:
    feature = Feature(name="f", kind="categorical", vocabulary=tuple(vocabulary))
    unknown = [text for text in others if text not in vocabulary]
    encoded = encode_column(feature, [*vocabulary, *unknown, None])
    assert encoded.tolist() == [*range(2, feature.size), *[UNKNOWN] * (len(unknown) + 1)]
    assert encoded.dtype == np.int32


def test_a_categorical_column_may_mix_types() -> None:
    values = ["a", 24, 24.0, True, 0.5, "", None, math.nan, "missing", np.int64(24)]
    assert encode_column(MAKER, values).tolist() == [2, 3, 3, 4, 5, 6, 1, 1, 1, 3]


def test_a_bag_is_padded_stripped_of_repeats_and_cut() -> None:
    values: list[Any] = [
        ["b"], ["a", "a", "b"], ["x", "y", "a"], ["b", 24, True, "a"], [], None, math.nan,
        np.float32("nan"), [None, "a", math.nan], np.array(["b", "a"]), ("a",),
    ]  # fmt: skip
    expected = [
        [3, 0, 0], [2, 3, 0], [1, 2, 0], [3, 4, 5], [0, 0, 0], [0, 0, 0], [0, 0, 0],
        [0, 0, 0], [2, 0, 0], [3, 2, 0], [2, 0, 0],
    ]  # fmt: skip
    encoded = encode_column(GENRES, values)
    assert encoded.tolist() == expected
    assert encoded.dtype == np.int32
    assert PADDING == 0


def test_a_number_is_standardised_and_a_missing_one_is_zero_with_a_flag() -> None:
    values = [2, 6.0, True, np.float32(-2), None, math.nan]
    encoded = encode_column(PRICE, values)
    assert encoded.tolist() == [[0, 0], [1, 0], [-0.25, 0], [-1, 0], [0, 1], [0, 1]]
    assert encoded.dtype == np.float32


def test_the_log_transform_keeps_the_sign() -> None:
    feature = Feature(name="f", kind="numeric", transform="log", mean=1.0, scale=2.0)
    got = standardise(feature, np.array([-5.0, 0.0, 5.0]))
    np.testing.assert_allclose(got, [(-math.log(6) - 1) / 2, -0.5, (math.log(6) - 1) / 2])


@given(
    st.floats(-LARGEST, LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(min_value=5e-324, allow_infinity=False),
    st.sampled_from(["identity", "log"]),
)
def test_no_number_within_range_is_encoded_beyond_the_limit(
    number: float, mean: float, scale: float, transform: Any
) -> None:
    feature = Feature(name="f", kind="numeric", mean=mean, scale=scale, transform=transform)
    encoded = encode_column(feature, [number])
    assert np.abs(encoded[0, 0]) <= 10
    assert encoded[0, 1] == 0


@pytest.mark.parametrize("value", NEITHER_TEXT_NOR_NUMBER, ids=lambda value: type(value).__name__)
def test_a_category_that_is_neither_text_nor_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueRefused) as refused:
        encode_column(MAKER, ["a", 1, value])
    assert refused.value.param == "values[2]"
    assert str(refused.value) == f"values[2]: {refused.value.message}"


@pytest.mark.parametrize("value", NEITHER_TEXT_NOR_NUMBER, ids=lambda value: type(value).__name__)
def test_a_refused_bag_value_is_named_by_its_place_in_the_bag(value: object) -> None:
    with pytest.raises(ValueRefused) as refused:
        encode_column(GENRES, [["a"], ["b", None, value]], "items[{}].genres".format)
    assert refused.value.param == "items[1].genres[2]"


@pytest.mark.parametrize("value", NO_LIST, ids=lambda value: type(value).__name__)
def test_a_bag_that_is_no_list_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueRefused, match=r"^values\[1\]: expected a list of values, found"):
        encode_column(GENRES, [["a"], value])


@pytest.mark.parametrize("value", NO_NUMBER, ids=lambda value: type(value).__name__)
def test_a_number_that_is_none_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueRefused) as refused:
        encode_column(PRICE, [1.0, None, value])
    assert refused.value.param == "values[2]"


def test_refusals_do_not_repeat_the_value() -> None:
    with pytest.raises(ValueRefused) as refused:
        number_of("secret" * 1000, "user.age")
    assert str(refused.value) == "user.age: expected a number, found text"


@given(st.lists(JSON, max_size=4), st.sampled_from(KINDS))
def test_any_json_is_encoded_within_bounds_or_refused(values: list[Any], feature: Feature) -> None:
    before = repr(values)
    try:
        encoded = encode_column(feature, values).reshape(len(values), feature.width)
    except ValueRefused:
        return
    finally:
        assert repr(values) == before
    assert np.isfinite(encoded).all()
    if feature.kind != "numeric":
        assert encoded.min(initial=0) >= 0
        assert encoded.max(initial=0) < feature.size


@pytest.mark.parametrize("feature", KINDS, ids=lambda feature: feature.kind)
def test_an_empty_column_keeps_its_width(feature: Feature) -> None:
    assert encode_column(feature, []).reshape(0, feature.width).shape == (0, feature.width)
