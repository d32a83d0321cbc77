"""What a store does, whichever it is. One loop uses it; nothing in it raises but what is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from service.store.record import Change, Row, Stored

SECONDS: Final = 1.0  # that one step at a store may take, whoever waits for it
WAITING: Final = 64  # reads, and writes, under way at a time


class Unavailable(Exception):
    """The store cannot be read or written now; says why, without the user or the address."""


class Store(Protocol):
    """Users by id. Every method raises Unavailable; `read` and `row` raise Unreadable too."""

    kind: str

    async def read(self, user: str) -> Stored | None:
        """What a request needs; None where the user is not known."""

    async def row(self, user: str) -> Row | None:
        """All that is kept of a user."""

    async def write(self, changes: Mapping[str, Change], keep: int) -> int:
        """Change users, all or none of them; how many of the events were new."""

    async def delete(self, user: str) -> bool:
        """Forget a user; whether there was one."""

    async def ping(self) -> None:
        """Do a read's work once, as any request would."""

    async def close(self) -> None:
        """Let go of connections, files and threads."""
