"""POST /rerank: the way of one request through the four verbs, or to its fallback."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from time import perf_counter
from typing import Any

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from features.errors import ValueRefused
from service import logs
from service.body import read_body
from service.decode import Asked
from service.engine import NonFinite, Scored
from service.errors import ApiError, Fallback, Reason, caller_left, error_response, failure
from service.metrics import STAGES, Metrics
from service.models import Model, Models
from service.settings import Settings
from service.shadow import Shadow
from service.shown import ShownLog
from service.store.lookup import Lookup
from service.visit import Visit
from service.worker import Left, Shed, Worker

DEFAULT_LENGTH = 10  # of the answer while no model says how long a shown list is

Results = Sequence[dict[str, Any]]


class Reranker:
    """Answers requests with whatever model is current."""

    def __init__(
        self, settings: Settings, models: Models, worker: Worker, metrics: Metrics, shadow: Shadow,
        lookup: Lookup | None = None, shown: ShownLog | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._models, self._shadow, self._shown = settings, models, shadow, shown
        self._worker, self._metrics, self._lookup = worker, metrics, lookup
        self._seldom = logs.Seldom()
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application; `answer` is the same for a route."""
        visit: Visit = scope["visit"]
        try:
            response = await self.answer(Request(scope, receive))
        except ApiError as error:
            response = error_response(error, visit.request_id)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """The response; raises ApiError for what is answered by an error."""
        visit: Visit = request.scope["visit"]
        self.refuse(self._inside >= self._settings.max_inflight)
        # not inside before its body is here: who sends none would keep everybody else out
        body = await read_body(request, self._settings.max_body_bytes)
        overloaded = self.enter()
        try:
            self.refuse(overloaded)
            return await self.answer_body(body, visit, overloaded)
        finally:
            self.leave()

    def enter(self) -> bool:
        """Count a request in, until it leaves; whether it is one too many."""
        self._inside += 1
        return self._inside > self._settings.max_inflight

    def leave(self) -> None:
        """Count a request out."""
        self._inside -= 1

    def refuse(self, overloaded: bool) -> None:
        """Raise ApiError for one too many where that is an error: it is not even decoded."""
        if overloaded and self._settings.on_failure == "error":
            self._metrics.shed.labels("inflight").inc()
            raise failure("overload")

    async def answer_body(self, body: bytes, visit: Visit, overloaded: bool) -> Response:
        """The response to a body that was read; raises as `answer` does."""
        model = self._models.current
        asked = self._decode(body, model, visit)
        try:
            if model is not None:
                asked, model = self._of_user(asked, body, model)
            if overloaded:
                raise Shed("inflight")
            if self._lookup is not None and model is not None and len(asked.ids) > 1:
                asked = await self._filled(self._lookup, asked, model, visit)
            results = await self._results(asked, model, visit)
            if model is not None and visit.order is not None:
                self._shadow.offer(asked, body, model, visit.order)
            return self._respond(visit, asked, model, results, None)
        except ValueRefused as error:
            raise ApiError(422, "invalid", error.message, error.param) from None
        except Left:
            self._metrics.shed.labels("left").inc()
            raise caller_left() from None
        except Exception as fault:  # the boundary: past decoding, no fault may break the page
            return self._fall_back(fault, asked, model, visit)

    def _of_user(self, asked: Asked, body: bytes, model: Model) -> tuple[Asked, Model]:
        """Whose the user is, where two versions answer; the request as that one reads it."""
        chosen = self._models.of(asked.user, asked.mode)
        if chosen is None or chosen is model:
            return asked, model
        try:
            return asked if chosen.reads_as(model) else chosen.decoder.decode(body), chosen
        except ApiError:  # wrong for its schema alone
            return asked, model

    async def _filled(self, lookup: Lookup, asked: Asked, model: Model, visit: Visit) -> Asked:
        """With what the store knows of the user, in time for the score."""
        deadline = visit.deadline(asked.deadline_ms or self._settings.deadline_ms)
        until = deadline - self._worker.averages[asked.mode]
        asked = await lookup.filled(asked, model.decoder, visit, until)
        visit.history = len(asked.raw.history.ids)
        return asked

    def _decode(self, body: bytes, model: Model | None, visit: Visit) -> Asked:
        visit.decoding = begun = perf_counter()
        decoder = self._models.bare if model is None else model.decoder
        asked = decoder.decode(body)
        visit.stages["decode"] = perf_counter() - begun
        visit.request_id = asked.request_id or visit.request_id
        visit.candidates, visit.history = len(asked.ids), len(asked.raw.history.ids)
        visit.unknown_features = asked.unknown_features
        if model and asked.mode not in model.engine.modes:
            message = (
                'this bundle carries no generator: leave mode out or say "scorer", or serve one '
                "that was exported from a run with a generator"
            )
            raise ApiError(422, "no_generator", message, "mode")
        visit.mode = asked.mode
        return asked

    async def _results(self, asked: Asked, model: Model | None, visit: Visit) -> Results:
        if len(asked.ids) < 2:  # nothing to put in order
            return _incoming(asked, model)
        if model is None:
            raise Fallback("no_model")
        deadline = visit.deadline(asked.deadline_ms or self._settings.deadline_ms)
        work = partial(model.engine.rerank, asked.raw, asked.mode)
        done = await self._worker.run(work, deadline, asked.mode, visit.left)
        scored: Scored = done.value
        visit.late = perf_counter() > deadline
        return _ordered(asked, model, scored, done.queued, visit)

    def _fall_back(
        self, fault: Exception, asked: Asked, model: Model | None, visit: Visit
    ) -> Response:
        reason: Reason = fault.reason if isinstance(fault, Fallback) else "model_error"
        if isinstance(fault, NonFinite):
            self._metrics.nonfinite.inc(fault.count)
        if isinstance(fault, Shed):
            self._metrics.shed.labels(fault.cause).inc()
        kind = None if isinstance(fault, Fallback) else type(fault).__name__
        self._seldom.event("fallback", reason, request_id=visit.request_id, fault=kind)
        if (asked.on_failure or self._settings.on_failure) == "error":
            raise failure(reason)
        visit.fallback = reason
        return self._respond(visit, asked, model, _incoming(asked, model), reason)

    def _respond(
        self, visit: Visit, asked: Asked, model: Model | None, results: Results,
        fallback: Reason | None,
    ) -> Response:  # fmt: skip
        response = _response(visit, model, results, fallback)
        if self._shown is not None:
            self._shown.offer(asked, model, results, visit)
        return response


def _length(asked: Asked, model: Model | None) -> int:
    usual = model.engine.schema.list_size if model else DEFAULT_LENGTH
    return min(asked.top_k or usual, len(asked.ids))


def _incoming(asked: Asked, model: Model | None) -> Results:
    return [
        {"id": item, "index": place, "rank": place + 1, "score": None}
        for place, item in enumerate(asked.ids[: _length(asked, model)])
    ]


def _ordered(asked: Asked, model: Model, scored: Scored, queued: float, visit: Visit) -> Results:
    begun = perf_counter()
    places = scored.order[: _length(asked, model)].tolist()
    scores = scored.chances[: len(places)].tolist()  # a generated list may be shorter
    results = [
        {"id": asked.ids[place], "index": place, "rank": rank, "score": score}
        for rank, (place, score) in enumerate(zip_longest(places, scores), 1)
    ]
    ordering = scored.ordering + perf_counter() - begun
    visit.stages |= {
        "queue": queued, "encode": scored.encode, "score": scored.score, "order": ordering,
    }  # fmt: skip
    visit.unknown_items, visit.history_cut = scored.counts.unknown_items, scored.counts.history_cut
    visit.order, visit.scores = scored.order, scores
    return results


_STAGES = dict.fromkeys(STAGES, 0.0)


def _response(
    visit: Visit, model: Model | None, results: Results, fallback: Reason | None
) -> Response:
    engine = model.engine if model else None
    visit.version = engine.version if engine else None
    content = to_json({
        "request_id": visit.request_id,
        "model": {"name": engine.name, "version": engine.version} if engine else None,
        "results": results,
        "fallback": fallback,
        "store": visit.store,
        "unknown_items": visit.unknown_items,
        "unknown_features": visit.unknown_features,
        "timings_ms": {**_STAGES, **visit.timings_ms()},
    })  # fmt: skip
    headers = {"X-Rerank-Fallback": fallback} if fallback else None
    return Response(content, headers=headers, media_type="application/json")
