"""A domain nobody wrote code for, from CSV files to a served answer, by the command line alone.

Groceries: aisles, labels, prices that change from list to list, a score of the earlier stage.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

from cli.demo_service import free_port
from data.dataset import Dataset
from features.body import rerank_body
from features.bundle import resolve
from features.encode import Encoder
from service.decode import Decoder
from service.grammar import Limits

ROOT = Path(__file__).parents[1]
PRODUCTS, SHOPPERS, LISTS, SHOWN = 80, 60, 8, 9
SCHEMA = """\
name = "groceries"
positive = ">=1"
title = "product"
split = "time"
list_size = 5

[user.household]
kind = "categorical"
[user.points]
kind = "numeric"
[item.item_id]
kind = "categorical"
min_count = 2
[item.aisle]
kind = "categorical"
[item.labels]
kind = "bag"
separator = "|"
max_length = 3
[item.grams]
kind = "numeric"
transform = "log"
[context.price]
kind = "numeric"
[context.offer]
kind = "categorical"
"""


def write_groceries(folder: Path) -> Path:
    """Shoppers have favourite aisles and like offers. Ids are numbers, some grams missing."""
    random = np.random.default_rng(7)
    folder.mkdir()
    (folder / "schema.toml").write_text(SCHEMA)
    aisles = random.integers(0, 6, PRODUCTS)
    names = ["bread", "dairy", "fruit", "frozen", "sweets", "tea"]
    labels = ["organic", "vegan", "local", "new"]
    pl.DataFrame({
        "item_id": np.arange(1000, 1000 + PRODUCTS),
        "product": [f"Product {i}" for i in range(PRODUCTS)],
        "aisle": [names[a] for a in aisles],
        "labels": ["|".join(random.choice(labels, random.integers(0, 3), False)) for _ in aisles],
        "grams": [None if i % 11 == 0 else float(50 + 13 * i) for i in range(PRODUCTS)],
    }).write_csv(folder / "items.csv")  # fmt: skip
    pl.DataFrame({
        "user_id": [f"s{u}" for u in range(SHOPPERS)],
        "household": random.choice(["single", "couple", "family"], SHOPPERS),
        "points": random.integers(0, 900, SHOPPERS),
    }).write_csv(folder / "users.csv")  # fmt: skip
    rows: list[dict[str, Any]] = []
    for shopper in range(SHOPPERS):
        favourite = random.integers(0, 6, 2)
        for visit in range(LISTS):
            shown = random.choice(PRODUCTS, SHOWN, replace=False)
            for position, product in enumerate(shown):
                offer = random.random() < 0.3
                wants = 0.1 + 0.5 * (aisles[product] in favourite) + 0.2 * offer
                rows.append({
                    "list_id": f"{shopper}-{visit}", "user_id": f"s{shopper}",
                    "timestamp": 1_700_000_000 + 86_400 * visit + 60 * shopper,
                    "item_id": 1000 + product, "position": position,
                    "label": int(random.random() < wants),
                    "score": round(float(random.normal()), 3),
                    "price": round(float(1 + product % 17), 2), "offer": "yes" if offer else "no",
                })  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "impressions.csv")
    return folder


def psad(*words: str, cwd: Path) -> str:
    """One command as a user types it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which prepare, train, evaluate and export have run."""
    folder = tmp_path_factory.mktemp("shop")
    write_groceries(folder / "logs")
    psad("prepare", "logs", "datasets/groceries", cwd=folder)
    psad("train", "datasets/groceries", "runs/first", "--preset", "demo", "epochs=3", "width=16",
         cwd=folder)  # fmt: skip
    psad("export", "runs/first", "bundles/shop/1", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def url(place: Path) -> Iterator[str]:
    """The service, in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "serve", "bundles/shop", "--port", str(port),
         "--drain-seconds", "0"],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        time.sleep(0.1)
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                break
        except httpx.TransportError:
            assert process.poll() is None, "the service ended while starting"
    yield address
    process.send_signal(signal.SIGTERM)
    # uvicorn finishes and then dies of the signal, as whoever sent it expects
    assert process.wait(20) in (0, -signal.SIGTERM)


def test_evaluation_names_the_model_and_the_reference_rows(place: Path) -> None:
    said = psad("evaluate", "runs/first", "--split", "test", cwd=place)
    assert all(row in said for row in ("psad-s", "psad-s/generator", "incoming", "oracle"))


def test_a_run_of_its_own_settings_is_resumed_by_resume_alone(place: Path) -> None:
    words = ("train", "datasets/groceries", "runs/second", "--model", "dnn")
    psad(*words, "epochs=2", "--seed", "3", cwd=place)
    before = (place / "runs/second/weights.safetensors").read_bytes()
    (place / "runs/second/metrics.json").unlink()  # interrupted after its last epoch
    psad("train", "datasets/groceries", "runs/second", "--resume", cwd=place)
    assert (place / "runs/second/metrics.json").exists()
    assert (place / "runs/second/weights.safetensors").read_bytes() == before


def test_the_service_puts_a_real_list_in_the_order_of_the_model(place: Path, url: str) -> None:
    dataset = Dataset.load(place / "datasets/groceries")
    request = dataset.request(int(dataset.splits["test"][0]))
    answer = httpx.post(f"{url}/rerank", json=rerank_body(request, deadline_ms=5000)).json()
    assert answer["fallback"] is None
    assert len(answer["results"]) == dataset.schema.list_size
    scores = [one["score"] for one in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(request.candidates.ids[one["index"]] == one["id"] for one in answer["results"])


def test_dataset_and_service_give_the_same_bits(place: Path) -> None:
    dataset, bundle = Dataset.load(place / "datasets/groceries"), resolve(place / "bundles/shop")
    decoder = Decoder(bundle.schema, Limits(1000, 500))
    encoder = Encoder(bundle.schema, bundle.catalogue)
    for index in (*dataset.splits["valid"], *dataset.splits["test"]):
        expected, _ = dataset.batch([int(index)])
        body = json.dumps(rerank_body(dataset.request(int(index)))).encode()
        found, counts = encoder.encode_request(decoder.decode(body).raw)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert array.dtype == found[name].dtype
            assert array.tobytes() == found[name].tobytes(), name
        assert counts.unknown_items == 0


def test_a_stranger_with_new_products_is_served(url: str) -> None:
    body = {"user": {"features": {"household": "castle"}}, "candidates": ["1000", "9999", "1003"]}
    answer = httpx.post(f"{url}/rerank", json=body).json()
    assert sorted(one["id"] for one in answer["results"]) == ["1000", "1003", "9999"]
    assert "rerank_unknown_items_total " in httpx.get(f"{url}/metrics").text
