"""A graph that names a file, or an operator that nobody here has, is never served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.descriptor import Descriptor
from onnx import TensorProto, helper

from features.bundle import Bundle
from features.errors import BundleError
from service import engine as module
from service.engine import Engine
from service.onnx_file import PARTS, refuse_ways_out


def outside(name: str = "far", location: str = "../secret") -> TensorProto:
    """A tensor whose values are in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_all_ways_from_a_model_to_a_tensor_are_walked() -> None:
    found: dict[str, dict[int, str]] = {}

    def walk(one: Descriptor) -> None:
        if one.name not in found:
            inner = [(f.number, f.message_type) for f in one.fields if f.message_type]
            found[one.name] = {number: message.name for number, message in inner}
            for _, message in inner:
                walk(message)

    walk(onnx.ModelProto.DESCRIPTOR)
    leads = {"TensorProto"}
    while more := {n for n, parts in found.items() if leads & set(parts.values())} - leads:
        leads |= more
    assert {
        name: {number: inner for number, inner in found[name].items() if inner in leads}
        for name in leads
    } == PARTS


def in_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer[-1].CopyFrom(outside())


def in_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=outside()))


def in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], [outside("then")])
    model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=inner))


def in_a_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["x"], value=outside())
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("f", "f", [], ["x"], [node], opset))


def in_a_sparse_one(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(outside())


def in_training(model: onnx.ModelProto) -> None:
    model.training_info.add().algorithm.initializer.append(outside())


def without_the_mark(model: onnx.ModelProto) -> None:
    model.graph.initializer[-1].external_data.add(key="location", value="x")


WAYS: dict[str, Callable[[onnx.ModelProto], None]] = {
    one.__name__: one
    for one in (in_initializer, in_a_constant, in_a_branch, in_a_function, in_a_sparse_one,
                in_training, without_the_mark)
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_weights_outside_are_refused_before_the_runtime_opens_the_file(
    toy: Any, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = toy.scorer()
    WAYS[way](model)
    home = toy.write(tmp_path, model)
    opened: list[str] = []

    class Runtime:
        SessionOptions = module.check_runtime("cpu").SessionOptions

        @staticmethod
        def InferenceSession(path: str, *_: Any, **__: Any) -> None:
            opened.append(path)

    monkeypatch.setattr(module, "check_runtime", lambda _: Runtime)
    with pytest.raises(BundleError, match="keeps weights in another file"):
        Engine(Bundle.load(home / "1"))
    assert not opened


@pytest.mark.parametrize("location", ["../../secret", "/tmp/secret", "secret"])
def test_a_secret_beside_the_bundle_is_not_read_and_the_old_version_serves_on(
    serve: Any, toy: Any, home: Path, location: str
) -> None:
    model = toy.scorer()
    model.graph.initializer[-1].CopyFrom(outside(location=location))
    secret = np.array(-1e9, np.float32).tobytes()
    toy.write(home.parents[1], model, name="3", published=False)
    for folder in (home / "3", home.parent):
        (folder / "secret").write_bytes(secret)
    api = serve(bundle=home, admin_key="secret").loaded()
    key = {"authorization": "Bearer secret"}
    answer = api.post(b"", "/admin/models/3/load", **key)
    assert answer.status_code == 409
    assert "scorer.onnx keeps weights in another file" in answer.json()["error"]["message"]
    assert api.post({"candidates": ["100", "109"]}).json()["model"]["version"] == "1"


def test_a_node_that_reads_a_file_is_refused(toy: Any, tmp_path: Path) -> None:
    model = toy.scorer()
    model.graph.node.append(helper.make_node(
        "EPContext", [], ["unused"], domain="com.microsoft", ep_cache_context="../secret",
    ))  # fmt: skip
    with pytest.raises(BundleError, match="EPContext"):
        Engine(Bundle.load(toy.write(tmp_path, model) / "1"))


@pytest.mark.parametrize("domain", ["evil", "ai.onnx.contrib", ""])
def test_an_operator_that_only_a_library_could_bring_is_refused(
    serve: Any, toy: Any, home: Path, domain: str
) -> None:
    model = toy.scorer()
    model.graph.node[1].op_type, model.graph.node[1].domain = "RunCommand", domain
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    toy.write(home.parents[1], model, name="3", published=False)
    api = serve(bundle=home, admin_key="secret").loaded()
    answer = api.post(b"", "/admin/models/3/load", authorization="Bearer secret")
    assert answer.status_code == 409
    assert api.post({"candidates": ["100", "109"]}).json()["model"]["version"] == "1"


@pytest.mark.parametrize("enum", [1, 2, 2**32 + 1, 2**64 - 1])
def test_any_location_but_the_file_itself_is_refused(tmp_path: Path, enum: int) -> None:
    tensor = field(14, 0, varint(enum))
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, 2, field(5, 2, tensor)))
    with pytest.raises(BundleError, match="another file"):
        refuse_ways_out(path)


def test_what_is_encoded_oddly_is_found_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    tag = bytes([(7 << 3 | 2) | 0x80, 0x80, 0x80, 0x00])  # a tag longer than it need be
    graph = field(5, 2, field(14, 0, bytes([0x81, 0x80, 0x00])))
    path.write_bytes(field(7, 2, b"") + tag + varint(len(graph)) + graph)
    assert onnx.load(path, load_external_data=False).graph.initializer[0].data_location == 1
    with pytest.raises(BundleError, match="another file"):
        refuse_ways_out(path)


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, wire: int, content: bytes) -> bytes:
    size = varint(len(content)) if wire == 2 else b""
    return varint(number << 3 | wire) + size + content


@pytest.mark.parametrize(
    "content",
    [b"", b"\x3a", b"\x3a\xff", b"\x3a\x05ab", b"\x3b", b"\xff" * 20, b"\x3f\x00", b"junk"],
)
def test_what_is_no_onnx_file_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"m\.onnx is (no ONNX file|empty)"):
        refuse_ways_out(path)


def test_graphs_nested_for_ever_are_refused(tmp_path: Path) -> None:
    content = b""
    for _ in range(100):
        content = field(1, 2, field(5, 2, field(6, 2, content)))
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, 2, content))
    with pytest.raises(BundleError, match="deeper than 100"):
        refuse_ways_out(path)


def test_graphs_as_export_writes_them_pass(toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path, generates=toy.generator())
    for name in ("scorer.onnx", "generator.onnx"):
        refuse_ways_out(home / "1" / name)
