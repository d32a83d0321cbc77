"""What an ONNX file may not hold: a way out of itself.

A tensor can name a file that holds its values (external data), a node can name one that a device
reads (EPContext). A bundle's graphs have their weights inside, so both are refused, and before ONNX
Runtime opens the file. Read as protobuf's wire format, since the service has no `onnx`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from features.errors import BundleError

_TENSOR: Final = "TensorProto"
# message -> field number -> message in it; all the ways from a model to a tensor
PARTS: Final[dict[str, dict[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: _TENSOR, 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: _TENSOR, 6: "GraphProto", 10: _TENSOR, 11: "GraphProto", 22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: _TENSOR, 2: _TENSOR},
    _TENSOR: {},
}  # fmt: skip
_DEEPEST: Final = 100  # as protobuf itself
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_EXTERNAL, _LOCATION, _OPERATOR = 13, 14, 4  # fields of a tensor; of a node

Buffer = bytes | mmap.mmap
Field = tuple[int, int, int, int]  # number, wire type, start, end; of a varint start is its value


def refuse_ways_out(path: Path) -> None:
    """Raise BundleError where the file names another one, or is no ONNX file at all."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise BundleError(f"{path} is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            _look(buffer, path)


def _look(buffer: Buffer, path: Path) -> None:
    waiting = [("ModelProto", 0, len(buffer), 0)]
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > _DEEPEST:
            raise BundleError(f"{path} nests its graphs deeper than {_DEEPEST}")
        try:
            for number, wire, begin, stop in _fields(buffer, start, end):
                _refuse(buffer, path, kind, (number, wire, begin, stop))
                inner = PARTS[kind].get(number)
                if inner is not None and wire == _BYTES:
                    waiting.append((inner, begin, stop, depth + 1))
        except (IndexError, ValueError):
            raise BundleError(f"{path} is no ONNX file") from None


def _refuse(buffer: Buffer, path: Path, kind: str, field: Field) -> None:
    number, wire, begin, stop = field
    if kind == _TENSOR and (
        (number == _EXTERNAL and wire == _BYTES) or (number == _LOCATION and begin & 0xFFFFFFFF)
    ):
        raise BundleError(f"{path} keeps weights in another file: export it with them inside")
    if kind == "NodeProto" and number == _OPERATOR and buffer[begin:stop] == b"EPContext":
        raise BundleError(f"{path} has a node that reads another file (EPContext)")


def _fields(buffer: Buffer, place: int, end: int) -> Iterator[Field]:
    """The fields of one message; raises IndexError or ValueError where it is none."""
    while place < end:
        tag, place = _varint(buffer, place, end)
        number, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7
        if wire == _BYTES:
            size, place = _varint(buffer, place, end)
        elif wire == _VARINT:
            value, place = _varint(buffer, place, end)
            yield number, wire, value, place
            continue
        elif wire in (_FOUR, _EIGHT):
            size = 4 if wire == _FOUR else 8
        else:
            raise ValueError("a wire type that ONNX has not")
        if size > end - place:
            raise IndexError("a field beyond its message")
        yield number, wire, place, place + size
        place += size


def _varint(buffer: Buffer, place: int, end: int) -> tuple[int, int]:
    if place < end and (byte := buffer[place]) < 0x80:  # most are so short
        return byte, place + 1
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = buffer[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("a number without its end")
