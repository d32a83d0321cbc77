"""The time a body has, whatever server is in front: also where nothing bounds the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

BODY = b'{"candidates":["100","109"]}'


async def slowly(body: bytes, pause: float, stops: bool = False) -> AsyncIterator[bytes]:
    for place in range(len(body)):
        yield body[place : place + 1]
        await asyncio.sleep(pause)
    if stops:
        await asyncio.sleep(60)


@pytest.mark.parametrize("stops", [False, True])
def test_a_body_that_does_not_come_in_time_is_408_and_frees_its_place(
    serve: Any, stops: bool
) -> None:
    api = serve(receive_seconds=0.2, max_inflight=1).loaded()
    pause = 0.0 if stops else 0.05
    answer = api.runner.run(api.client.post("/rerank", content=slowly(BODY, pause, stops)))
    assert answer.status_code == 408
    assert answer.json()["error"]["type"] == "too_slow"
    assert answer.headers["connection"] == "close"
    assert api.metric("requests_total", status="408") == 1
    assert api.metric("inflight_requests") == 0
    assert api.service.reranker._inside == 0
    assert api.post(BODY).json()["fallback"] is None


@pytest.mark.parametrize("on_failure", ["incoming", "error"])
def test_callers_that_send_no_body_keep_nobody_out(serve: Any, on_failure: str) -> None:
    api = serve(max_inflight=1, on_failure=on_failure).loaded()

    async def beside() -> httpx.Response:
        bodies = [slowly(BODY, 0.0, stops=True) for _ in range(3)]
        silent = [asyncio.create_task(api.client.post("/rerank", content=one)) for one in bodies]
        await asyncio.sleep(0.1)
        assert api.metric("inflight_requests") == len(silent)
        answer: httpx.Response = await api.client.post("/rerank", content=BODY)
        for one in silent:
            one.cancel()
        await asyncio.gather(*silent, return_exceptions=True)
        return answer

    answer = api.runner.run(beside())
    assert (answer.status_code, answer.json()["fallback"]) == (200, None)
    assert api.metric("shed_total", reason="inflight") == 0


def test_a_body_in_pieces_within_its_time_is_served(serve: Any) -> None:
    api = serve(receive_seconds=30).loaded()
    answer = api.runner.run(api.client.post("/rerank", content=slowly(BODY, 0.001)))
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()["results"]] == ["109", "100"]


def test_the_time_of_other_bodies_is_bounded_too(serve: Any, home: Any) -> None:
    api = serve(bundle=home, receive_seconds=0.2, admin_key="secret", page=True).loaded()
    for path, key in (("/admin/split", "secret"), ("/page/titles", "none")):
        header = {"authorization": f"Bearer {key}"}
        content = slowly(b'{"version": null}', 0.0, stops=True)
        answer = api.runner.run(api.client.post(path, content=content, headers=header))
        assert answer.status_code == 408
