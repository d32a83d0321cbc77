"""What stands between the socket and the application: bounds on a request before it is one.

httptools bounds nothing by itself: endless headers, one endless header, an endless address or
endless trailers fill the memory, and a client that sends a byte now and then stays for ever. Here a
head has a size and a number of headers (431), what is no body around a body has a size, a request
has a time from its first byte to its last (408), and an answer a time to be taken.

The scope says `begun`, perf_counter seconds of the first byte: the clock is watched here, with one
timer a connection and not one a request. `late` wakes an application that waits for the body.
`left` says whether the caller's connection is closed, and may be asked from any thread. Behind
another server deadlines count from the end of the headers, and callers that left are scored for.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sized
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service import logs
from service.errors import ApiError, error_response
from service.headers import with_security

if TYPE_CHECKING:  # the process that watches workers has no metrics
    from service.metrics import Metrics
    from service.settings import Settings

BOUNDS: Final = "bounds"  # in the lifespan's state
_LINGER_SECONDS: Final = 1.0  # after a refusal, so that the client reads it before the reset
_AGAIN_SECONDS: Final = 1.0  # until the application has answered
_AHEAD: Final = 512  # requests that wait behind the one being answered
_UPGRADE: Final = re.compile(rb"\r\n[Uu]pgrade:")
_BEGINNING: Final = re.compile(rb"\r(?:\n[^\n]{0,8})?\Z")  # of a name, or of the end of a head


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one connection, and who is told of one that goes beyond them."""

    head_bytes: int
    headers: int
    body_bytes: int
    seconds: float
    cut: Callable[[str], None]


def bounds_of(settings: Settings, metrics: Metrics) -> Bounds:
    """The bounds that settings say, and the metrics that hear of what they cut."""
    seldom = logs.Seldom()

    def cut(reason: str) -> None:
        metrics.connections_cut.labels(reason).inc()
        seldom.event("connection_cut", reason)

    return Bounds(settings.max_header_bytes, settings.max_headers, settings.max_body_bytes,
                  settings.receive_seconds, cut)  # fmt: skip


def _without_upgrade(data: bytes) -> bytes:
    """A head that offers another protocol, as one that does not: an offer may be ignored, and the
    parser would lose the body with it. Java's client offers HTTP/2 (h2c) unless told otherwise.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-grade:", head) + end + body


class Refused(Exception):
    """Raised through the parser, which stops then."""


class _Flow(FlowControl):
    """Reads nothing while requests wait that came already: those before the last are whole."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Asked for by every answer, and by everyone who reads a body."""
        if not self._waiting:
            super().resume_reading()


class Bounded(HttpToolsProtocol):
    """uvicorn's protocol on httptools, within the bounds that the application's lifespan gives."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logger = logging.getLogger("uvicorn.error.wire")
        self.logger.setLevel(logging.ERROR)  # no line for everything that is no HTTP
        self._bounds: Bounds = self.app_state[BOUNDS]
        self._open = self._headed = False  # a request is under way; its head is whole
        self._begun = 0.0
        self._packet = 0  # bytes of the one that came last
        self._first = self._fed = 0  # of the packet the request began in; of those after it
        self._body = 0  # of its body so far
        self._refusal: ApiError | None = None
        self._held = b""  # the last bytes of a head's piece, which the parser has not seen
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None  # of one that closes as soon as all is taken

    # what the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client that says nothing is let go, too."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._wait(self._bounds.seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives the connection."""
        super().connection_lost(exc)
        for timer in (self._timer, self._stuck, self._end):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse, then look at what is under way still; a request that came whole costs nothing."""
        if self._gone:
            return
        if not (self._open and self._headed):
            data = self._without_offers(data)
            if not data:
                return
        self._packet = len(data)
        self._fed += self._packet
        super().data_received(data)
        if self._open and not self._gone:
            self._refuse_endless()
        if self._timer is None and (self._open or self._idle):
            self._wait(self._bounds.seconds)

    def pause_writing(self) -> None:
        """A client that takes no answer loses the connection."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self._bounds.seconds, self._abort)

    def resume_writing(self) -> None:
        """It did take it."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    # what uvicorn calls

    def on_response_complete(self) -> None:
        """It may have been the last one."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Idle for too long."""
        self._close()

    def shutdown(self) -> None:
        """The server stops."""
        super().shutdown()
        if self.transport.is_closing():
            self._close()

    # what the parser calls

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._open, self._headed, self._begun = True, False, perf_counter()
        self._first, self._fed, self._body = self._packet, 0, 0
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["begun"], scope["left"] = self._begun, self.transport.is_closing

    def on_headers_complete(self) -> None:
        """Too large a head never reaches the application."""
        bounds, self._headed = self._bounds, True
        if len(self.pipeline) >= _AHEAD:
            self._stop(f"more than {_AHEAD} requests wait on this connection")
        if len(self.headers) > bounds.headers:
            self._stop(f"there are more than {bounds.headers} headers")
        most = bounds.head_bytes
        if self._first + self._fed > most and self._head() > most:
            self._stop(f"address and headers are over {most} bytes")
        super().on_headers_complete()
        self.headers = []  # for trailers, which nobody reads

    def on_body(self, body: bytes) -> None:
        """Some of the body; how much there may be is the application's to say."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte."""
        self._open = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser refused, or we did through it."""
        error = self._refusal or ApiError(400, "not_http", "this is no HTTP request")
        self._refuse("large" if self._refusal else "invalid", error)

    # bounds

    def _without_offers(self, data: bytes) -> bytes:
        """Of another protocol, in a head that may come in pieces: the end of one that is not whole
        waits for the next, so that no name is cut.
        """
        if self._held:
            data, self._held = self._held + data, b""
        if b"\r\n\r\n" not in data and (end := _BEGINNING.search(data, max(0, len(data) - 10))):
            data, self._held = data[: end.start()], data[end.start() :]
        return _without_upgrade(data) if b"pgrade" in data else data

    def _head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop(self, message: str) -> None:
        self._refusal = ApiError(431, "headers_too_large", message)
        raise Refused

    def _refuse_endless(self) -> None:
        """A head, and what stands around a body: chunks' sizes, their extensions, trailers."""
        bounds, most = self._bounds, self._bounds.head_bytes
        around = self._fed
        if self._headed:
            around, most = around - self._body, most + bounds.body_bytes
        if around > most:
            message = f"what stands around the body is over {most} bytes"
            if not self._headed:
                message = f"address and headers are over {most} bytes"
            self._refuse("large", ApiError(431, "headers_too_large", message))

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """The time is over, of the request under way or of one before it."""
        self._timer = None
        if self._gone or self.transport.is_closing():
            return
        left = self._begun + self._bounds.seconds - perf_counter()
        if not self._open:
            if self._idle and self.timeout_keep_alive_task is None:
                self._close()
        elif left > 0:
            self._wait(left)
        elif self.pipeline:  # nothing is read before those are answered
            self._wait(_AGAIN_SECONDS)
        elif not self._headed:
            late = f"the request took longer than {self._bounds.seconds:g} seconds to arrive"
            self._refuse("slow", ApiError(408, "too_slow", late))
        elif self._idle:  # answered before its end, which still does not come
            self._bounds.cut("slow")
            self._close()
        else:  # service/body.py answers, and the connection ends
            self.cycle.scope["late"] = True  # type: ignore[typeddict-unknown-key]
            self.cycle.message_event.set()
            self._wait(_AGAIN_SECONDS)

    def _refuse(self, reason: str, error: ApiError) -> None:
        """Answer, unless an answer is under way, and let go."""
        self._bounds.cut(reason)
        self._gone = True
        if not self._idle or self.transport.is_closing():
            self._close()
            return
        response = error_response(error, None)
        headers = [*self.server_state.default_headers, *with_security(response.raw_headers)]
        lines = [name + b": " + value + b"\r\n" for name, value in headers if name != b"connection"]
        head = [STATUS_LINE[error.status], *lines, b"connection: close\r\n\r\n"]
        self.transport.write(b"".join(head) + bytes(response.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self._close)

    def _close(self) -> None:
        """Once the client has what was written; it has its time for that, and no more."""
        self.transport.close()
        if self._end is None:
            self._end = self.loop.call_later(self._bounds.seconds, self._abort)

    def _abort(self) -> None:
        self._bounds.cut("stuck")
        self.transport.abort()
