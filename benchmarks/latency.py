"""How long the exported models take: PSAD-S and PSAD-G beside PRMs of the same width and depth.

    OMP_NUM_THREADS=1 python -m benchmarks.latency RUN…
    OMP_NUM_THREADS=1 python -m benchmarks.latency --dataset datasets/ml_100k --json latency.json

Arguments are trained runs, or, with --dataset, untrained models of its schema: time does not depend
on weights. Every model is exported as `psad export` does and runs in ONNX Runtime on one thread of
one process, in turn with the others, on random arrays of 50 history items and 30 candidates. A turn
is some calls, of which the first is left out: it finds the caches as another model left them.
Prints p50 in milliseconds, ratios to PSAD-S, MFLOP a list in products, and PSAD-G part by part.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from data.dataset import Dataset
from export.onnx import Network, _export, _names, export_generator, export_scorer, random_arrays
from export.parity import session
from features.schema import FeatureSchema
from model.baselines import prm
from model.psad import Config, Ranker
from model.psad.search import generate
from model.train import commit, load_run

HISTORY, CANDIDATES = 50, 30
SIZES = (1, 64, 128, 256)
SECONDS, FEWEST, MOST = 4.0, 5, 200  # a model and size: so long, but so many turns
TURN = 5  # calls, and one before them
Sessions = dict[str, onnxruntime.InferenceSession]


class Upto(Network):
    """PSAD-G's graph, cut after a part; what it gives is a sum of all that the part made."""

    def __init__(self, ranker: Ranker, names: tuple[str, ...], part: str) -> None:
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


PARTS = ("encoder", "memory", "search", "refinement")  # and then the evaluator


def untrained(schema: FeatureSchema, parts: bool) -> dict[str, Callable[[Path], Any]]:
    """PSAD by its default configuration, and PRMs like it."""
    psad = Ranker(schema, Config())
    config = psad.config
    like: dict[str, Any] = {
        "embedding_width": config.embedding_width, "width": config.width, "layers": config.layers,
        "heads": config.heads,
    }  # fmt: skip
    reading, plain = (
        prm.Ranker(schema, prm.Config(**like, reads_history=reads)) for reads in (True, False)
    )
    return {
        **of_psad(psad, schema, parts),
        "prm, reads history": lambda path: export_scorer(reading, schema, path),
        "prm, candidates alone": lambda path: export_scorer(plain, schema, path),
    }


def of_psad(psad: Ranker, schema: FeatureSchema, parts: bool) -> dict[str, Callable[[Path], Any]]:
    """Both of its networks, and the second cut after each part."""
    made: dict[str, Callable[[Path], Any]] = {}
    if psad.student is not None:
        made["psad-s"] = lambda path: export_scorer(psad, schema, path)
    if psad.generates:
        made[f"psad-g, beam {psad.beam}"] = lambda path: export_generator(psad, schema, path)
        for part in PARTS if parts else ():
            network = Upto(psad, _names(schema), part)
            made[f"up to {part}"] = lambda path, n=network: _export(n, schema, path, ("sum",))
    return made


def trained(runs: Sequence[Path], parts: bool) -> tuple[FeatureSchema, dict[str, Any]]:
    """The runs' own models, which must be of one dataset."""
    made: dict[str, Callable[[Path], Any]] = {}
    schemas = []
    for run in runs:
        ranker, _ = load_run(run)
        schemas.append(ranker.schema)
        if isinstance(ranker, Ranker):
            made |= of_psad(ranker, ranker.schema, parts and not any("up to" in n for n in made))
        elif isinstance(ranker, nn.Module):
            made[run.name] = lambda path, r=ranker: export_scorer(r, r.schema, path)
    if len({schema.fingerprint() for schema in schemas}) != 1:
        raise SystemExit("error: the runs are of different datasets")
    return schemas[0], made


def p50s(sessions: Sessions, schema: FeatureSchema, size: int) -> dict[str, float]:
    """Milliseconds a call of each, in turn."""
    random = np.random.default_rng(size)
    arrays = random_arrays(schema, random, lists=size, history=HISTORY, candidates=CANDIDATES)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    begun, turns = perf_counter(), 0
    while turns < FEWEST or (turns < MOST and perf_counter() - begun < SECONDS * len(sessions)):
        for name, one in sessions.items():
            one.run(None, arrays)
            for _ in range(TURN):
                start = perf_counter()
                one.run(None, arrays)
                times[name].append(1000.0 * (perf_counter() - start))
        turns += 1
    return {name: float(np.median(seen)) for name, seen in times.items()}


def megaflops(path: Path, schema: FeatureSchema) -> float:
    """Multiplications and additions of all products for one list, from the sizes they ran with."""
    model = onnx.load(path)
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    known = {one.name for one in (*model.graph.output, *model.graph.initializer)}
    watched = {name for node in products for name in (node.input[0], node.output[0])} - known
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(watched))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = random_arrays(
        schema, np.random.default_rng(0), lists=1, history=HISTORY, candidates=CANDIDATES
    )
    names = [one.name for one in runtime.get_outputs()]
    values = dict(zip(names, runtime.run(names, arrays), strict=True))
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    return sum(_flops(node, values | stored) for node in products) / 1e6


def _flops(node: onnx.NodeProto, values: dict[str, Any]) -> float:
    turned = any(one.name == "transA" and one.i for one in node.attribute)
    inner = values[node.input[0]].shape[-2 if turned else -1]
    return 2.0 * inner * float(values[node.output[0]].size)


def measure(schema: FeatureSchema, made: dict[str, Callable[[Path], Any]]) -> dict[str, Any]:
    """Export, run, count."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{place}.onnx" for place, name in enumerate(made)}
        for name, export in made.items():
            export(paths[name])
        sessions = {name: session(path) for name, path in paths.items()}
        return {
            "mflop": {name: megaflops(path, schema) for name, path in paths.items()},
            "nodes": {name: len(onnx.load(path).graph.node) for name, path in paths.items()},
            "p50_ms": {size: p50s(sessions, schema, size) for size in SIZES},
        }


def show(found: dict[str, Any]) -> None:
    """The table, then what each part of PSAD-G adds."""
    flops, times = found["mflop"], found["p50_ms"]
    base = "psad-s" if "psad-s" in flops else next(iter(flops))
    head = "".join(f"{f'batch {size}':>18}" for size in SIZES)
    print(f"{'p50 ms, ratio to ' + base:28}{'MFLOP':>8}{'ratio':>7}{head}")
    names = [name for name in flops if not name.startswith("up to")]
    for name in names:
        cells = "".join(
            f"{times[size][name]:11.3f} {times[size][name] / times[size][base]:5.2f}×"
            for size in SIZES
        )
        print(f"{name:28}{flops[name]:8.2f}{flops[name] / flops[base]:6.2f}×{cells}")
    whole = next((name for name in names if name.startswith("psad-g")), None)
    if whole is None or f"up to {PARTS[0]}" not in flops:
        return
    print(f"\n{'parts of ' + whole:28}")
    steps, before = [*(f"up to {part}" for part in PARTS), whole], ""
    for part, name in zip((*PARTS, "evaluator"), steps, strict=True):
        values = [flops[name] - flops.get(before, 0.0)]
        cells = "".join(
            f"{times[size][name] - times[size].get(before, 0.0):11.3f}       " for size in SIZES
        )
        print(f"{part:28}{values[0]:8.2f}{'':7}{cells}")
        before = name


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency")
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-parts", action="store_true", help="leave PSAD-G whole")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.dataset is not None:
        schema = Dataset.load(asked.dataset).schema
        made = untrained(schema, not asked.no_parts)
    elif asked.runs:
        schema, made = trained(asked.runs, not asked.no_parts)
    else:
        parser.error("give runs, or --dataset")
    found = measure(schema, made)
    show(found)
    if asked.json is not None:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(),
            "dataset": schema.name, "history": HISTORY, "candidates": CANDIDATES, "threads": 1,
            "onnxruntime": onnxruntime.__version__, "machine": platform.processor(),
        }  # fmt: skip
        asked.json.write_text(json.dumps({"about": about, **found}, indent=1))


if __name__ == "__main__":
    main()
