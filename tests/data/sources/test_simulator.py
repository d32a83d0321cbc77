"""The simulator as a source, and as a log in the user's own format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data import sources
from data.dataset import Dataset
from data.prepare import prepare
from data.simulator.generate import World, drawn_again
from data.simulator.law import interest_of
from data.simulator.tables import numbers_of, simulate
from features.errors import DataError

LISTS = 600


def silent(_: str) -> None:
    """Reports nothing."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("simulator") / "dataset"
    return prepare("simulator", folder, seed=5, lists=LISTS, report=silent)


def test_the_same_seed_reads_the_same_log_and_more_lists_go_on_from_it() -> None:
    one, again, more = (sources.read("simulator", 2, lists) for lists in (60, 60, 90))
    assert one.impressions.equals(again.impressions)
    assert one.impressions.equals(more.impressions.head(len(one.impressions)))
    assert one.impressions["list_id"].n_unique() == 60
    assert one.items.equals(more.items)


def test_the_pipelines_history_gives_the_interest_that_the_clicks_were_drawn_by(
    prepared: Dataset,
) -> None:
    world, indexes = World(5, 500), np.arange(len(prepared))
    drawn = drawn_again(world, numbers_of(prepared.list_ids(indexes)))
    lists, items = prepared.lists(indexes), numbers_of(prepared.catalogue.ids)
    history = np.full((len(indexes), 50), -1)
    lengths = np.diff(lists.history_offsets)
    history[np.arange(50) < lengths[:, None]] = world.topic[items[lists.history_rows - 1]]
    assert (lengths == 50).any()  # the cut matters
    by_hand = world.law.tastes()[drawn.segment] + interest_of(world.law, history)
    np.testing.assert_allclose(drawn.interest, by_hand, atol=1e-6)


def test_a_dataset_says_how_to_have_its_truth_again(prepared: Dataset) -> None:
    facts = prepared.info["simulator"]
    assert (facts["seed"], facts["lists"], facts["items"]) == (5, LISTS, 500)
    assert facts["law"]["version"] == "1"
    assert prepared.info["split"] == "time"


def test_a_simulated_log_in_the_users_own_format_prepares_to_the_same_dataset(
    prepared: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    simulate(tmp_path / "log", lists=LISTS, seed=5, report=said.append)
    assert "600 lists of 500 items" in said[0]
    assert {path.name for path in (tmp_path / "log").iterdir()} == {
        "impressions.parquet", "items.parquet", "users.parquet", "schema.toml", "law.json",
    }  # fmt: skip
    own = prepare(tmp_path / "log", tmp_path / "dataset", seed=5, report=silent)
    assert own.schema == prepared.schema
    assert own.info["simulator"] == prepared.info["simulator"]
    for mine, theirs in zip(own.batch(range(40)), prepared.batch(range(40)), strict=True):
        if isinstance(mine, dict):
            for name in mine:
                np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
        else:
            np.testing.assert_array_equal(mine, theirs)


def test_the_law_is_written_beside_the_log_and_another_law_file_is_left_alone(
    tmp_path: Path,
) -> None:
    simulate(tmp_path / "log", lists=300, report=silent)
    path = tmp_path / "log" / "law.json"
    law = json.loads(path.read_text())["law"]
    assert law["fatigue"] == 0.6
    assert np.array(law["tastes"]).shape == (8, 12)
    path.write_text('{"law": "of the land"}')
    assert sources.read(tmp_path / "log").facts == {}


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"lists": 0}, "lists is 0; give a whole number of at least 1"),
        ({"items": 3}, "items is 3; give a whole number of at least 24"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_cannot_be_simulated_is_named(
    tmp_path: Path, asked: dict[str, int], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        simulate(tmp_path / "log", **asked)


def test_a_folder_that_is_there_is_left_alone_and_other_sources_have_no_size(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match="is there already"):
        simulate(tmp_path, lists=5)
    with pytest.raises(DataError, match="lists = 5 is for simulator"):
        sources.read("ml_100k", 0, 5)
