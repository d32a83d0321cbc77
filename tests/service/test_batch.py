"""POST /rerank/batch: every request is answered as alone, and none is another's harm."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from service.schemas import BatchResponse
from tests.service.test_hostile import CORPUS

BATCH = "/rerank/batch"
LISTS: list[dict[str, Any]] = [
    {"candidates": ["100", "105", "103"], "history": ["101", "102"], "top_k": 2},
    {"candidates": {"id": ["101", "109", "130"], "score": [3.5, 0.25, 1.0]}},
    {"candidates": [{"id": "new", "features": {"price": 0.125}}, 104], "user": {"id": 7}},
    {"candidates": []},
    {"candidates": ["100", "101", "102"], "mode": "generator", "request_id": "mine"},
]


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Scores to 1e-5, all else exactly, but for ids that were made and times."""
    for answer in (one, other):
        answer.pop("timings_ms")
        if answer["request_id"] != "mine":
            answer.pop("request_id")
    mine, alone = one.pop("results"), other.pop("results")
    assert one == other
    assert [r.pop("score") for r in mine] == pytest.approx(
        [r.pop("score") for r in alone], abs=1e-5
    )
    assert mine == alone


def test_each_answer_is_that_of_a_request_of_its_own(serve: Any, both: Any) -> None:
    api = serve(bundle=both).loaded()
    for path in (BATCH, "/v1/rerank/batch"):
        answer = api.post({"requests": LISTS}, path)
        assert answer.status_code == 200
        BatchResponse.model_validate(answer.json())
        alone = [api.post(one).json() for one in LISTS]
        for one, other in zip(answer.json()["responses"], alone, strict=True):
            same(one, other)


def test_a_bad_request_has_its_own_error_and_spoils_no_other(api: Any) -> None:
    good = {"candidates": ["100", "109"]}
    bad = {"candidates": ["100", "109", "100"]}
    first, second, third = api.post({"requests": [good, bad, 3]}, BATCH).json()["responses"]
    assert [one["id"] for one in first["results"]] == ["109", "100"]
    alone = api.post(bad)
    assert second.pop("status") == alone.status_code == 422
    assert second["error"].pop("request_id").endswith("#1")
    alone = alone.json()
    alone["error"].pop("request_id")
    assert second == alone
    assert third["error"]["message"] == "expected an object"


def test_every_hostile_body_that_is_json_gets_in_a_batch_what_it_gets_alone(api: Any) -> None:
    bodies = {n: c for n, c in CORPUS.items() if len(c[0]) < 300_000 and _is_json(c[0])}
    assert len(bodies) > 60
    for name, (body, status, param) in bodies.items():
        sent = b'{"requests":[{"candidates":["100","109"]},' + body + b"]}"
        answer = api.post(sent, BATCH)
        assert answer.status_code == 200, name
        good, one = answer.json()["responses"]
        assert good["results"][0]["id"] == "109", name
        assert one.get("status", 200) == status, name
        assert one.get("error", {}).get("param") == param, name


def _is_json(body: bytes) -> bool:
    """By Python's reader, which takes NaN as ours does; 4,300 digits are its limit and ours."""
    try:
        json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return "\\ud" not in body.decode("utf-8")  # lone surrogates: not JSON to us


@pytest.mark.parametrize(
    ("body", "status", "kind", "param"),
    [
        (b"{", 400, "not_json", None),
        (b"[]", 422, "invalid", None),
        (b"{}", 422, "missing", "requests"),
        (b'{"requests":null}', 422, "invalid", "requests"),
        (b'{"requests":{}}', 422, "invalid", "requests"),
        (b'{"requests":[],"request":1}', 422, "unknown_key", "request"),
        (b'{"requests":[1,1,1,1]}', 422, "too_many", "requests"),
        (b'{"requests":[' + b" " * 4_000_000 + b"]}", 413, "body_too_large", None),
    ],
)
def test_what_is_no_batch_is_refused_as_a_whole(
    serve: Any, body: bytes, status: int, kind: str, param: str | None
) -> None:
    api = serve(max_batch=3).loaded()
    answer = api.post(body, BATCH)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (status, kind, param)
    assert api.metric("requests_total", status=str(status)) == 1  # counted as one
    if kind == "unknown_key":
        assert "did you mean 'requests'" in error["message"]


def test_an_empty_batch_has_no_answers(api: Any) -> None:
    assert api.post({"requests": []}, BATCH).json() == {"responses": []}


def test_one_of_it_is_held_to_the_limit_of_a_body(serve: Any) -> None:
    api = serve(max_body_bytes=200).loaded()
    long = {"candidates": ["1" * 100, "2" * 100]}
    answer = api.post({"requests": [long, {"candidates": ["100"]}]}, BATCH).json()["responses"]
    assert [one.get("status", 200) for one in answer] == [413, 200]


def test_a_batch_needs_the_key(serve: Any) -> None:
    api = serve(api_key="k").loaded()
    assert api.post({"requests": []}, BATCH).status_code == 401
    assert api.post({"requests": []}, BATCH, Authorization="Bearer k").status_code == 200


def test_ids_are_those_of_the_batch_with_a_place_or_the_requests_own(api: Any) -> None:
    sent = {"requests": [{"candidates": []}, {"candidates": [], "request_id": "x"}, {"top_k": 0}]}
    answer = api.post(sent, BATCH, X_Request_ID="page-1")
    assert answer.headers["x-request-id"] == "page-1"
    first, second, third = answer.json()["responses"]
    assert (first["request_id"], second["request_id"]) == ("page-1#0", "x")
    assert third["error"]["request_id"] == "page-1#2"


def test_each_falls_back_for_itself(serve: Any) -> None:
    api = serve().loaded()
    real = api.engine.rerank
    odd = "109"

    def fails_for_one(raw: Any, mode: Any) -> Any:
        if odd in raw.candidates.ids:
            raise RuntimeError("no")
        return real(raw, mode)

    api.engine.rerank = fails_for_one
    sent = [{"candidates": ["100", "101"]}, {"candidates": ["100", odd]},
            {"candidates": ["100", odd], "on_failure": "error"}]  # fmt: skip
    first, second, third = api.post({"requests": sent}, BATCH).json()["responses"]
    assert (first["fallback"], second["fallback"]) == (None, "model_error")
    assert (third["status"], third["error"]["type"]) == (503, "model_error")
    assert api.metric("fallback_total", reason="model_error") == 1
    assert api.metric("requests_total", status="200") == 2
    assert api.metric("requests_total", status="503") == 1
    assert api.metric("batch_size_sum") == 3
    assert api.metric("batch_size_count") == 1
    assert api.metric("inflight_requests") == 0


def test_each_has_its_own_deadline(serve: Any) -> None:
    api = serve().loaded()
    sent = [{"candidates": ["100", "101"], "deadline_ms": ms} for ms in (0.001, 2_000)]
    answer = api.post({"requests": sent}, BATCH).json()["responses"]
    assert [one["fallback"] for one in answer] == ["deadline", None]


def test_a_batch_weighs_as_many_requests_as_it_holds(serve: Any) -> None:
    api = serve(max_inflight=3).loaded()
    answer = api.post({"requests": [{"candidates": ["100", "101"]}] * 5}, BATCH).json()
    said = [one["fallback"] for one in answer["responses"]]
    assert said == [None, None, None, "overload", "overload"]
    assert api.metric("shed_total", reason="inflight") == 2
    assert api.post({"candidates": ["100", "101"]}).json()["fallback"] is None  # all left again


def test_a_request_beside_a_batch_waits_for_two_of_it_only(serve: Any) -> None:
    """A batch of 40 is under way; the single one that comes then is the third to be scored."""
    api = serve(max_queue=3, deadline_ms=10_000).loaded()
    real, scored, gate = api.engine.rerank, [], threading.Event()

    def slow(raw: Any, mode: Any) -> Any:
        gate.wait(5)
        scored.append(raw.candidates.ids[0])
        return real(raw, mode)

    api.engine.rerank = slow

    async def post(path: str, body: Any) -> httpx.Response:
        return await api.client.post(path, json=body)

    async def both_of_them() -> tuple[httpx.Response, httpx.Response]:
        sent = {"requests": [{"candidates": ["100", "101"]}] * 40}
        batch = asyncio.create_task(post(BATCH, sent))
        while api.service.worker.waiting < 1:  # one runs, one waits
            await asyncio.sleep(0.001)
        single = asyncio.create_task(post("/rerank", {"candidates": ["109", "108"]}))
        while api.service.worker.waiting < 2:
            await asyncio.sleep(0.001)
        gate.set()
        return await batch, await single

    batch, single = api.runner.run(both_of_them())
    assert single.json()["fallback"] is None
    assert scored.index("109") == 2
    assert {one["fallback"] for one in batch.json()["responses"]} == {None}


def test_a_batch_that_is_cancelled_leaves_nothing_behind(serve: Any) -> None:
    api = serve().loaded()
    gate = threading.Event()
    api.engine.rerank = lambda raw, mode: gate.wait(5)

    async def cancelled() -> None:
        sent = {"requests": [{"candidates": ["100", "101"]}] * 9}
        task = asyncio.create_task(api.client.post(BATCH, json=sent))
        while not api.service.worker.waiting:
            await asyncio.sleep(0.001)
        assert api.metric("inflight_requests") == 9
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.01)

    api.runner.run(cancelled())
    gate.set()
    assert api.metric("inflight_requests") == 0
    assert api.service.reranker._inside == 0
