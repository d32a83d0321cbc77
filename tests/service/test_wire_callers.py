"""What only a real connection shows: when the first byte came, and that a caller left."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from service.wire import BOUNDS, Bounded

Connect = Callable[[], socket.socket]


class Started(uvicorn.Server):
    """Without a lifespan, which `serve` runs already: with what it would have said."""

    async def startup(self, sockets: Any = None) -> None:
        self.lifespan.state[BOUNDS] = self.bounds
        await super().startup(sockets)


@pytest.fixture
def api(serve: Any) -> Any:
    """An application with a model, whose lifespan runs already."""
    return serve().loaded()


@contextmanager
def started(api: Any, **given: Any) -> Iterator[tuple[Connect, Started, socket.socket]]:
    """The application behind uvicorn, in a thread; each call is a new connection."""
    config = uvicorn.Config(
        api.app, port=0, http=Bounded, lifespan="off", log_level="warning", **given
    )
    server = Started(config)
    server.bounds = api.service.bounds
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield lambda: socket.create_connection(address, timeout=10), server, listening
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def connect(api: Any) -> Iterator[Connect]:
    with started(api) as (connect, _, _):
        yield connect


def request(**body: Any) -> bytes:
    content = json.dumps({"candidates": ["100", "109"], **body}).encode()
    return (
        b"POST /rerank HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%s" % (len(content), content)
    )


def answered(connection: socket.socket) -> Any:
    """The body of the one answer of a connection."""
    with connection, connection.makefile("rb") as stream:
        return json.loads(stream.read().partition(b"\r\n\r\n")[2])


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    assert holds()


def test_a_deadline_counts_from_the_first_byte(connect: Connect) -> None:
    for at in (10, len(request(deadline_ms=100)) - 5):  # in the request line, and in the body
        connection, data = connect(), request(deadline_ms=100)
        connection.sendall(data[:at])
        time.sleep(0.15)
        connection.sendall(data[at:])
        answer = answered(connection)
        assert answer["fallback"] == "deadline", at
        assert answer["timings_ms"]["score"] == 0.0


def test_a_caller_that_left_is_not_served(
    connect: Connect, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rerank, busy, seen = api.engine.rerank, threading.Event(), []

    def slow(raw: Any, mode: Any) -> Any:
        seen.append(list(raw.candidates.ids))
        busy.wait(10)
        return rerank(raw, mode)

    monkeypatch.setattr(type(api.engine), "rerank", lambda self, raw, mode: slow(raw, mode))
    first, second = connect(), connect()
    first.sendall(request(deadline_ms=9_000))
    until(lambda: len(seen) == 1)
    second.sendall(request(candidates=["107", "108"], deadline_ms=9_000))
    until(lambda: api.service.worker.waiting == 1)
    second.close()
    time.sleep(0.1)  # for the end of the connection to be heard of
    busy.set()
    assert answered(first)["fallback"] is None
    until(lambda: api.metric("requests_total", status="499") == 1)
    assert api.metric("shed_total", reason="left") == 1
    assert seen == [["100", "109"]]


def test_a_caller_that_leaves_in_the_middle_of_its_body_is_counted(
    connect: Connect, api: Any
) -> None:
    with connect() as connection:
        connection.sendall(request()[:-5])
        until(lambda: api.metric("inflight_requests") == 1)
    until(lambda: api.metric("requests_total", status="499") == 1)
    assert api.metric("inflight_requests") == 0


def test_requests_in_one_packet_are_answered_in_their_order(connect: Connect) -> None:
    data = request().replace(b"connection: close\r\n", b"")
    with connect() as connection:
        connection.sendall(data + request(candidates=["107", "108", "101"]))
        with connection.makefile("rb") as stream:
            text = stream.read()
    assert text.count(b"HTTP/1.1 200") == 2
    assert text.index(b'"109"') < text.index(b'"108"')


def lies_there(transport: asyncio.Transport) -> bool:
    """Whether something written waits, and not for an instant only."""
    for _ in range(50):
        if not transport.get_write_buffer_size():
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("last", ["idle", "closes", "nonsense"])
def test_a_few_answers_that_nobody_takes_end_with_the_connection(serve: Any, last: str) -> None:
    """Too few for the server to stop writing: they wait in it after its end of the connection."""
    api = serve(receive_seconds=0.3).loaded()
    live = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    ends = {"idle": b"", "closes": live.replace(b"host", b"connection: close\r\nhost"),
            "nonsense": b"nonsense\r\n\r\n"}  # fmt: skip
    with started(api, timeout_keep_alive=2) as (connect, server, listening):
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        with connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.sendall(live)
            until(lambda: len(server.server_state.connections) == 1)
            (protocol,) = server.server_state.connections
            while not lies_there(protocol.transport):
                connection.sendall(live * 10)
                time.sleep(0.01)
            assert not protocol.flow.write_paused
            connection.sendall(ends[last])
            until(lambda: not server.server_state.connections)
    assert api.metric("connections_cut_total", reason="stuck") == 1
