"""The loop closed: a service writes what it showed, people click, a model learns of both."""

from __future__ import annotations

import asyncio
import csv
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from cli.demo_service import free_port
from data.dataset import Dataset
from tests.service.conftest import ITEMS, write_bundle
from tests.shell import run, server

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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_learns_from_what_the_service_showed_and_people_clicked(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## 7\..*?^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    serve, join, prepare, train = block.splitlines()
    port, logs, shown = free_port(), tmp_path / "my_logs", tmp_path / "shown"
    logs.mkdir()
    rows = [(item, "xyz"[i % 3], i % 10) for i, item in enumerate(ITEMS)]
    pl.DataFrame(rows, ("item_id", "brand", "price"), orient="row").write_csv(logs / "items.csv")
    (logs / "schema.toml").write_text(SCHEMA)
    write_bundle(tmp_path).rename(tmp_path / "bundles" / "mine")
    with server(f"{serve} --shown-log-file-mb 0.05 --deadline-ms 5000", tmp_path, port):
        url = f"http://127.0.0.1:{port}"
        answers = asyncio.run(load(url))
        text = httpx.get(f"{url}/metrics", trust_env=False).text
    assert 'rerank_shown_dropped_total{reason="queue"} 0.0' in text
    assert not [one for one in shown.iterdir() if one.name.startswith(".")]
    assert len(list(shown.iterdir())) > 1  # 50 kB each
    wanted = clicked(answers, tmp_path / "clicks.csv")
    assert "clicks that came again: 1\n" in run(join, tmp_path, port)

    log = pl.read_parquet(tmp_path / "joined" / "impressions" / "*.parquet")
    assert len(log) == PEOPLE * TURNS * TOP  # below top_k nothing was shown, nor is it here
    found = {(one["list_id"], one["rerank_position"]): one for one in log.to_dicts()}
    for one in answers:
        for place, result in enumerate(one["results"], 1):
            row = found[one["request_id"], place]
            assert (row["item_id"], row["position"]) == (result["id"], result["index"])
    positives = log.filter(pl.col("label") == 1).select("list_id", "item_id")
    assert set(positives.iter_rows()) == wanted

    run(prepare, tmp_path, port)
    assert Dataset.load(tmp_path / "datasets" / "next").info["lists"] == PEOPLE * TURNS
    run(f"{train} epochs=2 teacher=false", tmp_path, port)
    assert (tmp_path / "runs" / "next" / "weights.safetensors").exists()
