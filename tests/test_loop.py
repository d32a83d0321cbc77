"""The loop closed: a service writes what it showed, people click, a model learns of both."""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from cli.demo_service import free_port
from data.dataset import Dataset
from tests.service.conftest import ITEMS, write_bundle
from tests.service.test_process import until_ready

ROOT = Path(__file__).parents[1]
PEOPLE, TURNS, CANDIDATES, TOP = 40, 9, 9, 4
SCHEMA = """\
positive = ">=1"
split = "user"
list_size = 4
[item.brand]
kind = "categorical"
[item.price]
kind = "numeric"
"""


@contextmanager
def served(bundle: Path, shown: Path) -> Iterator[str]:
    port = str(free_port())
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RERANK_")}
    environ |= {"RERANK_BUNDLE": str(bundle), "RERANK_PORT": port, "RERANK_DEADLINE_MS": "5000"}
    environ |= {"RERANK_SHOWN_LOG": str(shown), "RERANK_SHOWN_LOG_FILE_MB": "0.05"}
    process = subprocess.Popen([sys.executable, "-m", "service"], env=environ, cwd=ROOT)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGTERM)


async def load(url: str) -> list[dict[str, Any]]:
    """Everybody's requests, eight at a time: alone on even turns, else as one batch of all."""
    random = np.random.default_rng(0)
    answers: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        turn = asyncio.Semaphore(8)

        async def post(path: str, body: Any) -> dict[str, Any]:
            async with turn:
                answer = await client.post(path, json=body)
                assert answer.status_code == 200
                return dict(answer.json())

        for number in range(TURNS):
            sent = [request(random, number, person) for person in range(PEOPLE)]
            if number % 2:
                batch = await post("/rerank/batch", {"requests": sent})
                answers += batch["responses"]
            else:
                answers += await asyncio.gather(*(post("/rerank", one) for one in sent))
    return answers


def request(random: np.random.Generator, turn: int, person: int) -> dict[str, Any]:
    chosen = random.choice(ITEMS, CANDIDATES, replace=False).tolist()
    return {
        "request_id": f"{turn}-{person}", "user": {"id": f"p{person}"}, "top_k": TOP,
        "candidates": {"id": chosen, "score": random.random(CANDIDATES).tolist()},
    }  # fmt: skip


def clicked(answers: list[dict[str, Any]], path: Path) -> set[tuple[str, str]]:
    """People like brand x, which every third item is; one click of them all comes twice."""
    clicks = [
        (one["request_id"], shown["id"], time.time())
        for one in answers for shown in one["results"] if ITEMS.index(shown["id"]) % 3 == 0
    ]  # fmt: skip
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("request_id", "item_id", "timestamp"), *clicks, clicks[0]])
    return {(name, item) for name, item, _ in clicks}


def psad(*words: Any) -> str:
    line = [sys.executable, "-m", "cli.main", *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_a_model_learns_from_what_the_service_showed_and_people_clicked(tmp_path: Path) -> None:
    logs, shown, out = tmp_path / "logs", tmp_path / "shown", tmp_path / "joined"
    logs.mkdir()
    rows = [(item, "xyz"[i % 3], i % 10) for i, item in enumerate(ITEMS)]
    pl.DataFrame(rows, ("item_id", "brand", "price"), orient="row").write_csv(logs / "items.csv")
    (logs / "schema.toml").write_text(SCHEMA)
    with served(write_bundle(tmp_path), shown) as url:
        with httpx.Client(base_url=url, trust_env=False) as client:
            until_ready(client)
            answers = asyncio.run(load(url))
            text = client.get("/metrics").text
        assert 'rerank_shown_dropped_total{reason="queue"} 0.0' in text
    assert not [one for one in shown.iterdir() if one.name.startswith(".")]
    assert len(list(shown.iterdir())) > 1  # 50 kB each
    wanted = clicked(answers, tmp_path / "clicks.csv")
    said = psad("join", shown, tmp_path / "clicks.csv", "--out", out, "--tables", logs)
    assert "clicks that came again: 1\n" in said

    log = pl.read_parquet(out / "impressions" / "*.parquet")
    assert len(log) == PEOPLE * TURNS * TOP  # below top_k nothing was shown, nor is it here
    found = {(one["list_id"], one["rerank_position"]): one for one in log.to_dicts()}
    for one in answers:
        for place, result in enumerate(one["results"], 1):
            row = found[one["request_id"], place]
            assert (row["item_id"], row["position"]) == (result["id"], result["index"])
    positives = log.filter(pl.col("label") == 1).select("list_id", "item_id")
    assert set(positives.iter_rows()) == wanted

    psad("prepare", out, tmp_path / "dataset")
    dataset = Dataset.load(tmp_path / "dataset")
    assert dataset.info["lists"] == PEOPLE * TURNS
    psad("train", tmp_path / "dataset", tmp_path / "run", "epochs=2", "teacher=false")
    psad("export", tmp_path / "run", tmp_path / "bundles" / "next" / "1")
