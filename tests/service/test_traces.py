"""Spans of a request: below the caller's, one for each stage, with nobody in them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from service.errors import StartRefused
from service.traces import Traces
from tests.service.test_process import Start, start, until_ready

__all__ = ["start"]  # a fixture
BODY = {"user": {"id": "secret"}, "candidates": ["100", "109"], "history": ["105"]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traced(serve: Any, kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service whose spans are kept."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr("service.traces._exporting", lambda version: provider)
    return serve(traces=True).loaded()


def test_a_request_is_a_span_below_its_callers_with_its_stages(
    traced: Any, kept: InMemorySpanExporter
) -> None:
    answer = traced.post(BODY, traceparent=f"00-{TRACE}-{PARENT}-01")
    *stages, whole = kept.get_finished_spans()
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == PARENT
    assert whole.name == "POST /rerank"
    assert whole.attributes == {
        "http.request.method": "POST", "url.path": "/rerank", "http.response.status_code": 200,
        "rerank.request_id": answer.json()["request_id"], "rerank.mode": "scorer",
        "rerank.version": "1", "rerank.candidates": 2, "rerank.history": 1, "rerank.late": False,
        "rerank.unknown_items": 0,
    }  # fmt: skip
    assert [one.name for one in stages] == ["decode", "queue", "encode", "score", "order"]
    assert all(one.parent.span_id == whole.context.span_id for one in stages)
    assert whole.start_time <= stages[0].start_time
    assert all(one.end_time == other.start_time for one, other in pairwise(stages))
    assert stages[-1].end_time <= whole.end_time
    timings = answer.json()["timings_ms"]
    for one in stages:
        assert (one.end_time - one.start_time) / 1e6 == pytest.approx(timings[one.name], abs=0.002)


def test_spans_tell_nothing_of_users_and_items(traced: Any, kept: InMemorySpanExporter) -> None:
    traced.post(BODY)
    said = "".join(one.to_json() for one in kept.get_finished_spans())
    assert "secret" not in said
    assert '"109"' not in said


def test_failures_are_marked(traced: Any, kept: InMemorySpanExporter) -> None:
    traced.post({**BODY, "deadline_ms": 1e-9, "on_failure": "error"})
    traced.post(b"{")
    codes = {one.attributes["http.response.status_code"]: one.status.status_code.name
             for one in kept.get_finished_spans() if one.name == "POST /rerank"}  # fmt: skip
    assert codes == {504: "ERROR", 400: "UNSET"}


def test_what_the_sampler_leaves_out_is_left_out(
    kept: InMemorySpanExporter, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr("service.traces._exporting", lambda version: provider)
    api = serve(traces=True).loaded()
    api.post(BODY)
    assert not kept.get_finished_spans()
    api.post(BODY, traceparent=f"00-{TRACE}-{PARENT}-01")  # the caller's choice goes before
    assert len(kept.get_finished_spans()) == 6


def test_without_the_extra_the_start_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry", None)
    with pytest.raises(StartRefused, match=r"psad\[traces\]"):
        Traces("1")


def test_a_process_sends_its_spans_to_the_collector_that_is_named(start: Start) -> None:
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        process, url = start(
            "service", RERANK_TRACES="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{server.server_address[1]}",
            OTEL_EXPORTER_OTLP_COMPRESSION="none", OTEL_SERVICE_NAME="shop-rerank",
        )  # fmt: skip
        with httpx.Client(base_url=url, trust_env=False) as client:
            until_ready(client)
            client.post("/rerank", json=BODY)
        process.terminate()
        process.communicate(timeout=20)
        server.shutdown()
        thread.join()
    (sent,) = (ExportTraceServiceRequest.FromString(body) for body in received)
    (resource,) = sent.resource_spans
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert names["service.name"] == "shop-rerank"
    spans = [span.name for scope in resource.scope_spans for span in scope.spans]
    assert spans.count("POST /rerank") == 1
    assert "score" in spans


def test_a_collector_that_never_answers_does_not_hold_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hung(TracerProvider):
        def shutdown(self) -> None:
            assert go_on.wait(10)
            ended.set()

    go_on, ended = threading.Event(), threading.Event()
    monkeypatch.setattr("service.traces._STOP_SECONDS", 0.05)
    Traces("1", Hung(shutdown_on_exit=False)).stop()
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(10)
