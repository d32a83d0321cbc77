"""The outermost layer, plain ASGI: arrival, request id, key, an answer whatever happens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.admin import ADMIN
from service.drain import Drain
from service.errors import ApiError, error_response, no_memory
from service.headers import with_security
from service.keys import Keys
from service.lag import LoopLag
from service.metrics import Metrics
from service.page import FILES
from service.settings import Settings
from service.store.events import USERS
from service.traces import Traces
from service.visit import Visit, count

RERANK_PATHS: Final = ("/rerank", "/v1/rerank")
BATCH_PATHS: Final = ("/rerank/batch", "/v1/rerank/batch")
OPEN_PATHS: Final = frozenset(
    ("/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready", "/metrics")
)
_REQUEST_ID: Final = re.compile(rb"[!-~]{1,128}")


class Boundary:
    """ASGI middleware around everything."""

    def __init__(
        self, app: ASGIApp, settings: Settings, metrics: Metrics, lag: LoopLag, rerank: ASGIApp,
        drain: Drain, traces: Traces | None, keys: Keys,
    ) -> None:  # fmt: skip
        self._app, self._metrics, self._lag, self._rerank = app, metrics, lag, rerank
        self._drain, self._traces = drain, traces
        self._logged = settings.log_percent / 100.0
        # the page's own files tell nothing, and a browser that opens them sends no key yet
        self._open = OPEN_PATHS.union(FILES) if settings.page else OPEN_PATHS
        self._keys, self._seconds = keys, settings.receive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        now = perf_counter()
        begun = scope.get("begun", now)
        visit = Visit(
            _request_id(scope), now, begun, self._lag.seconds(), whole_by=begun + self._seconds
        )
        if "left" in scope:
            visit.left = scope["left"]
        scope["visit"] = visit
        answer = _Answer(send, visit, self._drain)
        path = get_route_path(scope)  # the router's own: a key is asked for where it would answer
        if path not in RERANK_PATHS:
            await self._guarded(path, scope, receive, answer)
            if answer.status != 200 and path in BATCH_PATHS:  # else each is counted
                self._metrics.answered(answer.status, perf_counter() - visit.arrived)
            return
        self._metrics.inflight.inc()
        try:
            await self._guarded(path, scope, receive, answer)
        finally:
            self._metrics.inflight.dec()
            seconds = perf_counter() - visit.arrived
            self._metrics.answered(answer.status, seconds, visit.mode)
            count(visit, self._metrics)
            logs.request(visit, answer.status, seconds, self._logged)
            if self._traces is not None:
                self._traces.record(scope, visit, answer.status)

    async def _guarded(self, path: str, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            if self._admits(path, scope):
                await self._behind(path, scope)(scope, receive, answer)
                return
            error = ApiError(401, "unauthorized", "this needs the header Authorization: Bearer KEY")
        except MemoryError:  # before there was a request that could fall back
            logs.event("no_memory", 40, request_id=answer.visit.request_id)
            if answer.begun:
                raise
            error = no_memory()
        except Exception as fault:  # the boundary: whatever it is, the caller gets our error shape
            logs.event(
                "internal_error", 40, kind=type(fault).__name__, request_id=answer.visit.request_id
            )
            if answer.begun:
                raise
            error = ApiError(500, "internal_error", "the service failed on this request")
        await error_response(error, answer.visit.request_id)(scope, receive, answer)

    def _behind(self, path: str, scope: Scope) -> ASGIApp:
        """Who answers: what is asked most goes past the router, a twentieth of a request's time."""
        hot = scope["method"] == "POST" and path in RERANK_PATHS
        return self._rerank if hot else self._app

    def _admits(self, path: str, scope: Scope) -> bool:
        admin = path.startswith((ADMIN, USERS)) and self._keys.admin is not None
        # a caller's key opens nothing of /admin
        guard = self._keys.admin if admin else self._keys.api
        if guard is None or path in self._open:
            return True
        return guard.opens(next(_header(scope, b"authorization"), b""))


class _Answer:
    """`send` that notes the status, and adds headers and the request id as it stands by then."""

    def __init__(self, send: Send, visit: Visit, drain: Drain) -> None:
        self._send, self.visit, self._drain = send, visit, drain
        self.status, self.begun = 500, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            message["headers"] = [
                *with_security(message.get("headers", ())),
                (b"x-request-id", self.visit.request_id.encode("ascii")),
            ]
            if self._drain.leaving:  # the caller's next request goes to whoever stays
                message["headers"].append((b"connection", b"close"))
        await self._send(message)


def _header(scope: Scope, name: bytes) -> Iterator[bytes]:
    return (value for key, value in scope["headers"] if key == name)


def _request_id(scope: Scope) -> str:
    given = next(_header(scope, b"x-request-id"), b"")
    return given.decode("ascii") if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
