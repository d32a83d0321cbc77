"""Two engines agree, or the first list on which they do not is named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.onnx import Scorer
from export.parity import (
    TIE,
    TOLERANCE,
    Parity,
    ParityError,
    _compare,
    cases,
    prove,
    random_cases,
    swaps_between_ties,
)
from features.bundle import SCORER
from features.draw import random_arrays
from model import registry
from model.train import load_run


@pytest.fixture(scope="module")
def joint(exported: Any, dataset: Any) -> tuple[Scorer, Path, Any]:
    """Torch side, graph and dataset of the joint run."""
    ranker, _ = load_run(exported.run)
    names = tuple(spec.name for spec in dataset.schema.tensors())
    return Scorer(ranker, names).eval(), exported.bundle / SCORER, dataset


OTHERS = [
    name
    for name in registry.names()
    if name != "psad" and registry.find(name).Ranker.trains_by_gradient
]


@pytest.fixture(params=["joint", "paper", *OTHERS])
def graph(request: pytest.FixtureRequest) -> tuple[Scorer, Path, Any]:
    """A rich and a poor schema, PSAD's default and printed model, and every other neural one."""
    if request.param in OTHERS:
        return tuple(request.getfixturevalue("graph_by_name")(request.param))
    return tuple(request.getfixturevalue(request.param))


@pytest.mark.parametrize(
    ("lists", "history", "candidates", "padded"),
    [
        (1, 0, 1, False), (1, 0, 6, False), (4, 0, 3, False), (1, 6, 1, False),
        (1, 6, 9, False), (1, 3, 40, False), (1, 20, 9, False), (1, 20, 40, False),
        (5, 6, 9, True), (7, 6, 30, True), (1, 1, 1, True), (64, 2, 2, True),
    ],
)  # fmt: skip
def test_the_graph_computes_what_the_model_computes(
    graph: Any, lists: int, history: int, candidates: int, padded: bool
) -> None:
    scorer, path, dataset = graph
    arrays = random_arrays(
        dataset.schema, np.random.default_rng(5), lists=lists, history=history,
        candidates=candidates, padded=padded,
    )  # fmt: skip
    parity = prove(scorer, path, [arrays])
    assert parity.lists == lists
    assert parity.largest_difference <= TOLERANCE


def test_real_lists_and_every_random_case_agree(graph: Any) -> None:
    scorer, path, dataset = graph
    parity = prove(scorer, path, cases(dataset.schema, dataset))
    assert parity.lists > len(dataset.splits["valid"]) + len(dataset.splits["test"])
    assert f"{parity.lists} lists" in str(parity)


def test_the_random_cases_are_of_every_awkward_shape(dataset: Any) -> None:
    schema = dataset.schema
    shapes = {
        (
            one["candidate_mask"].shape[0],
            one["history_mask"].shape[1],
            one["candidate_mask"].shape[1],
        )
        for one in random_cases(schema)
    }
    assert any(history == 0 for _, history, _ in shapes)
    assert any(candidates == 1 for _, _, candidates in shapes)
    assert any(candidates > schema.max_candidates for _, _, candidates in shapes)
    assert any(lists > 1 for lists, _, _ in shapes)
    assert any(not one["candidate_mask"].all() for one in random_cases(schema))


@pytest.mark.parametrize("by", [0.05, float("nan"), float("inf")])
def test_an_edited_weight_is_noticed(joint: Any, tamper: Any, tmp_path: Path, by: float) -> None:
    scorer, path, dataset = joint
    shutil.copy(path, tmp_path / SCORER)
    tamper(tmp_path / SCORER, by=by)
    with pytest.raises(ParityError, match=r"list \d+ of \d+ candidates: .* Nothing was exported"):
        prove(scorer, tmp_path / SCORER, random_cases(dataset.schema))


def test_a_graph_of_another_schema_is_refused(joint: Any, paper: Any) -> None:
    with pytest.raises(ParityError, match=r"the graph reads .*, the schema has"):
        prove(joint[0], paper.path, [])


def test_a_difference_counts_at_real_candidates_alone() -> None:
    expected, mask, parity = np.array([[1.0, 2.0, 3.0]]), np.array([[True, True, False]]), Parity()
    _compare(expected, expected + np.array([0.0, 1.9e-4, 99.0]), mask, parity)
    assert parity.largest_difference == pytest.approx(1.9e-4)
    for wrong in (2.1e-4, -2.1e-4, np.nan, np.inf):  # the largest score of the list is 2
        with pytest.raises(ParityError, match=r"list \d of 2 candidates"):
            _compare(expected, expected + np.array([0.0, wrong, 0.0]), mask, parity)
    _compare(np.array([[np.nan]]), np.array([[1.0]]), np.array([[False]]), parity)  # nothing real


def test_swaps_are_counted_between_ties_and_refused_elsewhere() -> None:
    expected = np.array([3.0, 2.0, 2.0 - TIE / 2, 1.0])
    assert swaps_between_ties(expected, expected, 1) == 0
    assert swaps_between_ties(expected, np.array([3.0, 2.0 - TIE, 2.0, 1.0]), 1) == 2
    with pytest.raises(ParityError, match="list 7: the orders differ by"):
        swaps_between_ties(np.array([1.0, 1.0 + 2 * TIE]), np.array([1.0, 1.0 - TIE]), 7)
