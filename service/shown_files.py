"""The files of what was shown: whole under their names, rotated, within a bound, any writer's.

A file that is being written begins with a dot and gets its name by a rename, once it is large or
old enough. Its writer holds a lock on it, which goes with the process: what a killed one left is
found without a lock, cut after its last whole list, and renamed. Names hold a token of their
process, so that several write into one folder.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from service import logs
from service.shown_rows import end_of_whole_lists

WHOLE: Final = "shown-*.csv"
BEGUN: Final = ".shown-*.csv"
MODE: Final = 0o640  # user ids are not everybody's


@dataclass(slots=True)
class _File:
    path: Path
    descriptor: int
    header: int  # bytes
    size: int
    begun: float = field(default_factory=time.monotonic)


class ShownFiles:
    """One writer's files in a folder that others may write to as well.

    A file ends at `file_bytes` or `seconds`; the oldest whole ones of the folder go so that all
    together stay below `max_bytes`, and `removed` is called for each. For one thread.
    """

    def __init__(
        self, folder: Path, file_bytes: int, seconds: float, max_bytes: int,
        removed: Callable[[], object],
    ) -> None:  # fmt: skip
        self._folder, self._seconds, self._max_bytes = folder, seconds, max_bytes
        self._file_bytes = min(file_bytes, max_bytes // 4)
        self._removed = removed
        self._open: dict[str, _File] = {}  # by header: versions with other features write apart
        self._token, self._count = os.urandom(4).hex(), 0
        self._unfinished = False  # a file of ours that has no writer any more and no name yet

    def write(self, header: str, lists: bytes) -> None:
        """Append whole lists; raises OSError and leaves none of them."""
        file = self._open.get(header)
        if file is not None and os.fstat(file.descriptor).st_nlink == 0:  # somebody removed it
            os.close(self._open.pop(header).descriptor)
            file = None
        if file is not None and file.size + len(lists) > self._file_bytes:
            self._finish(header)
            file = None
        file = file or self._begin(header)
        _append(file, lists)

    def rotate(self) -> None:
        """End files that are old enough, and those that could not be ended; raises OSError."""
        if self._unfinished:
            self._unfinished = False
            self.recover()
        now = time.monotonic()
        for header in [h for h, one in self._open.items() if now - one.begun >= self._seconds]:
            self._finish(header)

    def close(self) -> None:
        """End all files; raises OSError."""
        for header in list(self._open):
            self._finish(header)

    def recover(self) -> int:
        """Give files that a process left behind their names; how many."""
        count = 0
        for path in sorted(self._folder.glob(BEGUN)):
            try:
                count += _recovered(path)
            except OSError as error:  # of this one: the others are none the worse
                logs.event("shown_log_not_recovered", 30, file=path.name, said=error.strerror)
        return count

    def _begin(self, header: str) -> _File:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room()
        text = header.encode()
        while True:
            self._count += 1
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            path = self._folder / f".shown-{now}-{self._token}-{self._count:05}.csv"
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, MODE)
            # one that recovers may have been first: an empty file is nothing to it but rubbish
            if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)
        file = _File(path, descriptor, len(text), 0)
        try:
            _append(file, text)
        except OSError:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        self._open[header] = file
        return file

    def _finish(self, header: str) -> None:
        file = self._open.pop(header)
        try:
            if file.size == file.header:
                file.path.unlink(missing_ok=True)
                return
            os.fsync(file.descriptor)
            _name(file.path)
        except OSError:
            self._unfinished = True
            raise
        finally:
            os.close(file.descriptor)

    def _make_room(self) -> None:
        """Let the oldest files go; one under way counts as what it may become.

        All under way count as half the bound at most, so that many writers leave room for whole
        files.
        """
        begun = sum(1 for _ in self._folder.glob(BEGUN)) + 1
        whole = [(path, size) for path in sorted(self._folder.glob(WHOLE))
                 if (size := _size(path)) is not None]  # fmt: skip
        under_way = min(begun * self._file_bytes, self._max_bytes // 2)
        left = under_way + sum(size for _, size in whole)
        for path, size in whole:
            if left <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            self._removed()
            left -= size


def _append(file: _File, text: bytes) -> None:
    """All of it or nothing; raises OSError."""
    try:
        written = 0
        while written < len(text):
            written += os.write(file.descriptor, text[written:])
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file.descriptor, file.size)
        raise
    file.size += len(text)


def _name(path: Path) -> None:
    path.rename(path.with_name(path.name.removeprefix(".")))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:  # taken away meanwhile
        return None


def _lock(descriptor: int) -> bool:
    """Whether nobody else has it; POSIX only, as is this log."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _recovered(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:  # its writer was quicker, or another that recovers
        return False
    try:
        if not _lock(descriptor) or not path.exists():
            return False
        size, end = os.fstat(descriptor).st_size, 0
        if size:
            with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as found:
                end = end_of_whole_lists(found)
        if end:
            os.ftruncate(descriptor, end)
            os.fsync(descriptor)
            _name(path)
        else:
            path.unlink()
        logs.event("shown_log_recovered", file=path.name, bytes=end, cut=size - end)
        return bool(end)
    finally:
        os.close(descriptor)
