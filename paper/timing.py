"""What models cost: a call in ONNX Runtime on the CPU, part by part, and a step of training.

Weights are untrained, which takes the same time. All models of a table run in one process on one
thread, in turn, so that what else the machine does meets each of them. A turn is some calls, of
which the first is left out: it finds the caches as another model left them. B lists, T places.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor
from tqdm.auto import tqdm

from data.dataset import Dataset
from export.onnx import (
    Network,
    export_generator,
    export_network,
    export_scorer,
    input_names,
    random_arrays,
)
from export.parity import session
from features.encode import Arrays
from features.schema import FeatureSchema
from model.config import Training
from model.fit import Loop
from model.psad.model import Ranker as Psad
from model.psad.search import generate
from model.ranker import NeuralRanker

HISTORY, CANDIDATES = 50, 30  # of the random requests that are timed
FEWEST, MOST = 5, 200  # turns
CALLS = 5  # of a turn, and one before them
STEPS = 10  # of training, as the paper averages
UPTO = "up to "  # and a part: the row of the graph cut after it
PARTS = ("encoder", "memory", "search", "refinement", "evaluator")  # of the generator
PRODUCTS = ("MatMul", "Gemm", "Attention")  # nodes that multiply matrices
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
        return {
            "mflop": {name: megaflops(path, schema) for name, path in paths.items()},
            "nodes": {name: len(onnx.load(path).graph.node) for name, path in paths.items()},
            "p50_ms": {
                str(size): _in_turn(sessions, _requests(schema, size), seconds)
                for size in tqdm(sizes, "timing", unit="size", leave=False)
            },
        }


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


def megaflops(path: Path, schema: FeatureSchema) -> float:
    """Multiplications and additions of all products for one list, from the sizes they ran with."""
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.op_type in PRODUCTS]
    known = {one.name for one in (*model.graph.output, *model.graph.initializer)}
    watched = {name for node in products for name in (*node.input[:2], node.output[0])} - known
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(watched))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [one.name for one in runtime.get_outputs()]
    values = dict(zip(names, runtime.run(names, _requests(schema, 1)), strict=True))
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    return sum(_flops(node, values | stored) for node in products) / 1e6


def _flops(node: onnx.NodeProto, values: Mapping[str, Any]) -> float:
    if node.op_type == "Attention":  # queries and keys (B, S, d), weights and values
        return 4.0 * values[node.input[1]].shape[1] * float(values[node.output[0]].size)
    turned = any(one.name == "transA" and one.i for one in node.attribute)
    inner = values[node.input[0]].shape[-2 if turned else -1]
    return 2.0 * inner * float(values[node.output[0]].size)


def _requests(schema: FeatureSchema, size: int) -> Arrays:
    random = np.random.default_rng(size)
    return random_arrays(schema, random, lists=size, history=HISTORY, candidates=CANDIDATES)


def _in_turn(
    sessions: Mapping[str, onnxruntime.InferenceSession], arrays: Arrays, seconds: float
) -> dict[str, float]:
    """p50 milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    began, turns = perf_counter(), 0
    while turns < FEWEST or (turns < MOST and perf_counter() - began < seconds * len(sessions)):
        for name, one in sessions.items():
            one.run(None, arrays)
            for _ in range(CALLS):
                start = perf_counter()
                one.run(None, arrays)
                times[name].append(1000.0 * (perf_counter() - start))
        turns += 1
    return {name: float(np.median(seen)) for name, seen in times.items()}


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
