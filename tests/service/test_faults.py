"""What may go wrong around the service while it serves: its files, its clock, its memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from features.publish import publish
from service import logs, rerank
from service.models import Models
from tests.service.conftest import generator
from tests.service.process import serving

BODY = {"candidates": ["100", "109", "104"]}
RIGHT = ["109", "104", "100"]
KEY = {"authorization": "Bearer secret"}


def order(api: Any, **fields: Any) -> list[str]:
    """By scores, or this fails."""
    answer = api.post({**BODY, **fields})
    assert (answer.status_code, answer.json()["fallback"]) == (200, None)
    return [one["id"] for one in answer.json()["results"]]


def files(version: Path) -> list[Path]:
    return [path for path in version.rglob("*") if path.is_file()]


def written_over(version: Path) -> None:
    for path in files(version):
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)


def cut_short(version: Path) -> None:
    for path in files(version):
        os.truncate(path, 0)


def deleted(version: Path) -> None:
    shutil.rmtree(version.parent)


def test_a_version_whose_files_are_cut_short_serves_on(toy: Any, tmp_path: Path) -> None:
    """In a process of its own: touching a mapped file that is cut short kills (SIGBUS)."""
    home = toy.write(tmp_path, generates=generator())
    toy.write(tmp_path, name="2", published=False)
    with serving(home, RERANK_PAGE="true", RERANK_WATCH_SECONDS="0.05") as served:
        cut_short(home / "1")
        for mode in ("scorer", "generator"):
            body = {**BODY, "mode": mode, "history": ["105", "100"]}
            answer = httpx.post(f"{served.url}/rerank", json=body, trust_env=False)
            assert answer.json()["fallback"] is None
        samples = httpx.get(f"{served.url}/page/samples", trust_env=False)
        assert (samples.status_code, samples.json()["error"]["type"]) == (503, "no_samples")
        publish(home / "2")
        end = time.monotonic() + 20
        while httpx.get(f"{served.url}/info", trust_env=False).json()["model"]["version"] != "2":
            assert time.monotonic() < end
        assert served.process.poll() is None


@pytest.mark.parametrize("harm", [written_over, deleted])
def test_a_version_that_serves_is_out_of_reach_of_what_happens_to_its_files(
    served: Any, home: Path, harm: Callable[[Path], None]
) -> None:
    harm(home / "1")
    served.runner.run(asyncio.sleep(0.1))  # several looks at the pointer
    assert order(served) == RIGHT
    assert served.get("/readyz").status_code == 200
    assert served.get("/info").json()["model"]["version"] == "1"
    assert served.get("/admin/models", **KEY).status_code == 200


def test_a_folder_that_comes_back_is_followed_again(served: Any, toy: Any, home: Path) -> None:
    deleted(home / "1")
    served.runner.run(asyncio.sleep(0.05))
    toy.write(home.parents[1], name="3")
    assert served.wait_for(lambda: served.engine.version == "3")
    assert order(served) == RIGHT


def test_a_pointer_of_nonsense_that_is_mended_is_followed_again(served: Any, home: Path) -> None:
    (home / "CURRENT").write_bytes(os.urandom(200))
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert order(served) == RIGHT
    publish(home / "2")
    assert served.wait_for(lambda: served.engine.version == "2")
    assert served.get("/info").json()["refused"] is None


def test_a_catalogue_above_the_size_stays_a_mapped_file(serve: Any) -> None:
    mapped, read = (serve(in_memory_mb=size).loaded().engine for size in (0, 1_000))
    assert isinstance(mapped.bundle.catalogue.numeric.base, np.memmap)
    assert not isinstance(read.bundle.catalogue.numeric.base, np.memmap)


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_changes_nothing(
    served: Any, home: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    said: list[str] = []
    monkeypatch.setattr(logs, "event", lambda kind, /, *_, **fields: said.append(kind))
    real, jumped, seldom = time.time, 0.0, served.service.reranker._seldom
    monkeypatch.setattr(time, "time", lambda: real() + jumped)
    assert order(served, deadline_ms=1_000) == RIGHT
    seldom.event("fallback", "first")
    before = dict(served.service.worker.averages)
    jumped = 3_600.0 * hours
    seldom.event("fallback", "first")  # within the same second, whatever the clock says
    assert said.count("fallback") == 1
    assert order(served, deadline_ms=1_000) == RIGHT
    assert served.service.worker.averages["scorer"] < before["scorer"] + 0.5
    assert served.service.lag.seconds() < 5.0
    publish(home / "2")
    os.utime(home / "CURRENT", times=(time.time(), time.time()))  # written by that clock
    assert served.wait_for(lambda: served.engine.version == "2")
    assert served.metric("model_load_timestamp_seconds") == pytest.approx(time.time(), abs=60)
    jumped = 0.0
    publish(home / "1")
    assert served.wait_for(lambda: served.engine.version == "1")
    assert order(served, deadline_ms=1_000) == RIGHT


def test_a_look_at_the_pointer_that_fails_is_not_the_last(
    served: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr("service.models._stamp", no_memory)
        served.runner.run(asyncio.sleep(0.1))
        assert served.metric("model_reload_total", result="failure") > 1
    with monkeypatch.context() as short:
        short.setattr(Models, "_swap", no_memory)
        publish(home / "2")
        served.runner.run(asyncio.sleep(0.1))
        assert order(served) == RIGHT
    assert served.wait_for(lambda: served.engine.version == "2")


def no_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError


@pytest.mark.parametrize(
    "place",
    ["service.engine.Engine.encode", "service.engine.Engine.logits", "service.engine.best_first",
     "service.rerank._ordered", "service.shadow.Shadow.offer", "service.worker.Worker.run",
     "service.worker._Job", "service.worker.Worker._finished", "service.models.Models.of"],
)  # fmt: skip
def test_no_memory_for_a_request_is_a_fallback_and_not_the_end(
    served: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    assert order(served) == RIGHT
    with monkeypatch.context() as short:
        short.setattr(place, no_memory)
        answer = served.post({**BODY, "deadline_ms": 2_000})
        assert answer.status_code == 200
        assert answer.json()["fallback"] == "model_error"
        assert [one["id"] for one in answer.json()["results"]] == BODY["candidates"]
    assert order(served) == RIGHT
    assert served.service.ready


def test_no_memory_for_an_answer_is_a_fallback(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    respond, tries = rerank._response, list[int]()

    def once(*given: Any) -> Any:
        tries.append(1)
        return respond(*given) if len(tries) > 1 else no_memory()

    monkeypatch.setattr(rerank, "_response", once)
    assert served.post(BODY).json()["fallback"] == "model_error"
    assert order(served) == RIGHT


def test_no_memory_for_another_version_leaves_the_old_one_serving(
    served: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.models.Engine", no_memory)
    publish(home / "2")
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert order(served) == RIGHT
    assert "MemoryError" in served.get("/info").json()["refused"]["reason"]


def test_no_memory_for_one_of_a_batch_is_an_error_of_that_one(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr("service.decode.Decoder.decode", no_memory)
        answer = served.post({"requests": [BODY, BODY]}, "/rerank/batch")
    assert answer.status_code == 200
    found = [(one["status"], one["error"]["type"]) for one in answer.json()["responses"]]
    assert found == [(503, "no_memory")] * 2
    assert order(served) == RIGHT


def test_no_memory_for_a_body_is_an_error_of_the_one_shape_and_not_the_end(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as short:
        short.setattr("service.rerank.read_body", no_memory)
        answer = served.post(BODY)
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "no_memory")
    assert order(served) == RIGHT
