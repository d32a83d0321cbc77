"""The files in which the workers of one port count, and what becomes of those of workers that left.

Prometheus' client gives each process files of its own and reads all of them for every scrape. Those
of processes that are gone would stay until the service stops, each with its memory and its part of
the time a scrape takes. They are added up in one here, while nobody reads.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service import logs
from service.settings import METRICS_FOLDER

_ADDED: Final = ("counter", "histogram")  # what a process counted stays true without it
_GONE: Final = "0"  # the process number of all that left: no process has it


def scrape(folder: Path) -> bytes:
    """The text that Prometheus scrapes, of all processes that count in this folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    with _held(folder, fcntl.LOCK_SH):
        return generate_latest(registry)


@contextmanager
def unread() -> Iterator[None]:
    """While a process makes its files: the client's reader fails on one that is empty still."""
    folder = os.environ.get(METRICS_FOLDER)
    with _held(Path(folder), fcntl.LOCK_EX) if folder else nullcontext():
        yield


def forget(folder: Path, living: Collection[int | None]) -> None:
    """Keep the sums of processes that are not `living`, and drop what only the living count."""
    kept = {_GONE, *map(str, living)}
    for pid in {file.stem.rpartition("_")[2] for file in folder.glob("*_*.db")} - kept:
        with _held(folder, fcntl.LOCK_EX):
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
            for kind in _ADDED:
                _add(folder / f"{kind}_{pid}.db", folder / f"{kind}_{_GONE}.db")


def _add(one: Path, total: Path) -> None:
    if not one.exists():
        return
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]
    for key, value in _read(one).items():
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    one.unlink()


def _read(one: Path) -> dict[str, float]:
    """What it holds; nothing where the process was killed before it held anything."""
    try:
        found = MmapedDict.read_all_values_from_file(one)  # type: ignore[no-untyped-call]
        return {key: value for key, value, _, _ in found}
    except (struct.error, RuntimeError, UnicodeDecodeError):
        logs.event("metrics_unreadable", 40, file=one.name)
        return {}


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    """A lock that goes with the process that holds it."""
    descriptor = os.open(folder / "counts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
