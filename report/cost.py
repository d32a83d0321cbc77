"""What a model costs online: milliseconds a list, on this machine, on the lists that are judged.

With a bundle its graphs are timed in ONNX Runtime as a service runs them, on one thread, and the
encoding of a request beside them; without, the model in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.cost import Call, in_turn
from export.parity import session
from features.bundle import Bundle, resolve
from features.encode import Encoder
from model.latency import latency
from report.sides import ReportError, Sides, Trained

LISTS = 101  # requests that are timed, again and again; a prime, so that a turn leaves none out
SECONDS = 1.0  # about, for each step


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one step for one list."""

    step: str
    p50: float
    p99: float


def costs(run: Trained, sides: Sides, bundle: Path | str | None = None) -> list[Cost]:
    """Time one list at a time. Raises ReportError where the bundle is of another run's model."""
    if bundle is None:
        with one_thread():
            (found,) = latency(
                run.ranker, sides.dataset, sides.after.split, mode=run.mode, sizes=(1,)
            )
        return [Cost(f"{run.name}, not exported", found.p50, found.p99)]
    return list(_of_bundle(run, sides, resolve(Path(bundle))))


def _of_bundle(run: Trained, sides: Sides, bundle: Bundle) -> Iterator[Cost]:
    made_of = bundle.manifest.config
    settings = run.config.model_dump(mode="json", exclude={"dataset"})
    if bundle.manifest.fingerprint != run.config.fingerprint or made_of != settings:
        raise ReportError(
            f"{bundle.folder} was not exported from {run.folder}; export that run, or name its "
            "bundle."
        )
    encoder = Encoder(bundle.schema, bundle.catalogue)
    every = sides.lists[np.linspace(0, len(sides.lists) - 1, LISTS).astype(int)]
    requests = [sides.dataset.request(int(index)) for index in every]
    encoded = [encoder.encode_request(request)[0] for request in requests]
    calls = {"encoding a request": _cycled(encoder.encode_request, requests)}
    graphs = {"the scorer in ONNX Runtime": bundle.scorer, "the generator": bundle.generator}
    for step, path in graphs.items():
        if path is not None:
            calls[step] = _cycled(partial(session(path).run, None), encoded)
    for step, times in in_turn(calls, SECONDS).items():
        p50, p99 = np.quantile(times, [0.5, 0.99])
        yield Cost(step, float(p50), float(p99))


def _cycled(call: Callable[[Any], Any], values: Sequence[Any]) -> Call:
    """A call that takes the values in turn."""
    turn = cycle(values)
    return lambda: call(next(turn))


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread inside, as the graphs are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
