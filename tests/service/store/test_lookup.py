"""A request with an id alone is served as if it carried what is kept; a store's fault touches none.

The toy's logit is the sum of a candidate's numbers, so users move nothing: what the model was given
is looked at instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from service.metrics import Metrics
from service.settings import Settings
from service.store.base import SECONDS, Unavailable
from service.store.lookup import FAILURES, Lookup
from service.store.record import Change, Event, Stored

SLOW = 5.0  # seconds
FEATURES = {"age": 24, "gender": "M", "unknown": "kept"}
HISTORY = ["105", "106", "107", "108", "109"]  # newest first; the toy reads three
BODY = {"candidates": ["100", "101"]}
ASKING = BODY | {"user": {"id": "42"}}


class Seen:
    """What the engine was given last."""

    def __init__(self, api: Any) -> None:
        engine, self.request = api.engine, None
        before = engine.rerank

        def rerank(request: Any, mode: Any = "scorer") -> Any:
            self.request = request
            return before(request, mode)

        engine.rerank = rerank

    @property
    def history(self) -> list[str]:
        return list(self.request.history.ids)

    @property
    def user(self) -> dict[str, Any]:
        return dict(self.request.user)


def keep(api: Any, user: str = "42", **change: Any) -> None:
    """Write a user into the service's store."""
    events = [Event(item, 100.0 - place) for place, item in enumerate(HISTORY)]
    change = {"features": FEATURES, "events": events} | change
    api.runner.run(api.service.store.write({user: Change(**change)}, 99))


def up(api: Any) -> Any:
    """Wait until the store answers."""
    assert api.wait_for(lambda: not api.service.lookup.down)
    return api


@pytest.fixture
def kept(serve: Any, url: str) -> Any:
    """A service with a store that knows user 42."""
    api = up(serve(store=url, store_ms=1_000).loaded())
    keep(api)
    return api


def test_an_id_alone_is_served_as_if_it_carried_everything(kept: Any) -> None:
    seen = Seen(kept)
    by_id = kept.post(ASKING).json()
    assert by_id["store"] == "hit"
    assert (seen.user, seen.history) == ({"age": 24, "gender": "M"}, HISTORY[:3])
    given = kept.post(
        BODY | {"user": {"id": "9", "features": {"age": 24, "gender": "M"}}, "history": HISTORY[:3]}
    ).json()
    assert by_id["results"] == given["results"]
    assert by_id["unknown_items"] == given["unknown_items"] == 0
    assert by_id["unknown_features"] == {}
    assert by_id["timings_ms"]["store"] > 0 == given["timings_ms"]["store"]
    assert kept.metric("store_reads_total", result="hit") == 1
    assert kept.metric("stage_duration_seconds_count", stage="store", mode="scorer") == 1
    assert kept.metric("history_cut_total") == 0


@pytest.mark.parametrize("history", [[], ["130"]])
def test_a_history_that_is_given_wins_be_it_empty(kept: Any, history: list[str]) -> None:
    seen = Seen(kept)
    answer = kept.post(ASKING | {"history": history}).json()
    assert answer["store"] == "hit"  # for the features
    assert (seen.history, seen.user["age"]) == (history, 24)


def test_a_history_of_null_is_none_given(kept: Any) -> None:
    seen = Seen(kept)
    kept.post(ASKING | {"history": None})
    assert seen.history == HISTORY[:3]


def test_features_that_are_given_win_key_by_key_null_included(kept: Any) -> None:
    seen = Seen(kept)
    kept.post(BODY | {"user": {"id": "42", "features": {"age": 30}}})
    assert seen.user == {"age": 30, "gender": "M"}
    kept.post(BODY | {"user": {"id": "42", "features": {"gender": None}}})
    assert seen.user == {"age": 24, "gender": None}


NOTHING_LACKS: dict[str, dict[str, Any]] = {
    "no user": BODY,
    "no id": BODY | {"user": {"features": {"age": 3}}},
    "all given": ASKING | {"user": {"id": "42", "features": {"age": 1, "gender": "F"}},
                           "history": []},
    "one candidate": {"candidates": ["100"], "user": {"id": "42"}},
    "none": {"candidates": [], "user": {"id": "42"}},
}  # fmt: skip


@pytest.mark.parametrize("case", NOTHING_LACKS)
def test_the_store_is_not_asked_where_nothing_is_lacking(
    kept: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(user: str) -> Stored | None:
        raise AssertionError("asked")

    monkeypatch.setattr(kept.service.store, "read", read)
    answer = kept.post(NOTHING_LACKS[case]).json()
    assert answer["store"] is None
    assert answer["timings_ms"]["store"] == 0


def test_a_user_nobody_knows_is_served_as_unknown_and_counted(kept: Any) -> None:
    seen = Seen(kept)
    answer = kept.post(BODY | {"user": {"id": "nobody", "features": {"age": 3}}}).json()
    assert (answer["store"], answer["fallback"]) == ("miss", None)
    assert (seen.user, seen.history) == ({"age": 3}, [])
    assert kept.metric("store_reads_total", result="miss") == 1


def test_without_a_store_nothing_is_asked_and_no_route_is_there(api: Any) -> None:
    answer = api.post(ASKING).json()
    assert answer["store"] is None
    assert api.post({"events": []}, "/events").status_code == 404
    assert api.service.lookup is None


def test_numbers_and_texts_are_one_id(kept: Any) -> None:
    assert kept.post(BODY | {"user": {"id": 42}}).json()["store"] == "hit"


GARBAGE: dict[str, tuple[bytes | None, bytes | None]] = {
    "no json": (b"{", b"[]"),
    "no object": (b"[]", None),
    "of another schema": (b'{"age":"old"}', b'["105"]'),
    "not finite": (b'{"age":1e999}', None),
    "no list": (b"{}", b'{"a":1}'),
    "no ids": (b"{}", b"[1,2]"),
    "bytes": (b"\xff\x00", b"\xff"),
    "huge": (b"{}", b'["' + b"1" * 2_000_000 + b'"]'),
    "deep": (b"[" * 100_000, None),
}


@pytest.mark.parametrize("case", GARBAGE)
def test_nonsense_degrades_to_what_the_request_carries(
    kept: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(user: str) -> Stored:
        return Stored(*GARBAGE[case])

    monkeypatch.setattr(kept.service.store, "read", read)
    seen = Seen(kept)
    for _ in range(FAILURES + 1):  # one row's fault is not the store's
        answer = kept.post(BODY | {"user": {"id": "42", "features": {"age": 3}}}).json()
        assert (answer["store"], answer["fallback"]) == ("error", None)
    assert (seen.user, seen.history) == ({"age": 3}, [])
    assert kept.metric("store_reads_total", result="error") == FAILURES + 1
    assert not kept.service.lookup.down


class Fake:
    """A store that does as it is told."""

    kind = "fake"

    def __init__(self) -> None:
        self.asked, self.act = 0, self.well

    async def well(self) -> Stored | None:
        return Stored(b'{"age":24}', b'["105"]')

    async def gone(self) -> Stored | None:
        raise Unavailable("gone")

    async def broken(self) -> Stored | None:
        raise RuntimeError("a fault of ours")

    async def slow(self) -> Stored | None:
        await asyncio.sleep(SLOW)
        return None

    async def read(self, user: str) -> Stored | None:
        self.asked += 1
        return await self.act()

    async def ping(self) -> None:
        if self.act != self.well:
            await self.act()

    async def close(self) -> None:
        pass


@pytest.fixture
def fake(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A service whose store is a Fake."""
    one = Fake()
    monkeypatch.setattr("service.app.open_store", lambda url, days: one)
    monkeypatch.setattr("service.store.lookup._PAUSE", 0.02)
    api = up(serve(store="fake:", store_ms=20).loaded())
    api.store = one
    return api


@pytest.mark.parametrize(
    ("act", "said"), [("gone", "error"), ("broken", "error"), ("slow", "timeout")]
)
def test_a_store_that_fails_is_left_alone_until_it_answers_again(
    fake: Any, act: str, said: str
) -> None:
    fake.store.act = getattr(fake.store, act)
    for _ in range(FAILURES):
        answer = fake.post(ASKING).json()
        assert (answer["store"], answer["fallback"]) == (said, None)
    assert fake.service.lookup.down
    fake.store.asked = 0
    answers = [fake.post(ASKING).json() for _ in range(20)]
    assert {answer["store"] for answer in answers} == {"error"}
    assert fake.store.asked == 0
    assert fake.wait_for(lambda: fake.metric("store_down") == 1)
    fake.store.act = fake.store.well
    up(fake)
    assert fake.post(ASKING).json()["store"] == "hit"
    assert fake.metric("store_down") == 0


def test_failures_that_are_not_in_a_row_close_nothing(fake: Any) -> None:
    for _ in range(2 * FAILURES):
        fake.store.act = fake.store.gone
        fake.post(ASKING)
        fake.store.act = fake.store.well
        assert fake.post(ASKING).json()["store"] == "hit"
    assert not fake.service.lookup.down


def test_a_read_has_no_more_than_the_deadline_leaves(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Fake()
    monkeypatch.setattr("service.app.open_store", lambda url, days: one)
    api = up(serve(store="fake:", store_ms=10_000).loaded())
    one.act = one.slow
    answer = api.post(ASKING | {"deadline_ms": 100}).json()
    assert answer["store"] == "timeout"
    assert answer["timings_ms"]["total"] < 1_000 * SLOW / 2


@pytest.mark.parametrize(
    ("act", "left", "down"),
    [("slow", 0.045, True), ("slow", 0.002, False), ("gone", 0.015, True)],
    ids=["slow", "slow, for one in a hurry", "gone, for one in a hurry"],
)
def test_a_store_that_hangs_is_left_alone_where_its_budget_is_more_than_the_deadline_leaves(
    act: str, left: float, down: bool
) -> None:
    class Asking:
        filler = None

        @staticmethod
        def lacks(asked: Any) -> bool:
            return True

    asking: Any = Asking()
    asking.filler = asking

    async def run() -> bool:
        one = Fake()
        lookup = Lookup(one, 10.0, Metrics(CollectorRegistry()))
        lookup.start()
        while lookup.down:
            await asyncio.sleep(0.001)
        one.act = getattr(one, act)
        asked: Any = SimpleNamespace(user="42")
        for _ in range(FAILURES):
            visit: Any = SimpleNamespace(store=None, stages={})
            await lookup.filled(asked, asking, visit, perf_counter() + left)
        found = lookup.down
        await lookup.stop()
        return found

    assert asyncio.run(run()) is down


def test_reads_that_are_slow_do_not_pile_up(fake: Any) -> None:
    fake.store.act = fake.store.slow
    answers = fake.together([ASKING] * 100)
    assert {answer.json()["store"] for answer in answers} <= {"timeout", "error"}
    assert fake.store.asked <= 64


def test_the_shadow_reads_what_the_store_gave_for_its_own_schema(kept: Any) -> None:
    from service.shadow import read_anew

    model = kept.service.models.current
    decoder = model.decoder
    body = json.dumps(ASKING).encode()
    stored = Stored(json.dumps(FEATURES).encode(), json.dumps(HISTORY).encode())
    asked = decoder.filler.fill(decoder.decode(body), stored)
    again = read_anew(model, asked, body)
    assert again.raw.user == {"age": 24, "gender": "M"}
    assert list(again.raw.history.ids) == HISTORY[:3]
    assert read_anew(model, decoder.decode(body), body).raw.history.ids == []


def test_a_client_that_does_not_let_itself_be_cancelled_holds_up_no_stop() -> None:
    class Stubborn(Fake):
        pings = 0

        async def ping(self) -> None:
            self.pings += 1
            if self.pings > 3:
                await asyncio.sleep(SLOW)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.01)
            raise Unavailable("gone")

    async def run() -> None:
        one = Stubborn()
        lookup = Lookup(one, 0.01, Metrics(CollectorRegistry()))
        lookup.start()
        await asyncio.sleep(0)  # the trial is under way
        stopping = asyncio.create_task(lookup.stop())
        done, _ = await asyncio.wait((stopping,), timeout=5 * SECONDS)
        assert done
        assert one.pings == 1
        await asyncio.sleep(0.05)
        assert one.pings == 1

    asyncio.run(run())


def test_the_stores_address_is_never_shown() -> None:
    settings = Settings.from_env(
        {"RERANK_BUNDLE": "b", "RERANK_STORE": "redis://:hunter2@host:1/0"}
    )
    assert "hunter2" not in repr(settings)


def test_an_empty_store_is_none(serve: Callable[..., Any]) -> None:
    assert serve(store="").service.store is None
