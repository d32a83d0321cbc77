"""ONNX Runtime as the service runs it, for whoever compares with it."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from features.bundle import SLOWER

# what graphs give: the scorer, and the generator
OUTPUT = "scores"  # (B, M)
GENERATED = ("list", "chances", "worth")  # (B, T), (B, T), (B,)


def session(path: Path) -> onnxruntime.InferenceSession:
    """A CPU session of one thread, optimised as the service's own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(SLOWER)
    )
