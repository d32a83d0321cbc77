"""What models cost: a call in ONNX Runtime on the CPU, part by part, and a step of training.

Weights are untrained, which takes the same time. All models of a table run in one process on one
thread, in turn (export/cost.py). B lists, T places.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from tqdm.auto import tqdm

from data.dataset import Dataset
from export.cost import in_turn, megaflops, random_lists
from export.onnx import Network, export_generator, export_network, export_scorer, input_names
from export.runtime import session
from features.schema import FeatureSchema
from model.config import Training
from model.fit import Loop
from model.psad.model import Ranker as Psad
from model.psad.search import generate
from model.ranker import NeuralRanker

STEPS = 10  # of training, as the paper averages
UPTO = "up to "  # and a part: the row of the graph cut after it
PARTS = ("encoder", "memory", "search", "refinement", "evaluator")  # of the generator
Export = Callable[[Path], Any]


class Upto(Network):
    """The generator's graph, cut after a part; what it gives is a sum of all the part made."""

    def __init__(self, ranker: Psad, names: tuple[str, ...], part: str) -> None:
        super().__init__(ranker, names)
        self.part = part

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B,)"""
        ranker = self.ranker
        encoded = ranker.encoder(dict(zip(self.names, inputs, strict=True)))
        if self.part == "encoder":
            return encoded.states.sum((1, 2))
        memory = ranker.teacher.remember(encoded)
        if self.part == "memory":
            kept = [memory.vectors, memory.bias, *(one for pair in memory.keys for one in pair)]
            if memory.pairs is not None:
                kept.append(memory.pairs.influence)
            return torch.stack([one.flatten(1).sum(1) for one in kept]).sum(0)
        refine = ranker.config.refine if self.part == "refinement" else 0
        found = generate(ranker.teacher, memory, None, ranker.beam, refine)
        return found.chosen.sum(1) + found.chances.sum(1)


def exporter(ranker: Any, mode: str) -> Export:
    """Writes the graph that a bundle would hold for this mode."""
    write = export_generator if mode == "generator" else export_scorer
    return lambda path: write(ranker, ranker.schema, path)


def parts(ranker: Psad) -> dict[str, Export]:
    """Writes the generator's graph cut after each part but the last."""
    schema = ranker.schema
    networks = {part: Upto(ranker, input_names(schema), part) for part in PARTS[:-1]}
    return {
        part: lambda path, network=network: export_network(network, schema, path, ("sum",))
        for part, network in networks.items()
    }


def time_calls(
    schema: FeatureSchema, made: Mapping[str, Export], sizes: Sequence[int], seconds: float
) -> dict[str, Any]:
    """`mflop` and `nodes` of each graph, and `p50_ms` by batch size.

    Every graph is called for about `seconds` at every size, in FEWEST turns or more.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{place}.onnx" for place, name in enumerate(made)}
        for name, export in tqdm(made.items(), "exporting", unit="graph", leave=False):
            export(paths[name])
        sessions = {name: session(path) for name, path in paths.items()}
        one = random_lists(schema, 1)
        return {
            "mflop": {name: megaflops(path, one) for name, path in paths.items()},
            "nodes": {name: len(onnx.load(path).graph.node) for name, path in paths.items()},
            "p50_ms": {
                str(size): _medians(sessions, random_lists(schema, size), seconds)
                for size in tqdm(sizes, "timing", unit="size", leave=False)
            },
        }


def _medians(sessions: Mapping[str, Any], arrays: Any, seconds: float) -> dict[str, float]:
    """p50 milliseconds of a call of each."""
    calls = {name: partial(one.run, None, arrays) for name, one in sessions.items()}
    return {name: float(np.median(seen)) for name, seen in in_turn(calls, seconds).items()}


def time_steps(
    rankers: Mapping[str, tuple[NeuralRanker, Training]],
    dataset: Dataset,
    sizes: Sequence[int],
    steps: int = STEPS,
) -> dict[str, dict[str, float]]:
    """Median milliseconds of a training step by batch size: forward, backward and update."""
    found: dict[str, dict[str, float]] = {}
    for size in tqdm(sizes, "training steps", unit="size", leave=False):
        with _loops(rankers, dataset, size) as loops:
            batches = {name: cycle(list(islice(one.loader, steps))) for name, one in loops.items()}
            times: dict[str, list[float]] = {name: [] for name in loops}
            for _ in range(steps + 1):
                for name, loop in loops.items():
                    batch = next(batches[name])
                    began = perf_counter()
                    loop.step(batch)
                    times[name].append(1000.0 * (perf_counter() - began))
            found[str(size)] = {name: float(np.median(seen[1:])) for name, seen in times.items()}
    return found


@contextmanager
def _loops(
    rankers: Mapping[str, tuple[NeuralRanker, Training]], dataset: Dataset, size: int
) -> Iterator[dict[str, Loop]]:
    """Training loops at one batch size, in folders that go again."""
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for name, (ranker, training) in rankers.items():
            sized = training.model_copy(update={"batch_size": size})
            made[name] = Loop(ranker, dataset, Path(folder), sized, cpu=True)
            made[name].model.train()
            ranker.on_progress(0.5)  # past the warm-ups: every term is there
        yield made
