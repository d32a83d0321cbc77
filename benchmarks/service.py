"""What a request costs: a real service on loopback, real lists, one caller at a time.

    python -m benchmarks.service bundles/psad datasets/ml_100k

Prints p50 and p99 in milliseconds as the caller sees them and as the service counts them, for ids
alone and for candidates as objects, and the ratio to the scorer alone in the same run.
"""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from cli import demo_service
from data.dataset import Dataset
from features.body import rerank_body
from features.bundle import resolve
from service.engine import Engine

REQUESTS, WARM_UP = 2000, 200
Body = dict[str, Any]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--port", type=int, default=8765)
    asked = parser.parse_args()
    data = Dataset.load(asked.dataset)
    chosen = np.random.default_rng(0).choice(data.splits["test"], 200)
    requests = [data.request(int(index)) for index in chosen]
    engine = Engine(resolve(asked.bundle))
    arrays = [engine.encode(request)[0] for request in requests]
    alone = _times(lambda i: engine.logits(arrays[i % 200], len(requests[i % 200].candidates.ids)))
    print(f"{'':26}   p50 ms   p99 ms   ratio to the scorer alone (p50)")
    _line("scorer alone", alone, alone)
    service = demo_service.start(asked.bundle, asked.port)
    try:
        for name, kind in {"ids": _ids, "objects": _objects}.items():
            bodies = [json.dumps(kind(rerank_body(request))).encode() for request in requests]
            seen, counted = _calls(bodies, asked.port)
            _line(f"{name}, the caller's time", seen, alone)
            _line(f"{name}, the service's own", counted, alone)
    finally:
        service.stop()


def _ids(body: Body) -> Body:
    return body


def _objects(body: Body) -> Body:
    return {**body, "candidates": [{"id": item} for item in body["candidates"]]}


def _times(work: Callable[[int], Any]) -> list[float]:
    """Milliseconds of each call after the warm-up."""
    times = []
    for number in range(WARM_UP + REQUESTS):
        begun = perf_counter()
        work(number)
        times.append(1000.0 * (perf_counter() - begun))
    return times[WARM_UP:]


def _calls(bodies: Sequence[bytes], port: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each request to the caller, and by the answer's own timings."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    counted = []

    def call(number: int) -> None:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/rerank", bodies[number % len(bodies)], headers)
        answer = json.loads(connection.getresponse().read())
        assert answer["fallback"] is None, answer["fallback"]
        counted.append(answer["timings_ms"]["total"])

    seen = _times(call)
    connection.close()
    return seen, counted[WARM_UP:]


def _line(name: str, times: Sequence[float], base: Sequence[float]) -> None:
    p50, p99 = np.percentile(times, [50, 99])
    print(f"{name:26} {p50:8.3f} {p99:8.3f}   {p50 / np.median(base):.1f}")


if __name__ == "__main__":
    main()
