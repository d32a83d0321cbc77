"""Requests that are hostile as HTTP, byte for byte, over a socket of their own.

Each must end in answers of 4xx or in a closed connection; where what is sent can be read as a good
request, in 2xx too. Nothing may be answered with 5xx, or neither answered nor closed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_BODY: Final = b'{"candidates":["1","2"]}'
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_QUIET_SECONDS: Final = 0.3  # after an answer: what has not come by then does not come
_PATIENCE: Final = 20.0  # longer than the service gives a request to arrive
_HELLO: Final = bytes.fromhex(  # of a TLS client
    "16030100c8010000c40303" + "5a" * 32 + "20" + "a5" * 32 + "003e130213031301c02cc030009fcca9"
    "cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f"
    "00ff0100003d"
)


@dataclass(frozen=True)
class Raw:
    """Bytes, whether the client then says that it sends no more, and whether 2xx may come."""

    data: bytes
    ends: bool = False
    good: bool = False


def post(head: bytes = b"", body: bytes = _BODY, path: bytes = b"/rerank") -> bytes:
    """A request whose further headers are these; they say how long the body is."""
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n%b" % (path, head, body)


def requests(key: str | None = None) -> dict[str, Raw]:
    """By name; `key` goes with those that may be served."""
    auth = b"Authorization: Bearer %b\r\n" % key.encode() if key else b""
    return dict((*_lengths(auth), *_chunks(auth), *_heads(auth), *_lines(auth), *_noise(auth)))


def _lengths(auth: bytes) -> Iterator[tuple[str, Raw]]:
    for value in (b"-1", b"+24", b"1e3", b"0x18", b"24, 24", b"24, 25", b"", b"24 24", b"9" * 400,
                  b"18446744073709551617", b"\xff"):  # fmt: skip
        sent = Raw(post(auth + b"Content-Length: %b\r\n" % value), ends=True)
        yield f"content-length {value[:24].decode('latin-1') or 'empty'}", sent
    right, wrong = (b"Content-Length: %d\r\n" % one for one in (len(_BODY), 5))
    both = b"Transfer-Encoding: chunked\r\n"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)
    yield "length too short", Raw(post(auth + wrong), ends=True)
    yield "length too long", Raw(post(auth + b"Content-Length: 999\r\n"), ends=True)
    yield "length far too long", Raw(post(auth + b"Content-Length: 99999999\r\n"), ends=True)
    yield "two lengths", Raw(post(auth + right + wrong), ends=True)
    yield "same length twice", Raw(post(auth + right + right), ends=True, good=True)
    yield "no length", Raw(post(auth), ends=True)
    yield "both lengths", Raw(post(auth + right + both, chunked), ends=True, good=True)
    yield "both, the other way", Raw(post(auth + both + right, chunked), ends=True, good=True)
    yield "both, no chunks", Raw(post(auth + both + right), ends=True)


def _chunks(auth: bytes) -> Iterator[tuple[str, Raw]]:
    head = auth + b"Transfer-Encoding: chunked\r\n"
    bad = {
        "size of no number": b"zz\r\n", "negative size": b"-5\r\n", "size of 17 digits":
        b"FFFFFFFFFFFFFFFFF\r\n", "empty size": b"\r\n\r\n", "size with sign": b"+5\r\nhello\r\n",
        "chunk too long": b"3\r\nhello\r\n0\r\n\r\n", "chunk without end": b"5\r\nhello0\r\n\r\n",
        "bare newlines": b"5\nhello\n0\n\n", "NUL in size": b"5\0\r\nhello\r\n",
        "endless extension": b"5;" + b"x" * 100_000, "endless trailer":
        b"0\r\nA: " + b"x" * 100_000,
        "many trailers": b"0\r\n" + b"A: b\r\n" * 20_000, "cut": b"18\r\n{\"cand", "no last chunk":
        b"18\r\n" + _BODY + b"\r\n", "text for chunks": _BODY,
        "bytes of 10,000 chunks": b"1\r\n{\r\n" * 10_000 + b"0\r\n\r\n",
    }  # fmt: skip
    for name, chunks in bad.items():
        yield f"chunked: {name}", Raw(post(head, chunks), ends=True)
    for coding in (b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"identity",
                   b"xchunked", b" chunked", b"chunked\x0b"):  # fmt: skip
        sent = post(auth + b"Transfer-Encoding: %b\r\n" % coding, b"0\r\n\r\n")
        yield f"transfer-encoding {coding.decode()!r}", Raw(sent, ends=True)


def _heads(auth: bytes) -> Iterator[tuple[str, Raw]]:
    length = b"Content-Length: %d\r\n" % len(_BODY)
    bad = {
        "one of 1 MB": b"A: " + b"x" * 1_000_000 + b"\r\n", "endless": b"A: " + b"x" * 300_000,
        "name of 100 KB": b"A" * 100_000 + b": b\r\n", "5,000": b"A: b\r\n" * 5_000,
        "101": b"A: b\r\n" * 101, "no colon": b"nonsense\r\n", "no name": b": x\r\n",
        "space in name": b"A b: c\r\n", "space before colon": b"Content-Length : 5\r\n",
        "NUL in value": b"A: \0\r\n", "NUL in name": b"A\0: b\r\n", "bare return":
        b"A: b\rC: d\r\n",
        "bytes in name": b"\xff\xfe: b\r\n", "cookie of 60 KB": b"Cookie: " + b"a=b;" * 15_000
        + b"\r\n",
    }  # fmt: skip
    odd = {
        "folded": b"A: b\r\n c\r\n", "bytes in value": b"A: \xff\xfe\r\n", "bare newline":
        b"A: b\n", "two hosts": b"Host: y\r\n", "expects 100": b"Expect: 100-continue\r\n",
        "expects nonsense": b"Expect: 200-ok\r\n", "range": b"Range: bytes=0-1,5-\r\n",
        "content coding": b"Content-Encoding: gzip\r\n", "id of markup": b"X-Request-ID: <b>\r\n",
        "id of 10 KB": b"X-Request-ID: " + b"i" * 10_000 + b"\r\n", "id not ASCII":
        b"X-Request-ID: \xc3\xa4\r\n", "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n", "h2c":
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "kept and closed": b"Connection: keep-alive, close\r\n", "trace":
        b"traceparent: 00-x-y-zz\r\n",
    }  # fmt: skip
    for name, head in bad.items():
        yield f"header: {name}", Raw(post(auth + head + length), ends=True)
    for name, head in odd.items():
        yield f"header: {name}", Raw(post(auth + head + length), good=True)
    yield "header: no host", Raw(b"GET /livez HTTP/1.1\r\n\r\n", good=True)
    for value in (b"Bearer", b"Bearer ", b"bearer \xff", b"Basic eDp4", b"Bearer " + b"k" * 20_000):
        sent = post(b"Authorization: %b\r\n" % value + length)
        yield f"authorization {value[:12].decode('latin-1')!r}", Raw(sent, good=not auth)


def _lines(auth: bytes) -> Iterator[tuple[str, Raw]]:
    length = b"Content-Length: %d\r\n" % len(_BODY)
    for method in (b"GET", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"HEAD", b"TRACE", b"CONNECT",
                   b"PROPFIND", b"QUERY", b"BREW", b"post", b"", b"P" * 10_000,
                   b"PO ST"):  # fmt: skip
        for path in (b"/rerank", b"/info"):
            served = method in (b"GET", b"HEAD") and path == b"/info"
            sent = b"%b %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (method, path, auth)
            name = f"method {method[:9].decode() or 'none'} {path.decode()}"
            yield name, Raw(sent, ends=not served, good=served)
    for path in (b"//rerank", b"/rerank/", b"/rerank/../info", b"/rerank/..%2finfo", b"/./rerank",
                 b"/rerank%00", b"/rerank%0d%0aX:1", b"/RERANK", b"/../../etc/passwd", b"/%ff",
                 b"/..%5c..%5c", b"/%", b"/%zz", b"rerank", b"/admin/models", b"/admin/../rerank",
                 b"/nothing", b"/\xc3\xa4", b"/re rank", b"*", b"/" + b"a" * 100_000,
                 b"/%2e%2e/info",
                 b"/openapi.json/x", b"/metrics/", b"/static/..%2f..%2fapp.py", b"/info/../rerank",
                 b"/v1//rerank", b"/v2/rerank", b";/rerank", b"/rerank;x=1"):  # fmt: skip
        yield f"path {path[:32].decode('latin-1')}", Raw(post(auth + length, path=path), ends=True)
    for path in (b"/%72erank", b"/rerank?x=%ff", b"/rerank?" + b"a=b&" * 200, b"/rerank#x",
                 b"http://elsewhere/rerank", b"/v1%2frerank"):  # fmt: skip
        sent = post(auth + length, path=path)
        yield f"path {path[:32].decode('latin-1')}", Raw(sent, good=True)
    for version in (b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1", b"HTTTP/1.1",
                    b"http/1.1", b"HTTP/11.1", b""):  # fmt: skip
        sent = b"POST /rerank %b\r\nHost: x\r\n%b%b\r\n%b" % (version, auth, length, _BODY)
        yield f"version {version.decode() or 'none'}", Raw(sent, good=True)


def _noise(auth: bytes) -> Iterator[tuple[str, Raw]]:
    length = b"Content-Length: %d\r\n" % len(_BODY)
    good = post(auth + length)
    for name, data in {
        "HTTP/0.9": b"GET /rerank\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "TLS": _HELLO,
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n", "mail": b"EHLO x\r\n", "Redis": b"*1\r\n$4\r\nPING\r\n",
        "NULs": b"\0" * 4_096, "bytes": bytes(range(256)) * 16, "one byte": b"P", "nothing": b"",
        "newlines": b"\r\n" * 5_000, "JSON": _BODY, "an answer": b"HTTP/1.1 200 OK\r\n\r\n",
        "half a line": good[:9], "half a head": good[:40], "no body": post(auth + length, b""),
        "half a body": good[:-9], "proxy line": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
    }.items():  # fmt: skip
        yield f"noise: {name}", Raw(data, ends=True)
    yield "pipelined", Raw(good * 3, good=True)
    yield "pipelined by hundreds", Raw(good * 300, good=True)
    yield "good, then noise", Raw(good + b"\0\xff nonsense\r\n\r\n", good=True)
    yield "good, then TLS", Raw(good + _HELLO, good=True)
    yield "newlines, then good", Raw(b"\r\n" * 3 + good, good=True)
    smuggled = post(auth + b"Content-Length: 0\r\n", b"") + good
    yield "a request for a body", Raw(smuggled, good=True)


async def exchange(host: str, port: int, raw: Raw) -> tuple[list[int], str | None]:
    """Statuses that came, and what is wrong with them or with the connection's end."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return [], f"no connection: {type(error).__name__}"
    try:
        content, closed = await _sent(reader, writer, raw)
    finally:
        writer.transport.abort()  # what was not taken is not waited for
    statuses = [int(one) for one in _STATUS.findall(content)]
    return statuses, _fault(statuses, raw, closed)


async def _sent(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: Raw
) -> tuple[bytes, bool]:
    """What came, and whether the service closed."""
    content = b""
    try:
        writer.write(raw.data)
        if raw.ends:
            writer.write_eof()
        while True:
            patience = _QUIET_SECONDS if content else _PATIENCE
            async with asyncio.timeout(patience):
                part = await reader.read(65_536)
            if not part:
                return content, True
            content += part
    except TimeoutError:
        return content, False
    except OSError:  # reset: closed before all was sent
        return content, True


def _fault(statuses: list[int], raw: Raw, closed: bool) -> str | None:
    if not statuses and not closed:
        return "neither answered nor closed"
    worst = max(statuses, default=400)
    if worst >= 500:
        return f"status {worst}"
    # 1xx is no answer yet
    odd = [one for one in statuses if 200 <= one < 400 and not raw.good]
    return f"status {odd[0]} for what is no request" if odd else None
