"""OpenTelemetry traces of /rerank, where RERANK_TRACES says so: the extra `psad[traces]`.

One server span a request, the child of the caller's (W3C `traceparent`), and below it a span for
each stage. Spans are made after the answer has left, from the times that were taken anyway; a
thread of the SDK sends them. Where to and how many is said by OpenTelemetry's own variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME). No user, no item, no body.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Scope

from service.errors import StartRefused
from service.visit import Visit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_NANO: Final = 1e9
_STOP_SECONDS: Final = 2.0  # the SDK would wait 30 for one that never answers
_CARRIED: Final = (b"traceparent", b"tracestate")


class Traces:
    """Records visits as spans. Raises StartRefused where the extra is not installed."""

    def __init__(self, version: str, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            raise StartRefused(
                "traces need OpenTelemetry: install the extra psad[traces], or leave "
                "RERANK_TRACES (--traces) off."
            ) from error
        self._trace, self._provider = trace, provider or _exporting(version)
        self._tracer = self._provider.get_tracer("psad", version)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, scope: Scope, visit: Visit, status: int) -> None:
        """One answered request. Costs next to nothing where the sampler says no."""
        # the clock of the spans is the wall's; a step of it moves a span as a whole
        zero = time.time_ns() - int(perf_counter() * _NANO)
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _CARRIED
        }
        span = self._tracer.start_span(
            f"{scope['method']} {scope['path']}", self._propagator.extract(carrier),
            self._trace.SpanKind.SERVER, start_time=zero + int(visit.arrived * _NANO),
            attributes={"http.request.method": scope["method"], "url.path": scope["path"]},
        )  # fmt: skip
        if span.is_recording():
            span.set_attributes(_attributes(visit, status))
            if status >= 500:
                span.set_status(self._trace.StatusCode.ERROR)
            inside = self._trace.set_span_in_context(span)
            for stage, start, end in _stages(visit):
                child = self._tracer.start_span(stage, inside, start_time=zero + int(start * _NANO))
                child.end(zero + int(end * _NANO))
        span.end()

    def stop(self) -> None:
        """Send what is left, to a collector that takes it within a moment."""
        sender = threading.Thread(target=self._provider.shutdown, daemon=True)
        sender.start()
        sender.join(_STOP_SECONDS)


def _exporting(version: str) -> TracerProvider:
    """To whatever OTEL_EXPORTER_OTLP_* names, by HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    ours = Resource({"service.name": "psad", "service.version": version})
    provider = TracerProvider(resource=ours.merge(Resource.create()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _attributes(visit: Visit, status: int) -> dict[str, Any]:
    found = {
        "http.response.status_code": status, "rerank.request_id": visit.request_id,
        "rerank.mode": visit.mode, "rerank.version": visit.version,
        "rerank.fallback": visit.fallback, "rerank.candidates": visit.candidates,
        "rerank.history": visit.history, "rerank.late": visit.late,
        "rerank.unknown_items": visit.unknown_items,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _stages(visit: Visit) -> Iterator[tuple[str, float, float]]:
    """Each stage's name, start and end in perf_counter seconds: they follow one another."""
    start = visit.decoding
    for stage, seconds in visit.stages.items():
        yield stage, start, start + seconds
        start += seconds
