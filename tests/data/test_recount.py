"""Statistics of a whole log: every impression, whatever became of its list."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from data import coded
from data.dataset import Dataset
from data.prepare import prepare
from data.recount import every_impression, recount
from data.statistics import Impressions, fit_statistics
from tests.model.conftest import LISTS, SCHEMA, USERS, log_tables, write_log


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("log")
    log = write_log(folder / "log", SCHEMA, log_tables())
    return prepare(log, folder / "dataset", report=lambda text: None)


def own_rows(dataset: Dataset) -> np.ndarray:
    return np.arange(len(dataset.catalogue) + 1)


def test_every_showing_and_click_of_the_log_is_counted(dataset: Dataset) -> None:
    shown = log_tables()["impressions"]
    statistics = recount(dataset, own_rows(dataset), dataset.catalogue, dataset.schema)
    item = dataset.catalogue.rows([str(one) for one in shown["item_id"]])
    rows = len(dataset.catalogue) + 1
    assert np.array_equal(statistics.showings, np.bincount(item, minlength=rows))
    assert np.array_equal(statistics.clicks, np.bincount(item, shown["label"], rows))
    exposure = np.log1p(1000 * np.bincount(item, minlength=rows) / (USERS * LISTS))
    np.testing.assert_allclose(statistics.exposure, exposure, rtol=1e-6)
    assert statistics.showings.sum() > dataset.catalogue.statistics.showings.sum()


@pytest.mark.parametrize("piece", [1, 300, 500_000])
def test_pieces_make_no_difference_and_hold_whole_people(
    dataset: Dataset, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = log_tables()["impressions"]
    item = dataset.catalogue.rows([str(one) for one in shown["item_id"]])
    people = np.asarray(shown["user_id"])
    at_once = Impressions(people, item, np.asarray(shown["label"]) > 0, USERS * LISTS)
    rows = len(dataset.catalogue) + 1
    expected = fit_statistics(at_once, rows, dataset.catalogue.bag, dataset.schema)
    monkeypatch.setattr(coded, "PIECE_ROWS", piece)
    found = recount(dataset, own_rows(dataset), dataset.catalogue, dataset.schema)
    for field in dataclasses.fields(expected):
        one, other = getattr(expected, field.name), getattr(found, field.name)
        np.testing.assert_array_equal(one, other, err_msg=field.name)
    pieces = list(every_impression(dataset, own_rows(dataset)))
    seen = [set(one.user.tolist()) for one in pieces]
    assert sum(map(len, seen)) == len(set().union(*seen)) == USERS
    assert len(pieces) == {1: USERS, 500_000: 1}.get(piece, len(pieces))


def test_rows_may_be_those_of_another_catalogue(dataset: Dataset, tmp_path: Path) -> None:
    rows = own_rows(dataset)
    turned = np.concatenate([[0], rows[:0:-1]])
    own = recount(dataset, rows, dataset.catalogue, dataset.schema)
    other = recount(dataset, turned, dataset.catalogue, dataset.schema)
    assert np.array_equal(other.click_rate[turned], own.click_rate)
