"""A small dataset, a bundle of its own schema, and servers to be loaded: a real one, and slow ones.

The log is that of tests/data; the bundle's toy scorer is that of tests/service.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
from aiohttp import web

from cli import demo_service
from data.dataset import Dataset
from data.prepare import prepare
from features.body import rerank_body
from tests.data.conftest import log_tables, write_folder


def toy_service() -> ModuleType:
    """A copy of the service's conftest of our own, to be bent to another schema."""
    path = Path(__file__).parents[1] / "service" / "conftest.py"
    spec = importlib.util.spec_from_file_location("loadtest_toy_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def log() -> dict[str, pl.DataFrame]:
    """The tables of the log that `dataset` was made of."""
    return log_tables()


@pytest.fixture(scope="session")
def dataset(log: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The log, prepared."""
    folder = tmp_path_factory.mktemp("loadtest")
    return prepare(write_folder(folder / "log", log), folder / "dataset", report=lambda text: None)


@pytest.fixture(scope="session")
def bundle(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the dataset's schema and catalogue, with a scorer that adds numbers up."""
    service = toy_service()
    service.SCHEMA = dataset.schema
    service.GOLDEN = [rerank_body(dataset.request(index)) for index in range(2)]
    service.catalogue = lambda titles=None: dataset.catalogue
    written: Path = service.write_bundle(tmp_path_factory.mktemp("bundle"))
    return written


@pytest.fixture(scope="session")
def url(bundle: Path) -> Iterator[str]:
    """The real service, in a process of its own."""
    service = demo_service.start(bundle, demo_service.free_port())
    yield service.url
    service.stop()


Answer = Callable[[web.Request], Awaitable[web.Response]]


async def _ended(runner: web.AppRunner) -> None:
    """Answers that were still under way included: none outlives the loop."""
    await runner.cleanup()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture
def pretend() -> Iterator[Callable[..., str]]:
    """`pretend(answer)` serves POST /rerank by a coroutine, on a thread; returns the address.

    With `everything` it serves all other paths too.
    """
    running = []

    def start(answer: Answer, everything: bool = False) -> str:
        loop, port = asyncio.new_event_loop(), demo_service.free_port()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}" if everything else "/rerank", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)

        async def listen() -> None:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()

        loop.run_until_complete(listen())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        running.append((loop, runner, thread))
        return f"http://127.0.0.1:{port}"

    yield start
    for loop, runner, thread in running:
        asyncio.run_coroutine_threadsafe(_ended(runner), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
