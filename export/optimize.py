"""Graphs without the detours that exporting leaves: the same values by fewer nodes.

The exporter computes at run time what sizes a Reshape or an Expand has, although all but one are
known or stay as they are, reads rows of a table by GatherND, cuts off again what was just put
together, adds zeros where a table of vectors holds one feature, and two biases where one would do.
ONNX Runtime fuses the rest by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

Size = int | str
Shapes = Mapping[str, Sequence[Size]]


def optimize(model: onnx.ModelProto) -> None:
    """Rewrite in place; inputs and outputs stay."""
    graph = model.graph
    shapes, made = dict(_shapes(graph)), {one: node for node in graph.node for one in node.output}
    stored = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "GatherND":
            _gather_rows(node, made, stored)
        elif node.op_type in ("Reshape", "Expand"):
            _fix_sizes(graph, node, shapes)
        elif node.op_type == "Add":
            _join_biases(graph, node, made, stored)
        elif node.op_type == "Slice":
            _take_first_part(node, made, stored, shapes)
    _drop_idle(graph, shapes, stored)
    _drop_unused(graph)


def rename_sizes(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Call symbolic sizes by other names, wherever they stand."""
    pattern = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names) or "(?!)")
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = pattern.sub(lambda found: names[found[0]], size.dim_param)


def _shapes(graph: onnx.GraphProto) -> Iterator[tuple[str, list[Size]]]:
    """Of every value whose sizes are all known, by number or by name."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        sizes = value.type.tensor_type.shape.dim
        if all(size.HasField("dim_value") or size.dim_param for size in sizes):
            yield value.name, [size.dim_param or size.dim_value for size in sizes]
    for stored in graph.initializer:
        yield stored.name, list(stored.dims)


def _gather_rows(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    stored: Mapping[str, onnx.TensorProto],
) -> None:
    """GatherND whose index is an Unsqueeze at the end reads whole rows: Gather on axis 0."""
    index = made.get(node.input[1])
    if index is None or index.op_type != "Unsqueeze" or index.input[1] not in stored:
        return
    batched = any(one.name == "batch_dims" and one.i for one in node.attribute)
    if batched or numpy_helper.to_array(stored[index.input[1]]).tolist() != [-1]:
        return
    node.op_type, node.input[1] = "Gather", index.input[0]
    del node.attribute[:]


def _take_first_part(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    stored: Mapping[str, onnx.TensorProto],
    shapes: Shapes,
) -> None:
    """The beginning of a Concat on the last axis that is its first part: that part itself."""
    joined = made.get(node.input[0])
    known = len(node.input) == 5 and all(name in stored for name in node.input[1:])
    if joined is None or joined.op_type != "Concat" or not known:
        return
    part, whole = shapes.get(joined.input[0]), shapes.get(joined.output[0])
    if part is None or whole is None or part[:-1] != whole[:-1]:
        return
    begin, end, axis, step = (numpy_helper.to_array(stored[n]).tolist() for n in node.input[1:])
    if axis in ([len(part) - 1], [-1]) and [begin, end, step] == [[0], [part[-1]], [1]]:
        node.op_type, node.input[:] = "Identity", [joined.input[0]]


def _join_biases(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    stored: Mapping[str, onnx.TensorProto],
) -> None:
    """(a + b) + (c + d) with stored b and d becomes a + (c + (b + d))."""
    one, two = (made.get(name) for name in node.input)
    if (
        one is None
        or two is None
        or not (_biased(graph, one, stored) and _biased(graph, two, stored))
    ):
        return
    first, second = (numpy_helper.to_array(stored[part.input[1]]) for part in (one, two))
    if first.shape != second.shape:
        return
    name = f"{node.name}_bias"
    graph.initializer.append(numpy_helper.from_array(first + second, name))
    two.input[1], node.input[0] = name, one.input[0]


def _biased(
    graph: onnx.GraphProto, node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]
) -> bool:
    """Whether it adds a stored number, for one reader alone."""
    if node.op_type != "Add" or node.input[1] not in stored:
        return False
    return sum(node.output[0] in other.input for other in graph.node) == 1


def _fix_sizes(graph: onnx.GraphProto, node: onnx.NodeProto, shapes: Shapes) -> None:
    """A stored shape in place of a computed one."""
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    if before is None or after is None:
        return
    fixed = (_reshaped if node.op_type == "Reshape" else _expanded)(before, after)
    if fixed is None:
        return
    name = f"{node.name}_shape"
    graph.initializer.append(numpy_helper.from_array(np.array(fixed, np.int64), name))
    node.input[1] = name
    del node.attribute[:]  # allowzero: 0 now says "as it was"


def _reshaped(before: Sequence[Size], after: Sequence[Size]) -> list[int] | None:
    """0 for a size that stays in its place, -1 for one other that has only a name."""
    fixed = [
        size if isinstance(size, int) else 0 if before[place : place + 1] == [size] else -1
        for place, size in enumerate(after)
    ]
    return fixed if fixed.count(-1) <= 1 and 0 not in [*before, *after] else None


def _expanded(before: Sequence[Size], after: Sequence[Size]) -> list[int] | None:
    """1 for a size that stays; none that has only a name may be new."""
    padded = [1] * (len(after) - len(before)) + list(before)
    fixed = [
        1 if old == new else new if isinstance(new, int) else -1
        for old, new in zip(padded, after, strict=True)
    ]
    return None if -1 in fixed else fixed


def _drop_idle(
    graph: onnx.GraphProto, shapes: Shapes, stored: Mapping[str, onnx.TensorProto]
) -> None:
    """Leave out what changes neither size nor value: its readers read what it read."""
    outputs, same = {one.name for one in graph.output}, dict[str, str]()
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
        idle = node.op_type in ("Reshape", "Expand") or _adds_nothing(node, stored)
        if idle:
            shape = shapes.get(node.output[0])
            idle = shape is not None and shape == shapes.get(node.input[0])
        if (idle or node.op_type == "Identity") and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]


def _adds_nothing(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> bool:
    if node.op_type != "Add" or node.input[1] not in stored:
        return False
    return not numpy_helper.to_array(stored[node.input[1]]).any()


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Leave out what no output needs."""
    needed, kept = {one.name for one in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    stored = [one for one in graph.initializer if one.name in needed]
    known = [one for one in graph.value_info if one.name in needed]
    _replace(graph.node, kept[::-1])
    _replace(graph.initializer, stored)
    _replace(graph.value_info, known)


def _replace(field: Any, values: Sequence[Any]) -> None:
    del field[:]
    field.extend(values)
