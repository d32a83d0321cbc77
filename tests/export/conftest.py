"""Small runs and one exported bundle, made once: the exporter takes seconds a model.

The datasets and models are those of tests/model.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest

from data.dataset import Dataset
from export.bundle import export_run
from export.onnx import Scorer, export_scorer
from model.train import train
from tests.model import conftest as shared

dataset, plain, tools = shared.dataset, shared.plain, shared.tools

TINY = {
    "width": "8", "embedding_width": "4", "heads": "2", "layers": "2", "profile_width": "4",
    "epochs": "1", "batch_size": "64", "block_size": "4", "beam": "3", "refine": "2",
}  # fmt: skip


class Exported(NamedTuple):
    """A run, the version that it became, and what the exporter logged meanwhile."""

    run: Path
    bundle: Path
    log: list[str]


class Graph(NamedTuple):
    """A model's torch side and its graph."""

    scorer: Scorer
    path: Path
    dataset: Dataset


@pytest.fixture(scope="session")
def exported(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A joint run of PSAD and its bundle; tests read them only."""
    folder = tmp_path_factory.mktemp("export")
    train(dataset.folder, folder / "run", overrides=TINY)
    log: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addHandler(handler)
    bundle = export_run(folder / "run", folder / "bundles" / "psad" / "1")
    logger.removeHandler(handler)
    return Exported(folder / "run", bundle, log)


@pytest.fixture(scope="session")
def paper(plain: Dataset, tools: Any, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The paper's preset on the schema that holds least, with weights on every path."""
    ranker = tools.shaken(plain, "psad", scale=0.15, **tools.preset("paper"))
    return graph_of(ranker, plain, tmp_path_factory.mktemp("paper"))


@pytest.fixture(scope="session")
def graph_by_name(
    dataset: Dataset, tools: Any, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Graph]:
    """The graph of any neural model on the rich schema, made once."""

    @functools.cache
    def make(name: str) -> Graph:
        return graph_of(tools.shaken(dataset, name), dataset, tmp_path_factory.mktemp(name))

    return make


def graph_of(ranker: Any, dataset: Dataset, folder: Path) -> Graph:
    """Export it into a folder."""
    path = folder / "scorer.onnx"
    return Graph(export_scorer(ranker, dataset.schema, path), path, dataset)


def edit_graph(path: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    """Change a graph in place."""
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def nudge(name: str, by: float) -> Callable[[onnx.ModelProto], None]:
    """Add to half the numbers of the largest initializer whose name holds `name`.

    Not to all: what is the same for every output, a normalisation takes away again.
    """

    def change(model: onnx.ModelProto) -> None:
        found = [one for one in model.graph.initializer if name in one.name and one.data_type == 1]
        largest = max(found, key=lambda one: len(one.raw_data))
        values = onnx.numpy_helper.to_array(largest).copy()
        values.reshape(-1)[: values.size // 2] += by
        largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))

    return change


@pytest.fixture(scope="session")
def tamper() -> Any:
    """`tamper(path, name, by)` edits one initializer of a graph."""

    def edit(path: Path, name: str = "embed.items.vectors", by: float = 0.05) -> None:
        edit_graph(path, nudge(name, by))

    return edit
