"""What happens where the model cannot or may not answer."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BODY: dict[str, Any] = {"candidates": ["100", "109", "105"], "request_id": "r-1"}


def assert_falls_back(response: Any, reason: str) -> None:
    assert response.status_code == 200
    assert response.json()["fallback"] == response.headers["x-rerank-fallback"] == reason
    assert response.json()["results"] == [
        {"id": item, "index": place, "rank": place + 1, "score": None}
        for place, item in enumerate(BODY["candidates"])
    ]


def slow(engine: Any, seconds: float) -> None:
    real = type(engine).logits

    def logits(arrays: Any, count: int) -> Any:
        time.sleep(seconds)
        return real(engine, arrays, count)

    engine.logits = logits


def broken(*_: Any) -> Any:
    raise RuntimeError("secret /path")


REASONS = ("no_model", "model_error", "nonfinite", "deadline", "overload")
STATUS = {"no_model": 503, "model_error": 503, "nonfinite": 503, "deadline": 504, "overload": 429}


def provoke(serve: Any, reason: str, **settings: Any) -> Any:
    """An application whose next request fails for `reason`."""
    if reason == "no_model":
        return serve(bundle=Path("/nowhere"), **settings).loaded()
    api = serve(**settings).loaded()
    if reason == "model_error":
        api.engine.logits = broken
    if reason == "nonfinite":
        api.engine.logits = lambda _, count: np.full(count, np.nan)
    if reason == "deadline":
        api.service.worker.averages["scorer"] = 5.0
    if reason == "overload":
        api.service.worker._limit = 0
    return api


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_gives_the_incoming_order_and_says_so(serve: Any, reason: str) -> None:
    api = provoke(serve, reason)
    assert_falls_back(api.post(BODY), reason)
    assert api.metric("fallback_total", reason=reason) == 1
    assert api.metric("requests_total", status="200") == 1


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("where", ["request", "settings"])
def test_a_caller_may_choose_an_error_instead(serve: Any, reason: str, where: str) -> None:
    settings = {"on_failure": "error"} if where == "settings" else {}
    api = provoke(serve, reason, **settings)
    body = {**BODY, "on_failure": "error"} if where == "request" else BODY
    response = api.post(body)
    assert response.status_code == STATUS[reason]
    assert response.json()["error"]["type"] == reason
    assert response.json()["error"]["request_id"] == "r-1"
    assert ("retry-after" in response.headers) == (reason == "overload")
    assert "secret" not in response.text
    assert api.metric("fallback_total", reason=reason) == 0


@pytest.mark.parametrize("reason", REASONS)
def test_a_request_may_choose_the_fallback_where_the_setting_says_error(
    serve: Any, reason: str
) -> None:
    api = provoke(serve, reason, on_failure="error")
    assert_falls_back(api.post({**BODY, "on_failure": "incoming"}), reason)


@pytest.mark.parametrize("reason", REASONS)
def test_a_bad_request_is_never_answered_by_a_fallback(serve: Any, reason: str) -> None:
    api = provoke(serve, reason)
    for bad in ({**BODY, "candidates": ["1", "1"]}, {**BODY, "histroy": []}, b"{"):
        assert api.post(bad).status_code in (400, 422)
    if reason != "no_model":
        wrong = {"candidates": [{"id": "1", "features": {"price": "dear"}}, "2"]}
        assert api.post(wrong).json()["error"]["param"] == "candidates[0].features.price"


def test_infinite_scores_of_real_candidates_are_not_finite(serve: Any) -> None:
    api = serve().loaded()
    api.engine.logits = lambda _, count: np.array([1.0, -np.inf, 0.0])
    assert_falls_back(api.post(BODY), "nonfinite")
    assert api.metric("nonfinite_scores_total") == 1


def test_a_slow_model_never_holds_a_caller_past_deadline_and_patience(serve: Any) -> None:
    api = serve(deadline_ms=30, late_ms=20).loaded()
    slow(api.engine, 3.0)
    begun = time.perf_counter()
    response = api.post(BODY)
    assert time.perf_counter() - begun < 1.5  # it waits 0.05 s; a busy machine adds its own
    assert_falls_back(response, "deadline")


def test_a_score_that_ends_a_little_late_is_returned_and_counted(serve: Any) -> None:
    api = serve(deadline_ms=300, late_ms=5_000).loaded()
    slow(api.engine, 0.6)
    response = api.post(BODY)
    assert response.json()["fallback"] is None
    assert api.metric("late_total") == 1


def test_clients_never_wait_behind_a_queue_that_cannot_make_it(serve: Any) -> None:
    api = serve(deadline_ms=60, late_ms=20).loaded()
    slow(api.engine, 0.02)
    for _ in range(20):
        api.post(BODY)  # the average learns
    waits = []

    async def one() -> Any:
        begun = time.perf_counter()
        response = await api.client.post("/rerank", content=json.dumps(BODY))
        waits.append(time.perf_counter() - begun)
        return response

    async def many() -> list[Any]:
        return await asyncio.gather(*(one() for _ in range(64)))

    responses = api.runner.run(many())
    reasons = {response.json()["fallback"] for response in responses}
    assert all(response.status_code == 200 for response in responses)
    assert reasons == {None, "deadline"}
    assert max(waits) < 1.0  # in a row they would take 1.3 s


def test_the_queue_is_bounded(serve: Any) -> None:
    api = serve(max_queue=2, deadline_ms=1_000).loaded()
    slow(api.engine, 0.1)
    responses = api.together([BODY] * 12)
    reasons = [response.json()["fallback"] for response in responses]
    assert reasons.count(None) in (2, 3)
    assert set(reasons) == {None, "overload"}
    assert api.metric("shed_total", reason="queue") == reasons.count("overload")


def test_a_hung_model_keeps_neither_callers_nor_memory(serve: Any) -> None:
    api = serve(max_queue=4, deadline_ms=20, late_ms=5).loaded()
    gate = threading.Event()
    api.engine.logits = lambda *_: gate.wait(20) and np.zeros(3)
    for _ in range(12):
        assert api.post(BODY).json()["fallback"] in ("deadline", "overload")
    assert api.service.worker.waiting <= 4
    gate.set()


def test_more_requests_at_once_than_allowed_fall_back(serve: Any) -> None:
    api = serve(max_inflight=2).loaded()
    slow(api.engine, 0.05)
    reasons = [response.json()["fallback"] for response in api.together([BODY] * 6)]
    assert reasons.count("overload") == 4
    assert api.metric("shed_total", reason="inflight") == 4


def test_where_overload_is_an_error_the_body_is_not_even_decoded(serve: Any) -> None:
    api = serve(max_inflight=1, on_failure="error").loaded()
    slow(api.engine, 0.05)
    statuses = [response.status_code for response in api.together([BODY, {"nonsense": 1}])]
    assert statuses == [200, 429]


def test_scoring_comes_back_after_a_slow_spell(serve: Any) -> None:
    api = serve(deadline_ms=100).loaded()
    api.service.worker.averages["scorer"] = 1.0
    assert api.post(BODY).json()["fallback"] == "deadline"
    end = time.monotonic() + 10
    while api.post(BODY).json()["fallback"] and time.monotonic() < end:
        time.sleep(0.02)
    assert api.post(BODY).json()["fallback"] is None


def test_the_age_of_a_request_counts_the_lateness_of_the_loop(serve: Any) -> None:
    api = serve(deadline_ms=100).loaded()
    api.service.lag.seconds = lambda: 0.2
    assert_falls_back(api.post(BODY), "deadline")


def test_a_fault_after_scoring_falls_back_too(serve: Any) -> None:
    api = serve().loaded()
    api.engine.rerank = lambda *_: "not what it should be"
    assert_falls_back(api.post(BODY), "model_error")


def test_a_fault_outside_scoring_has_the_error_shape(serve: Any) -> None:
    api = serve().loaded()
    object.__setattr__(api.service.models.current, "decoder", None)
    response = api.post(BODY)
    assert (response.status_code, response.json()["error"]["type"]) == (500, "internal_error")
    assert api.metric("requests_total", status="500") == 1
