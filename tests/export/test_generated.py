"""Generated lists: two engines agree, or the first list on which they do not is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.generated import (
    LEAST_LISTS,
    ListParity,
    _close,
    _same_worth,
    by_rounding,
    is_steady,
    list_cases,
    prove_lists,
    refuse_impossible,
)
from export.onnx import OPSET, Generator, export_generator
from export.parity import ParityError
from export.runtime import GENERATED, session
from features.bundle import GENERATOR
from features.draw import random_arrays
from model.train import load_run

SETTINGS: dict[str, Any] = {  # all that the default does not have
    "teacher_layers": 2, "block_size": 10, "refine": 3, "beam": 2, "evaluator": False,
    "pairs": "none",
}  # fmt: skip
SHOWN: dict[str, Any] = {  # what the simulator's lists ask for
    "context": "improved", "factors": 4, "pairs": "kinds", "polish": 2, "evaluator_layers": 0,
    "id_rate": 1, "order_blind": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def joint(exported: Any, dataset: Any) -> tuple[Generator, Path, Any]:
    """Torch side, graph and dataset of the joint run."""
    ranker, _ = load_run(exported.run)
    names = tuple(spec.name for spec in dataset.schema.tensors())
    return Generator(ranker, names).eval(), exported.bundle / GENERATOR, dataset


@pytest.fixture(scope="module")
def other(
    plain: Any, tools: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Generator, Path, Any]:
    """Another way through every branch, on the schema that holds least."""
    path = tmp_path_factory.mktemp("other") / GENERATOR
    ranker = tools.shaken(plain, "psad", **SETTINGS)
    return export_generator(ranker, plain.schema, path), path, plain


@pytest.fixture(scope="module")
def shown(
    dataset: Any, tools: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Generator, Path, Any]:
    """Lists read as they were shown."""
    path = tmp_path_factory.mktemp("shown") / GENERATOR
    ranker = tools.shaken(dataset, "psad", **SHOWN)
    return export_generator(ranker, dataset.schema, path), path, dataset


@pytest.fixture(params=["joint", "other", "shown"])
def graph(request: pytest.FixtureRequest) -> tuple[Generator, Path, Any]:
    """Each."""
    return tuple(request.getfixturevalue(request.param))


@pytest.mark.parametrize(
    ("lists", "history", "candidates", "padded"),
    [
        (1, 0, 1, False), (1, 0, 2, False), (4, 0, 3, True), (1, 6, 9, False), (1, 6, 10, False),
        (1, 20, 40, False), (5, 6, 12, True), (64, 6, 30, True), (3, 1, 11, True),
    ],
)  # fmt: skip
def test_the_graph_generates_what_the_model_generates(
    graph: Any, lists: int, history: int, candidates: int, padded: bool
) -> None:
    generator, path, dataset = graph
    arrays = random_arrays(
        dataset.schema, np.random.default_rng(5), lists=lists, history=history,
        candidates=candidates, padded=padded,
    )  # fmt: skip
    parity = prove_lists(generator, path, [arrays])
    assert parity.lists == lists
    assert parity.ties <= lists / 8  # random candidates may be twins


def test_all_cases_agree_and_many_are_shorter_than_the_list(graph: Any) -> None:
    generator, path, dataset = graph
    cases = list(list_cases(dataset.schema, dataset))
    lengths = np.concatenate([one["candidate_mask"].sum(1) for one in cases])
    assert len(lengths) >= LEAST_LISTS
    assert (lengths < dataset.schema.list_size).sum() > 500
    assert (lengths > dataset.schema.list_size).sum() > 50
    parity = prove_lists(generator, path, cases)
    assert f"{len(lengths)} generated lists" in str(parity)


def test_the_graph_is_one_valid_file_with_sizes_by_name(graph: Any) -> None:
    _, path, dataset = graph
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {one.domain: one.version for one in model.opset_import} == {"": OPSET}
    inputs = {one.name: one.shape for one in session(path).get_inputs()}
    assert inputs == {spec.name: list(spec.axes) for spec in dataset.schema.tensors()}
    outputs = {one.name: one.shape for one in session(path).get_outputs()}
    size = dataset.schema.list_size
    assert outputs == dict(
        zip(GENERATED, (["batch", size], ["batch", size], ["batch"]), strict=True)
    )
    assert not any(one.external_data for one in model.graph.initializer)


@pytest.mark.parametrize("by", [0.5, float("nan")])
def test_an_edited_weight_is_noticed(joint: Any, tamper: Any, tmp_path: Path, by: float) -> None:
    generator, path, dataset = joint
    shutil.copy(path, tmp_path / GENERATOR)
    # the largest are a bias of keys, half of which the softmax takes away again
    tamper(tmp_path / GENERATOR, "evaluator.project", by)
    with pytest.raises(ParityError, match=r"list \d+: .* Nothing was exported"):
        prove_lists(generator, tmp_path / GENERATOR, list_cases(dataset.schema, dataset))


@pytest.mark.parametrize(
    "wrong", [[0, 0, -1], [0, 3, 1], [0, 1, -1], [2, -1, 1], [-1, -1, -1], [0, 2, 5]]
)
def test_a_list_that_cannot_be_is_refused(wrong: list[int]) -> None:
    mask = np.array([True, True, True, False])
    refuse_impossible(np.array([2, 0, 1]), mask, 1)
    refuse_impossible(np.array([2, 0, 1, -1]), mask, 1)
    with pytest.raises(ParityError, match=r"list 1 of 3 candidates: .* repeats an item"):
        refuse_impossible(np.array(wrong), mask, 1)


def test_worth_may_differ_by_a_ten_thousandth_of_itself() -> None:
    parity = ListParity(lists=3)
    _close(4.0, 4.0003, "worth", parity)
    assert parity.largest_difference == pytest.approx(3e-4)
    for wrong in (4.001, np.nan, np.inf):
        with pytest.raises(ParityError, match="list 3: its worth"):
            _close(4.0, wrong, "worth", parity)


@pytest.mark.parametrize("which", ["joint", "other"])
def test_other_lists_are_ties_only_where_torch_finds_both_worth_the_same(
    which: str, request: pytest.FixtureRequest
) -> None:
    generator, _, dataset = request.getfixturevalue(which)
    arrays = random_arrays(
        dataset.schema, np.random.default_rng(0), lists=1, history=3, candidates=12
    )
    parity, first = ListParity(lists=1), np.arange(10)
    _same_worth(generator, arrays, (first, first.copy()), parity)
    assert parity.ties == 1
    with pytest.raises(ParityError, match=r"worth .* more or less"):
        _same_worth(generator, arrays, (first, first[::-1].copy()), parity)


def test_twins_come_in_either_order(joint: Any) -> None:
    """Two candidates that nothing tells apart: whichever an engine takes, the worth is the same."""
    generator, path, dataset = joint
    arrays = random_arrays(
        dataset.schema, np.random.default_rng(3), lists=8, history=3, candidates=4
    )
    for name, array in arrays.items():
        if name.startswith("candidate"):
            array[:, 1] = array[:, 0]
    parity = prove_lists(generator, path, [arrays])
    assert parity.lists == 8


class Close(torch.nn.Module):
    """Takes the item of the larger weight, of two that are `apart`."""

    def __init__(self, apart: float) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([1.0, 1.0 + apart]))

    def forward(self) -> tuple[torch.Tensor, ...]:
        return (self.weights.argsort(descending=True).unsqueeze(0),)


def test_a_search_with_two_ways_that_are_all_but_equal_may_end_in_either() -> None:
    for apart, either in ((2e-7, True), (1e-3, False)):
        generator = Close(apart)
        before = generator.weights.detach().clone()
        assert by_rounding(generator, (), np.array([1, 0]))
        assert by_rounding(generator, (), np.array([0, 1])) == either
        assert is_steady(generator, ()) != either
        assert torch.equal(generator.weights, before)
