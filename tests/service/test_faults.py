"""What may go wrong around the service while it serves: its files, its clock, its memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from features.publish import publish
from tests.service.conftest import generator
from tests.service.process import serving

BODY = {"candidates": ["100", "109", "104"]}
RIGHT = ["109", "104", "100"]
KEY = {"authorization": "Bearer secret"}


def order(api: Any, **fields: Any) -> list[str]:
    """By scores, or this fails."""
    answer = api.post({**BODY, **fields})
    assert (answer.status_code, answer.json()["fallback"]) == (200, None)
    return [one["id"] for one in answer.json()["results"]]


def files(version: Path) -> list[Path]:
    return [path for path in version.rglob("*") if path.is_file()]


def written_over(version: Path) -> None:
    for path in files(version):
        with path.open("r+b") as file:
            file.write(b"\xff" * path.stat().st_size)


def cut_short(version: Path) -> None:
    for path in files(version):
        os.truncate(path, 0)


def deleted(version: Path) -> None:
    shutil.rmtree(version.parent)


def test_a_version_whose_files_are_cut_short_serves_on(toy: Any, tmp_path: Path) -> None:
    """In a process of its own: touching a mapped file that is cut short kills (SIGBUS)."""
    home = toy.write(tmp_path, generates=generator())
    toy.write(tmp_path, name="2", published=False)
    with serving(home, RERANK_PAGE="true", RERANK_WATCH_SECONDS="0.05") as served:
        cut_short(home / "1")
        for mode in ("scorer", "generator"):
            body = {**BODY, "mode": mode, "history": ["105", "100"]}
            answer = httpx.post(f"{served.url}/rerank", json=body, trust_env=False)
            assert answer.json()["fallback"] is None
        samples = httpx.get(f"{served.url}/page/samples", trust_env=False)
        assert (samples.status_code, samples.json()["error"]["type"]) == (503, "no_samples")
        publish(home / "2")
        end = time.monotonic() + 20
        while httpx.get(f"{served.url}/info", trust_env=False).json()["model"]["version"] != "2":
            assert time.monotonic() < end
        assert served.process.poll() is None


@pytest.mark.parametrize("harm", [written_over, deleted])
def test_a_version_that_serves_is_out_of_reach_of_what_happens_to_its_files(
    served: Any, home: Path, harm: Callable[[Path], None]
) -> None:
    harm(home / "1")
    served.runner.run(asyncio.sleep(0.1))  # several looks at the pointer
    assert order(served) == RIGHT
    assert served.get("/readyz").status_code == 200
    assert served.get("/info").json()["model"]["version"] == "1"
    assert served.get("/admin/models", **KEY).status_code == 200


def test_a_folder_that_comes_back_is_followed_again(served: Any, toy: Any, home: Path) -> None:
    deleted(home / "1")
    served.runner.run(asyncio.sleep(0.05))
    toy.write(home.parents[1], name="3")
    assert served.wait_for(lambda: served.engine.version == "3")
    assert order(served) == RIGHT


def test_a_pointer_of_nonsense_that_is_mended_is_followed_again(served: Any, home: Path) -> None:
    (home / "CURRENT").write_bytes(os.urandom(200))
    assert served.wait_for(lambda: served.service.models.refused is not None)
    assert order(served) == RIGHT
    publish(home / "2")
    assert served.wait_for(lambda: served.engine.version == "2")
    assert served.get("/info").json()["refused"] is None


def test_a_catalogue_above_the_size_stays_a_mapped_file(serve: Any) -> None:
    mapped, read = (serve(in_memory_mb=size).loaded().engine for size in (0, 1_000))
    assert isinstance(mapped.bundle.catalogue.numeric.base, np.memmap)
    assert not isinstance(read.bundle.catalogue.numeric.base, np.memmap)
