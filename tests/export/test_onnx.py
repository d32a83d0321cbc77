"""The graph: its inputs are the schema's, its sizes are free, and it is one clean file."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.onnx import OPSET, PADDED
from export.runtime import OUTPUT, session
from features.bundle import SCORER
from features.draw import random_arrays
from features.schema import FeatureSchema

TYPES = {"int64": "tensor(int64)", "float32": "tensor(float)", "bool": "tensor(bool)"}


@pytest.fixture(params=["exported", "paper"])
def graph(request: pytest.FixtureRequest) -> tuple[Path, FeatureSchema]:
    """A graph and the schema it was made for: a rich and a poor one."""
    found = request.getfixturevalue(request.param)
    if request.param == "paper":
        return found.path, found.dataset.schema
    return found.bundle / SCORER, FeatureSchema.load(found.bundle / "schema.json")


def test_the_schemas_tensors_are_the_graphs_inputs(graph: Any) -> None:
    path, schema = graph
    inputs = {one.name: one for one in session(path).get_inputs()}
    assert list(inputs) == [spec.name for spec in schema.tensors()]
    for spec in schema.tensors():
        found = inputs[spec.name]
        assert found.type == TYPES[spec.dtype]
        free = [isinstance(size, str) for size in found.shape]
        assert free == [isinstance(size, str) for size in spec.axes], spec.name
        assert [n for n in found.shape if isinstance(n, int)] == [
            n for n in spec.axes if isinstance(n, int)
        ]
    (output,) = session(path).get_outputs()
    assert output.name == OUTPUT
    assert [isinstance(size, str) for size in output.shape] == [True, True]


def test_the_graph_is_one_valid_file_with_its_weights_inside(graph: Any) -> None:
    path, _ = graph
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {one.domain: one.version for one in model.opset_import}[""] == OPSET
    assert not any(one.external_data for one in model.graph.initializer)
    assert not list(path.parent.glob("*.data"))


def test_the_graph_tells_nothing_of_the_machine_it_was_made_on(graph: Any) -> None:
    path, _ = graph
    content = path.read_bytes()
    here = [Path(__file__).parents[2], Path.home(), path.parent, sysconfig.get_path("purelib")]
    for trace in (*map(str, here), "site-packages", ".py", 'File "'):
        assert trace.encode() not in content, trace


def test_padded_slots_have_a_logit_that_no_real_one_is_near(graph: Any) -> None:
    path, schema = graph
    arrays = random_arrays(
        schema, np.random.default_rng(0), lists=8, history=4, candidates=6, padded=True
    )
    (scores,) = session(path).run([OUTPUT], arrays)
    mask = arrays["candidate_mask"]
    assert not mask.all()
    assert (scores[~mask] == np.float32(PADDED)).all()
    assert (np.abs(scores[mask]) < 1e4).all()


def test_the_exporter_is_quiet(exported: Any) -> None:
    assert exported.log == []


@pytest.mark.parametrize("padded", [False, True])
def test_random_arrays_are_what_a_schema_allows(dataset: Any, padded: bool) -> None:
    schema, random = dataset.schema, np.random.default_rng(0)
    arrays = random_arrays(schema, random, lists=40, history=3, candidates=5, padded=padded)
    sizes = {"batch": 40, "history": 3, "candidates": 5}
    for spec in schema.tensors():
        array = arrays[spec.name]
        assert array.dtype == np.dtype(spec.dtype)
        assert array.shape == tuple(sizes.get(axis, axis) for axis in spec.axes)
    for side in ("user", "history", "candidate"):
        for kind in ("categorical", "bag"):
            start = 0
            for feature in schema.of(side, kind):
                column = arrays[f"{side}_{kind}"][..., start : start + feature.width]
                assert 0 <= column.min() <= column.max() < feature.size
                start += feature.width
    lengths = arrays["candidate_mask"].sum(1), arrays["history_mask"].sum(1)
    assert (lengths[0].min(), lengths[0].max()) == ((1, 5) if padded else (5, 5))
    assert (lengths[1].min(), lengths[1].max()) == ((0, 3) if padded else (3, 3))
