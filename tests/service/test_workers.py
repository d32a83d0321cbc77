"""Several real workers behind one port: started, killed, replaced, stopped; counted together."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from features.publish import publish
from service import workers
from service.settings import Settings
from service.workers import variables
from tests.service.test_process import Start, start, until, until_ready

__all__ = ["start"]  # a fixture
BODY = {"candidates": ["100", "109"]}


def ask(url: str, path: str) -> Any:
    """By a connection of its own, so that any worker may answer."""
    return httpx.get(f"{url}{path}", trust_env=False, timeout=10)


def metrics(url: str, begins: str) -> dict[str, float]:
    lines = [line for line in ask(url, "/metrics").text.splitlines() if line.startswith(begins)]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def answering(url: str, at_least: int = 2) -> set[int]:
    """The workers' process ids."""
    found: set[int] = set()
    until(lambda: found.add(ask(url, "/info").json()["process"]) or len(found) >= at_least)
    return found


@pytest.fixture
def two(start: Start, home: Path, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """Two workers that follow `home`; the process that watches them, and their address."""
    process, url = start(
        "service", RERANK_WORKERS="2", RERANK_BUNDLE=str(home), RERANK_WATCH_SECONDS="0.1",
        RERANK_DRAIN_SECONDS="0.3", TMPDIR=str(tmp_path),
    )  # fmt: skip
    with httpx.Client(base_url=url, trust_env=False) as client:
        until_ready(client)
    yield process, url
    process.send_signal(signal.SIGTERM)
    _, lines = process.communicate(timeout=30)
    assert process.returncode == 0, lines
    assert not list(tmp_path.glob("psad-metrics-*"))


def test_workers_count_together_and_follow_the_same_version(two: Any, home: Path) -> None:
    process, url = two
    workers = answering(url)
    assert process.pid not in workers
    for _ in range(20):
        httpx.post(f"{url}/rerank", json=BODY, trust_env=False)
    assert metrics(url, "rerank_requests_total")['rerank_requests_total{status="200"}'] == 20
    assert metrics(url, "rerank_workers") == {"rerank_workers": 2}
    publish(home / "2")

    def shown(version: str) -> dict[int, float]:
        found = metrics(url, "rerank_model_info")
        names = {f'rerank_model_info{{name="toy-s",pid="{w}",version="{version}"}}': w
                 for w in workers}  # fmt: skip
        return {worker: found[name] for name, worker in names.items() if name in found}

    until(lambda: shown("2") == dict.fromkeys(workers, 1.0))
    assert shown("1") == dict.fromkeys(workers, 0.0)


def test_a_worker_that_is_killed_is_replaced_and_its_counts_stay(two: Any) -> None:
    _, url = two
    for _ in range(10):
        httpx.post(f"{url}/rerank", json=BODY, trust_env=False)
    before = answering(url)
    os.kill(min(before), signal.SIGKILL)
    until(lambda: metrics(url, "rerank_worker_deaths") == {"rerank_worker_deaths_total": 1})
    until(lambda: metrics(url, "rerank_workers") == {"rerank_workers": 2})
    assert metrics(url, "rerank_requests_total")['rerank_requests_total{status="200"}'] == 10
    assert metrics(url, "rerank_inflight_requests") == {"rerank_inflight_requests": 0}
    assert min(before) not in answering(url)


def test_a_rolling_restart_loses_nothing(two: Any) -> None:
    process, url = two
    before, stop = answering(url), False

    def caller() -> list[tuple[int, Any]]:
        seen = []
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            while not stop:
                answer = client.post("/rerank", json=BODY)
                assert client.get("/readyz").status_code == 200
                seen.append((answer.status_code, answer.json()["fallback"]))
        return seen

    with ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(caller) for _ in range(2)]
        try:
            process.send_signal(signal.SIGHUP)
            until(lambda: not before & answering(url))
        finally:
            stop = True
        answers = [answer for one in callers for answer in one.result()]
    assert set(answers) <= {(200, None), (200, "deadline")}  # a busy machine may be late
    assert (200, None) in answers
    assert metrics(url, "rerank_worker_deaths") == {"rerank_worker_deaths_total": 0}


def test_a_stop_is_heard_while_workers_are_replaced(start: Start, home: Path) -> None:
    process, url = start(
        "service", RERANK_WORKERS="3", RERANK_BUNDLE=str(home), RERANK_DRAIN_SECONDS="1"
    )
    with httpx.Client(base_url=url, trust_env=False) as client:
        until_ready(client)
    before = answering(url, 3)
    process.send_signal(signal.SIGHUP)
    until(lambda: answering(url, 1) - before)  # the first successor
    process.send_signal(signal.SIGTERM)
    _, lines = process.communicate(timeout=30)
    assert process.returncode == 0, lines
    assert "workers_replaced" not in lines


def supervisor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("uvicorn.supervisors.multiprocess.SIGNALS", {})
    monkeypatch.setattr("service.workers.signal.signal", lambda *_: None)
    return workers._Supervisor(uvicorn.Config("x:y", workers=1), [], folder)


def test_what_the_living_alone_count_is_forgotten_of_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = supervisor(tmp_path, monkeypatch)
    one.processes = [SimpleNamespace(pid=11)]
    kept = ["counter_11.db", "gauge_livesum_11.db", f"histogram_{os.getpid()}.db"]
    for name in (*kept, "gauge_livesum_10.db", "gauge_liveall_9.db"):
        (tmp_path / name).touch()
    one._forget_gone()
    assert {file.name for file in tmp_path.glob("*.db")} == set(kept)


def test_workers_that_die_in_a_row_are_replaced_more_and_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = supervisor(tmp_path, monkeypatch)
    assert [one._pause(float(now)) for now in range(9)] == [0, 0, 0, 2, 4, 8, 16, 16, 16]
    assert one._pause(100.0) == 0


def test_workers_whose_supervisor_was_killed_end(start: Start) -> None:
    process, url = start("service", RERANK_WORKERS="2", RERANK_DRAIN_SECONDS="3")
    with httpx.Client(base_url=url, trust_env=False) as client:
        until_ready(client)
    workers = answering(url)
    process.kill()
    until(lambda: ask(url, "/readyz").status_code == 503)  # all of them leave

    def gone(worker: int) -> bool:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{worker}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")

    until(lambda: all(map(gone, workers)))


def test_a_device_that_is_not_there_stops_all(start: Start) -> None:
    process, _ = start("service", RERANK_WORKERS="2", RERANK_DEVICE="cuda")
    _, lines = process.communicate(timeout=60)
    assert "cuda" in lines.lower()
    assert process.returncode != 0


def test_a_folder_for_metrics_is_asked_for_where_none_can_be_written(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "metrics")}
    process, _ = start("service", RERANK_WORKERS="2", **where)
    _, lines = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Name one as PROMETHEUS_MULTIPROC_DIR" in lines
    assert "Traceback" not in lines


def test_what_an_earlier_run_counted_is_not_counted_again(start: Start, tmp_path: Path) -> None:
    stale = tmp_path / "counter_1.db"
    stale.write_bytes(b"no metrics")
    where = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    process, url = start("service", RERANK_WORKERS="2", **where)
    with httpx.Client(base_url=url, trust_env=False) as client:
        until_ready(client)
    until(lambda: metrics(url, "rerank_workers") == {"rerank_workers": 2})
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert not stale.exists()
    assert list(tmp_path.glob("*.db"))  # a folder of the operator's own stays


@given(
    st.fixed_dictionaries(
        {"bundle": st.text("abc/ .", min_size=1).map(Path)},
        optional={
            "port": st.integers(0, 65535), "page": st.booleans(),
            "deadline_ms": st.floats(0.001, 60_000), "on_failure": st.just("error"),
            "api_key": st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
        },
    )
)  # fmt: skip
def test_workers_get_the_settings_that_were_given(given: dict[str, Any]) -> None:
    settings = Settings(**given)
    assert Settings.from_env(variables(settings)) == settings
