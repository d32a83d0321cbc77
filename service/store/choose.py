"""Which store a URL names: `file:PATH`, or `redis://HOST:PORT/DATABASE` (rediss://, unix://)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from service.errors import SettingsError
from service.store.base import Store
from service.store.file_store import FileStore

_DAY: Final = 86_400.0
_REDIS: Final = ("redis://", "rediss://", "unix://")


def open_store(url: str, days: float) -> Store:
    """The store, which is not asked yet; users expire `days` after their last change, 0: never.

    Raises SettingsError where the URL names none, or what it needs is not installed.
    """
    if url.startswith("file:") and len(url) > len("file:"):
        return FileStore(Path(url.removeprefix("file:")), days * _DAY)
    if not url.startswith(_REDIS):
        scheme, mark, _ = url.partition("://")  # more of it may be a password
        found = f"; found {scheme[:20]}://" if mark else ""
        raise SettingsError(f"a store is file:PATH or redis://HOST:PORT/DATABASE{found}")
    try:
        from service.store.redis_store import RedisStore
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a store in Redis needs {error.name}: install the extra psad[redis]."
        ) from error
    try:
        return RedisStore(url, days * _DAY)
    except ValueError as error:  # redis-py's, which repeats parts of the URL
        raise SettingsError(
            "the store's URL cannot be read as redis://HOST:PORT/DATABASE"
        ) from error
