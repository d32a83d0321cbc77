"""Another version takes over while requests are served, or it does not and nothing changes."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from features.publish import publish, roll_back, try_beside
from service.engine import Engine
from service.errors import StartRefused
from service.models import Models

BODY = {"candidates": ["100", "109"]}
KEY = {"authorization": "Bearer secret"}


def version(api: Any) -> str:
    """Who answers."""
    return api.post(BODY).json()["model"]["version"]


def bad(toy: Any, home: Path, name: str = "3") -> Path:
    """A version that gives no numbers."""
    toy.write(home.parents[1], toy.scorer(extra=float("nan")), name=name, published=False)
    return home / name


def test_what_is_published_takes_over(served: Any, home: Path) -> None:
    assert version(served) == "1"
    publish(home / "2")
    assert served.wait_for(lambda: served.engine.version == "2")
    assert version(served) == "2"
    assert served.metric("model_info", name="toy-s", version="2") == 1
    assert served.metric("model_info", name="toy-s", version="1") == 0
    assert served.metric("model_reload_total", result="success") == 2
    info = served.get("/info").json()
    assert (info["model"]["version"], info["previous"]["version"]) == ("2", "1")
    assert info["process"] == os.getpid()
    roll_back(home)
    assert served.wait_for(lambda: served.engine.version == "1")


def test_the_version_before_is_not_loaded_again(served: Any, home: Path, monkeypatch: Any) -> None:
    first = served.service.models.current
    publish(home / "2")
    assert served.wait_for(lambda: served.engine.version == "2")
    monkeypatch.setattr(Models, "_loaded", None)
    roll_back(home)
    assert served.wait_for(lambda: served.service.models.current is first)


def test_a_version_that_does_not_pass_leaves_the_old_one_serving(
    served: Any, toy: Any, home: Path
) -> None:
    publish(bad(toy, home))
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert version(served) == "1"
    assert served.get("/readyz").status_code == 200
    info = served.get("/info").json()
    assert info["state"] == "ready"
    said = "golden request 0: 3 predictions are no finite numbers"
    assert info["refused"] == {"version": "3", "reason": said}
    assert served.metric("model_reload_total", result="failure") == 1
    assert served.metric("model_info", name="toy-s", version="1") == 1
    publish(home / "2")
    assert served.wait_for(lambda: served.engine.version == "2")
    assert served.get("/info").json()["refused"] is None


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "9", "manifest_sha256": ""}'])
def test_a_pointer_that_is_none_leaves_the_old_version_serving(
    served: Any, home: Path, content: str
) -> None:
    (home / "CURRENT").write_text(content)
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert version(served) == "1"


def test_taking_a_bad_version_back_is_the_end_of_its_refusal(
    served: Any, toy: Any, home: Path
) -> None:
    publish(bad(toy, home))
    assert served.wait_for(lambda: served.service.models.refused is not None)
    roll_back(home)
    assert served.wait_for(lambda: served.service.models.refused is None)
    assert version(served) == "1"


def test_a_bad_version_is_tried_once_and_not_at_every_look(
    served: Any, toy: Any, home: Path
) -> None:
    publish(bad(toy, home))
    assert served.wait_for(lambda: served.service.models.refused is not None)
    served.runner.run(asyncio.sleep(0.2))
    assert served.metric("model_reload_total", result="failure") == 1


def test_a_fault_that_may_pass_is_tried_again(served: Any, home: Path, monkeypatch: Any) -> None:
    def no_memory(*_: Any) -> Any:
        raise MemoryError

    served.service.models._pause = 0.01
    monkeypatch.setattr("service.models.Engine", no_memory)
    publish(home / "2")
    assert served.wait_for(lambda: served.metric("model_reload_total", result="failure") >= 2)
    assert version(served) == "1"
    monkeypatch.undo()
    assert served.wait_for(lambda: served.engine.version == "2")
    assert served.service.models._pause == 2.0


def test_a_file_that_comes_after_its_pointer_is_found(served: Any, home: Path) -> None:
    served.service.models._pause = 0.01
    scorer = home / "2" / "scorer.onnx"
    scorer.rename(home / "later")  # still being copied
    publish(home / "2")
    assert served.wait_for(lambda: served.metric("model_reload_total", result="failure") >= 2)
    (home / "later").rename(scorer)
    assert served.wait_for(lambda: served.engine.version == "2")


def test_no_memory_at_the_start_is_not_the_end(serve: Any, home: Path, monkeypatch: Any) -> None:
    swap = Models._swap

    def once(*given: Any) -> None:
        monkeypatch.setattr(Models, "_swap", swap)
        raise MemoryError

    monkeypatch.setattr(Models, "_swap", once)
    monkeypatch.setattr("service.models._AGAIN_SECONDS", 0.05)
    api = serve(bundle=home, watch_seconds=0.01).loaded()
    assert api.service.models.state == "failed"
    assert api.wait_for(lambda: api.service.ready)


def test_who_publishes_right_after_is_followed(
    served: Any, toy: Any, home: Path, monkeypatch: Any
) -> None:
    toy.write(home.parents[1], name="3", published=False)

    def and_another(folder: Path) -> Any:
        pointer = publish(folder)
        publish(home / "3")
        return pointer

    monkeypatch.setattr("service.models.publish", and_another)
    assert served.post(b"", "/admin/models/2/load", **KEY).status_code == 200
    assert served.wait_for(lambda: served.engine.version == "3")


def test_the_end_of_a_trial_that_did_not_pass_ends_its_refusal(
    served: Any, toy: Any, home: Path
) -> None:
    try_beside(bad(toy, home), "split", 10.0)
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert served.post({"version": None}, "/admin/split", **KEY).status_code == 200
    assert served.service.models.refused is None


def test_a_service_that_started_before_its_bundle_finds_it(
    serve: Any, toy: Any, tmp_path: Path
) -> None:
    api = serve(bundle=tmp_path / "bundles" / "toy", watch_seconds=0.01).loaded()
    assert api.get("/readyz").status_code == 503
    toy.write(tmp_path)
    assert api.wait_for(lambda: api.service.ready)
    assert api.get("/info").json()["reason"] is None


def test_nothing_is_looked_at_where_that_is_not_wanted(serve: Any, home: Path) -> None:
    api = serve(bundle=home, watch_seconds=0).loaded()
    publish(home / "2")
    api.runner.run(asyncio.sleep(0.05))
    assert version(api) == "1"


def test_requests_are_answered_while_a_version_loads(
    served: Any, home: Path, monkeypatch: Any
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    load = Models._loaded

    def slow(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(10)
        return load(*given)

    monkeypatch.setattr(Models, "_loaded", slow)
    publish(home / "2")
    assert served.wait_for(begun.is_set)
    assert version(served) == "1"
    go_on.set()
    assert served.wait_for(lambda: served.engine.version == "2")


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_a_version_loads_behind_the_requests(
    serve: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the first, which nobody is served beside; and whoever answers keeps their place."""
    nice, load, rerank = list[int](), Models._loaded, Engine.rerank

    def seen(function: Any) -> Any:
        def noted(*given: Any) -> Any:
            nice.append(os.getpriority(os.PRIO_PROCESS, 0))
            return function(*given)

        return noted

    monkeypatch.setattr(Models, "_loaded", seen(load))
    api = serve(bundle=home, watch_seconds=0.01).loaded()
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert nice == [mine]
    publish(home / "2")
    assert api.wait_for(lambda: api.engine.version == "2")
    assert nice == [mine, min(mine + 10, 19)]
    monkeypatch.setattr(Engine, "rerank", seen(rerank))
    assert version(api) == "2"
    assert nice[2:] == [mine]


def test_an_administrator_chooses_the_version(served: Any, home: Path) -> None:
    answer = served.post(b"", "/admin/models/2/load", **KEY)
    assert answer.status_code == 200
    assert [answer.json()[key]["version"] for key in ("model", "previous")] == ["2", "1"]
    assert version(served) == "2"
    listed = served.get("/admin/models", **KEY).json()
    assert {one["version"]: one["status"] for one in listed["versions"]} == {
        "2": "current", "1": "previous"
    }  # fmt: skip
    assert served.post(b"", "/admin/rollback", **KEY).json()["model"]["version"] == "1"
    assert version(served) == "1"


def test_another_worker_comes_along(served: Any, serve: Any, home: Path) -> None:
    other = serve(bundle=home, watch_seconds=0.01).loaded()
    served.post(b"", "/admin/models/2/load", **KEY)
    assert other.wait_for(lambda: other.engine.version == "2")


def test_a_version_that_does_not_pass_is_not_published(served: Any, toy: Any, home: Path) -> None:
    bad(toy, home)
    before = (home / "CURRENT").read_bytes()
    answer = served.post(b"", "/admin/models/3/load", **KEY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "not_served")
    assert (home / "CURRENT").read_bytes() == before
    assert version(served) == "1"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("models/4/load", 404, "no_such_version"),
        ("models/../load", 404, "not_found"),
        ("models/%2E%2E%2Ftoy%2F2/load", 404, "not_found"),
        ("models/CURRENT/load", 404, "no_such_version"),
        ("rollback", 409, "not_served"),
    ],
)
def test_what_is_not_there_is_not_served(served: Any, path: str, status: int, kind: str) -> None:
    answer = served.post(b"", f"/admin/{path}", **KEY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
    assert version(served) == "1"


def test_a_folder_that_cannot_be_written_is_said(served: Any, monkeypatch: Any) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("service.models.publish", refuse)
    answer = served.post(b"", "/admin/models/2/load", **KEY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "read_only")
    assert "psad publish" in answer.json()["error"]["message"]
    assert version(served) == "1"


def test_a_device_that_is_gone_is_no_error_of_ours(served: Any, monkeypatch: Any) -> None:
    def gone(*_: Any) -> Any:
        raise StartRefused("device cuda was asked for")

    monkeypatch.setattr("service.models.Engine", gone)
    answer = served.post(b"", "/admin/models/2/load", **KEY)
    assert (answer.status_code, answer.json()["error"]["type"]) == (409, "not_served")
    assert version(served) == "1"


def test_one_version_s_folder_is_served_alone(serve: Any, home: Path) -> None:
    api = serve(bundle=home / "1", watch_seconds=0.01, admin_key="secret").loaded()
    publish(home / "2")
    assert api.post(b"", "/admin/rollback", **KEY).status_code == 409
    assert version(api) == "1"


def test_admin_is_off_without_its_key(serve: Any, home: Path) -> None:
    api = serve(bundle=home).loaded()
    assert api.get("/admin/models").status_code == 404
    assert not [path for path in api.get("/openapi.json").json()["paths"] if "admin" in path]


@pytest.mark.parametrize("header", [{}, {"authorization": "Bearer callers"}])
def test_admin_asks_for_its_own_key(serve: Any, home: Path, header: dict[str, str]) -> None:
    api = serve(bundle=home, api_key="callers", admin_key="secret").loaded()
    assert api.get("/admin/models", **header).status_code == 401
    assert api.post(b"", "/admin/models/2/load", **header).status_code == 401
    assert api.post(BODY, **KEY).status_code == 401  # and its key does not rerank
    assert api.get("/admin/models", **KEY).status_code == 200
