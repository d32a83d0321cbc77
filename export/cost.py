"""What a graph costs: its multiplications, and its time beside the machine's own matrix rate.

Needs ONNX Runtime and numpy alone, so that a bundle can be measured where it is served.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import onnxruntime
from threadpoolctl import ThreadpoolController

from features.draw import random_arrays
from features.encode import Arrays
from features.schema import FeatureSchema

HISTORY: Final = 50  # of the random requests that are counted and timed
CANDIDATES: Final = 30
PRODUCTS: Final = ("MatMul", "Gemm", "Attention")  # nodes that multiply matrices
FEWEST, MOST = 5, 200  # turns
CALLS: Final = 5  # of a turn, and one before them
SIDE: Final = 512  # of the matrices that the machine's rate is measured with
SGEMM_MFLOP: Final = 2.0 * SIDE**3 / 1e6

Call = Callable[[], Any]


def random_lists(schema: FeatureSchema, size: int) -> Arrays:
    """Arrays of `size` lists of HISTORY and CANDIDATES; the same ones every time."""
    random = np.random.default_rng(size)
    return random_arrays(schema, random, lists=size, history=HISTORY, candidates=CANDIDATES)


def megaflops(path: Path, arrays: Arrays) -> float:
    """Multiplications and additions of all products, from the sizes they ran with."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # keeps weights' sizes
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        session.run(None, arrays)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [one["args"] for one in events if one.get("args", {}).get("output_type_shape")]
    return sum(_flops(node) for node in nodes if node["op_name"] in PRODUCTS) / 1e6


def _flops(node: Mapping[str, Any]) -> float:
    first, second, *_ = [_shape(one) for one in node["input_type_shape"]]
    made = _shape(node["output_type_shape"][0])
    if node["op_name"] == "Attention":  # queries and keys (B, S, d), weights and values
        return 4.0 * second[-2] * math.prod(made)
    inner = math.prod(first) // made[0] if node["op_name"] == "Gemm" else first[-1]
    return 2.0 * inner * math.prod(made)


def _shape(typed: Mapping[str, Sequence[int]]) -> Sequence[int]:
    """Of {"float": [1, 30, 64]}."""
    (shape,) = typed.values()
    return shape


def sgemm() -> Call:
    """One product of two float32 matrices of SIDE by SIDE, on one thread."""
    random = np.random.default_rng(0)
    one, two = random.normal(size=(2, SIDE, SIDE)).astype(np.float32)
    made = np.empty((SIDE, SIDE), np.float32)
    libraries = ThreadpoolController()  # of numpy: looked for once

    def call() -> None:
        with libraries.limit(limits=1):
            np.matmul(one, two, out=made)

    return call


def in_turn(calls: Mapping[str, Call], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call, for about `seconds` each and in FEWEST turns or more.

    All take turns, so that what else the machine does meets each of them. A turn is some calls, of
    which the first is left out: it finds the caches as another left them.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    began, turns = perf_counter(), 0
    while turns < FEWEST or (turns < MOST and perf_counter() - began < seconds * len(calls)):
        for name, call in calls.items():
            call()
            for _ in range(CALLS):
                start = perf_counter()
                call()
                times[name].append(1000.0 * (perf_counter() - start))
        turns += 1
    return times
