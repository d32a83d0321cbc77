"""The scoring network as an ONNX graph: inputs as `schema.tensors()`, output `scores` (B, M).

Batch, history and candidates are dynamic, so that a request of 8 history items and 20 candidates
does not pay for 50 and 30. B lists, N history items, M candidates.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from features.encode import Arrays
from features.schema import FeatureSchema

OUTPUT = "scores"
OPSET = 20
PADDED = -1e9  # the logit of a padded slot: no real one is near it


class Scorer(nn.Module):
    """Tensors in a fixed order in, logits out; padded slots get PADDED."""

    def __init__(self, ranker: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.ranker, self.names = ranker, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, M) logits."""
        tensors = dict(zip(self.names, inputs, strict=True))
        logits: Tensor = self.ranker(tensors)
        return logits.masked_fill(~tensors["candidate_mask"], PADDED)


def export_scorer(ranker: nn.Module, schema: FeatureSchema, path: Path) -> Scorer:
    """Write the graph with its weights inside; returns the torch module it was made from."""
    specs = schema.tensors()
    scorer = Scorer(ranker, tuple(spec.name for spec in specs)).eval()
    arrays = random_arrays(schema, np.random.default_rng(0), lists=2, history=3, candidates=5)
    inputs = tuple(torch.from_numpy(arrays[spec.name]) for spec in specs)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {axis: dynamic for axis, size in enumerate(spec.axes) if isinstance(size, str)}
        for spec in specs
    )
    with _quiet():
        program = torch.onnx.export(
            scorer, inputs, dynamo=True, opset_version=OPSET, dynamic_shapes=(shapes,),
            input_names=[spec.name for spec in specs], output_names=[OUTPUT],
            external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    onnx.save(_tidy(program.model_proto), path)
    return scorer


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own deprecations and its regret that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _tidy(model: Any) -> Any:
    """Without the exporter's notes of where nodes came from: they name this machine's paths."""
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    return model


def random_arrays(
    schema: FeatureSchema,
    random: np.random.Generator,
    *,
    lists: int,
    history: int,
    candidates: int,
    padded: bool = False,
) -> Arrays:
    """Arrays that a schema allows; `padded` gives each list its own lengths below the widths."""
    sizes = {"batch": lists, "history": history, "candidates": candidates}
    arrays: Arrays = {}
    for spec in schema.tensors():
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in spec.axes)
        side, kind = spec.name.rsplit("_", 1)
        if kind == "mask":
            least = 0 if side == "history" else 1
            lengths = random.integers(least, shape[1] + 1, lists) if padded else [shape[1]] * lists
            arrays[spec.name] = np.arange(shape[1]) < np.asarray(lengths)[:, None]
        elif kind == "numeric":
            arrays[spec.name] = random.normal(size=shape).astype(np.float32)
        else:
            arrays[spec.name] = random.integers(0, _limits(schema, side, kind), shape)
    return arrays


def _limits(schema: FeatureSchema, side: Any, kind: Any) -> Any:
    """(width,) exclusive upper bounds of a packed index array."""
    return np.repeat(
        [feature.size for feature in schema.of(side, kind)],
        [feature.width for feature in schema.of(side, kind)],
    )
