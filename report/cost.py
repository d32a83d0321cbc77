"""What an order costs online: milliseconds a list, on this machine, on the lists that are judged.

With a bundle its graphs are timed in ONNX Runtime as a service runs them, and the encoding of a
request beside them; without, the model in its own library. The run that it is compared with is
timed in its own library too. All take turns, on one thread, so that ratios hold on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from export.cost import Call, in_turn
from export.runtime import session
from features.bundle import Bundle, resolve
from features.encode import Encoder
from model.evaluate import in_evaluation, load_batch, order_lists
from model.machine import Load
from model.machine import load as machine_load
from report.sides import Integers, ReportError, Sides, Trained

LISTS = 101  # that are timed, again and again; a prime, so that a turn leaves none out
SECONDS = 1.0  # about, for each step

Side = Literal["before", "after"]


@dataclass(frozen=True)
class Cost:
    """Milliseconds of one step for one list."""

    step: str
    p10: float  # which other work on the machine touches least
    p50: float
    p99: float
    side: Side | None = None  # whose order the step makes


@dataclass(frozen=True)
class Costs:
    """Every step, and how busy the machine was before."""

    steps: Sequence[Cost]
    load: Load
    unexported: bool = False  # a service would run the model in ONNX Runtime instead

    def of(self, side: Side) -> Cost | None:
        """The step that makes a side's order; None of the order as it came, which costs nothing."""
        return next((one for one in self.steps if one.side == side), None)


def costs(
    run: Trained, sides: Sides, bundle: Path | str | None = None, load: Load | None = None
) -> Costs:
    """Time one list at a time. Raises ReportError where the bundle is of another run's model."""
    before, lists = load or machine_load(), _some(sides)
    calls: dict[str, tuple[Call, Side | None]] = {}
    if sides.other is not None:
        calls[in_its_library(sides.other, sides.before_name)] = (
            _ranked(sides.other, sides, lists), "before",
        )  # fmt: skip
    if bundle is None:
        calls[in_its_library(run, sides.after_name)] = (_ranked(run, sides, lists), "after")
    else:
        calls |= dict(_of_bundle(run, sides, lists, resolve(Path(bundle))))
    rankers = [one.ranker for one in (run, sides.other) if one is not None]
    with one_thread(), in_evaluation(rankers[0]), in_evaluation(rankers[-1]):
        times = in_turn({step: call for step, (call, _) in calls.items()}, SECONDS)
    quantiles = {
        step: np.quantile(found, [0.1, 0.5, 0.99]).tolist() for step, found in times.items()
    }
    steps = [Cost(step, *quantiles[step], side) for step, (_, side) in calls.items()]
    unexported = bundle is None and isinstance(run.ranker, torch.nn.Module)
    return Costs(steps, before, unexported)


def in_its_library(run: Trained, name: str) -> str:
    """What a run's step is called: "lambdamart in LightGBM"."""
    return f"{name} in {run.ranker.library}"


def _some(sides: Sides) -> Integers:
    """Lists to time, from all over the split."""
    return sides.lists[np.linspace(0, len(sides.lists) - 1, LISTS).astype(int)]


def _ranked(run: Trained, sides: Sides, lists: Integers) -> Call:
    """A batch of one list, in the run's own way."""
    batches = [load_batch(sides.dataset, np.array([index])) for index in lists]
    return _cycled(lambda batch: order_lists(run.ranker, batch, run.mode), batches)


def _of_bundle(
    run: Trained, sides: Sides, lists: Integers, bundle: Bundle
) -> Iterator[tuple[str, tuple[Call, Side | None]]]:
    made_of = bundle.manifest.config
    settings = run.config.model_dump(mode="json", exclude={"dataset"})
    if bundle.manifest.fingerprint != run.config.fingerprint or made_of != settings:
        raise ReportError(
            f"{bundle.folder} was not exported from {run.folder}; export that run, or name its "
            "bundle."
        )
    encoder = Encoder(bundle.schema, bundle.catalogue)
    requests = [sides.dataset.request(int(index)) for index in lists]
    encoded = [encoder.encode_request(request)[0] for request in requests]
    yield "encoding a request", (_cycled(encoder.encode_request, requests), None)
    graphs = {"scorer": bundle.scorer, "generator": bundle.generator}
    for mode, path in graphs.items():
        if path is not None:
            call = _cycled(partial(session(path).run, None), encoded)
            yield f"the {mode} in ONNX Runtime", (call, "after" if mode == run.mode else None)


def _cycled(call: Callable[[Any], Any], values: Sequence[Any]) -> Call:
    """A call that takes the values in turn."""
    turn = cycle(values)
    return lambda: call(next(turn))


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch and the libraries of trees on one thread inside, as the graphs are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadpoolController().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
