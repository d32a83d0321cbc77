"""The application: `uvicorn --factory service.app:create_app`, or `python -m service`.

Nothing happens at import: `create_app(settings)` builds everything and passes it on.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from service import docs, logs
from service.admin import add_admin
from service.batch import Batch
from service.boundary import BATCH_PATHS, RERANK_PATHS, Boundary
from service.counts import unread
from service.drain import Drain
from service.engine import check_runtime
from service.errors import ApiError, error_response
from service.info import describe, package_version
from service.keys import Keys
from service.lag import LoopLag
from service.metrics import Metrics
from service.models import Models
from service.page import add_page
from service.rerank import Reranker
from service.schemas import Info, State
from service.settings import Settings
from service.shadow import Shadow
from service.shown import ShownLog
from service.store.choose import open_store
from service.store.events import add_events
from service.store.lookup import Lookup
from service.traces import Traces
from service.wire import BOUNDS, Bounds, bounds_of
from service.worker import Worker


class Service:
    """The parts of one service, for whoever has the application in hand (`app.state.service`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        with unread():
            self.metrics = Metrics(CollectorRegistry(), settings.deadline_ms / 1_000.0)
        self.keys = Keys.of(settings, self.metrics)
        self.bounds = bounds_of(settings, self.metrics)
        self.lag = LoopLag()
        self.traces = Traces(package_version()) if settings.traces else None
        self.drain = Drain(settings.drain_seconds)
        self.worker = Worker(settings.max_queue, settings.late_ms / 1_000.0, held=True)
        self.models = Models(settings, self.metrics, self.worker.learn)
        self.shadow = Shadow(self.models, self.metrics)
        url = settings.store.get_secret_value() if settings.store else ""
        self.store = open_store(url, settings.store_days) if url else None
        seconds = settings.store_ms / 1_000.0
        self.lookup = Lookup(self.store, seconds, self.metrics) if self.store else None
        self.shown = ShownLog(settings, self.metrics) if settings.shown_log else None
        self.reranker = Reranker(
            settings, self.models, self.worker, self.metrics, self.shadow, self.lookup, self.shown
        )
        self.batch = Batch(settings, self.reranker, self.metrics)

    @property
    def ready(self) -> bool:
        """Whether requests get scores, and will go on to."""
        return self.models.current is not None and self.worker.well and not self.drain.draining

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything that runs beside requests. Raises StartRefused where it must not start."""
        await asyncio.to_thread(check_runtime, self.settings.device)
        self.worker.start()
        self.shadow.start()
        self.lag.start()
        if self.lookup is not None:
            self.lookup.start()
        if self.shown is not None:
            self.shown.start()
        logs.event("starting", bundle=self.settings.bundle.name, device=self.settings.device)
        tasks = [asyncio.create_task(self.models.load())]
        if self.settings.device != "cpu" or self.settings.workers > 1:
            # a device that is not there must stop the start, not turn up later; and a worker
            # among others takes no request that they would answer better
            await tasks[0]
        if self.settings.watch_seconds:
            tasks.append(asyncio.create_task(self.models.watch(self.settings.watch_seconds)))
            if self.keys.watches:
                tasks.append(asyncio.create_task(self.keys.watch(self.settings.watch_seconds)))
        try:
            with self.drain.listening():
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.lag.stop()
            if self.lookup is not None:
                await self.lookup.stop()
            self.worker.stop()
            self.shadow.stop()
            self.models.close()
            if self.shown is not None:
                await asyncio.to_thread(self.shown.stop)
            if self.traces is not None:
                await asyncio.to_thread(self.traces.stop)
            logs.event("stopped")
            await asyncio.to_thread(logs.flush)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application; settings from the environment where none are given."""
    settings = Settings.from_env() if settings is None else settings
    logs.set_up()
    service = Service(settings)
    logs.count_lost(service.metrics.log_lost.inc)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, Bounds]]:
        async with service.running():
            yield {BOUNDS: service.bounds}

    app = FastAPI(
        title="psad reranking", version=package_version(), lifespan=lifespan,
        description="Puts a list of candidates in a better order, within a deadline.",
        redirect_slashes=False, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.service = service
    app.add_middleware(
        Boundary, settings=settings, metrics=service.metrics, lag=service.lag,
        rerank=service.reranker, drain=service.drain, traces=service.traces, keys=service.keys,
    )  # fmt: skip
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    _add_routes(app, service)
    if service.keys.admin is not None:
        add_admin(app, settings, service.models)
    if service.store is not None:
        add_events(app, settings, service.models, service.store, service.metrics)
    if settings.page:
        add_page(app, settings, service.models)
    docs.document(app, settings, service.keys)
    return app


def create_alone(settings: Settings | None = None) -> FastAPI:
    """The application of a process that does nothing else.

    Whatever was imported stays for good: the collector need not go through it again and again while
    requests wait.
    """
    app = create_app(settings)
    gc.collect()
    gc.freeze()
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    for path in RERANK_PATHS:
        app.add_api_route(
            path, service.reranker.answer, methods=["POST"], response_model=None,
            summary="Rerank candidates", operation_id=path.strip("/").replace("/", "_"),
            responses=docs.RERANK_RESPONSES, openapi_extra=docs.RERANK_REQUEST,
        )  # fmt: skip
    for path in BATCH_PATHS:
        app.add_api_route(
            path, service.batch.answer, methods=["POST"], response_model=None,
            summary="Rerank several lists", operation_id=path.strip("/").replace("/", "_"),
            responses=docs.BATCH_RESPONSES, openapi_extra=docs.BATCH_REQUEST,
        )  # fmt: skip

    async def live() -> State:
        """The event loop turns."""
        return State(status="alive")

    async def ready() -> State:
        """The model is loaded and proved."""
        if not service.ready:
            stops = service.drain.draining
            why = "the service is leaving" if stops else f"the model is {service.models.state}"
            if service.models.current is not None and not service.worker.well and not stops:
                why = "the scorer hangs"
            raise ApiError(503, "not_ready", why)
        return State(status="ready")

    async def metrics() -> Response:
        """All metrics in Prometheus' text format."""
        text = await asyncio.to_thread(service.metrics.render)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def info() -> Info:
        """Model, schema, limits, providers."""
        return describe(service.settings, service.models)

    for path in ("/livez", "/v2/health/live"):
        app.add_api_route(path, live)
    for path in ("/readyz", "/v2/health/ready", "/health"):
        app.add_api_route(path, ready, responses=docs.NOT_READY)
    app.add_api_route("/metrics", metrics, response_class=Response, responses=docs.METRICS)
    app.add_api_route("/info", info, responses=docs.KEYED)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error, request.scope["visit"].request_id)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    kinds = {404: "not_found", 405: "method_not_allowed"}
    kind = kinds.get(error.status_code, "http_error")
    said = ApiError(error.status_code, kind, str(error.detail).lower())
    response = error_response(said, request.scope["visit"].request_id)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_allowed(request))
    return response


def _allowed(request: Request) -> list[str]:
    """Of all routes of this path; the router itself names those of the first."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] != Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)
