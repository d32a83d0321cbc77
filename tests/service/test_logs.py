"""Lines of JSON: seldom, sampled, and nothing of who asked for what."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from service import logs

BODY = {"user": {"id": "secret-user"}, "candidates": ["100", "109"], "history": ["105"]}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What was logged."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logs.set_up()
    keep = Keep()
    logs.LOGGER.addHandler(keep)
    yield found
    logs.LOGGER.removeHandler(keep)


def requests(lines: list[str]) -> list[Any]:
    return [one for one in map(json.loads, lines) if one["event"] == "request"]


def test_requests_are_logged_where_asked_for_with_times_and_counts(
    serve: Any, lines: list[str]
) -> None:
    api = serve(log_percent=100).loaded()
    answer = api.post(BODY)
    (line,) = requests(lines)
    assert line["request_id"] == answer.json()["request_id"]
    said = [line[name] for name in ("status", "mode", "version", "fallback")]
    assert said == [200, "scorer", "1", None]
    assert (line["candidates"], line["history"], line["unknown_items"]) == (2, 1, 0)
    assert answer.json()["timings_ms"].keys() - line["timings_ms"].keys() == {"store"}  # none here
    assert line["timings_ms"]["score"] == answer.json()["timings_ms"]["score"]
    assert line["timings_ms"]["total"] >= answer.json()["timings_ms"]["total"]
    assert "secret" not in "".join(lines)
    assert "109" not in {value for value in line.values() if isinstance(value, str)}


def test_each_request_of_a_batch_is_logged(serve: Any, lines: list[str]) -> None:
    serve(log_percent=100).loaded().post({"requests": [BODY, {}]}, "/rerank/batch")
    assert sorted(line["status"] for line in requests(lines)) == [200, 422]


def test_errors_are_logged_with_their_status(serve: Any, lines: list[str]) -> None:
    serve(log_percent=100).loaded().post(b"{", x_request_id="mine")
    (line,) = requests(lines)
    assert (line["status"], line["request_id"], line["candidates"]) == (400, "mine", None)


def test_a_share_of_the_requests_is_logged(
    serve: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = serve(log_percent=25).loaded()
    for draw in (0.0, 0.2499, 0.25, 0.9):
        monkeypatch.setattr("service.logs.random.random", lambda draw=draw: draw)
        api.post(BODY)
    assert len(requests(lines)) == 2


def test_nothing_is_logged_of_a_request_by_default(api: Any, lines: list[str]) -> None:
    api.post(BODY)
    assert not lines


def test_a_fault_of_ours_is_logged_with_the_request_it_broke(
    serve: Any, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = serve().loaded()
    monkeypatch.setattr(api.service.reranker, "answer", None)
    assert api.post(BODY, x_request_id="mine").status_code == 500
    (line,) = [one for one in map(json.loads, lines) if one["event"] == "internal_error"]
    assert (line["request_id"], line["kind"]) == ("mine", "TypeError")


def test_events_of_one_kind_are_seldom_and_counted(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom, clock = logs.Seldom(), [100.0]
    monkeypatch.setattr("service.logs.time.monotonic", lambda: clock[0])
    for moment in (100.0, 100.1, 100.9, 101.0):
        clock[0] = moment
        seldom.event("fallback", "deadline")
    seldom.event("fallback", "overload")
    found = [(one["reason"], one["left_out"]) for one in map(json.loads, lines)]
    assert found == [("deadline", 0), ("deadline", 2), ("overload", 0)]
