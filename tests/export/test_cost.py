"""What a graph costs, counted and timed as said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info
from torch import Tensor, nn

from data.dataset import Dataset
from export import cost
from export.cost import CALLS, CANDIDATES, FEWEST, in_turn, megaflops, random_lists
from export.onnx import Network, export_network, input_names
from model.layers import attention


class Linear(Network):
    """One product of known size."""

    def __init__(self, ranker: Any, names: tuple[str, ...], wide: int) -> None:
        super().__init__(ranker, names)
        self.layer = nn.Linear(wide, 5, bias=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        tensors = dict(zip(self.names, inputs, strict=True))
        kept = sum(one.sum() * 0.0 for one in tensors.values())
        return self.layer(tensors["candidate_numeric"]).sum((1, 2)) + kept


def test_products_are_counted_as_two_for_every_number_summed(
    dataset: Dataset, tmp_path: Path
) -> None:
    schema = dataset.schema
    wide = random_lists(schema, 1)["candidate_numeric"].shape[-1]
    network = Linear(None, input_names(schema), wide)
    export_network(network, schema, tmp_path / "x.onnx", ("sum",))
    found = megaflops(tmp_path / "x.onnx", random_lists(schema, 1)) * 1e6
    assert found == pytest.approx(2 * CANDIDATES * wide * 5)


class Attending(Network):
    """Attention of the candidates to one another, and nothing else that multiplies matrices."""

    def forward(self, *inputs: Tensor) -> Tensor:
        tensors = dict(zip(self.names, inputs, strict=True))
        x, kept = tensors["candidate_numeric"], sum(one.sum() * 0.0 for one in tensors.values())
        return attention(x, x + 1.0, x + 2.0, 1).sum((1, 2)) + kept


def test_attention_is_two_products(dataset: Dataset, tmp_path: Path) -> None:
    schema = dataset.schema
    wide = random_lists(schema, 1)["candidate_numeric"].shape[-1]
    export_network(Attending(None, input_names(schema)), schema, tmp_path / "x.onnx", ("sum",))
    found = megaflops(tmp_path / "x.onnx", random_lists(schema, 1)) * 1e6
    assert found == pytest.approx(2 * (2 * CANDIDATES**2 * wide))


def test_all_take_turns_and_the_first_call_of_a_turn_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    clock = iter(range(10_000))
    monkeypatch.setattr(cost, "perf_counter", lambda: float(next(clock)))
    found = in_turn({name: lambda name=name: order.append(name) for name in "ab"}, 0.0)
    assert order == (["a"] * (CALLS + 1) + ["b"] * (CALLS + 1)) * FEWEST
    assert found == {name: [1000.0] * CALLS * FEWEST for name in "ab"}


def test_the_matrix_rate_is_of_one_thread_and_others_keep_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = [one["num_threads"] for one in threadpool_info()]
    seen: list[int] = []
    product = np.matmul

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.extend(one["num_threads"] for one in threadpool_info())
        assert arguments[0].shape == arguments[1].shape == (512, 512)
        assert arguments[0].dtype == np.float32
        return product(*arguments, **named)

    monkeypatch.setattr(np, "matmul", watched)
    cost.sgemm()()
    assert set(seen) == {1}
    assert [one["num_threads"] for one in threadpool_info()] == before
