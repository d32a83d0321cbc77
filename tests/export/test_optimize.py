"""Rewritten graphs: fewer nodes, the same values at every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.optimize import _expanded, _reshaped, optimize, rename_sizes


@pytest.mark.parametrize(
    ("before", "after", "fixed"),
    [
        (["b", "n", 64], ["b", "n", 4, 16], [0, 0, 4, 16]),
        (["b", "n", 4, 16], ["b", "n", 64], [0, 0, 64]),
        (["4*b", 3, "m"], ["4*b", "3*m"], [0, -1]),
        (["b", "m", 2, "m"], ["b*m", 2, "m"], None),  # two sizes that only a name says
        (["4*b", 1, "m"], ["b", "4*m"], None),
        ([6], [2, 3], [2, 3]),
        (["b", 0], ["b", 0, 3], None),  # a stored 0 would mean "as it was"
    ],
)
def test_a_reshape_stores_what_it_knows(before: Any, after: Any, fixed: Any) -> None:
    assert _reshaped(before, after) == fixed


@pytest.mark.parametrize(
    ("before", "after", "fixed"),
    [
        (["b", 1, "m"], ["b", 4, "m"], [1, 4, 1]),
        (["m"], [3, "m"], [3, 1]),
        ([1, "m"], ["b", "m"], None),
    ],
)
def test_an_expand_stores_what_is_new(before: Any, after: Any, fixed: Any) -> None:
    assert _expanded(before, after) == fixed


def graph() -> onnx.ModelProto:
    """(b, n) indices into a table by the long way round: GatherND, Reshapes, an idle Expand."""
    value = helper.make_tensor_value_info
    stored = {
        "end": np.array([-1]), "table": np.arange(20, dtype=np.float32).reshape(5, 4),
        "zeros": np.zeros(4, np.float32), "two": np.array([2]), "four": np.array([4]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Unsqueeze", ["index", "end"], ["pairs"]),
        node("GatherND", ["table", "pairs"], ["rows"]),
        node("Shape", ["index"], ["size"]),
        node("Concat", ["size", "two", "two"], ["shape"], axis=0),
        node("Reshape", ["rows", "shape"], ["halves"], "reshape", allowzero=1),
        node("Concat", ["size", "four"], ["flat"], axis=0),
        node("Reshape", ["halves", "flat"], ["whole"], "back"),
        node("Expand", ["whole", "flat"], ["same"], "idle"),
        node("Add", ["same", "zeros"], ["still"]),
        node("Neg", ["still"], ["result"]),
    ]
    shapes = {
        "rows": ["s0", "s1", 4], "halves": ["s0", "s1", 2, 2], "whole": ["s0", "s1", 4],
        "same": ["s0", "s1", 4], "still": ["s0", "s1", 4],
    }  # fmt: skip
    made = helper.make_graph(
        nodes, "long", [value("index", TensorProto.INT64, ["s0", "s1"])],
        [value("result", TensorProto.FLOAT, ["s0", "s1", 4])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
        value_info=[value(name, TensorProto.FLOAT, sizes) for name, sizes in shapes.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model: onnx.ModelProto, index: Any) -> Any:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"index": index})[0]


def test_the_long_way_round_becomes_the_short_one() -> None:
    model, before = graph(), graph()
    optimize(model)
    assert [node.op_type for node in model.graph.node] == ["Gather", "Reshape", "Reshape", "Neg"]
    assert {one.name for one in model.graph.initializer} == {"table", "reshape_shape", "back_shape"}
    onnx.checker.check_model(model, full_check=True)
    for shape in ((2, 3), (1, 1), (1, 0), (0, 2)):
        index = np.random.default_rng(0).integers(0, 5, shape)
        np.testing.assert_array_equal(run(model, index), run(before, index))


def cut(end: int, axis: int) -> onnx.ModelProto:
    """(b, 3) rows of which some numbers are cut off after two more were joined on."""
    value, node = helper.make_tensor_value_info, helper.make_node
    stored = {"zero": [0], "end": [end], "axis": [axis], "one": [1]}
    nodes = [
        node("Neg", ["rows"], ["first"]),
        node("Split", ["rows", "sizes"], ["_", "second"], axis=1),
        node("Concat", ["first", "second"], ["joined"], axis=1),
        node("Slice", ["joined", "zero", "end", "axis", "one"], ["part"]),
        node("Abs", ["part"], ["result"]),
    ]
    shapes = {"first": ["b", 3], "second": ["b", 2], "joined": ["b", 5]}
    made = helper.make_graph(
        nodes, "cut", [value("rows", TensorProto.FLOAT, ["b", 3])],
        [value("result", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(array), name)
         for name, array in (stored | {"sizes": [1, 2]}).items()],
        value_info=[value(name, TensorProto.FLOAT, sizes) for name, sizes in shapes.items()],
    )  # fmt: skip
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("end", "axis", "kinds"),
    [
        (3, 1, ["Neg", "Abs"]),  # its first part and no more
        (3, -1, ["Neg", "Abs"]),
        (4, 1, ["Neg", "Split", "Concat", "Slice", "Abs"]),
        (3, 0, ["Neg", "Split", "Concat", "Slice", "Abs"]),  # rows, not numbers
    ],
)
def test_what_was_just_joined_is_not_cut_off_again(end: int, axis: int, kinds: list[str]) -> None:
    model, before = cut(end, axis), cut(end, axis)
    optimize(model)
    assert [node.op_type for node in model.graph.node] == kinds
    rows = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    found, expected = (
        onnxruntime.InferenceSession(
            one.SerializeToString(), providers=["CPUExecutionProvider"]
        ).run(None, {"rows": rows})[0]
        for one in (model, before)
    )
    np.testing.assert_array_equal(found, expected)


def test_sizes_get_the_schemas_names_everywhere() -> None:
    model = graph()
    model.graph.value_info[0].type.tensor_type.shape.dim[0].dim_param = "4*s0 + s10"
    rename_sizes(model, {"s0": "batch", "s1": "history"})
    sizes = model.graph.value_info[0].type.tensor_type.shape.dim
    assert [sizes[0].dim_param, sizes[1].dim_param] == ["4*batch + s10", "history"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    rename_sizes(model, {})
