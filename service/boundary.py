"""The outermost layer, plain ASGI: arrival, request id, key, an answer whatever happens."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs
from service.admin import ADMIN
from service.errors import ApiError, error_response
from service.lag import LoopLag
from service.metrics import Metrics
from service.page import FILES
from service.settings import Settings
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
        self, app: ASGIApp, settings: Settings, metrics: Metrics, lag: LoopLag, rerank: ASGIApp
    ) -> None:
        self._app, self._metrics, self._lag, self._rerank = app, metrics, lag, rerank
        # the page's own files tell nothing, and a browser that opens them sends no key yet
        self._open = OPEN_PATHS.union(FILES) if settings.page else OPEN_PATHS
        self._key, self._admin_key = _bearer(settings.api_key), _bearer(settings.admin_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of scope pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(_request_id(scope), perf_counter(), self._lag.seconds())
        scope["visit"] = visit
        answer = _Answer(send, visit)
        if scope["path"] not in RERANK_PATHS:
            await self._guarded(scope, receive, answer)
            if answer.status != 200 and scope["path"] in BATCH_PATHS:  # else each is counted
                self._metrics.answered(answer.status, perf_counter() - visit.arrived)
            return
        self._metrics.inflight.inc()
        try:
            await self._guarded(scope, receive, answer)
        finally:
            self._metrics.inflight.dec()
            self._metrics.answered(answer.status, perf_counter() - visit.arrived, visit.mode)
            count(visit, self._metrics)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            if self._admits(scope):
                await self._behind(scope)(scope, receive, answer)
                return
            error = ApiError(401, "unauthorized", "this needs the header Authorization: Bearer KEY")
        except Exception as fault:  # the boundary: whatever it is, the caller gets our error shape
            logs.event("internal_error", 40, kind=type(fault).__name__)
            if answer.begun:
                raise
            error = ApiError(500, "internal_error", "the service failed on this request")
        await error_response(error, answer.visit.request_id)(scope, receive, answer)

    def _behind(self, scope: Scope) -> ASGIApp:
        """Who answers: what is asked most goes past the router, a twentieth of a request's time."""
        hot = scope["method"] == "POST" and scope["path"] in RERANK_PATHS
        return self._rerank if hot else self._app

    def _admits(self, scope: Scope) -> bool:
        admin = scope["path"].startswith(ADMIN) and self._admin_key is not None
        key = self._admin_key if admin else self._key  # a caller's key opens nothing of /admin
        if key is None or scope["path"] in self._open:
            return True
        given = next(_header(scope, b"authorization"), b"")
        return hmac.compare_digest(given, key)


class _Answer:
    """`send` that notes the status and adds the request id, as it stands when headers leave."""

    def __init__(self, send: Send, visit: Visit) -> None:
        self._send, self.visit = send, visit
        self.status, self.begun = 500, False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.begun = message["status"], True
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.visit.request_id.encode("ascii")),
            ]
        await self._send(message)


def _bearer(key: SecretStr | None) -> bytes | None:
    """The header's value that a key asks for."""
    return None if key is None else b"Bearer " + key.get_secret_value().encode()


def _header(scope: Scope, name: bytes) -> Iterator[bytes]:
    return (value for key, value in scope["headers"] if key == name)


def _request_id(scope: Scope) -> str:
    given = next(_header(scope, b"x-request-id"), b"")
    return given.decode("ascii") if _REQUEST_ID.fullmatch(given) else os.urandom(8).hex()
