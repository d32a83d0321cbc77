"""A small bundle made by hand, and the application called in-process, on a loop of its own.

The toy scorer's logit is the sum of a candidate's numeric columns, masked. The toy generator shows
the three candidates of the least such sums, the least first, with chances 0.75, 0.5 and 0.25.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from features.bundle import GeneratorFacts, seal, writing
from features.catalogue import Catalogue
from features.derived import Statistics
from features.encode import Encoder
from features.publish import publish
from features.schema import Feature, FeatureSchema
from service.app import create_app
from service.decode import Decoder
from service.grammar import Limits
from service.settings import Settings

SCHEMA = FeatureSchema(
    name="toy",
    user=(
        Feature(name="age", kind="numeric", mean=30, scale=10),
        Feature(name="gender", kind="categorical", vocabulary=("F", "M")),
    ),
    item=(
        Feature(name="price", kind="numeric"),
        Feature(name="brand", kind="categorical", vocabulary=("x", "y")),
        Feature(name="genres", kind="bag", vocabulary=("a", "b", "c"), max_length=2),
    ),
    context=(Feature(name="score", kind="numeric"),),
    max_history=3,
    list_size=4,
)
ITEMS = [str(number) for number in range(100, 140)]
GOLDEN: list[dict[str, Any]] = [
    {"candidates": ["100", "101", "130"], "history": ["105"]},
    {"candidates": [{"id": "101", "score": 3.5}, {"id": "new", "features": {"price": 0.25}}]},
]
_TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}


def scorer(extra: float = 0.0, without: str = "") -> onnx.ModelProto:
    """scores = sum of candidate_numeric + extra where the mask says so, else -1e9."""
    inputs = [
        helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], list(spec.axes))
        for spec in SCHEMA.tensors()
        if spec.name != without
    ]
    output = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "candidates"])
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [2]),
        helper.make_tensor("extra", TensorProto.FLOAT, [], [extra]),
        helper.make_tensor("far", TensorProto.FLOAT, [], [-1e9]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["candidate_numeric", "axis"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "extra"], ["shifted"]),
        helper.make_node("Where", ["candidate_mask", "shifted", "far"], ["scores"]),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FACTS = GeneratorFacts(list_size=3, block_size=1, beam=2)


def generator(repeats: bool = False, extra: float = 0.0) -> onnx.ModelProto:
    """list = the FACTS.list_size least sums, -1 beyond the candidates; worth = 1 + extra."""
    far = onnx.numpy_helper.from_array(np.array(1e9, np.float32), "far")
    parts: dict[str, Any] = {
        "axis": np.array([2], np.int64), "size": np.array([3], np.int64),
        "none": np.array(-1, np.int64), "zero": np.array(0.0, np.float32),
        "places": np.arange(3), "ends": np.array([0, 0, 0, 3], np.int64),
        "odds": np.array([0.75, 0.5, 0.25], np.float32), "one": np.array([1], np.int64),
        "most": np.array(1.0 + extra, np.float32), "last": np.array([0, 3], np.int64),
    }  # fmt: skip
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in parts.items()]
    inputs = [
        helper.make_tensor_value_info(spec.name, _TYPES[spec.dtype], list(spec.axes))
        for spec in SCHEMA.tensors()
    ]
    outputs = [
        helper.make_tensor_value_info("list", TensorProto.INT64, ["batch", 3]),
        helper.make_tensor_value_info("chances", TensorProto.FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("worth", TensorProto.FLOAT, ["batch"]),
    ]
    node = helper.make_node
    nodes = [
        node("ReduceSum", ["candidate_numeric", "axis"], ["sum"], keepdims=0),
        node("Where", ["candidate_mask", "sum", "far"], ["masked"]),
        node("Pad", ["masked", "ends", "far"], ["padded"]),  # three more, so that T always exist
        node("TopK", ["padded", "size"], ["least", "order"], largest=0),
        node("Cast", ["candidate_mask"], ["there"], to=TensorProto.INT64),
        node("ReduceSum", ["there", "one"], ["count"], keepdims=1),
        node("Less", ["places", "count"], ["filled"]),
        node("Mul" if repeats else "Identity", ["order", "zeros"] if repeats else ["order"], ["l"]),
        node("Where", ["filled", "l", "none"], ["list"]),
        node("Where", ["filled", "odds", "zero"], ["chances"]),
        node("ReduceMax", ["chances", "one"], ["top"], keepdims=0),
        node("Div", ["top", "top"], ["ones"]),
        node("Mul", ["ones", "most"], ["worth"]),
    ]
    if repeats:
        stored.append(onnx.numpy_helper.from_array(np.zeros(3, np.int64), "zeros"))
    graph = helper.make_graph(nodes, "toy", inputs, outputs, [*stored, far])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def catalogue(titles: Sequence[str] | None = None) -> Catalogue:
    """Items 100 to 139, whose price is the last digit: 109 ranks before 108."""
    columns: dict[str, list[Any]] = {
        "price": [float(i % 10) for i in range(len(ITEMS))],
        "brand": ["xyz"[i % 3] for i in range(len(ITEMS))],
        "genres": [["a", "b", "c"][: i % 3] for i in range(len(ITEMS))],
    }
    return Catalogue.build(ITEMS, columns, SCHEMA, Statistics.empty(len(ITEMS) + 1), titles)


def golden(items: Catalogue) -> list[dict[str, Any]]:
    """The golden requests with what numpy says they must give."""
    decoder, encoder = Decoder(SCHEMA, Limits(1000, 500)), Encoder(SCHEMA, items)
    entries = []
    for request in GOLDEN:
        raw = decoder.decode(json.dumps(request).encode()).raw
        arrays, _ = encoder.encode_request(raw)
        logits = arrays["candidate_numeric"][0].sum(1)
        least = np.argsort(logits, kind="stable")[:3].tolist()
        entries.append({
            "request": request,
            "arrays": {name: array.tolist() for name, array in arrays.items()},
            "scores": logits.tolist(),
            "order": np.argsort(-logits, kind="stable").tolist(),
            "generated": {
                "list": (least + [-1] * 3)[:3],
                "chances": ([0.75, 0.5, 0.25][: len(least)] + [0.0] * 3)[:3],
                "worth": 1.0,
            },
        })  # fmt: skip
    return entries


def write_bundle(
    folder: Path,
    model: onnx.ModelProto | None = None,
    entries: list[Any] | None = None,
    generates: onnx.ModelProto | None = None,
    titles: Sequence[str] | None = None,
    name: str = "1",
    published: bool = True,
) -> Path:
    """bundles/toy/NAME below `folder`, published; returns bundles/toy."""
    items, home = catalogue(titles), folder / "bundles" / "toy"
    with writing(home / name) as version:
        SCHEMA.save(version / "schema.json")
        items.save(version / "catalogue")
        onnx.save(model or scorer(), version / "scorer.onnx")
        if generates is not None:
            onnx.save(generates, version / "generator.onnx")
        entries = golden(items) if entries is None else entries
        (version / "golden.json").write_text(json.dumps({"requests": entries}))
        seal(version, name="toy-s", version=name, created="2026-01-01T00:00:00Z",
             fingerprint=SCHEMA.fingerprint(), generator=generates and FACTS)  # fmt: skip
    if published:
        publish(home / name)
    return home


class Api:
    """The application behind plain calls. `runner` is its event loop."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.app = create_app(settings)
        self.service = self.app.state.service
        self.runner = stack.enter_context(asyncio.Runner())
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test")
        lifespan = self.app.router.lifespan_context(self.app)
        self.runner.run(lifespan.__aenter__())
        stack.callback(lambda: self.runner.run(lifespan.__aexit__(None, None, None)))

    @property
    def engine(self) -> Any:
        """The engine in service, for tests that make it misbehave."""
        return self.service.models.current.engine

    def loaded(self) -> Api:
        """Wait until the model was loaded or refused."""
        self.runner.run(self._loaded())
        return self

    async def _loaded(self) -> None:
        end = time.monotonic() + 20
        while self.service.models.state == "loading" and time.monotonic() < end:
            await asyncio.sleep(0.005)

    def wait_for(self, holds: Callable[[], bool]) -> bool:
        """Let the loop turn until something holds, for ten seconds at most."""

        async def wait() -> bool:
            end = time.monotonic() + 10
            while not holds() and time.monotonic() < end:
                await asyncio.sleep(0.005)
            return holds()

        return self.runner.run(wait())

    def get(self, path: str, **headers: str) -> httpx.Response:
        """GET."""
        return self.runner.run(self.client.get(path, headers=headers))

    def post(self, body: Any, path: str = "/rerank", **headers: str) -> httpx.Response:
        """POST bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.runner.run(self.client.post(path, content=content, headers=names))

    def together(self, bodies: list[Any]) -> list[httpx.Response]:
        """POST all of them at once."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self.client.post("/rerank", json=b) for b in bodies))

        return self.runner.run(all_of_them())

    def metric(self, name: str, /, **labels: str) -> float:
        """The value of one sample, 0 where it does not exist."""
        return self.service.metrics.registry.get_sample_value(f"rerank_{name}", labels) or 0.0


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bundles/toy with one good version."""
    return write_bundle(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bundles/toy with a good version that has a generator too."""
    return write_bundle(tmp_path_factory.mktemp("both"), generates=generator())


@pytest.fixture
def serve(bundle: Path) -> Iterator[Callable[..., Api]]:
    """Make a running application; settings as keywords."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Api:
            return Api(Settings(**{"bundle": bundle, "deadline_ms": 2_000, **settings}), stack)

        yield make


@pytest.fixture(scope="module")
def api(bundle: Path) -> Iterator[Api]:
    """One ready application for the tests of a module that leave it as it was."""
    with ExitStack() as stack:
        yield Api(Settings(bundle=bundle, deadline_ms=2_000), stack).loaded()


@pytest.fixture(scope="session")
def toy() -> Any:
    """The makers of toy bundles, for tests that need a bad one."""

    class Toy:
        schema, golden, facts, items = SCHEMA, GOLDEN, FACTS, ITEMS

    Toy.write, Toy.scorer = staticmethod(write_bundle), staticmethod(scorer)
    Toy.generator = staticmethod(generator)
    return Toy


@pytest.fixture
def home(toy: Any, tmp_path: Path) -> Path:
    """bundles/toy with version 1 in service, and 2 beside it."""
    toy.write(tmp_path)
    return toy.write(tmp_path, name="2", published=False)


@pytest.fixture
def served(serve: Any, home: Path) -> Any:
    """A service that looks at the pointer all the time, and may be told."""
    return serve(bundle=home, watch_seconds=0.01, admin_key="secret").loaded()
