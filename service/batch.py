"""POST /rerank/batch: several requests in one body, each answered as /rerank would answer it alone.

Two of a batch are worked on at a time, so that the thread that scores has the next one while an
answer is put together, and a request beside a batch waits for two of it and not for all. Each has a
run of its own. Padded into one, 8 lists of one length took 0.77 of the time of encoding and
scoring, 8 of mixed lengths 0.92, and 32 of them 0.68 and 0.89 (ML-100K's scorer, one thread of two
shared cores, 2026-11-26): too little to hold the thread from everybody else for so long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError, to_json
from pydantic_core import core_schema as c
from starlette.requests import Request
from starlette.responses import Response

from service import logs
from service.body import read_body, too_large
from service.errors import ApiError, error_response, no_memory
from service.metrics import Metrics
from service.refusals import Path, refusal
from service.rerank import Reranker
from service.settings import Settings
from service.visit import Visit, count

TOGETHER: Final = 2  # of one batch


class Batch:
    """Answers batches by the reranker of single requests."""

    def __init__(self, settings: Settings, reranker: Reranker, metrics: Metrics) -> None:
        self._settings, self._reranker, self._metrics = settings, reranker, metrics
        self._logged = settings.log_percent / 100.0
        requests = c.list_schema(c.any_schema(), max_length=settings.max_batch, fail_fast=True)
        field = c.typed_dict_field(requests, required=True)
        self._validator = SchemaValidator(
            c.typed_dict_schema({"requests": field}, extra_behavior="forbid")
        )

    async def answer(self, request: Request) -> Response:
        """All answers in order; raises ApiError only for what is no batch."""
        visit: Visit = request.scope["visit"]
        body = await read_body(request, self._settings.max_batch_body_bytes)
        given = self._given(body)
        self._metrics.batch.observe(len(given))
        answers = await self._all(given, visit)
        content = b'{"responses":[' + b",".join(answers) + b"]}"
        return Response(content, media_type="application/json")

    def _given(self, body: bytes) -> Sequence[Any]:
        try:
            found: Sequence[Any] = self._validator.validate_json(body)["requests"]
        except ValidationError as error:
            raise refusal(error, _keys) from None
        return found

    async def _all(self, given: Sequence[Any], batch: Visit) -> list[bytes]:
        """Each is counted in from the start: a batch weighs as many requests as it holds."""
        answers = [b""] * len(given)
        waiting = deque((place, self._reranker.enter()) for place in range(len(given)))
        self._metrics.inflight.inc(len(given))

        async def work() -> None:
            while waiting:
                place, overloaded = waiting.popleft()
                visit = Visit(
                    f"{batch.request_id}#{place}", batch.arrived, batch.begun, batch.lag,
                    left=batch.left,
                )  # fmt: skip
                try:
                    answers[place] = await self._one(given[place], visit, overloaded)
                finally:
                    self._out()

        try:
            await asyncio.gather(*(work() for _ in range(TOGETHER)))
        finally:
            while waiting:  # cancelled: nobody will take these
                waiting.popleft()
                self._out()
        return answers

    def _out(self) -> None:
        self._reranker.leave()
        self._metrics.inflight.dec()

    async def _one(self, given: Any, visit: Visit, overloaded: bool) -> bytes:
        """What /rerank would answer, an error with its status; counted as if it had been asked."""
        status = 200
        try:
            self._reranker.refuse(overloaded)
            response = await self._reranker.answer_body(self._body(given), visit, overloaded)
            answer = bytes(response.body)
        except Exception as fault:  # the boundary: one that fails must not take the others along
            error = fault if isinstance(fault, ApiError) else _internal(fault)
            status = error.status
            said = bytes(error_response(error, visit.request_id).body)
            answer = b'{"status":%d,%b' % (status, said.removeprefix(b"{"))
        seconds = perf_counter() - visit.arrived
        self._metrics.answered(status, seconds, visit.mode)
        count(visit, self._metrics)
        logs.request(visit, status, seconds, self._logged)
        return answer

    def _body(self, given: Any) -> bytes:
        body = to_json(given)
        if len(body) > self._settings.max_body_bytes:
            raise too_large(self._settings.max_body_bytes)
        return body


def _keys(path: Path) -> Sequence[str]:
    """What a batch may hold, for the message about a key that it may not."""
    return ("requests",)


def _internal(fault: Exception) -> ApiError:
    if isinstance(fault, MemoryError):
        return no_memory()
    logs.event("internal_error", 40, kind=type(fault).__name__)
    return ApiError(500, "internal_error", "the service failed on this request")
