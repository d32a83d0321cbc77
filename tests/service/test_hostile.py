"""Bodies that mean harm: each gets an answer that fits, in valid JSON, and never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LONG = b"9" * 400
DEEP = 100_000


def one(candidate: bytes) -> bytes:
    """A body with one odd candidate beside a good one."""
    return b'{"candidates":["1",' + candidate + b"]}"


def row(fields: bytes) -> bytes:
    """A body whose odd candidate is an object with these fields."""
    return one(b'{"id":"2",' + fields + b"}")


def top(fields: bytes) -> bytes:
    """A good list with other fields beside it."""
    return b'{"candidates":["1","2"],' + fields + b"}"


# what is sent: (status, the place that the error names)
CORPUS: dict[str, tuple[bytes, int, str | None]] = {
    "empty": (b"", 400, None),
    "blank": (b" \n\t ", 400, None),
    "null bytes": (b"\0" * 64, 400, None),
    "null byte within": (b'{"candidates":["\0"]}', 400, None),
    "text": (b"hello", 400, None),
    "bare word": (b"NaN", 422, None),
    "string": (b'"candidates"', 422, None),
    "number": (b"1", 422, None),
    "null": (b"null", 422, None),
    "true": (b"true", 422, None),
    "list": (b"[]", 422, None),
    "list of ids": (b'["1","2"]', 422, None),
    "cut short": (b'{"candidates":["1"', 400, None),
    "two documents": (b'{"candidates":[]}{"candidates":[]}', 400, None),
    "trailing comma": (b'{"candidates":["1",]}', 400, None),
    "single quotes": (b"{'candidates':['1']}", 400, None),
    "comment": (b'{"candidates":[] /* none */}', 400, None),
    "byte order mark": (b'\xef\xbb\xbf{"candidates":[]}', 400, None),
    "utf-16": ('{"candidates":[]}'.encode("utf-16"), 400, None),
    "bad utf-8": (b'{"candidates":["\xff\xfe"]}', 400, None),
    "overlong utf-8": (b'{"candidates":["\xc0\xaf"]}', 400, None),
    "lone surrogate": (b'{"candidates":["\\ud800"]}', 400, None),
    "lone low surrogate": (b'{"candidates":["\\udc00x"]}', 400, None),
    "surrogate key": (b'{"\\ud800":1}', 400, None),
    "encoded surrogate": (b'{"candidates":["\xed\xa0\x80"]}', 400, None),
    "bad escape": (b'{"candidates":["\\x41"]}', 400, None),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 400, None),
    "deep lists": (b'{"candidates":' + b"[" * DEEP + b"]" * DEEP + b"}", 400, None),
    "deep lists, open": (b"[" * DEEP, 400, None),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, 400, None),
    "deep, within limits": (one(b"[" * 150 + b"]" * 150), 422, "candidates[1]"),
    "deep unknown feature": (row(b'"features":{"u":' + b"[" * DEEP + b"}"), 400, None),
    "form": (b"candidates=1&candidates=2", 400, None),
    "xml": (b"<candidates/>", 400, None),
    "no candidates": (b"{}", 422, "candidates"),
    "candidates null": (b'{"candidates":null}', 422, "candidates"),
    "candidates number": (b'{"candidates":3}', 422, "candidates"),
    "candidates text": (b'{"candidates":"1,2"}', 422, "candidates"),
    "candidates empty object": (b'{"candidates":{}}', 422, "candidates.id"),
    "columns misnamed": (b'{"candidates":{"ids":["1"]}}', 422, "candidates.ids"),
    "columns ragged": (b'{"candidates":{"id":["1","2"],"score":[1]}}', 422, "candidates.score"),
    "columns ragged feature": (
        b'{"candidates":{"id":["1"],"features":{"price":[1,2]}}}', 422, "candidates.features.price",
    ),
    "columns scalar": (b'{"candidates":{"id":"1"}}', 422, "candidates.id"),
    "columns twice": (b'{"candidates":{"id":["1","1"]}}', 422, "candidates.id[1]"),
    "columns wrong value": (
        b'{"candidates":{"id":["1","2"],"score":[1,"a"]}}', 422, "candidates.score[1]",
    ),
    "columns features a list": (
        b'{"candidates":{"id":["1"],"features":[1]}}', 422, "candidates.features",
    ),
    "id true": (one(b"true"), 422, "candidates[1]"),
    "id null": (one(b"null"), 422, "candidates[1]"),
    "id float": (one(b"1.5"), 422, "candidates[1]"),
    "id list": (one(b'["2"]'), 422, "candidates[1]"),
    "id NaN": (one(b"NaN"), 422, "candidates[1]"),
    "id Infinity": (one(b"Infinity"), 422, "candidates[1]"),
    "id 1e999": (one(b"1e999"), 422, "candidates[1]"),
    "id of 400 digits": (one(LONG), 422, "candidates[1]"),
    "id of 5000 digits": (one(b"9" * 5000), 400, None),
    "id beyond 64 bits": (one(b"9223372036854775808"), 422, "candidates[1]"),
    "id empty": (one(b'""'), 422, "candidates[1]"),
    "id huge": (one(b'"' + b"x" * 10_000 + b'"'), 422, "candidates[1]"),
    "id missing": (one(b"{}"), 422, "candidates[1].id"),
    "id of an object true": (one(b'{"id":true}'), 422, "candidates[1].id"),
    "twice": (b'{"candidates":["1","2","1"]}', 422, "candidates[2]"),
    "twice by number": (b'{"candidates":[1,"1"]}', 422, "candidates[1]"),
    "twice as object": (b'{"candidates":["1",{"id":1}]}', 422, "candidates[1]"),
    "too many": (json.dumps({"candidates": list(range(1001))}).encode(), 422, "candidates"),
    "far too many": (b'{"candidates":[' + b"1," * 400_000 + b"1]}", 422, "candidates"),
    "empty objects": (b'{"candidates":[' + b"{}," * 300_000 + b"{}]}", 422, "candidates[0].id"),
    "history too long": (top(b'"history":[' + b"1," * 500 + b"1]"), 422, "history"),
    "history text": (top(b'"history":"1"'), 422, "history"),
    "history id true": (top(b'"history":["1",true]'), 422, "history[1]"),
    "history with score": (top(b'"history":[{"id":"1","score":1}]'), 422, "history[0].score"),
    "score NaN": (row(b'"score":NaN'), 422, "candidates[1].score"),
    "score -Infinity": (row(b'"score":-Infinity'), 422, "candidates[1].score"),
    "score 1e999": (row(b'"score":1e999'), 422, "candidates[1].score"),
    "score of 400 digits": (row(b'"score":' + LONG), 422, "candidates[1].score"),
    "score beyond float32": (row(b'"score":1e300'), 422, "candidates[1].score"),
    "score text": (row(b'"score":"0.5"'), 422, "candidates[1].score"),
    "score true": (row(b'"score":true'), 422, "candidates[1].score"),
    "price NaN": (row(b'"features":{"price":NaN}'), 422, "candidates[1].features.price"),
    "price 1e999": (row(b'"features":{"price":1e999}'), 422, "candidates[1].features.price"),
    "price 400 digits": (
        row(b'"features":{"price":' + LONG + b"}"), 422, "candidates[1].features.price",
    ),
    "price text": (row(b'"features":{"price":"9"}'), 422, "candidates[1].features.price"),
    "price list": (row(b'"features":{"price":[9]}'), 422, "candidates[1].features.price"),
    "brand object": (row(b'"features":{"brand":{}}'), 422, "candidates[1].features.brand"),
    "brand NaN": (row(b'"features":{"brand":NaN}'), 422, "candidates[1].features.brand"),
    "brand 400 digits": (
        row(b'"features":{"brand":' + LONG + b"}"), 422, "candidates[1].features.brand",
    ),
    "genres text": (row(b'"features":{"genres":"a"}'), 422, "candidates[1].features.genres"),
    "genres nested": (
        row(b'"features":{"genres":[["a"]]}'), 422, "candidates[1].features.genres[0]",
    ),
    "genres endless": (
        row(b'"features":{"genres":[' + b"1," * 2000 + b"1]}"),
        422, "candidates[1].features.genres",
    ),
    "features list": (row(b'"features":[1]'), 422, "candidates[1].features"),
    "features text": (row(b'"features":"price"'), 422, "candidates[1].features"),
    "key unknown": (top(b'"histroy":[]'), 422, "histroy"),
    "key empty": (top(b'"":1'), 422, None),
    "key huge": (top(b'"' + b"k" * 100_000 + b'":1'), 422, "k" * 20 + "…"),
    "key NUL": (top(b'"\\u0000":1'), 422, "?"),
    "key like a branch": (top(b'"\\u00000":1'), 422, "?0"),
    "key in row like a branch": (row(b'"\\u00001":1'), 422, "candidates[1].?1"),
    "key in columns like a branch": (
        b'{"candidates":{"id":[],"\\u00002":1}}', 422, "candidates.?2",
    ),
    "key of user like a branch": (top(b'"user":{"\\u00000":1}'), 422, "user.?0"),
    "key not ASCII": (top('"ключ":1'.encode()), 422, "\\u043a\\u043b\\u044e\\u0447"),
    "key in row unknown": (row(b'"scores":1'), 422, "candidates[1].scores"),
    "keys in thousands": (
        top(b",".join(b'"%d":1' % number for number in range(80_000))), 422, None,
    ),
    "proto": (top(b'"__proto__":{"x":1}'), 422, "__proto__"),
    "user list": (top(b'"user":[]'), 422, "user"),
    "user text": (top(b'"user":"42"'), 422, "user"),
    "user id object": (top(b'"user":{"id":{}}'), 422, "user.id"),
    "user age NaN": (top(b'"user":{"features":{"age":NaN}}'), 422, "user.features.age"),
    "top_k 0": (top(b'"top_k":0'), 422, "top_k"),
    "top_k negative": (top(b'"top_k":-1'), 422, "top_k"),
    "top_k 2.5": (top(b'"top_k":2.5'), 422, "top_k"),
    "top_k true": (top(b'"top_k":true'), 422, "top_k"),
    "top_k text": (top(b'"top_k":"3"'), 422, "top_k"),
    "top_k NaN": (top(b'"top_k":NaN'), 422, "top_k"),
    "deadline 0": (top(b'"deadline_ms":0'), 422, "deadline_ms"),
    "deadline negative": (top(b'"deadline_ms":-5'), 422, "deadline_ms"),
    "deadline NaN": (top(b'"deadline_ms":NaN'), 422, "deadline_ms"),
    "deadline 1e999": (top(b'"deadline_ms":1e999'), 422, "deadline_ms"),
    "deadline of 400 digits": (top(b'"deadline_ms":' + LONG), 422, "deadline_ms"),
    "mode unknown": (top(b'"mode":"fast"'), 422, "mode"),
    "on_failure unknown": (top(b'"on_failure":"panic"'), 422, "on_failure"),
    "request_id number": (top(b'"request_id":7'), 422, "request_id"),
    "request_id empty": (top(b'"request_id":""'), 422, "request_id"),
    "request_id breaks lines": (top(b'"request_id":"a\\r\\nX-Evil: 1"'), 422, "request_id"),
    "request_id ends a line": (top(b'"request_id":"a\\n"'), 422, "request_id"),
    "request_id long": (top(b'"request_id":"' + b"r" * 129 + b'"'), 422, "request_id"),
    "over the limit": (b" " * 1_000_001, 413, None),
}  # fmt: skip

SERVED = {
    "zero candidates": b'{"candidates":[]}',
    "zero columns": b'{"candidates":{"id":[],"score":[],"features":{"price":[]}}}',
    "one candidate": b'{"candidates":["1"]}',
    "nulls everywhere": (
        b'{"candidates":[{"id":"1","score":null,"features":null},"2"],"user":null,"history":null,'
        b'"top_k":null,"deadline_ms":null,"mode":null,"on_failure":null,"request_id":null}'
    ),
    "null features": row(b'"features":{"price":null,"brand":null,"genres":null}'),
    "nulls in a bag": row(b'"features":{"genres":[null,"a",null]}'),
    "keys twice, the last counts": b'{"candidates":5,"candidates":["1","2"]}',
    "feature twice": row(b'"features":{"price":"x","price":1}'),
    "escaped null": one(b'"\\u0000"'),
    "emoji": one('"🛒"'.encode()),
    "surrogate pair": one(b'"\\ud83d\\uded2"'),
    "id looks like a path": one(b'"../../etc/passwd"'),
    "id looks like a number": one(b'"1e999"'),
    "negative id": one(b"-5"),
    "largest id": one(b"9223372036854775807"),
    "unknown feature of any shape": row(b'"features":{"u":{"v":[1,{"w":NaN}]}}'),
    "unknown features in thousands": row(
        b'"features":{' + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}"
    ),
    "categorical of every kind": row(b'"features":{"brand":true}'),
    "categorical float": row(b'"features":{"brand":1.5}'),
    "tiny number": row(b'"features":{"price":1e-400}'),
    "negative zero": row(b'"features":{"price":-0.0}'),
    "largest number": row(b'"features":{"price":1e30},"score":-1e30'),
    "top_k of 400 digits": top(b'"top_k":' + LONG),
    "tiny deadline": top(b'"deadline_ms":1e-300'),
    "history of strangers": top(b'"history":["x","x","x"]'),
    "user without id": top(b'"user":{}'),
    "empty features": row(b'"features":{}'),
    "as many as allowed": json.dumps({"candidates": list(range(1000))}).encode(),
}


def strictly(text: str) -> Any:
    """Parse as JSON without Python's NaN and Infinity."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_body_gets_a_fitting_error(api: Any, name: str) -> None:
    body, status, param = CORPUS[name]
    response = api.post(body)
    assert response.status_code == status, response.text
    error = strictly(response.text)["error"]
    assert list(error) == ["type", "message", "param", "request_id"]
    assert error["param"] == param
    assert response.headers["content-type"] == "application/json"
    assert len(response.content) < 500
    assert "x-evil" not in response.headers


@pytest.mark.parametrize("name", SERVED)
def test_an_odd_body_is_served_all_the_same(api: Any, name: str) -> None:
    response = api.post(SERVED[name])
    assert response.status_code == 200, response.text
    answer = strictly(response.text)
    expected = "deadline" if name == "tiny deadline" else None
    assert answer["fallback"] == expected


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "", "a" * 1000, "multipart/x"])
def test_the_content_type_does_not_matter(api: Any, kind: str) -> None:
    assert api.post({"candidates": ["1", "2"]}, content_type=kind).status_code == 200


def test_an_error_repeats_only_a_few_characters(api: Any) -> None:
    secret = "topsecret" * 20
    for body in (
        {secret: 1, "candidates": []},
        {"candidates": [{"id": "1", secret: 1}]},
        {"candidates": [secret * 9]},
        {"candidates": ["1"], "mode": secret},
        {"candidates": ["1"], "request_id": secret + " "},
        {"candidates": [{"id": "1", "features": {"price": secret}}]},
    ):
        text = api.post(body).text
        assert secret[:30] not in text


# JSON as hypothesis imagines it, often with the keys and values that mean something here
_NAMES = st.sampled_from(
    ["id", "score", "features", "candidates", "history", "user", "price", "brand", "genres", "age",
     "top_k", "deadline_ms", "mode", "on_failure", "request_id", "x"]
)  # fmt: skip
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**40), 10**40), st.floats(), st.text(max_size=5),
    st.sampled_from(["1", "2", "100", 1, 0, -1, 1e30, "scorer", "incoming", "error"]),
)  # fmt: skip
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_FEATURES = st.dictionaries(_NAMES, _JSON, max_size=3)
_ITEM = st.one_of(
    st.integers(100, 120), st.text(min_size=1, max_size=3), _JSON,
    st.fixed_dictionaries({"id": st.integers(0, 200) | _LEAVES},
                          optional={"score": _LEAVES, "features": _FEATURES}),
)  # fmt: skip
_REQUEST = st.fixed_dictionaries(
    {"candidates": st.lists(_ITEM, max_size=5) | _JSON},
    optional={
        "history": st.lists(_ITEM, max_size=5) | _JSON,
        "user": st.fixed_dictionaries({}, optional={"id": _LEAVES, "features": _FEATURES}) | _JSON,
        "top_k": _LEAVES, "deadline_ms": _LEAVES, "mode": _LEAVES, "on_failure": _LEAVES,
        "request_id": _LEAVES,
    },
)  # fmt: skip
RELAXED = settings(
    max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@RELAXED
@given(body=_REQUEST | _JSON)
def test_no_json_gives_a_5xx(api: Any, body: Any) -> None:
    response = api.post(json.dumps(body).encode())
    assert response.status_code in (200, 400, 422, 504, 429, 503)
    assert response.status_code < 500 or body["on_failure"] == "error"
    answer = strictly(response.text)
    if response.status_code == 200:
        assert answer["fallback"] in (None, "deadline")  # a sane model fails on no request


@RELAXED
@given(body=st.binary(max_size=60))
def test_no_bytes_give_a_5xx(api: Any, body: bytes) -> None:
    assert api.post(body).status_code in (200, 400, 422)


@RELAXED
@given(data=st.data())
def test_a_body_with_one_byte_changed_gives_no_5xx(api: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([key for key in SERVED if len(SERVED[key]) < 300]))
    body = bytearray(SERVED[name])
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    assert api.post(bytes(body)).status_code in (200, 400, 422)
