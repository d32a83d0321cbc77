"""`psad bench BUNDLE`: what the scorer and a request to the service cost on this machine.

    psad bench bundles/psad --run runs/psad

Needs the bundle and the extra `cpu` alone. The scorer is called at batch 1 with 30 candidates and a
history of 50, or as much as the bundle reads, and a real service on loopback is sent as much, one
caller at a time; requests are drawn from the bundle's own schema and catalogue. Everything takes
turns, and ratios are of p10, so that they hold on a machine that has other work.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np

from cli import demo_service
from export.cost import (
    CALLS,
    CANDIDATES,
    HISTORY,
    SGEMM_MFLOP,
    Call,
    in_turn,
    megaflops,
    sgemm,
)
from features.body import as_rows, rerank_body
from features.bundle import Bundle, resolve
from features.draw import random_request
from features.encode import Arrays, RawItems, Request
from features.errors import PsadError
from features.files import write_whole
from model.machine import commit, load, processor
from service.engine import Engine
from service.info import package_version

DRAWN: Final = 20  # different requests, sent again and again
SENT: Final = 200  # requests of each form whose way out is averaged
FORMS: Final = ("ids", "rows", "columns")
STAGES: Final = ("decode", "queue", "encode", "score", "order")
SGEMM, ONNX, TORCH = "sgemm", "onnxruntime", "torch"
_HEADERS: Final = {"Content-Type": "application/json"}
_DEADLINE: Final = ("--deadline-ms", "60000")  # a busy machine must not turn scores into fallbacks


class BenchError(PsadError):
    """A figure that could not be had."""


def bench(
    folder: Path, *, run: Path | None = None, file: Path | None = None, seconds: float = 4.0
) -> dict[str, Any]:
    """Measure, about `seconds` a row, and write the figures as JSON; returns them.

    Raises BenchError where `file` would lie in the bundle, which is immutable, or where the
    service answers anything but scores.
    """
    bundle = resolve(folder)
    place = file or bundle.folder.with_name(f"{bundle.folder.name}-bench.json")
    if place.resolve().is_relative_to(bundle.folder.resolve()):
        raise BenchError(f"{place} lies in the bundle, whose files never change: choose another.")
    found = measured(bundle, run, seconds)
    write_whole(place, json.dumps(found, indent=1) + "\n")
    return found | {"file": str(place)}


def measured(bundle: Bundle, run: Path | None, seconds: float) -> dict[str, Any]:
    """All figures of one run, every time in milliseconds."""
    busy, engine, random = load(), Engine(bundle), np.random.default_rng(0)
    requests = [
        random_request(
            bundle.schema, bundle.catalogue, random, history=HISTORY, candidates=CANDIDATES
        )
        for _ in range(DRAWN)
    ]
    arrays = [engine.encode(request)[0] for request in requests]
    torch, why_not = eager(run, engine, arrays[0])
    calls = {SGEMM: sgemm(), ONNX: _onnx(engine, arrays), **({TORCH: torch} if torch else {})}
    with serving(bundle.folder) as port:
        callers = {form: Caller(port, bodies(form, requests)) for form in FORMS}
        times = in_turn(calls | {form: one.call for form, one in callers.items()}, seconds)
        seen = {form: times.pop(form) for form in FORMS}
        found = {form: callers[form].figures(seen[form]) for form in FORMS}
        for form, one in found.items():
            one["mean_until_sent_ms"] = mean_until_sent(callers[form], port)
            callers[form].close()
    return {
        "bundle": {"name": bundle.manifest.name, "version": bundle.manifest.version,
                   "fingerprint": bundle.manifest.fingerprint},
        "history": arrays[0]["history_mask"].shape[1], "candidates": CANDIDATES,
        **_floor(times.pop(SGEMM), megaflops(bundle.scorer, arrays[0])),
        "scorer": {name: quantiles(one) for name, one in times.items()},
        "torch_left_out": why_not,
        "service": found,
        "machine": f"{processor()}, {busy.cores} cores", "cores": busy.cores, "load": busy.average,
        "versions": {name: package_version(name) for name in ("psad", "onnxruntime", "numpy")},
        "commit": commit(), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip


def _floor(times: Sequence[float], mflop: float) -> dict[str, Any]:
    """What the scorer's products would take at the machine's own rate."""
    found = quantiles(times)
    share = mflop / SGEMM_MFLOP
    return {
        "mflop": mflop,
        "sgemm_gflops": SGEMM_MFLOP / found["p50_ms"],  # million a millisecond
        "floor": {name: found[name] * share for name in ("p10_ms", "p50_ms")},
    }


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """p10, which other work on the machine touches least, p50 and p99, and of how many."""
    p10, p50, p99 = np.percentile(times, [10, 50, 99]).tolist()
    return {"p10_ms": p10, "p50_ms": p50, "p99_ms": p99, "calls": len(times)}


def _onnx(engine: Engine, arrays: Sequence[Arrays]) -> Call:
    turn = cycle(arrays)
    return lambda: engine.logits(next(turn), CANDIDATES)


def eager(run: Path | None, engine: Engine, arrays: Arrays) -> tuple[Call | None, str | None]:
    """The run's own network in PyTorch, on one thread; or why there is none to time."""
    if run is None:
        return None, "needs the run it was exported from: --run RUN"
    try:
        import torch

        from export.onnx import Scorer, input_names
        from export.parity import TOLERANCE, tensors
        from model.train import load_run
    except ModuleNotFoundError as error:
        return None, f"needs {error.name}, which is not installed here (extra train)"
    try:
        ranker: Any = load_run(run)[0]
    except (PsadError, OSError) as error:
        return None, str(error)
    if ranker.schema.fingerprint() != engine.schema.fingerprint():
        return None, f"{run} is of another dataset than the bundle"
    torch.set_num_threads(1)
    scorer = Scorer(ranker, input_names(engine.schema)).eval()
    inputs = tensors(scorer, arrays)

    def call() -> Any:
        with torch.inference_mode():
            return scorer(*inputs)[0]

    expected = engine.logits(arrays, CANDIDATES)
    if np.abs(call().numpy() - expected).max() > TOLERANCE * max(1.0, np.abs(expected).max()):
        return None, f"{run} gives other scores than the bundle: it was exported from another run"
    return call, None


def bodies(form: str, requests: Sequence[Request]) -> list[bytes]:
    """The requests as they are sent: `ids` alone, or everything known of them inline."""
    shapes: dict[str, Callable[[Request], dict[str, Any]]] = {
        "ids": lambda one: rerank_body(
            Request(one.user, one.history, RawItems(one.candidates.ids))
        ),
        "rows": lambda one: as_rows(rerank_body(one)),
        "columns": rerank_body,
    }
    return [json.dumps(shapes[form](one)).encode() for one in requests]


class Caller:
    """Sends bodies over one connection and keeps what the answers say of their own time."""

    def __init__(self, port: int, bodies: Sequence[bytes]) -> None:
        self._connection = http.client.HTTPConnection(demo_service.HOST, port)
        self._turn, self._counted = cycle(bodies), list[dict[str, float]]()
        self.length = round(float(np.mean([len(one) for one in bodies])))
        self._answers = list[bytes]()

    def call(self) -> None:
        """Send one and read its answer, which is looked at when the clock has stopped."""
        self._connection.request("POST", "/rerank", next(self._turn), _HEADERS)
        self._answers.append(self._connection.getresponse().read())

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def figures(self, seen: Sequence[float]) -> dict[str, Any]:
        """The caller's time and the service's own, by stage; raises BenchError."""
        counted = [_timings(one) for one in self._answers]
        del counted[:: CALLS + 1]  # the first of each turn is not among those seen either
        assert len(counted) == len(seen)
        total = [one["total"] for one in counted]
        stages = {name: float(np.median([one[name] for one in counted])) for name in STAGES}
        return {
            "bytes": self.length,
            "service": quantiles(total),
            "caller": quantiles(seen),
            "stages_p50_ms": stages | {"rest": float(np.median(total)) - sum(stages.values())},
        }


def _timings(answer: bytes) -> dict[str, float]:
    said = json.loads(answer)
    if said.get("fallback", "error") is not None:
        raise BenchError(f"the service answered without scores: {answer[:200]!r}")
    timings: dict[str, float] = said["timings_ms"]
    return timings


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """A service of this version of the bundle, on a free port of this machine."""
    port = demo_service.free_port()
    service = demo_service.start(folder, port, *_DEADLINE)
    try:
        yield port
    finally:
        service.stop()


def mean_until_sent(caller: Caller, port: int) -> float:
    """Of SENT requests, from a request's arrival in the process until its answer has left it."""
    before = _durations(port)
    for _ in range(SENT):
        caller.call()
    after = _durations(port)
    return 1000.0 * (after[0] - before[0]) / (after[1] - before[1])


def _durations(port: int) -> tuple[float, float]:
    """Sum and count of all scored requests so far, in the service's own metrics."""
    text = demo_service.get(f"http://{demo_service.HOST}:{port}/metrics")
    name = "rerank_request_duration_seconds"
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name))
    total, count = (float(values[f'{name}_{part}{{mode="scorer"}}']) for part in ("sum", "count"))
    return total, count
