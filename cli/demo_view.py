"""What the demo shows: one real list before and after, timings, metrics, and a curl to paste."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli import demo_service
from data.dataset import Dataset
from features.body import rerank_body
from features.encode import Request
from model.metrics import ndcg_at_k

MANY, SOME = 10, 5  # the list shown has so many candidates, and so long a history, at least
CURL_HISTORY = 8  # ids in the line to paste
METRICS = (
    "rerank_requests_total",
    "rerank_request_duration_seconds_sum",
    "rerank_stage_duration_seconds_sum",
    "rerank_model_info",
)


def show(dataset_folder: Path, run: Path, bundle: Path, url: str) -> None:
    """Send one list of the test split to the service and print what came back."""
    dataset = Dataset.load(dataset_folder)
    index = choose(dataset)
    request = dataset.request(index)
    began = time.perf_counter()
    body = rerank_body(request, top_k=len(request.candidates.ids))
    answer = demo_service.post(f"{url}/rerank", body)
    waited = (time.perf_counter() - began) * 1000
    console = Console(highlight=False)
    console.print()
    console.print(_lists(dataset, index, request, answer))
    console.print(_quality(dataset, index, answer))
    timings = "  ".join(f"{name} {value:.2f}" for name, value in answer["timings_ms"].items())
    console.print(f"Timings in ms: {timings}; the client waited {waited:.1f}", soft_wrap=True)
    console.print(f"\nFrom {url}/metrics:")
    for line in _metrics(demo_service.get(f"{url}/metrics")):
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print("\nTry it yourself (ids are enough; an unknown user is served too):")
    print(curl(request, url), flush=True)  # as it is: rich would fold it


def choose(dataset: Dataset) -> int:
    """The first test list long enough to look at: picked before anybody knows how it turns out."""
    indexes = dataset.splits["test"]
    history = np.diff(dataset.lists(indexes).history_offsets)
    good = indexes[(dataset.lengths[indexes] >= MANY) & (history >= SOME)]
    return int((good if len(good) else indexes)[0])


def curl(request: Request, url: str) -> str:
    """A line to paste into a shell: the same list by ids alone, with the newest of its history."""
    body = {
        "history": list(request.history.ids)[:CURL_HISTORY],
        "candidates": list(request.candidates.ids),
        "top_k": 5,
    }
    text = json.dumps(body).replace("'", "'\\''")
    return f"curl -s {url}/rerank -H 'Content-Type: application/json' -d '{text}'"


def _lists(dataset: Dataset, index: int, request: Request, answer: dict[str, Any]) -> Table:
    ids, marks = request.candidates.ids, _marks(dataset, index)
    model = answer["model"]
    drawn = Table(title="One logged list of the test split, before and after", title_justify="left")
    drawn.add_column("", justify="right")
    drawn.add_column("before: the incoming order", ratio=1)
    drawn.add_column(f"after: {model['name']}, version {model['version']}", ratio=1)
    drawn.add_column("score", justify="right")
    for place, (before, result) in enumerate(zip(range(len(ids)), answer["results"], strict=True)):
        after, score = result["index"], result["score"]
        drawn.add_row(
            str(place + 1),
            _named(dataset, ids[before], marks[before]),
            _named(dataset, ids[after], marks[after]),
            "–" if score is None else f"{score:.3f}",
        )
    drawn.caption = "★ what this person went on to choose; the model was not shown this"
    return drawn


def _marks(dataset: Dataset, index: int) -> list[bool]:
    return [bool(label) for label in dataset.labels([index])[0]]


def _named(dataset: Dataset, item: str, marked: bool) -> str:
    title = escape(dataset.catalogue.title(item))
    return f"[bold yellow]★ {title}[/]" if marked else f"  {title}"


def _quality(dataset: Dataset, index: int, answer: dict[str, Any]) -> str:
    """NDCG@10 of this list in both orders: one list, not a result."""
    labels = dataset.labels([index])
    after = np.array([[result["index"] for result in answer["results"]]])
    real = np.ones(labels.shape, bool)
    before = np.arange(labels.shape[1])[None]
    first, second = (ndcg_at_k(labels, real, order, 10)[0] for order in (before, after))
    return f"NDCG@10 of this one list: {first:.3f} before, {second:.3f} after."


def _metrics(text: str) -> list[str]:
    """The lines of METRICS that say something."""
    lines = [line for line in text.splitlines() if line.startswith(METRICS)]
    return [line for line in lines if not line.endswith(" 0.0")]
