"""A real Redis that is not there, dies, stalls, comes back: lists are answered all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import store as cli_store
from cli.store import StoreFailed, _loaded, _using
from data.users import People, Person
from service.store.lookup import FAILURES
from tests.service.store.test_lookup import ASKING, HISTORY, Seen, keep, up

pytestmark = pytest.mark.usefixtures("redis_folder")
QUICK = {"store_ms": 1_000, "deadline_ms": 10_000}  # a busy machine is not a fault here


def asked(api: Any) -> str:
    """What the store said; the list is answered whatever that is."""
    answer = api.post(ASKING)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["fallback"], len(body["results"])) == (None, 2)
    return str(body["store"])


def test_a_store_that_is_down_at_the_start_is_used_once_it_is_there(
    serve: Any, own_redis: Any
) -> None:
    api = serve(store=own_redis.url, **QUICK).loaded()
    assert api.get("/readyz").status_code == 200
    assert asked(api) == "error"
    assert api.wait_for(lambda: api.metric("store_down") == 1)
    assert api.post({"events": [{"user_id": "42", "item_id": "1"}]}, "/events").status_code == 503
    own_redis.start()
    up(api)
    keep(api)
    assert asked(api) == "hit"
    assert api.metric("store_down") == 0


def test_a_store_that_dies_is_used_again_once_it_was_restarted(serve: Any, own_redis: Any) -> None:
    own_redis.start()
    api = up(serve(store=own_redis.url, **QUICK).loaded())
    keep(api)
    seen = Seen(api)
    assert (asked(api), seen.history) == ("hit", HISTORY[:3])
    own_redis.kill()
    for _ in range(FAILURES + 1):
        assert (asked(api), seen.history) == ("error", [])
    assert api.service.lookup.down
    assert api.post({"events": [{"user_id": "42", "item_id": "1"}]}, "/events").status_code == 503
    own_redis.start()
    up(api)
    assert (asked(api), seen.history) == ("hit", HISTORY[:3])


def test_a_restart_between_two_requests_is_not_even_noticed(serve: Any, own_redis: Any) -> None:
    own_redis.start()
    api = up(serve(store=own_redis.url, **QUICK).loaded())
    keep(api)
    assert {answer.json()["store"] for answer in api.together([ASKING] * 8)} == {"hit"}
    own_redis.kill()
    own_redis.start()
    assert {answer.json()["store"] for answer in api.together([ASKING] * 8)} == {"hit"}
    sent = api.post({"events": [{"user_id": "42", "item_id": "1", "event_id": "e"}]}, "/events")
    if sent.status_code == 503:  # the connection of writers had gone; a repeat is what it asks for
        sent = api.post({"events": [{"user_id": "42", "item_id": "1", "event_id": "e"}]}, "/events")
    assert sent.status_code == 200


def test_a_store_that_stalls_costs_its_budget_a_few_times_and_then_nothing(
    serve: Any, proxy: Any
) -> None:
    api = up(serve(store=proxy.url, store_ms=50, deadline_ms=10_000).loaded())
    keep(api)
    assert in_time(lambda: asked(api) == "hit")
    proxy.stalled = True
    said = [asked(api) for _ in range(FAILURES + 10)]
    assert api.service.lookup.down
    assert set(said[FAILURES:]) == {"error"}
    connections = proxy.connections
    assert {asked(api) for _ in range(20)} == {"error"}
    assert proxy.connections <= connections + 1  # that of a trial
    proxy.stalled = False
    up(api)
    assert in_time(lambda: asked(api) == "hit")


def test_a_store_that_is_slower_than_the_budget_stays_left_alone(serve: Any, proxy: Any) -> None:
    api = up(serve(store=proxy.url, store_ms=100, deadline_ms=10_000).loaded())
    proxy.delay = 0.3
    for _ in range(FAILURES):
        asked(api)
    assert api.service.lookup.down
    assert not wait(api, 2.5)  # trials get an answer meanwhile, and find it slow
    assert proxy.connections < 20
    proxy.delay = 0.0
    up(api)


def in_time(holds: Callable[[], bool]) -> bool:
    """Ask until something holds, for ten seconds at most."""
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def wait(api: Any, seconds: float) -> bool:
    """Whether the store came back within a time."""
    end = time.monotonic() + seconds
    api.wait_for(lambda: not api.service.lookup.down or time.monotonic() > end)
    return not api.service.lookup.down


@pytest.mark.parametrize("field", ["features", "items"])
def test_garbage_in_redis_is_marked_and_mended_by_the_next_write(
    serve: Any, redis: Any, field: str
) -> None:
    api = up(serve(store=redis.url, **QUICK).loaded())
    keep(api)
    redis.command("HSET", "psad:user:42", field, "{garbage")
    assert asked(api) == "error"
    keep(api, events=[])
    keep(api, features=None)
    assert asked(api) == "hit"


def test_a_key_that_is_no_hash_is_marked(serve: Any, redis: Any) -> None:
    api = up(serve(store=redis.url, **QUICK).loaded())
    redis.command("SET", "psad:user:42", "x")
    assert {asked(api) for _ in range(FAILURES + 1)} == {"error"}
    assert not api.service.lookup.down


def test_a_password_that_is_wrong_is_an_outage_that_never_shows_it(
    serve: Any, redis: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    url = redis.url.replace("//", "//:hunter2@")
    api = serve(store=url, **QUICK).loaded()
    assert api.wait_for(lambda: api.metric("store_down") == 1)
    assert asked(api) == "error"
    assert "hunter2" not in caplog.text + "".join(capfd.readouterr())
    assert "hunter2" not in api.get("/info").text


def people(count: int) -> Iterator[Person]:
    for number in range(count):
        yield Person(f"u{number}", {"age": number}, [("1", 2.0), ("2", 1.0)])


def load(url: str, count: int) -> int:
    return _using(url, 0, lambda one: _loaded(one, People(count, 3, people(count)), False))


def test_a_load_goes_on_where_redis_is_started_again_in_its_middle(
    own_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_store, "BATCH", 5)
    own_redis.start()

    def again() -> None:
        own_redis.kill()
        own_redis.start()

    timer = threading.Timer(0.1, again)
    timer.start()
    assert load(own_redis.url, 400) == 400
    timer.join()
    assert own_redis.command("DBSIZE") == b":400\r\n"


def test_a_load_that_redis_left_says_so_and_is_run_again(
    own_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_store, "BATCH", 5)
    monkeypatch.setattr(cli_store, "PATIENCE", 0.0)
    own_redis.start()
    timer = threading.Timer(0.2, own_redis.kill)
    timer.start()
    with pytest.raises(StoreFailed, match="run it again"):
        load(own_redis.url, 100_000)
    timer.join()
    own_redis.start()
    assert 0 < int(own_redis.command("DBSIZE")[1:]) < 100_000
    load(own_redis.url, 200)
    assert own_redis.command("HGET", "psad:user:u199", "items") == b'$9\r\n["1","2"]\r\n'


def test_a_file_that_cannot_be_opened_is_an_outage_until_its_folder_is_there(
    serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "later"
    api = serve(store=f"file:{folder}/users.db", **QUICK).loaded()
    assert api.wait_for(lambda: api.metric("store_down") == 1)
    assert asked(api) == "error"
    folder.mkdir()
    up(api)
    keep(api)
    assert asked(api) == "hit"
