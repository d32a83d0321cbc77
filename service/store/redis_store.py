"""Redis as the store that several machines share: a hash a user, `psad:user:ID`, of features, items
and marks (record.py), which expires as a whole.

Reads go over connections of their own, without the client's pool and its timers, which take as long
as Redis does. Writes are transactions that begin anew where somebody else wrote to the same user.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import RedisError, ResponseError, WatchError

from service.store.base import SECONDS, WAITING, Unavailable
from service.store.record import Change, Row, Stored, Unreadable, changed

_PREFIX: Final = b"psad:user:"
_FIELDS: Final = ("features", "items", "marks")
_SHORTEST, _LONGEST = 0.001, 0.05  # seconds between tries of a transaction that others disturb
_USERS: Final = 10  # some 2 ms of work at histories of a hundred


class RedisStore:
    """Users in one database of one Redis; `seconds` after its last change a user expires."""

    kind = "redis"

    def __init__(self, url: str, seconds: float) -> None:
        once: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": SECONDS,
            "protocol": 2,
        }
        self._pool = ConnectionPool.from_url(url, **once)  # never waited on without a limit here
        self._client = Redis.from_url(
            url, **once, socket_timeout=SECONDS, max_connections=2 * WAITING
        )
        self._free: list[AbstractConnection] = []
        self._seconds = seconds

    async def read(self, user: str) -> Stored | None:
        """Features and items, in one round trip."""
        found = await self._asked("HMGET", key(user), "features", "items")
        return Stored(*found) if found[0] is not None or found[1] is not None else None

    async def row(self, user: str) -> Row | None:
        """All of it."""
        found = await self._asked("HMGET", key(user), *_FIELDS)
        return Row(*found) if any(one is not None for one in found) else None

    async def ping(self) -> None:
        """A read of nobody."""
        await self._asked("HMGET", _PREFIX, "features", "items")

    async def delete(self, user: str) -> bool:
        """Once it is done no replica of this Redis has to be asked."""
        return bool(await self._asked("DEL", key(user)))

    async def _asked(self, *command: Any) -> Any:
        """One command over a free connection, or a new one; once more where Redis had hung up."""
        try:
            async with asyncio.timeout(SECONDS):
                if self._free:
                    try:
                        return await self._over(self._free.pop(), command)
                    except Lost:
                        await self._drop()  # Redis was started again: the others are no better
                return await self._over(self._made(), command)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise Unreadable("a key that is no hash") from None
            raise Unavailable(_why(error)) from None
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise Unavailable(_why(error)) from None

    def _made(self) -> AbstractConnection:
        made: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        return made

    async def _over(self, connection: AbstractConnection, command: tuple[Any, ...]) -> Any:
        kept = False
        try:
            await connection.send_command(*command)  # connects where that is to be done
            found = await connection.read_response()
            kept = True
            return found
        except ResponseError:
            kept = True
            raise
        finally:
            if kept and len(self._free) < WAITING:
                self._free.append(connection)
            else:
                await connection.disconnect(nowait=True)

    async def _drop(self) -> None:
        while self._free:
            await self._free.pop().disconnect(nowait=True)

    async def write(self, changes: Mapping[str, Change], keep: int) -> int:
        """One transaction. Rows are read after they are watched, so that none is written over.

        Where others wrote meanwhile it begins anew, after a while that grows and differs by chance.
        """
        pause = _SHORTEST
        async with _said():
            while True:
                try:
                    return await self._written(changes, keep)
                except WatchError:
                    await asyncio.sleep(random.uniform(0.0, pause))
                    pause = min(2.0 * pause, _LONGEST)

    async def _written(self, changes: Mapping[str, Change], keep: int) -> int:
        keys = [key(user) for user in changes]
        added = 0
        async with self._client.pipeline(transaction=True) as transaction:
            await transaction.watch(*keys)
            rows = await self._rows(keys)
            transaction.multi()  # type: ignore[no-untyped-call]
            for place, (name, row, change) in enumerate(
                zip(keys, rows, changes.values(), strict=True)
            ):
                if place % _USERS == _USERS - 1:
                    await asyncio.sleep(0)  # requests have their turns beside a large write
                after, new = changed(row or Row(), change, keep)
                added += new
                if row is None:  # no hash: setting its fields would fail where others succeed
                    transaction.delete(name)
                fields: dict[Any, Any] = {f: v for f, v in after._asdict().items() if v is not None}
                transaction.hset(name, mapping=fields or {"features": b"{}"})
                if self._seconds:
                    transaction.pexpire(name, int(1_000 * self._seconds))
                else:
                    transaction.persist(name)
            await transaction.execute()
        return added

    async def _rows(self, keys: list[bytes]) -> list[Row | None]:
        """None for what is no hash."""
        async with self._client.pipeline(transaction=False) as reads:
            for name in keys:
                reads.hmget(name, _FIELDS)
            found = await reads.execute(raise_on_error=False)
        for one in found:
            if isinstance(one, Exception) and not str(one).startswith("WRONGTYPE"):
                raise one
        return [None if isinstance(one, Exception) else Row(*one) for one in found]

    async def close(self) -> None:
        """Hang up."""
        await self._drop()
        await self._client.aclose()
        await self._pool.disconnect()
        await asyncio.sleep(0)  # a turn of the loop, in which sockets are closed


@asynccontextmanager
async def _said() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(2 * SECONDS):
            yield
    except (RedisError, OSError) as error:
        raise Unavailable(_why(error)) from None


def key(user: str) -> bytes:
    """Where a user is kept."""
    return _PREFIX + user.encode()


def _why(error: Exception) -> str:
    """What redis-py says names hosts; the kind of its error says enough for logs."""
    said = str(error).split(" ", 1)[0] if isinstance(error, ResponseError) else ""
    return f"{type(error).__name__} {said}".strip()
