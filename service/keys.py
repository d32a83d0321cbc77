"""The bearer keys of callers and of /admin: from a setting, and from a file that may change.

A file holds one key a line; what follows a # is a comment. It is looked at again and again, so that
a key is added or removed without a restart. One that cannot be used any more changes nothing: the
keys that were read last go on, said in the log and by rerank_keys_stale.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import SecretStr

from service import logs
from service.errors import StartRefused
from service.metrics import Metrics
from service.settings import Settings

Kind = Literal["api", "admin"]
Stamp = tuple[int, int, int, int]

_MOST_BYTES: Final = 65_536  # of a file of keys: each costs a request a microsecond
_KEY: Final = re.compile(r"[!-~]+")


class KeysRefused(Exception):
    """A file of keys that cannot be used; the text never holds what stands in it."""


class Guard:
    """The keys of one kind. `opens` takes as long whichever of them is given, or none."""

    def __init__(self, kind: Kind, key: SecretStr | None, file: Path | None) -> None:
        self.kind, self._file = kind, file
        self._fixed = [] if key is None else [_of_key(key.get_secret_value().encode())]
        self.digests: Sequence[bytes] = self._fixed  # no key itself is kept
        self.seen: Stamp | None = None  # the file that was read last
        self._said: str | None = None  # the last fault, said once

    @property
    def watches(self) -> bool:
        """Whether there is a file to look at."""
        return self._file is not None

    def opens(self, header: bytes) -> bool:
        """Whether an Authorization header carries one of the keys; every one is compared."""
        scheme, space, key = header.partition(b" ")
        given, found = _digest(scheme.lower() + space + key), False
        for digest in self.digests:
            found |= hmac.compare_digest(digest, given)
        return found

    def read(self, other: Guard | None) -> None:
        """Take the keys of the file as it is; raises KeysRefused, and then nothing has changed."""
        assert self._file is not None
        self.seen = stamp(self._file)
        digests = list(dict.fromkeys([*self._fixed, *map(_of_key, read_keys(self._file))]))
        if other is not None and not set(digests).isdisjoint(other.digests):
            raise KeysRefused("a key is both a caller's and one of /admin")
        self.digests = digests

    def look(self, other: Guard | None, metrics: Metrics) -> None:
        """Read the file again where it changed."""
        assert self._file is not None
        try:
            if stamp(self._file) == self.seen:
                return
            self.read(other)
        except KeysRefused as fault:
            self.seen = None
            metrics.keys_stale.labels(self.kind).set(1)
            if self._said != str(fault):
                self._said = str(fault)
                logs.event("keys_refused", logging.ERROR, keys=self.kind, reason=self._said)
            return
        self._said = None
        self.tell(metrics)
        logs.event("keys_read", keys=self.kind, count=len(self.digests))

    def tell(self, metrics: Metrics) -> None:
        """How many keys open."""
        metrics.keys.labels(self.kind).set(len(self.digests))
        metrics.keys_stale.labels(self.kind).set(0)


class Keys:
    """Both guards; None where nothing is asked for."""

    def __init__(self, api: Guard | None, admin: Guard | None, metrics: Metrics) -> None:
        self.api, self.admin, self._metrics = api, admin, metrics
        self._guards = [one for one in (api, admin) if one is not None]
        self._seldom = logs.Seldom()

    @classmethod
    def of(cls, settings: Settings, metrics: Metrics) -> Self:
        """As the settings say. Raises StartRefused where a file has no keys to begin with."""
        api = _guard("api", settings.api_key, settings.api_keys_file)
        admin = _guard("admin", settings.admin_key, settings.admin_keys_file)
        keys = cls(api, admin, metrics)
        for one in keys._guards:
            one.tell(metrics)
        if api and admin and not set(api.digests).isdisjoint(admin.digests):
            raise StartRefused("a key is both a caller's and one of /admin: give /admin its own.")
        return keys

    @property
    def watches(self) -> bool:
        """Whether there is a file to look at."""
        return any(one.watches for one in self._guards)

    async def watch(self, seconds: float) -> None:
        """Look at the files for ever, this often."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self.look)
            except Exception as fault:  # the boundary: no memory, no thread; it looks again
                self._failed(fault)

    def _failed(self, fault: Exception) -> None:
        for one in self._guards:
            if one.watches:
                one.seen = None  # so that the next look reads it, whatever this one left
                self._metrics.keys_stale.labels(one.kind).set(1)
        self._seldom.event("keys_not_read", type(fault).__name__)

    def look(self) -> None:
        """Take over what changed."""
        for one, other in ((self.api, self.admin), (self.admin, self.api)):
            if one is not None and one.watches:
                one.look(other, self._metrics)


def _guard(kind: Kind, key: SecretStr | None, file: Path | None) -> Guard | None:
    if key is None and file is None:
        return None
    guard = Guard(kind, key, file)
    if file is not None:
        try:
            guard.read(None)
        except KeysRefused as fault:
            name = (
                f"RERANK_{kind.upper()}_KEYS_FILE"  # its value may be a key, put there by mistake
            )
            raise StartRefused(f"{name}: {fault}. Write one key a line into it.") from None
    return guard


def stamp(file: Path) -> Stamp:
    """Tells one state of a file from another; raises KeysRefused where there is none."""
    try:
        found = file.stat()
    except OSError as error:
        raise KeysRefused(f"the file cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size


def read_keys(file: Path) -> list[bytes]:
    """The keys of a file, one at least; raises KeysRefused naming the line that is none."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise KeysRefused(f"the file cannot be read: {error.strerror}") from None
    if len(content) > _MOST_BYTES:
        raise KeysRefused(f"the file is over {_MOST_BYTES} bytes")
    keys = []
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), 1):
        if key := re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip():
            if not _KEY.fullmatch(key):
                raise KeysRefused(f"line {number} is no key: plain ASCII without spaces")
            keys.append(key.encode())
    if not keys:
        raise KeysRefused("the file holds no key")
    return keys


def _of_key(key: bytes) -> bytes:
    return _digest(b"bearer " + key)


def _digest(header: bytes) -> bytes:
    """Of one length whatever it is of, so that comparing tells nothing of a key's own."""
    return hashlib.sha256(header).digest()
