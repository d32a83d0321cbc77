"""People for a store: their history is the one that their next list would have."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data.dataset import Dataset
from data.prepare import prepare
from data.users import Person, people_of
from features.errors import DataError
from tests.data.conftest import SCHEMA, USERS, log_tables, write_folder


def quietly(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "logs", log_tables())


@pytest.fixture
def dataset(folder: Path, tmp_path: Path) -> Dataset:
    return prepare(folder, tmp_path / "dataset", report=quietly)


def clicks(longest: int) -> dict[str, list[tuple[str, float]]]:
    """By hand, of the log itself: newest list first, from its top."""
    shown = log_tables()["impressions"].filter(pl.col("label") == 1)
    found: dict[str, list[tuple[str, float]]] = {}
    for row in shown.sort(["timestamp", "position"], descending=[True, False]).to_dicts():
        item = (str(row["item_id"]), float(row["timestamp"]))
        found.setdefault(str(row["user_id"]), []).append(item)
    return {user: items[:longest] for user, items in found.items()}


def test_a_history_is_what_the_user_acted_on_newest_first_with_its_times(dataset: Dataset) -> None:
    people = people_of(dataset.folder)
    found = {one.id: one.history for one in people.persons}
    assert people.count == len(found) == USERS
    assert found == clicks(people.max_history)


def test_before_its_last_clicks_it_is_the_history_of_the_last_list(dataset: Dataset) -> None:
    last = {user: index for index, user in enumerate(dataset.user_ids(range(len(dataset))))}
    for person in people_of(dataset.folder).persons:
        request = dataset.request(last[person.id])
        clicked = int(dataset.labels([last[person.id]]).sum())
        kept = [item for item, _ in person.history]
        assert kept[clicked:] == list(request.history.ids)[: len(kept) - clicked]
        assert person.features == request.user


def test_items_of_lists_that_the_dataset_does_not_hold_have_a_time_in_order(tmp_path: Path) -> None:
    tables = log_tables()
    shown = tables["impressions"]
    # of every user the third list is clicked throughout: it counts in histories and is not ranked
    third = shown.group_by("user_id").agg(pl.col("timestamp").unique().sort().slice(2, 1))
    third = third.explode("timestamp").with_columns(all=pl.lit(1))
    joined = shown.join(third, on=["user_id", "timestamp"], how="left", maintain_order="left")
    tables["impressions"] = joined.with_columns(label=pl.max_horizontal("label", "all")).drop("all")
    schema = SCHEMA.replace("max_history = 5", "max_history = 50")
    folder = write_folder(tmp_path / "logs", tables, schema)
    made = prepare(folder, tmp_path / "dataset", report=quietly)
    for person in people_of(made.folder).persons:
        times = [when for _, when in person.history]
        assert len(times) == 2 * 5 + 5  # five lists of two clicks, and one of five
        assert times == sorted(times, reverse=True)


def test_a_table_of_users_is_read_by_the_schema_beside_it(folder: Path) -> None:
    people = people_of(folder / "users.csv")
    first, second, *_ = persons = list(people.persons)
    assert (people.count, len(persons), people.max_history) == (USERS, USERS, 5)
    assert first == Person("0", {"city": "Oslo"}, [])
    assert second == Person("1", {"age": 20.0, "city": "Lima"}, [])


def test_what_is_wrong_in_a_table_is_named(folder: Path, tmp_path: Path) -> None:
    users = folder / "users.csv"
    users.write_text(users.read_text().replace("21,", "young,"))
    with pytest.raises(DataError, match="age"):
        people_of(users)
    with pytest.raises(DataError, match="psad prepare"):
        people_of(folder / "people.csv")
    alone = tmp_path / "users.csv"
    alone.write_text("user_id\n1\n")
    with pytest.raises(DataError, match=r"schema\.toml is missing"):
        people_of(alone)
