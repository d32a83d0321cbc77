"""A second version: a share of the users is answered by it, or it is asked and never answers."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.bundle import Bundle
from features.pointer import read_pointer
from features.publish import end_trial, publish, roll_back, try_beside
from service.engine import Engine, kendall_tau
from service.models import share_of
from service.shadow import agreement

BODY = {"candidates": ["100", "109", "105"]}
KEY = {"authorization": "Bearer secret"}
USERS = [f"user-{number}" for number in range(400)]


def version(api: Any, user: str | int | None = None) -> str:
    """Who answers a user."""
    body = BODY if user is None else {**BODY, "user": {"id": user}}
    return api.post(body).json()["model"]["version"]


def tell(api: Any, part: str, **trial: Any) -> Any:
    """Ask for a trial."""
    return api.post(trial, f"/admin/{part}", **KEY)


def split(api: Any) -> dict[str, str]:
    """Who answers each user."""
    answers = api.together([{**BODY, "user": {"id": user}} for user in USERS])
    return {
        user: answer.json()["model"]["version"] for user, answer in zip(USERS, answers, strict=True)
    }


def test_a_split_is_by_user_and_of_the_share_asked_for(serve: Any, home: Path) -> None:
    api = serve(bundle=home, admin_key="secret", max_inflight=1000, max_queue=1000,
                deadline_ms=60_000).loaded()  # fmt: skip
    assert tell(api, "split", version="2", percent=30).status_code == 200
    once = split(api)
    assert 0.2 < sum(one == "2" for one in once.values()) / len(USERS) < 0.4
    assert split(api) == once
    assert version(api) == "1"  # nobody known is nobody's share
    counted = {one: api.metric("version_requests_total", version=one) for one in "12"}
    assert counted["2"] == 2 * sum(one == "2" for one in once.values())
    assert sum(counted.values()) == 2 * len(USERS) + 1


def test_a_greater_share_keeps_the_users_it_had(serve: Any, home: Path) -> None:
    api = serve(bundle=home, admin_key="secret", max_inflight=1000, max_queue=1000,
                deadline_ms=60_000).loaded()  # fmt: skip
    tell(api, "split", version="2", percent=20)
    few = {user for user, one in split(api).items() if one == "2"}
    tell(api, "split", version="2", percent=50)
    assert few < {user for user, one in split(api).items() if one == "2"}


def test_a_number_is_the_same_user_as_its_text(served: Any) -> None:
    tell(served, "split", version="2", percent=50)
    for user in range(20):
        assert version(served, user) == version(served, str(user))


@given(st.text())
def test_every_user_has_a_place(user: str) -> None:
    assert 0 <= share_of(user, "salt") < 100


def test_users_are_drawn_anew_for_another_version() -> None:
    places = np.array([[share_of(user, salt) for user in USERS] for salt in ("a", "b")])
    assert abs(np.corrcoef(places)[0, 1]) < 0.2
    assert 45 < places.mean() < 55


def test_all_of_the_users_are_all(served: Any) -> None:
    tell(served, "split", version="2", percent=100)
    assert {version(served, user) for user in USERS[:30]} == {"2"}


def test_a_split_ends(served: Any, home: Path) -> None:
    tell(served, "split", version="2", percent=100)
    assert tell(served, "split", version=None).json() == {"split": None, "shadow": None}
    assert version(served, "a") == "1"
    assert read_pointer(home).split is None


def test_the_version_that_takes_over_is_no_trial_any_more(served: Any, home: Path) -> None:
    tell(served, "split", version="2", percent=50)
    served.post(b"", "/admin/models/2/load", **KEY)
    info = served.get("/info").json()
    assert (info["model"]["version"], info["split"]) == ("2", None)
    assert read_pointer(home).split is None


def test_a_trial_goes_on_when_another_version_takes_over(served: Any, toy: Any, home: Path) -> None:
    toy.write(home.parents[1], name="3", published=False)
    tell(served, "split", version="2", percent=100)
    publish(home / "3")
    assert served.wait_for(lambda: served.engine.version == "3")
    assert version(served, "a") == "2"
    roll_back(home)
    assert served.wait_for(lambda: served.engine.version == "1")
    assert version(served, "a") == "2"


def test_every_worker_follows_the_pointer(served: Any, serve: Any, home: Path) -> None:
    other = serve(bundle=home, watch_seconds=0.01).loaded()
    tell(served, "split", version="2", percent=50)
    assert other.wait_for(lambda: other.service.models.split is not None)
    assert [version(other, user) for user in USERS[:20]] == [
        version(served, user) for user in USERS[:20]
    ]
    end_trial(home, "split")
    assert other.wait_for(lambda: other.service.models.split is None)


def test_a_trial_that_does_not_pass_leaves_everything_as_it_is(
    served: Any, toy: Any, home: Path
) -> None:
    toy.write(home.parents[1], toy.scorer(extra=float("nan")), name="3", published=False)
    before = (home / "CURRENT").read_bytes()
    for part in ("split", "shadow"):
        assert tell(served, part, version="3").status_code == 409
    assert (home / "CURRENT").read_bytes() == before
    try_beside(home / "3", "split", 100)  # by another hand
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert version(served, "a") == "1"
    assert served.get("/info").json()["refused"]["version"] == "3"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"version": "2", "percent": 0}, 422, "percent"),
        ({"version": "2", "percent": 101}, 422, "percent"),
        ({"version": 2}, 422, "version"),
        ({"percent": 5}, 422, "version"),
        ({"version": "2", "share": 5}, 422, "share"),
        ({"version": "9"}, 404, "version"),
        ({"version": "../2"}, 404, "version"),
        ({"version": "1"}, 409, None),
        (b"{", 422, None),
        (b'{"version": "2", "percent": NaN}', 422, "percent"),
        (b"[" * 100_000, 422, None),
    ],
)
def test_what_is_no_trial_is_refused(
    served: Any, body: Any, status: int, param: str | None
) -> None:
    answer = served.post(body, "/admin/split", **KEY)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert served.service.models.split is None


def test_a_shadow_is_compared_and_never_answers(served: Any) -> None:
    assert tell(served, "shadow", version="2", percent=100).status_code == 200
    for _ in range(5):
        assert version(served, "a") == "1"
    assert served.wait_for(lambda: served.metric("shadow_requests_total", result="scored") == 5)
    bucket = "shadow_kendall_tau_bucket"  # both are the same model
    assert [served.metric(bucket, le=edge) for edge in ("0.9", "1.0")] == [0, 5]
    assert served.metric("shadow_same_first_total") == 5
    assert served.metric("shadow_duration_seconds_count") == 5
    assert served.metric("version_requests_total", version="2") == 0


def test_a_shadow_that_fails_or_hangs_is_not_noticed(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(served, "shadow", version="2", percent=100)
    shadow, rerank, go_on = (
        served.service.models.shadow.model.engine,
        Engine.rerank,
        threading.Event(),
    )

    def hang(engine: Engine, *given: Any) -> Any:
        if engine is shadow:
            assert go_on.wait(10)
            raise MemoryError
        return rerank(engine, *given)

    monkeypatch.setattr(Engine, "rerank", hang)
    for _ in range(10):
        answer = served.post(BODY).json()
        assert (answer["fallback"], answer["model"]["version"]) == (None, "1")
    counted = "shadow_requests_total"
    assert served.wait_for(lambda: served.metric(counted, result="dropped") >= 5)  # 1 + 4 wait
    go_on.set()
    assert served.wait_for(lambda: served.metric(counted, result="failed") >= 1)


def test_a_shadow_gets_its_share_of_the_requests(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(served, "shadow", version="2", percent=40)
    drawn = iter([0.1, 0.39, 0.4, 0.9])
    monkeypatch.setattr("service.shadow.random.random", lambda: next(drawn))
    for _ in range(4):
        version(served)
        served.runner.run(asyncio.sleep(0.05))
    assert served.metric("shadow_requests_total", result="scored") == 2


def test_what_the_model_did_not_order_is_nothing_to_compare(served: Any) -> None:
    tell(served, "shadow", version="2", percent=100)
    for candidates in ([], ["100"]):
        served.post({"candidates": candidates})
    served.runner.run(asyncio.sleep(0.05))
    assert served.metric("shadow_requests_total", result="scored") == 0


@given(st.permutations(range(7)), st.permutations(range(7)))
def test_agreement_is_of_the_pairs_that_stand_alike(one: list[int], other: list[int]) -> None:
    alike = sum(
        (one.index(a) < one.index(b)) == (other.index(a) < other.index(b))
        for a in range(7) for b in range(a)
    )  # fmt: skip
    found = agreement(np.array(one), np.array(other))
    assert found == pytest.approx(2 * alike / 21 - 1)
    assert found == pytest.approx(agreement(np.array(other), np.array(one)))
    assert agreement(np.arange(7), np.array(other)) == kendall_tau(np.array(other))


def test_a_version_of_another_schema_reads_requests_its_own_way(
    served: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(served, "split", version="2", percent=100)
    model, decoded = served.service.models.split.model, []
    bundle: Bundle = model.engine.bundle
    other = bundle.manifest.model_copy(update={"fingerprint": "another"})
    monkeypatch.setattr(bundle, "manifest", other)
    decode = type(model.decoder).decode

    def note(decoder: Any, body: bytes) -> Any:
        decoded.append(decoder is model.decoder)
        return decode(decoder, body)

    monkeypatch.setattr(type(model.decoder), "decode", note)
    assert version(served, "a") == "2"
    assert decoded == [False, True]
    assert json.loads((home / "CURRENT").read_text())["split"]["version"] == "2"
