"""A real Redis, a file, and a way to either that stalls."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cli.demo_service import free_port
from service.store.base import Store
from service.store.choose import open_store

T = TypeVar("T")


class Redis:
    """A redis-server of our own, which keeps every write on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        words = f"--port {self.port} --dir {self._folder} --save '' --appendonly yes".split()
        self._process = subprocess.Popen(
            ["redis-server", *words, "--appendfsync", "always"], stdout=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while self.command("PING") != b"+PONG\r\n":
            assert time.monotonic() < end, "redis-server did not start"
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def command(self, *words: str) -> bytes:
        """What it answers; nothing where it does not."""
        sent = f"*{len(words)}\r\n" + "".join(f"${len(w.encode())}\r\n{w}\r\n" for w in words)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as s:
            s.sendall(sent.encode())
            return s.recv(65_536)
        return b""


class Proxy:
    """Passes bytes on to a port, each piece `delay` seconds later; `stalled`, not at all."""

    def __init__(self, port: int) -> None:
        self._to, self.delay, self.stalled = port, 0.0, False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                self.connections += 1
                far = socket.create_connection(("127.0.0.1", self._to))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError), one, other:
            while piece := one.recv(65_536):
                time.sleep(self.delay)
                while self.stalled:
                    time.sleep(0.01)
                other.sendall(piece)

    def close(self) -> None:
        self.stalled = False
        self._listening.close()


@pytest.fixture(scope="session")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a Redis writes; skips where there is none."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not on this machine (Debian: redis-server)")
    pytest.importorskip("redis", reason="the extra redis is not installed")
    return tmp_path_factory.mktemp("redis")


@pytest.fixture(scope="session")
def shared_redis(redis_folder: Path) -> Iterator[Redis]:
    """One Redis that tests leave running."""
    one = Redis(redis_folder)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def redis(shared_redis: Redis) -> Redis:
    """A running Redis without users."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis(redis_folder: Path, tmp_path: Path) -> Iterator[Redis]:
    """A Redis that the test starts and kills."""
    one = Redis(tmp_path)
    yield one
    one.kill()


@pytest.fixture
def proxy(redis: Redis) -> Iterator[Proxy]:
    """A way to Redis that the test spoils."""
    one = Proxy(redis.port)
    yield one
    one.close()


class Driven:
    """A store on a loop of its own, behind plain calls."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        self.store, self._run = store, runner.run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Awaitable[Any]] = getattr(self.store, name)
        return lambda *given: self._run(_awaited(method, given))


async def _awaited(method: Callable[..., Awaitable[T]], given: tuple[Any, ...]) -> T:
    return await method(*given)


@pytest.fixture(params=["file", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Either kind of store, empty."""
    if request.param == "file":
        return f"file:{tmp_path / 'users.db'}"
    return str(request.getfixturevalue("redis").url)


@pytest.fixture
def store(url: str) -> Iterator[Driven]:
    """Either store, whose users do not expire."""
    with asyncio.Runner() as runner:
        one = Driven(open_store(url, 0), runner)
        yield one
        one.close()
