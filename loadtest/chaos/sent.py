"""Sends hostile requests to a running service by several connections, and says what came back."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from loadtest.chaos import raw
from loadtest.chaos.verdicts import Verdicts, offence, outcome
from loadtest.errors import LoadError

PATH: Final = "/rerank"
CONNECTIONS: Final = 8
_SECONDS: Final = 30.0  # a request is waited for
_LARGE: Final = 500_000  # bytes that are sent piece by piece
_GOOD: Final = b'{"candidates":["1","2","3"]}'
_EVERY: Final = 100  # requests between two reports of progress

Named = tuple[str, bytes]  # a body and what it is called
Progress = Callable[[int, int], object]


class Sender:
    """Sends to one service. `progress` hears how many of how many requests are done."""

    def __init__(self, url: str, key: str | None, progress: Progress) -> None:
        self._url, self._key, self._progress = url, key, progress
        self._verdicts = Verdicts()
        self._documented: Collection[int] = ()
        self._done = self._total = 0

    async def run(
        self,
        bodies: Callable[[Any], dict[str, bytes]],
        generated: Callable[[Any], Iterable[tuple[str, bytes]]],
        count: int,
    ) -> dict[str, Any]:
        """Bodies from what /info says, then raw HTTP; after each kind the service must serve on.

        `count` is how many are generated. Raises LoadError.
        """
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limit = aiohttp.TCPConnector(limit=CONNECTIONS)
        waits = aiohttp.ClientTimeout(total=_SECONDS)
        async with aiohttp.ClientSession(
            connector=limit, timeout=waits, headers=headers
        ) as session:
            info = await self._get(session, "/info")
            self._documented = _documented(await self._get(session, "/openapi.json"))
            corpus, wire = bodies(info), raw.requests(self._key)
            self._total, begun = len(corpus) + len(wire) + count, time.perf_counter()
            await self._all(session, "body", corpus.items())
            await self._still_serves(session, "body")
            await self._all(session, "generated", generated(info))
            await self._still_serves(session, "generated")
            await self._raw(wire)
            await self._still_serves(session, "raw")
        return self._verdicts.report(time.perf_counter() - begun)

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:
        try:
            async with session.get(self._url + path) as answer:
                answer.raise_for_status()
                return await answer.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise LoadError(
                f"{self._url}{path} cannot be read ({str(error) or type(error).__name__}). Start "
                "the service there, or give its key."
            ) from error

    async def _all(self, session: aiohttp.ClientSession, kind: str, named: Iterable[Named]) -> None:
        waiting = iter(named)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._some(session, kind, waiting))

    async def _some(
        self, session: aiohttp.ClientSession, kind: str, waiting: Iterator[Named]
    ) -> None:
        for name, body in waiting:
            try:
                data = io.BytesIO(body) if len(body) > _LARGE else body
                async with session.post(self._url + PATH, data=data) as answer:
                    status, content = answer.status, await answer.read()
            except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
                self._verdicts.add(kind, "none", type(error).__name__)
                self._verdicts.offend(kind, name, f"no answer: {type(error).__name__}", body)
            else:
                self._verdicts.add(kind, str(status), outcome(status, content))
                if why := offence(status, content, body, self._documented):
                    self._verdicts.offend(kind, name, why, body, content)
            self._tell()

    async def _raw(self, wire: dict[str, raw.Raw]) -> None:
        where = urlsplit(self._url)
        host, port = where.hostname or "", where.port or 80
        few = asyncio.Semaphore(CONNECTIONS)

        async def one(name: str, request: raw.Raw) -> None:
            async with few:
                statuses, why = await raw.exchange(host, port, request)
            what = str(max(statuses)) if statuses else "closed"
            self._verdicts.add("raw", what, what)
            if why:
                self._verdicts.offend("raw", name, why, request.data)
            self._tell()

        async with asyncio.TaskGroup() as group:
            for name, request in wire.items():
                group.create_task(one(name, request))

    async def _still_serves(self, session: aiohttp.ClientSession, kind: str) -> None:
        status, content = 0, b""
        with suppress(aiohttp.ClientError, OSError):
            async with session.post(self._url + PATH, data=_GOOD) as answer:
                status, content = answer.status, await answer.read()
        if status != 200 or offence(status, content, _GOOD, self._documented):
            why = "a good request is not served any more"
            self._verdicts.offend(kind, "afterwards", why, _GOOD, content)

    def _tell(self) -> None:
        self._done += 1
        if self._done % _EVERY == 0 or self._done == self._total:
            self._progress(self._done, self._total)


def _documented(openapi: Any) -> frozenset[int]:
    """The statuses of POST /rerank."""
    try:
        return frozenset(int(one) for one in openapi["paths"][PATH]["post"]["responses"])
    except (LookupError, TypeError, ValueError) as error:
        raise LoadError(f"/openapi.json does not document POST {PATH}.") from error
