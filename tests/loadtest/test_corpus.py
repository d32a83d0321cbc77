"""Hostile requests: there are enough, a real service bears them, and a bad one is noticed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import web

from loadtest.chaos import corpus, raw
from loadtest.chaos.corpus import bodies, generated, run
from loadtest.chaos.odd import ODD
from loadtest.chaos.raw import Raw, exchange, requests
from loadtest.chaos.verdicts import offence
from loadtest.errors import LoadError

KINDS = ("numeric", "categorical", "bag")
INFO: dict[str, Any] = {
    "schema": {
        side: [{"name": f"{side}_{kind}", "kind": kind} for kind in KINDS]
        for side in ("user", "item", "context")
    },
    "modes": ["scorer", "generator"],
    "limits": {"candidates": 50, "history": 20, "body_bytes": 200_000},
}
DOCUMENTED = (200, 400, 422, 503)
ASKS = b'{"candidates":["1"],"on_failure":"error"}'
GOOD = {"results": [], "fallback": None}
ERROR = {"error": {"type": "invalid", "message": "m", "param": None, "request_id": None}}


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    return bodies(INFO)


def test_every_place_is_met_by_every_odd_value(made: dict[str, bytes]) -> None:
    assert len(set(made.values())) > 300
    features = [f"{side}_{kind}" for side in ("item", "context") for kind in KINDS]
    places = [
        "body", "candidates", "user", "history", "top_k", "deadline_ms", "mode", "on_failure",
        "request_id", "user.id", "user.features.user_bag", "history[1].id", "candidates[1]",
        "candidates[1].score", "candidates.id[1]", "candidates.score",
        *(f"candidates[1].features.{name}" for name in features),
    ]  # fmt: skip
    for place in places:
        for name, value in ODD.items():
            assert value in made[f"{place}: {name}"]
            assert b"<<" not in made[f"{place}: {name}"]


def test_the_limits_are_those_of_the_service(made: dict[str, bytes]) -> None:
    assert len(made["form: over the limit"]) == 200_001
    assert len(json.loads(made["form: one candidate more"])["candidates"]) == 51
    assert len(json.loads(made["form: one history more"])["history"]) == 21


def test_keys_stand_twice_where_they_are_to(made: dict[str, bytes]) -> None:
    twice = made["key of body: candidates twice, bad first"]
    assert twice.count(b'"candidates":') == 3
    assert made["key of body: NUL"].endswith(b'"\\u0000":1}')


def test_generated_bodies_are_the_same_for_a_seed_and_others_for_another() -> None:
    one, again, other = (list(generated(INFO, 500, seed)) for seed in (3, 3, 4))
    assert one == again
    assert len({*one, *other}) > 990


def test_some_generated_bodies_are_json_and_some_are_none() -> None:
    found = [_is_json(body) for body in generated(INFO, 500)]
    assert 100 < sum(found) < 450


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def test_without_a_model_there_is_nothing_to_make_bodies_of() -> None:
    with pytest.raises(LoadError, match="no model"):
        bodies({"schema": None})


def test_a_real_service_bears_all_of_it(url: str) -> None:
    heard: list[tuple[int, int]] = []
    report = run(url, generated=300, progress=lambda done, total: heard.append((done, total)))
    assert report["offenders"] == []
    assert report["offences"] == 0
    assert report["requests"] == sum(report["statuses"].values()) == heard[-1][0] == heard[-1][1]
    assert sum(report["kinds"]["generated"].values()) == 300
    assert sum(report["kinds"]["raw"].values()) == len(requests()) > 100
    for status in ("200", "400", "404", "405", "413", "422", "431"):
        assert report["statuses"][status]
    assert not [status for status in report["statuses"] if status.startswith("50")][1:]
    json.dumps(report, allow_nan=False)


Answers = Callable[[bytes], tuple[int, Any]]


@pytest.fixture
def reported(pretend: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`reported(answers)`: what `run` says of a service that answers bodies so."""
    few = {"a": b'{"candidates":["1"]}', "b": b"{", "c": ASKS}
    monkeypatch.setattr(corpus, "bodies", lambda info: few)
    monkeypatch.setattr(raw, "requests", lambda key: {"noise": Raw(b"nonsense\r\n\r\n")})

    def of(answers: Answers) -> Any:
        return run(pretend(_served(answers), everything=True), generated=5)

    return of


def _served(answers: Answers) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    responses = {str(status): {} for status in DOCUMENTED}
    paths = {
        "/info": INFO,
        "/openapi.json": {"paths": {"/rerank": {"post": {"responses": responses}}}},
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path in paths:
            return web.json_response(paths[request.path])
        status, content = answers(await request.read())
        if status == 0:
            assert request.transport is not None
            request.transport.close()
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(status=status or 200, text=text, content_type="application/json")

    return answer


def good_for(answers: Answers) -> Answers:
    """Bad for one body alone."""
    return lambda body: answers(body) if body == b"{" else (200, GOOD)


def test_a_service_that_behaves_has_no_offence(reported: Any) -> None:
    report = reported(lambda body: (200, GOOD) if body != b"{" else (400, ERROR))
    assert (report["offences"], report["requests"]) == (0, 9)
    assert report["statuses"]["400"] == 2  # of the noise, too


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, ERROR), "500 is not documented"),
        ((418, ERROR), "418 is not documented"),
        ((503, ERROR), "did not ask for errors"),
        ((200, '{"results": [{"score": NaN}], "fallback": null}'), "not JSON"),
        ((200, '{"results": [{"score": Infinity}], "fallback": null}'), "not JSON"),
        ((200, "<html>"), "not JSON"),
        ((200, []), "no object"),
        ((200, {"results": []}), "no results"),
        ((200, {"results": [], "fallback": "model_error"}), "the model failed"),
        ((400, {"detail": "x"}), "another shape"),
        ((400, {"error": {**ERROR["error"], "message": "m" * 500}}), "bytes"),
        ((0, ""), "no answer"),
    ],
)
def test_a_service_that_misbehaves_is_noticed(
    reported: Any, answer: tuple[int, Any], said: str
) -> None:
    report = reported(good_for(lambda body: answer))
    assert report["offences"] == 1
    (offender,) = report["offenders"]
    assert (offender["kind"], offender["name"], offender["request"]) == ("body", "b", "{")
    assert said in offender["why"]


def test_a_service_that_serves_no_more_is_noticed(reported: Any) -> None:
    seen: list[bytes] = []

    def tired(body: bytes) -> tuple[int, Any]:
        seen.append(body)
        return (200, GOOD) if len(seen) <= 3 else (422, ERROR)

    report = reported(tired)
    assert [one["name"] for one in report["offenders"]] == ["afterwards"] * 3
    assert "not served any more" in report["offenders"][0]["why"]


def test_an_error_that_was_asked_for_is_none() -> None:
    content = json.dumps(ERROR).encode()
    assert offence(503, content, ASKS, DOCUMENTED) is None
    assert offence(503, content, b'{"on_failure":"error","on_failure":"incoming"}', DOCUMENTED)
    assert offence(503, content, b"[" * 100_000, DOCUMENTED)


def test_where_nothing_serves_it_is_said() -> None:
    with pytest.raises(LoadError, match="cannot be read"):
        run("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("answer", "request_", "said"),
    [
        (b"HTTP/1.1 400 Bad\r\n\r\n", Raw(b"x"), None),
        (b"HTTP/1.1 500 Bad\r\n\r\n", Raw(b"x"), "status 500"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 502 Bad\r\n\r\n", Raw(b"x", good=True), "status 502"),
        (b"HTTP/1.1 200 OK\r\n\r\n", Raw(b"x"), "status 200 for what is no request"),
        (b"HTTP/1.1 200 OK\r\n\r\n", Raw(b"x", good=True), None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 417 No\r\n\r\n", Raw(b"x"), None),
        (b"", Raw(b"x"), None),
        (None, Raw(b"x"), "neither answered nor closed"),
    ],
)
def test_what_comes_over_a_socket_is_judged(
    answer: bytes | None, request_: Raw, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "_PATIENCE", 0.3)

    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read(1)
            if answer is None:
                await reader.read()
            writer.write(answer or b"")
        writer.close()
        ended.set()

    async def ask() -> str | None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            fault = (await exchange("127.0.0.1", port, request_))[1]
            await ended.wait()
            return fault

    assert asyncio.run(ask()) == said
