"""POST /events: all of it or none, each event once, errors as of /rerank; /users for people."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

from service.schemas import EventsRequest, EventsResponse, UserDeleted, UserKept
from service.store.base import Unavailable
from service.store.events import Events
from tests.service.store.test_lookup import BODY, up

KEY = "Bearer secret"


@pytest.fixture
def told(serve: Any, url: str) -> Any:
    """A service with an empty store and an admin."""
    return up(serve(store=url, store_ms=1_000, admin_key="secret").loaded())


def send(api: Any, *events: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = api.post({"events": list(events)}, "/events")
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


def event(item: Any = "105", user: Any = "42", **more: Any) -> dict[str, Any]:
    return {"user_id": user, "item_id": item, **more}


def history(api: Any, user: str = "42") -> list[str]:
    answer = api.get(f"/users/{quote(user, safe='')}", authorization=KEY)
    return [one["item_id"] for one in answer.json()["history"]] if answer.is_success else []


def test_what_is_sent_is_the_history_of_the_next_request(told: Any) -> None:
    answer = send(told, event("105"), event("106"), event("7", user="43"))
    EventsResponse.model_validate(answer)
    assert (answer["events"], answer["added"]) == (3, 3)
    assert told.post(BODY | {"user": {"id": "42"}}).json()["store"] == "hit"
    assert told.metric("history_length_sum") == 2
    assert told.metric("events_total", result="added") == 3


def test_the_newest_stands_first_and_a_late_one_in_its_place(told: Any) -> None:
    send(told, event("1", timestamp=100), event("3", timestamp=300.5))
    send(told, event("2", timestamp=200), event("4"))
    assert history(told) == ["4", "3", "2", "1"]


def test_an_event_sent_again_counts_once(told: Any) -> None:
    events = [event("1", event_id="a"), event("2", timestamp=5), event("3", event_id=7)]
    send(told, *events)
    assert send(told, *events, event("4"))["added"] == 1
    assert len(history(told)) == 4
    assert told.metric("events_total", result="known") == 3


def test_a_history_is_kept_twice_as_long_as_the_model_reads(told: Any) -> None:
    send(told, *(event(str(n), timestamp=n) for n in range(20)))
    assert history(told) == ["19", "18", "17", "16", "15", "14"]  # max_history is 3
    assert send(told, event("0", timestamp=0))["added"] == 0


@pytest.mark.parametrize("place", ["previous", "split", "shadow"])
def test_a_history_is_kept_for_the_version_beside_that_reads_the_longest(
    told: Any, place: str
) -> None:
    schema = SimpleNamespace(max_history=4)
    model = SimpleNamespace(engine=SimpleNamespace(schema=schema))
    beside = model if place == "previous" else SimpleNamespace(model=model)
    models = told.service.models
    setattr(models, place, beside)
    events = Events(told.service.settings, models, None, told.service.metrics)
    assert events._kept() == 2 * 4
    setattr(models, place, None)
    assert events._kept() == 2 * 3


def test_nothing_is_a_batch_too(told: Any) -> None:
    assert send(told) | {"request_id": ""} == {"request_id": "", "events": 0, "added": 0}


LONG = "x" * 257
WRONG: dict[str, tuple[bytes, int, str, str | None]] = {
    "empty": (b"", 400, "not_json", None),
    "cut": (b'{"events":[', 400, "not_json", None),
    "nan": (b'{"events":[{"user_id":"1","item_id":"2","timestamp":NaN}]}', 422, "out_of_range",
            "events[0].timestamp"),
    "list": (b"[]", 422, "invalid", None),
    "no events": (b"{}", 422, "missing", "events"),
    "null": (b'{"events":null}', 422, "invalid", "events"),
    "unknown key": (b'{"event":[],"events":[]}', 422, "unknown_key", "event"),
    "misspelt": (b'{"events":[{"user":"1","item_id":"2"}]}', 422, "unknown_key", "events[0].user"),
    "no item": (b'{"events":[{"user_id":"1"}]}', 422, "missing", "events[0].item_id"),
    "no user": (b'{"events":[{"item_id":"1"}]}', 422, "missing", "events[0].user_id"),
    "null id": (b'{"events":[{"user_id":null,"item_id":"2"}]}', 422, "invalid",
                "events[0].user_id"),
    "empty id": (b'{"events":[{"user_id":"","item_id":"2"}]}', 422, "invalid",
                 "events[0].user_id"),
    "long id": (b'{"events":[{"user_id":"1","item_id":"%s"}]}' % LONG.encode(), 422, "invalid",
                "events[0].item_id"),
    "float id": (b'{"events":[{"user_id":1.5,"item_id":"2"}]}', 422, "invalid",
                 "events[0].user_id"),
    "text time": (b'{"events":[{"user_id":"1","item_id":"2","timestamp":"now"}]}', 422, "invalid",
                  "events[0].timestamp"),
    "before time": (b'{"events":[{"user_id":"1","item_id":"2","timestamp":-1}]}', 422,
                    "out_of_range", "events[0].timestamp"),
    "huge time": (b'{"events":[{"user_id":"1","item_id":"2","timestamp":1e999}]}', 422,
                  "out_of_range", "events[0].timestamp"),
    "milliseconds": (b'{"events":[{"user_id":"1","item_id":"2","timestamp":1764000000000}]}', 422,
                     "out_of_range", "events[0].timestamp"),
    "surrogate": (b'{"events":[{"user_id":"\\ud800","item_id":"2"}]}', 400, "not_json", None),
    "deep": (b'{"events":' + b"[" * 100_000, 400, "not_json", None),
    "second wrong": (b'{"events":[{"user_id":"1","item_id":"2"},{"user_id":"1"}]}', 422, "missing",
                     "events[1].item_id"),
    "too many": (json.dumps({"events": [event()] * 1_001}).encode(), 422, "too_many", "events"),
    "too large": (b" " * 1_000_001, 413, "body_too_large", None),
}  # fmt: skip


@pytest.fixture(scope="module")
def listening(bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One service for bodies that are refused."""
    from contextlib import ExitStack

    from service.settings import Settings
    from tests.service.conftest import Api

    path = tmp_path_factory.mktemp("store") / "users.db"
    with ExitStack() as stack:
        settings = Settings.model_validate({"bundle": bundle, "store": f"file:{path}"})
        yield Api(settings, stack).loaded()


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_as_rerank_names_it_and_nothing_is_added(
    listening: Any, case: str
) -> None:
    body, status, kind, param = WRONG[case]
    answer = listening.post(body, "/events")
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == (kind, param), error
    assert error["request_id"] == answer.headers["x-request-id"]
    assert listening.metric("events_total", result="added") == 0


def test_a_misspelt_key_is_told_the_right_one(listening: Any) -> None:
    body = {"events": [{"user_id": "1", "item": "2"}]}
    assert "'item_id'" in listening.post(body, "/events").json()["error"]["message"]


def test_the_description_says_what_the_grammar_says(told: Any) -> None:
    described = told.app.openapi()
    parts = described["components"]["schemas"]
    schema = {**EventsRequest.model_json_schema()}
    for case, (body, status, kind, _) in WRONG.items():
        if status == 422 and kind != "out_of_range":
            assert not jsonschema.Draft202012Validator(schema).is_valid(json.loads(body)), case
    jsonschema.validate({"events": [event(5, user=7, timestamp=None, event_id=3)]}, schema)
    assert set(parts) >= {"EventsRequest", "EventSent", "EventsResponse", "UserKept"}
    answers = described["paths"]["/events"]["post"]["responses"]
    assert {*answers} >= {"200", "400", "401", "413", "422", "429", "503"}


def test_a_store_that_does_not_answer_is_503_and_nothing_is_half_done(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(*_: Any) -> int:
        raise Unavailable("gone")

    send(told, event("1", timestamp=1))
    with monkeypatch.context() as patched:
        patched.setattr(told.service.store, "write", write)
        answer = send(told, event("2"), event("3", user="43"), status=503)
    assert answer["error"]["type"] == "store_unavailable"
    assert "once more" in answer["error"]["message"]
    assert (history(told), history(told, "43")) == (["1"], [])
    assert told.metric("events_total", result="failed") == 2


def test_callers_need_their_key_and_people_the_admins(serve: Any, url: str) -> None:
    api = up(serve(store=url, api_key="caller", admin_key="secret").loaded())
    assert api.post({"events": []}, "/events").status_code == 401
    assert api.post({"events": []}, "/events", authorization="Bearer caller").status_code == 200
    assert api.post({"events": []}, "/events", authorization=KEY).status_code == 401
    for key in ("Bearer caller", "Bearer x", ""):
        assert api.get("/users/42", authorization=key).status_code == 401
    assert api.get("/users/42", authorization=KEY).status_code == 404


def test_a_method_that_is_none_is_told_all_that_are(told: Any) -> None:
    answer = told.post(b"", "/users/42", authorization=KEY)
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


def test_users_are_not_there_without_an_admin(serve: Any, url: str) -> None:
    api = up(serve(store=url).loaded())
    assert api.get("/users/42").status_code == 404
    assert not any(path.startswith("/users") for path in api.app.openapi()["paths"])


@pytest.mark.parametrize("user", ["42", "a/b", "ä ö", "..", "a%2Fb", "?x=1", "a\nb", "\n", "a\n\n"])
def test_a_person_is_seen_and_forgotten(told: Any, user: str) -> None:
    path = f"/users/{quote(user, safe='')}".replace("..", "%2E%2E")
    begun = time.time()
    send(told, event("105", user=user, event_id="e"), event("9", user="other"))
    kept = told.get(path, authorization=KEY).json()
    UserKept.model_validate(kept)
    assert (kept["user_id"], kept["features"]) == (user, None)
    assert kept["history"][0]["event_id"] == "e"
    assert begun - 1 <= kept["history"][0]["timestamp"] <= time.time() + 1

    def delete() -> Any:
        return told.runner.run(told.client.delete(path, headers={"authorization": KEY}))

    answer = delete().json()
    UserDeleted.model_validate(answer)
    assert answer == {"user_id": user, "deleted": True}
    assert delete().json()["deleted"] is False
    assert (history(told, user), history(told, "other")) == ([], ["9"])


def test_a_store_that_does_not_answer_is_503_for_people_too(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any) -> Any:
        raise Unavailable("gone")

    for name in ("row", "delete"):
        monkeypatch.setattr(told.service.store, name, gone)
    assert told.get("/users/42", authorization=KEY).status_code == 503
    answer = told.runner.run(told.client.delete("/users/42", headers={"authorization": KEY}))
    assert answer.status_code == 503
