"""A file as the store that the processes of one machine share: SQLite with a write-ahead log, so
that readers and a writer do not wait for each other.

It needs nothing installed, and can be looked into, and copied while it is in use, with tools that
are everywhere. LMDB reads in 2 µs in place of 8, a tenth of what handing it to a thread takes
either way, and writes in 4 ms in place of 0.02, as it waits for the disk. Not for network file
systems.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final, TypeVar

from service import logs
from service.errors import Fallback
from service.store.base import SECONDS, WAITING, Unavailable
from service.store.record import Change, Row, Stored, Unreadable, changed
from service.worker import Worker

T = TypeVar("T")

FORMAT: Final = 1  # of the tables
_CLEANED: Final = 60.0  # seconds between deletions of what has expired
_DELETED: Final = 1_000  # rows at a time
_EMPTYING: Final = 0.5  # seconds that a deletion waits for readers, to empty the log
_EMPTIED: Final = 1.0  # seconds between tries to empty it beside a write
_MAKING: Final = threading.Lock()
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY, features BLOB, items BLOB, marks BLOB, expires REAL
    );
    CREATE INDEX IF NOT EXISTS users_expires ON users (expires);
"""
_FOUND: Final = "FROM users WHERE id = ? AND (expires IS NULL OR expires > ?)"
_WRITE: Final = """
    INSERT INTO users (id, features, items, marks, expires) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET features = excluded.features, items = excluded.items,
        marks = excluded.marks, expires = excluded.expires
"""
_EXPIRED: Final = "SELECT rowid FROM users WHERE expires <= ? LIMIT ?"


class FileStore:
    """Users in a file; `seconds` after its last change a user expires, never where that is 0.

    Reads and writes have a thread and a connection each, which open the file when they need it and
    again after an error.
    """

    kind = "file"

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._reader = _Thread(path, "store reader")
        self._writer = _Thread(path, "store writer")
        self._clean_at = 0.0
        self._removed = True  # the log may hold what is gone: a killed process left it there
        self._empty_at = 0.0
        self._seldom = logs.Seldom()

    async def read(self, user: str) -> Stored | None:
        """Features and items."""
        found = await self._reader.run(lambda db: _one(db, "features, items", user))
        return None if found is None else Stored(*map(_bytes, found))

    async def row(self, user: str) -> Row | None:
        """All of it."""
        found = await self._reader.run(lambda db: _one(db, "features, items, marks", user))
        return None if found is None else Row(*map(_bytes, found))

    async def ping(self) -> None:
        """A read of nobody."""
        await self._reader.run(lambda db: _one(db, "features, items", ""))

    async def write(self, changes: Mapping[str, Change], keep: int) -> int:
        """One transaction, which no other process writes beside."""
        return await self._writer.run(lambda db: self._written(db, changes, keep))

    def _written(self, db: sqlite3.Connection, changes: Mapping[str, Change], keep: int) -> int:
        now, added = time.time(), 0
        expires = now + self._seconds if self._seconds else None
        with _transaction(db):
            for user, change in changes.items():
                row = Row(*(_one(db, "features, items, marks", user) or ()))
                after, new = changed(Row(*map(_bytes_or_none, row)), change, keep)
                db.execute(_WRITE, (user, *after, expires))
                added += new
            if perf_counter() >= self._clean_at:
                gone = db.execute(f"DELETE FROM users WHERE rowid IN ({_EXPIRED})", (now, _DELETED))
                self._removed = self._removed or gone.rowcount > 0
                self._clean_at = perf_counter() + _CLEANED
        if self._removed and perf_counter() >= self._empty_at:
            self._empty_log(db, 0.0)
        return added

    async def delete(self, user: str) -> bool:
        """Forget a user; what stood there is overwritten in the file and its log.

        In the log later, with a write, where somebody reads the file meanwhile.
        """
        return await self._writer.run(lambda db: self._deleted(db, user))

    def _deleted(self, db: sqlite3.Connection, user: str) -> bool:
        with _transaction(db):
            found = db.execute("DELETE FROM users WHERE id = ?", (user,)).rowcount > 0
        self._removed = True
        self._empty_log(db, _EMPTYING)
        return found

    def _empty_log(self, db: sqlite3.Connection, seconds: float) -> None:
        """Move the log into the file; a later write tries again where somebody reads too long."""
        db.execute(f"PRAGMA busy_timeout = {int(1_000 * seconds)}")
        try:
            busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            db.execute(f"PRAGMA busy_timeout = {int(1_000 * SECONDS)}")
        self._removed = bool(busy)
        self._empty_at = perf_counter() + _EMPTIED
        if busy:
            self._seldom.event("store_log_not_emptied", "read by another connection")

    async def close(self) -> None:
        """End the threads."""
        self._reader.stop()
        self._writer.stop()


class _Thread:
    """A thread with a connection to the file."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        self._worker = Worker(WAITING, SECONDS, name)
        self._started = False

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if not self._started:
            self._started = True
            self._worker.start()
        try:
            done = await self._worker.run(lambda: self._over(work), perf_counter() + SECONDS)
        except Fallback as busy:
            raise Unavailable(f"the file is slow ({busy})") from None
        except (sqlite3.Error, OSError) as error:
            raise Unavailable(f"{type(error).__name__}: {_first(error)}") from None
        found: T = done.value
        return found

    def _over(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._db = opened(self._path)
        try:
            return work(self._db)
        except sqlite3.Error:
            self._close()
            raise

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def stop(self) -> None:
        """Wait a second at most: a disk that hangs keeps its thread, not the process."""
        self._worker.stop()
        if not self._worker.alive:
            self._close()


def opened(path: Path) -> sqlite3.Connection:
    """The file, made where there is none, for its user's eyes alone; sqlite3.Error, OSError."""
    _make(path)
    db = sqlite3.connect(path, timeout=SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
            db.execute(f"PRAGMA {setting}")
        if _format(db) != FORMAT:  # to read takes no lock of writers, and no room on the disk
            with _transaction(db):
                _format(db)  # another process may have been first
                for statement in filter(str.strip, _TABLES.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {FORMAT}")
    except BaseException:
        db.close()
        raise
    return db


def _make(path: Path) -> None:
    """An empty file where there is none.

    One that is there is not opened: whoever closes a file lets go of all locks that its process has
    on it, SQLite's too, and another process that then closes the store would take its log away.
    """
    with _MAKING, contextlib.suppress(FileExistsError):
        os.close(os.open(path.resolve(), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _format(db: sqlite3.Connection) -> int:
    """0 where there are no tables yet; raises DatabaseError where they are not ours."""
    found: int = db.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, FORMAT):
        raise sqlite3.DatabaseError(f"a store of format {found}; this version has {FORMAT}")
    return found


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything in the block, or nothing; the file is locked for other writers meanwhile."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _one(db: sqlite3.Connection, columns: str, user: str) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = db.execute(
        f"SELECT {columns} {_FOUND}", (user, time.time())
    ).fetchone()
    return found


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()  # written by hand
    raise Unreadable("a number where JSON should be")


def _bytes_or_none(value: object) -> bytes | None:
    try:
        return _bytes(value)
    except Unreadable:
        return None


def _first(error: Exception) -> str:
    """Without the path, which OSError names."""
    return error.strerror or "" if isinstance(error, OSError) else str(error)
