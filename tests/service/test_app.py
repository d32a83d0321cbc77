"""The API as a caller sees it, in-process."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest


def ids(response: Any) -> list[str]:
    return [one["id"] for one in response.json()["results"]]


def test_candidates_come_back_in_the_order_of_their_scores(api: Any) -> None:
    response = api.post({"candidates": ["100", "103", "101"]})
    assert response.status_code == 200
    assert ids(response) == ["103", "101", "100"]
    results = response.json()["results"]
    assert [one["rank"] for one in results] == [1, 2, 3]
    assert [one["index"] for one in results] == [1, 2, 0]
    # price 3 plus the flag of the missing score
    assert results[0]["score"] == pytest.approx(1 / (1 + math.exp(-4)), abs=1e-6)
    assert response.json()["model"] == {"name": "toy-s", "version": "1"}
    assert response.json()["fallback"] is None
    assert "x-rerank-fallback" not in response.headers


def test_both_paths_give_the_same_results(api: Any) -> None:
    body = {"candidates": ["100", "103", "101"]}
    first, second = api.post(body), api.post(body, "/v1/rerank")
    assert first.json()["results"] == second.json()["results"]


def test_rows_ids_and_columns_say_the_same(api: Any) -> None:
    rows = [{"id": "100", "score": 1.0, "features": {"price": 9.0}}, {"id": 101, "score": 2.0}]
    columns = {"id": ["100", 101], "score": [1.0, 2.0], "features": {"price": [9.0, 1.0]}}
    by_rows, by_columns = api.post({"candidates": rows}), api.post({"candidates": columns})
    assert by_rows.json()["results"] == by_columns.json()["results"]
    plain = api.post({"candidates": ["100", 101]})
    objects = api.post({"candidates": [{"id": "100"}, "101"]})
    assert plain.json()["results"] == objects.json()["results"]


def test_inline_features_override_the_catalogue(api: Any) -> None:
    body = {"candidates": [{"id": "100", "features": {"price": 50.0}}, "109"]}
    assert ids(api.post(body)) == ["100", "109"]


def test_equal_scores_keep_the_incoming_order(api: Any) -> None:
    assert ids(api.post({"candidates": ["119", "109", "129"]})) == ["119", "109", "129"]


def test_scores_that_saturate_still_order_by_logit(api: Any) -> None:
    rows = [{"id": "a", "features": {"price": 8}, "score": 9.8},
            {"id": "b", "features": {"price": 9}, "score": 9.9}]  # fmt: skip
    assert ids(api.post({"candidates": rows})) == ["b", "a"]


def test_top_k_defaults_to_the_list_size_and_never_exceeds_the_candidates(api: Any) -> None:
    candidates = [str(number) for number in range(100, 110)]
    assert len(ids(api.post({"candidates": candidates}))) == 4
    assert len(ids(api.post({"candidates": candidates, "top_k": 2}))) == 2
    assert len(ids(api.post({"candidates": candidates, "top_k": 10**30}))) == 10


def test_no_candidates_is_an_empty_answer(api: Any) -> None:
    for empty in ([], {"id": []}):
        response = api.post({"candidates": empty})
        assert (response.status_code, response.json()["results"]) == (200, [])
        assert response.json()["fallback"] is None


def test_one_candidate_skips_the_model(serve: Any) -> None:
    api = serve().loaded()
    api.engine.logits = None  # calling it would fail
    response = api.post({"candidates": [7]})
    assert response.json()["results"] == [{"id": "7", "index": 0, "rank": 1, "score": None}]
    assert response.json()["fallback"] is None


def test_generator_mode_without_a_generator_is_refused(api: Any) -> None:
    response = api.post({"candidates": ["100", "101"], "mode": "generator"})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "mode"
    assert "generator" in response.json()["error"]["message"]
    assert "leave mode out" in response.json()["error"]["message"]


def test_request_id_is_echoed_from_body_or_header_or_made(api: Any) -> None:
    body = {"candidates": ["100", "101"]}
    for response, expected in (
        (api.post({**body, "request_id": "r-17"}), "r-17"),
        (api.post(body, x_request_id="h-1"), "h-1"),
        (api.post({**body, "request_id": "r-17"}, x_request_id="h-1"), "r-17"),
    ):
        assert response.json()["request_id"] == response.headers["x-request-id"] == expected
    made = api.post(body)
    assert len(made.json()["request_id"]) == 16
    assert made.headers["x-request-id"] == made.json()["request_id"]
    strange = api.post(body, x_request_id="with space")
    assert strange.headers["x-request-id"] != "with space"


def test_errors_carry_the_request_id(api: Any) -> None:
    response = api.post(b"{", x_request_id="h-2")
    assert response.json()["error"]["request_id"] == response.headers["x-request-id"] == "h-2"


def test_timings_name_every_stage(api: Any) -> None:
    for candidates in (["100", "101"], ["100"], []):
        timings = api.post({"candidates": candidates}).json()["timings_ms"]
        assert list(timings) == ["decode", "store", "queue", "encode", "score", "order", "total"]
        assert timings["total"] >= timings["decode"] > 0


def test_unknown_things_are_served_and_counted(serve: Any) -> None:
    api = serve().loaded()
    body = {
        "user": {"id": 1, "features": {"shoe": 42, "price": 1}},
        "history": [{"id": "100", "features": {"score": 1, "zip": "1"}}, "100", "1", "2", "3"],
        "candidates": [{"id": "cold", "features": {"colour": "red", "age": 3}}, "100"],
    }
    response = api.post(body)
    assert response.status_code == 200
    assert response.json()["fallback"] is None
    assert response.json()["unknown_items"] == 2
    features = {"other": 3, "price": 1, "score": 1, "age": 1}
    assert response.json()["unknown_features"] == features
    assert api.metric("unknown_items_total") == 2  # "cold", and "1" in the history that is kept
    assert api.metric("history_cut_total") == 2
    assert api.metric("unknown_features_total", feature="other") == 3
    for name in ("price", "score", "age"):
        assert api.metric("unknown_features_total", feature=name) == 1
    assert "shoe" not in api.get("/metrics").text


def test_what_was_not_scored_counts_no_items(api: Any) -> None:
    for candidates in (["never seen"], []):
        answer = api.post({"candidates": candidates}).json()
        assert (answer["unknown_items"], answer["unknown_features"]) == (None, {})


def test_the_body_limit_holds_announced_or_not(serve: Any) -> None:
    api = serve(max_body_bytes=200)

    async def pieces() -> Any:
        for _ in range(1000):
            yield b" " * 100

    announced = api.post(b" " * 201)
    streamed = api.runner.run(api.client.post("/rerank", content=pieces()))
    lied = api.post(b" " * 201, content_length="5")
    silly = api.post(b"{}", content_length="9" * 5000)
    for response in (announced, streamed, lied, silly):
        assert response.status_code == 413
        assert response.json()["error"]["type"] == "body_too_large"


def test_limits_on_lists_come_from_the_settings(serve: Any) -> None:
    api = serve(max_candidates=3, max_history=2).loaded()
    four = ["1", "2", "3", "4"]
    for candidates in (four, [1, 2, 3, 4], [{"id": i} for i in four], {"id": four}):
        error = api.post({"candidates": candidates}).json()["error"]
        assert error["type"] == "too_many"
        assert "3" in error["message"]
    response = api.post({"candidates": ["1"], "history": ["1", "2", "3"]})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == "history"


def test_router_errors_have_the_one_shape(api: Any) -> None:
    missing, method = api.get("/nowhere"), api.get("/rerank")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found")
    assert (method.status_code, method.json()["error"]["type"]) == (405, "method_not_allowed")
    assert method.headers["allow"] == "POST"


def test_a_key_guards_all_but_probes_and_metrics(serve: Any) -> None:
    api = serve(api_key="sésame").loaded()
    body = {"candidates": ["100", "101"]}
    for response in (api.post(body), api.post(body, authorization="Bearer no"), api.get("/info")):
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "unauthorized"
        assert response.headers["www-authenticate"] == "Bearer"
    for path in ("/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready", "/metrics"):
        assert api.get(path).status_code == 200
    key = "Bearer sésame".encode()
    allowed = api.runner.run(api.client.post("/rerank", json=body, headers={b"authorization": key}))
    assert allowed.status_code == 200


def test_ready_only_once_the_model_is_proved(serve: Any) -> None:
    api = serve()
    early = api.get("/readyz")
    assert (early.status_code, early.json()["error"]["type"]) == (503, "not_ready")
    assert api.get("/livez").status_code == 200
    api.loaded()
    for path in ("/readyz", "/health", "/v2/health/ready"):
        assert api.get(path).json() == {"status": "ready"}


def test_info_says_what_serves_and_holds_no_path(api: Any, bundle: Any) -> None:
    info = api.get("/info").json()
    assert info["model"] == {"name": "toy-s", "version": "1"}
    assert info["providers"] == ["CPUExecutionProvider"]
    assert info["schema"]["item"][0] == {"name": "price", "kind": "numeric"}
    assert info["limits"]["candidates"] == 1000
    assert (info["modes"], info["generator"]) == (["scorer"], None)
    assert str(bundle.parent) not in json.dumps(info)


def test_openapi_documents_request_answers_and_every_error(api: Any) -> None:
    document = api.get("/openapi.json").json()
    post = document["paths"]["/rerank"]["post"]
    assert set(post["responses"]) == {
        "200", "400", "401", "408", "413", "422", "429", "431", "503", "504",
    }  # fmt: skip
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schemas = document["components"]["schemas"]
    request = schemas[reference.rsplit("/", 1)[1]]
    assert api.post(request["example"]).status_code == 200
    for part in json.dumps(document).split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in schemas
    assert api.get("/docs").status_code == 200


def test_a_scorer_that_hangs_is_not_ready_and_says_so(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = serve().loaded()
    monkeypatch.setattr("service.worker._HANGS_SECONDS", 0.0)
    api.service.worker._busy_since = time.perf_counter()
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "the scorer hangs"
    api.service.worker._busy_since = None
    assert api.get("/readyz").status_code == 200
