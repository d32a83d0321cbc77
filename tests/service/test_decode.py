"""The decoder: what a request becomes, and that the documentation says the same."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from pydantic import ValidationError

from features.values import ABSENT
from service.decode import Decoder
from service.errors import ApiError
from service.grammar import ITEM_KEYS, Limits
from service.refusals import TOP_KEYS
from service.schemas import Candidate, Columns, RerankRequest


@pytest.fixture
def decoder(toy: Any) -> Decoder:
    return Decoder(toy.schema, Limits(1000, 500))


def decode(decoder: Decoder, body: Any) -> Any:
    return decoder.decode(json.dumps(body).encode())


def test_rows_become_columns_with_absent_where_nothing_was_given(decoder: Decoder) -> None:
    rows = [
        {"id": 5, "score": 0.5, "features": {"price": 2, "brand": None}},
        "6",
        {"id": "7", "features": {"genres": ["a", 3]}},
    ]
    asked = decode(decoder, {"candidates": rows})
    assert asked.ids == ["5", "6", "7"]
    assert asked.raw.candidates.columns == {
        "price": [2.0, ABSENT, ABSENT],
        "brand": [None, ABSENT, ABSENT],
        "genres": [ABSENT, ABSENT, ["a", 3]],
        "score": [0.5, ABSENT, ABSENT],
    }


def test_ids_alone_make_no_columns(decoder: Decoder) -> None:
    asked = decode(decoder, {"candidates": ["5", "6"], "history": ["7"]})
    assert (asked.raw.candidates.columns, asked.raw.history.columns) == ({}, {})


def test_whole_numbers_are_ids_in_decimal(decoder: Decoder) -> None:
    asked = decode(decoder, {"candidates": [5, "6", -7], "history": [8], "user": {"id": 9}})
    assert asked.ids == ["5", "6", "-7"]
    assert asked.raw.history.ids == ["8"]


def test_features_of_the_user_are_kept_apart_from_strange_ones(decoder: Decoder) -> None:
    asked = decode(decoder, {"candidates": [], "user": {"features": {"age": 3, "shoe": 42}}})
    assert asked.raw.user == {"age": 3.0}
    assert asked.unknown_features == {"other": 1}


def test_an_unknown_key_is_named_with_the_nearest_known(decoder: Decoder) -> None:
    with pytest.raises(ApiError, match="did you mean 'deadline_ms'"):
        decode(decoder, {"candidates": [], "deadline": 3})
    with pytest.raises(ApiError, match="known here: id, score, features"):
        decode(decoder, {"candidates": [{"item": 3}]})


def test_the_documented_request_has_the_keys_that_are_decoded() -> None:
    assert set(RerankRequest.model_fields) == set(TOP_KEYS)
    assert set(Candidate.model_fields) == set(Columns.model_fields) == set(ITEM_KEYS)


@pytest.mark.parametrize(
    "body",
    [
        {"candidates": ["a", 1, {"id": 2, "score": 0.5, "features": {"price": 1}}]},
        {"candidates": {"id": ["a"], "score": [None], "features": {"price": [1]}}},
        {"candidates": [], "user": {"id": 1, "features": {"age": 2}}, "history": [{"id": 1}, "b"]},
        {"candidates": [], "top_k": 3, "deadline_ms": 5, "mode": "scorer", "on_failure": "error"},
        {"candidates": 5},
        {"candidates": [True]},
        {"candidates": [{"id": 1, "x": 2}]},
        {"candidates": [], "top_k": 0},
        {"candidates": [], "deadline_ms": 60_001},
        {"candidates": [], "mode": "x"},
        {"candidates": [], "request_id": "a b"},
        {"candidates": [], "user": {"name": "x"}},
        {"candidates": [], "history": [{"id": 1, "score": 1}]},
        {},
    ],
)
def test_documentation_and_decoder_agree_on_what_is_a_request(
    decoder: Decoder, body: dict[str, Any]
) -> None:
    def accepts(check: Any, error: type[Exception]) -> bool:
        try:
            check()
        except error:
            return False
        return True

    text = json.dumps(body)
    documented = accepts(
        lambda: RerankRequest.model_validate_json(text, strict=True), ValidationError
    )
    assert accepts(lambda: decoder.decode(text.encode()), ApiError) == documented


def test_without_a_bundle_any_feature_is_let_through(decoder: Decoder) -> None:
    """What a bundle would ignore must not be refused for want of one."""
    bare, deep = Decoder(None, Limits(1000, 500)), {"u": {"deep": [{"er": float("nan")}]}}
    for candidates in ([{"id": "1", "features": deep}], {"id": ["1"], "features": deep}):
        for one in (bare, decoder):
            asked = decode(one, {"candidates": candidates, "user": {"features": deep}})
            assert list(asked.ids) == ["1"]
            assert asked.unknown_features == {"other": 2}


def test_no_body_of_the_largest_size_holds_the_loop_for_long(decoder: Decoder) -> None:
    keys = b",".join(b'"%d":1' % number for number in range(85_000))
    for body in (
        b'{"candidates":["1"],' + keys + b"}",
        b'{"candidates":[{"id":"1",' + keys + b"}]}",
        b'{"candidates":[{"id":"1","features":{' + keys + b"}}]}",
        b'{"candidates":[' + b"{}," * 330_000 + b"{}]}",
        b'{"candidates":[' + b'"1",' * 249_000 + b'"1"]}',
    ):
        begun = time.thread_time()  # this thread's own work, whatever else the machine does
        with contextlib.suppress(ApiError):
            decoder.decode(body)
        assert time.thread_time() - begun < 1.0  # 0.1 s; quadratic work would take minutes
