"""Trained networks as ONNX graphs; inputs as `schema.tensors()`.

scorer.onnx gives `scores` (B, M). generator.onnx holds the encoder, the whole beam search, the
refinement and the evaluator, for a fixed list size and number of beams, and gives `list`, `chances`
and `worth`. Batch, history and candidates are dynamic, so that a request of 8 history items and 20
candidates does not pay for 50 and 30. B lists, N history items, M candidates, T places.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from export.optimize import optimize, rename_sizes
from export.runtime import GENERATED, OUTPUT
from features.draw import random_arrays
from features.schema import FeatureSchema

OPSET = 23  # the first with Attention
PADDED = -1e9  # the logit of a padded slot: no real one is near it


class Network(nn.Module):
    """A ranker that takes tensors in a fixed order."""

    def __init__(self, ranker: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.ranker, self.names = ranker, names


class Scorer(Network):
    """Logits of candidates; padded slots get PADDED."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B, M) logits."""
        tensors = dict(zip(self.names, inputs, strict=True))
        logits: Tensor = self.ranker(tensors)
        return torch.where(tensors["candidate_mask"], logits, PADDED)


class Generator(Network):
    """Lists; places without an item have -1 and no chance."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Items (B, T), their chances (B, T), and what each list is worth (B,)."""
        chosen, chances, worth = self.ranker.generated(dict(zip(self.names, inputs, strict=True)))
        return chosen, chances.masked_fill(chosen < 0, 0.0), worth


AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def export_scorer(ranker: nn.Module, schema: FeatureSchema, path: Path) -> Scorer:
    """Write the scoring network's graph; returns the torch module it was made from."""
    return export_network(Scorer(ranker, input_names(schema)), schema, path, (OUTPUT,))


def export_generator(ranker: nn.Module, schema: FeatureSchema, path: Path) -> Generator:
    """Write the generator's graph, for the beams that `ranker.beam` says now."""
    return export_network(Generator(ranker, input_names(schema)), schema, path, GENERATED)


def input_names(schema: FeatureSchema) -> tuple[str, ...]:
    """In the order in which a Network takes its tensors."""
    return tuple(spec.name for spec in schema.tensors())


def export_network(
    network: AnyNetwork, schema: FeatureSchema, path: Path, outputs: tuple[str, ...]
) -> AnyNetwork:
    """Write a network as one file with the weights inside; returns it."""
    specs, network = schema.tensors(), network.eval()
    arrays = random_arrays(schema, np.random.default_rng(0), lists=2, history=3, candidates=5)
    inputs = tuple(torch.from_numpy(arrays[spec.name]) for spec in specs)
    dynamic = torch.export.Dim.DYNAMIC
    shapes = tuple(
        {axis: dynamic for axis, size in enumerate(spec.axes) if isinstance(size, str)}
        for spec in specs
    )
    with _quiet():
        program = torch.onnx.export(
            network, inputs, dynamo=True, opset_version=OPSET, dynamic_shapes=(shapes,),
            input_names=[spec.name for spec in specs], output_names=list(outputs),
            external_data=False, verbose=False,
        )  # fmt: skip
    assert program is not None
    model = _tidy(program.model_proto)
    rename_sizes(model, _size_names(model, schema))
    optimize(model)
    onnx.save(model, path)
    return network


def _size_names(model: Any, schema: FeatureSchema) -> dict[str, str]:
    """The exporter's names of sizes to the schema's: batch, history, candidates."""
    names = {}
    for value, spec in zip(model.graph.input, schema.tensors(), strict=True):
        for size, axis in zip(value.type.tensor_type.shape.dim, spec.axes, strict=True):
            if size.dim_param:
                names[size.dim_param] = str(axis)
    return names


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
