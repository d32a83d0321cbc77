"""Which orders a report compares, and which it refuses to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.dataset import Dataset
from model.evaluate import evaluate
from report.sides import TODAY, ReportError, Sides, dataset_of, load, rows_of, sides, title_of


def test_before_is_the_order_as_it_came_and_after_the_model_s(
    both: Sides, run: Path, dataset: Dataset
) -> None:
    width = dataset.lengths[both.lists]
    for order, length in zip(both.before.order, width, strict=True):
        assert order[:length].tolist() == list(range(length))
    ranker = load(run).ranker
    again = evaluate(ranker, dataset, "test")
    np.testing.assert_array_equal(both.after.order, again.order)
    assert (both.before_name, both.after_name) == (TODAY, "psad-s")
    for row, index in enumerate(both.lists):
        own = dataset.labels([int(index)])[0]
        assert both.labels[row, : len(own)].tolist() == own.tolist()
        assert not both.labels[row, len(own) :].any()


def test_another_run_can_stand_in_for_today(run: Path, trees: Path, dataset: Dataset) -> None:
    found = sides(load(run, "generator"), dataset, "test", load(trees))
    assert (found.before_name, found.after_name) == ("lambdamart", "psad-s/generator")
    again = evaluate(load(trees).ranker, dataset, "test")
    np.testing.assert_array_equal(found.before.order, again.order)


def test_two_runs_of_one_name_are_told_apart_by_their_folders(run: Path, dataset: Dataset) -> None:
    found = sides(load(run, "generator"), dataset, "test", load(run, "generator"))
    assert found.before_name == found.after_name == "psad-s/generator of psad"
    again = sides(load(run), dataset, "test", load(run, "generator"))
    assert (again.before_name, again.after_name) == ("psad-s/generator", "psad-s")


def test_what_cannot_be_compared_is_refused_by_name(
    run: Path, trees: Path, plain: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ReportError, match="has no generator; it can be judged as scorer"):
        load(trees, "generator")
    with pytest.raises(ReportError, match=r"is not the dataset that .* was trained on"):
        dataset_of(load(run), plain.folder)


def test_items_are_called_by_their_titles(dataset: Dataset, both: Sides) -> None:
    index = int(both.lists[0])
    candidates, history = rows_of(dataset, index)
    request = dataset.request(index)
    titles = [title_of(dataset, int(row)) for row in candidates]
    assert titles == [f"item {one}" for one in request.candidates.ids]
    assert [dataset.catalogue.ids[row - 1] for row in history] == list(request.history.ids)
    assert title_of(dataset, 0) == "an item that is not in the catalogue"
