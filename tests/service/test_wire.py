"""A real server and clients that never end: each is let go, in bounded memory."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.process import BODY, PATIENCE, Served, serving

MEGABYTE = 1_000_000
POST = b"POST /rerank HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[Served]:
    """One that waits a second for a request."""
    with serving(bundle, RERANK_RECEIVE_SECONDS="1") as one:
        yield one


@pytest.fixture(scope="module")
def patient(bundle: Path) -> Iterator[Served]:
    """One whose time for a request is never over in these tests."""
    with serving(bundle, RERANK_RECEIVE_SECONDS="300") as one:
        yield one


def received(connection: socket.socket) -> bytes:
    """All that comes until the connection ends, in whichever way."""
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def ask(served: Served, *parts: bytes, pause: float = 0.0) -> bytes:
    """Send parts, and read the answer to the end of the connection."""
    with served.connect() as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        return received(connection)


def flood(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send a piece again and again; the bytes sent when the other side had enough."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    except (ConnectionError, TimeoutError):
        pass
    return sent


def error_of(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-security-policy: default-src 'none'" in head
    assert b"\r\nserver:" not in head.lower()
    error: dict[str, str] = json.loads(body)["error"]
    assert list(error) == ["type", "message", "param", "request_id"]
    return error


ENDLESS = {
    "headers": (POST, b"x-header: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000),
    "a header": (POST + b"x: ", b"y" * 30_000),
    "a header's name": (POST, b"y" * 30_000),
    "an address": (b"GET /", b"y" * 30_000),
    "trailers": (CHUNKED + b"0\r\n", b"x-header: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000),
    "a trailer": (CHUNKED + b"0\r\nx: ", b"y" * 30_000),
    "a chunk's extension": (CHUNKED + b"1;", b"y" * 30_000),
    "tiny chunks": (CHUNKED, b"1\r\n \r\n" * 5000),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_never_ends_is_cut_off_with_little_memory(patient: Served, what: str) -> None:
    head, piece = ENDLESS[what]
    before, cut = patient.memory(), patient.metric('connections_cut_total{reason="large"}')
    with patient.connect() as connection:
        connection.sendall(head)
        connection.settimeout(PATIENCE)
        most = 20_000 * MEGABYTE  # a server that reads on and keeps nothing is no end either
        assert flood(connection, piece, most) < most
    assert patient.memory() - before < 60
    assert patient.metric('connections_cut_total{reason="large"}') == cut + 1
    assert patient.serves()


def test_the_number_and_the_size_of_headers_are_bounded(patient: Served) -> None:
    end = b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    for count, size, status in ((97, 10, 200), (98, 10, 431), (1, 32_000, 200), (1, 33_000, 431)):
        head = POST + b"".join(b"x-%d: %s\r\n" % (one, b"y" * size) for one in range(count))
        for parts in ((head + end,), (head[:-5], head[-5:] + end), (head, end)):
            answer = ask(patient, *parts, pause=0.02)
            assert answer.startswith(b"HTTP/1.1 %d " % status), (count, size, len(parts), answer)
            if status == 431:
                assert error_of(answer)["type"] == "headers_too_large"


def test_a_head_that_dribbles_is_given_up(served: Served) -> None:
    before = served.metric('connections_cut_total{reason="slow"}')
    with served.connect() as connection:
        connection.sendall(POST + b"x: ")
        dribble(connection)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert error_of(answer)["type"] == "too_slow"
    assert served.metric('connections_cut_total{reason="slow"}') == before + 1


def test_a_body_that_dribbles_or_stops_is_given_up_and_holds_no_place(served: Served) -> None:
    before = served.metric('requests_total{status="408"}')
    for byte in (b" ", b""):
        with served.connect() as connection:
            connection.sendall(POST + b"content-length: 5000\r\n\r\n")
            dribble(connection, byte)
            answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer
    assert served.metric('requests_total{status="408"}') == before + 2
    assert served.serves()


def dribble(connection: socket.socket, byte: bytes = b"y") -> None:
    """A byte now and then, until something comes back or the connection ends."""
    connection.settimeout(0.05)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            connection.sendall(byte)
            connection.recv(1, socket.MSG_PEEK)
            break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    connection.settimeout(PATIENCE)


@pytest.mark.parametrize("byte", [b"", b"\r\n"])
def test_a_client_that_never_begins_is_let_go(served: Served, byte: bytes) -> None:
    with served.connect() as connection:
        dribble(connection, byte)
        assert received(connection) == b""


@pytest.mark.parametrize(
    ("length", "status"), [(b"content-length: 99999999", 413), (b"authorization: x", 405)]
)
def test_a_body_that_goes_on_after_its_answer_ends_with_the_connection(
    served: Served, length: bytes, status: int
) -> None:
    before = served.metric('connections_cut_total{reason="slow"}')
    method = b"POST" if status == 413 else b"GET"
    more = b"" if status == 413 else b"\r\ntransfer-encoding: chunked"
    with served.connect() as connection:
        connection.sendall(method + POST[4:] + length + more + b"\r\n\r\n")
        assert connection.recv(13).startswith(b"HTTP/1.1 %d " % status)
        connection.settimeout(PATIENCE)
        received(connection)
    assert served.metric('connections_cut_total{reason="slow"}') == before + 1


def test_an_answer_that_nobody_takes_ends_with_the_connection(served: Served) -> None:
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 400)
        end = time.monotonic() + PATIENCE
        while not served.metric('connections_cut_total{reason="stuck"}'):
            assert time.monotonic() < end
            time.sleep(0.1)


def test_a_request_in_pieces_within_its_time_is_served(served: Served) -> None:
    head = POST + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    whole = head + BODY
    for parts in ((head, BODY), (head[:9], head[9:], BODY[:5], BODY[5:]), (whole,)):
        answer = ask(served, *parts, pause=0.05)
        assert answer.startswith(b"HTTP/1.1 200 ")
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, bytes([one])) for one in BODY) + b"0\r\n\r\n"
    assert ask(served, CHUNKED[:-2] + b"connection: close\r\n\r\n", chunks).startswith(
        b"HTTP/1.1 200 "
    )


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "nonsense"])
def test_an_offer_of_another_protocol_is_ignored(served: Served, protocol: str) -> None:
    """As Java's client makes one with its first request, body and all."""
    headers = {
        "Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2-Settings": "AA",
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    for _ in range(2):
        connection.request("POST", "/rerank", BODY, headers)
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["fallback"]) == (200, None)
    connection.close()


def test_an_offer_is_ignored_wherever_its_head_is_cut(served: Served) -> None:
    head = POST + b"connection: Upgrade, HTTP2-Settings, close\r\ncontent-length: %d\r\n" % len(
        BODY
    )
    whole = head + b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n" + BODY
    begins, ends = len(head), len(whole) - len(BODY)
    for cut in (*range(begins - 3, begins + 15), *range(ends - 5, ends + 2)):
        answer = ask(served, whole[:cut], whole[cut:], pause=0.01)
        assert answer.startswith(b"HTTP/1.1 200 "), cut
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["fallback"] is None
    bytewise = ask(served, *(bytes([one]) for one in whole), pause=0.001)
    assert bytewise.startswith(b"HTTP/1.1 200 ")


def test_requests_in_one_piece_are_answered_in_their_order(served: Served) -> None:
    one = POST + b"x-request-id: %%d\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    last = one.replace(b"\r\nhost", b"\r\nconnection: close\r\nhost")
    answer = ask(served, b"".join(one % n for n in range(300)) + last % 300)
    found = [int(part.split(b"\r\n")[0]) for part in answer.split(b"x-request-id: ")[1:]]
    assert found == list(range(301))


def test_requests_that_nobody_waits_for_do_not_fill_the_memory(patient: Served) -> None:
    before, cut = patient.memory(), patient.metric('connections_cut_total{reason="large"}')
    with patient.connect() as connection:
        taking = threading.Thread(target=received, args=(connection,))
        taking.start()  # the answers: the client is not one that takes none
        assert (
            flood(connection, b"GET /livez HTTP/1.1\r\n\r\n" * 11_000, most := 8 * MEGABYTE) < most
        )
        taking.join(PATIENCE)
        assert not taking.is_alive()
    assert patient.memory() - before < 60
    assert patient.metric('connections_cut_total{reason="large"}') == cut + 1
    assert patient.serves()


def test_more_is_read_only_when_what_came_is_answered(patient: Served) -> None:
    """Else 600 would wait, more than a connection may have waiting."""
    one = POST + b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
    last = one.replace(b"\r\nhost", b"\r\nconnection: close\r\nhost")
    with patient.connect() as connection:
        connection.sendall(one * 300)
        answer = connection.recv(1)
        connection.sendall(one * 299 + last)
        answer += received(connection)
    assert answer.count(b"HTTP/1.1 200 ") == 600


def test_one_that_is_refused_is_not_refused_again(served: Served) -> None:
    """Its time is over while the refusal lies there to be read."""
    slow = served.metric('connections_cut_total{reason="slow"}')
    large = served.metric('connections_cut_total{reason="large"}')
    with served.connect() as connection:
        connection.sendall(POST + b"x: ")
        time.sleep(0.6)
        connection.sendall(b"y" * 40_000)
        assert received(connection).startswith(b"HTTP/1.1 431 ")
        time.sleep(0.7)
        assert served.metric('connections_cut_total{reason="large"}') == large + 1
        assert served.metric('connections_cut_total{reason="slow"}') == slow


def test_an_idle_connection_outlives_the_time_of_a_request(served: Served) -> None:
    ask_once = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    with served.connect() as connection:
        for pause in (0.0, 1.5):
            time.sleep(pause)
            connection.sendall(ask_once)
            answer = b""
            while b'{"status":"alive"}' not in answer:
                answer += connection.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_ends_after_its_own_time(bundle: Path) -> None:
    with serving(bundle, RERANK_KEEP_ALIVE_SECONDS="1") as served, served.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 200 ")  # and then the end of it


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"hello\r\n\r\n", b"GET / HTTP/9\r\n\r\n",
             b"POST /rerank HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
             b"GET /\xff\xfe HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_http_is_refused_in_the_one_shape(served: Served, sent: bytes) -> None:
    answer = ask(served, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert error_of(answer)["type"] == "not_http"


def test_hostile_clients_leave_few_lines_in_the_log(bundle: Path) -> None:
    with serving(bundle) as served:
        for _ in range(50):
            ask(served, b"hello\r\n\r\n")
        served.process.terminate()
        _, lines = served.process.communicate(timeout=PATIENCE)
    events = [json.loads(line)["event"] for line in lines.splitlines()]
    assert 1 <= events.count("connection_cut") <= 20  # one a second at most
