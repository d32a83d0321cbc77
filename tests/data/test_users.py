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


def clicks(shown: pl.DataFrame, longest: int) -> dict[str, list[tuple[str, float]]]:
    """By hand, of the log itself: newest list first, from its top."""
    found: dict[str, list[tuple[str, float]]] = {}
    ordered = shown.sort(["timestamp", "position"], descending=[True, False])
    for row in ordered.filter(pl.col("label") == 1).to_dicts():
        item = (str(row["item_id"]), float(row["timestamp"]))
        found.setdefault(str(row["user_id"]), []).append(item)
    return {user: items[:longest] for user, items in found.items()}


def test_a_history_is_what_the_user_acted_on_newest_first_with_its_times(dataset: Dataset) -> None:
    people = people_of(dataset.folder)
    found = {one.id: one.history for one in people.persons}
    assert people.count == len(found) == USERS
    assert found == clicks(log_tables()["impressions"], people.max_history)


def test_before_its_last_clicks_it_is_the_history_of_the_last_list(dataset: Dataset) -> None:
    last = {user: index for index, user in enumerate(dataset.user_ids(range(len(dataset))))}
    for person in people_of(dataset.folder).persons:
        request = dataset.request(last[person.id])
        clicked = int(dataset.labels([last[person.id]]).sum())
        kept = [item for item, _ in person.history]
        assert kept[clicked:] == list(request.history.ids)[: len(kept) - clicked]
        assert person.features == request.user


def labelled(tables: dict[str, pl.DataFrame], label: int, which: pl.Expr) -> None:
    """Give every row of some lists one label, so that they are not ranked."""
    label_there = pl.when(which).then(label).otherwise("label").alias("label")
    tables["impressions"] = tables["impressions"].with_columns(label_there)


def test_lists_that_are_not_ranked_count_with_their_times_and_their_people(tmp_path: Path) -> None:
    tables = log_tables()
    user, when = pl.col("user_id"), pl.col("timestamp")
    third = when == when.unique().sort().get(2).over("user_id")
    newest = (when == when.max().over("user_id")) & (user % 2 == 0)
    labelled(tables, 1, third | newest | (user == 4))  # all that 4 was shown was clicked
    labelled(tables, 0, user == 5)  # and nothing of 5's
    schema = SCHEMA.replace("max_history = 5", "max_history = 50")
    folder = write_folder(tmp_path / "logs", tables, schema)
    made = prepare(folder, tmp_path / "dataset", report=quietly)
    assert {"4", "5"}.isdisjoint(made.user_ids(range(len(made))))
    people = people_of(made.folder)
    persons = {one.id: one for one in people.persons}
    assert people.count == len(persons) == USERS
    by_hand = clicks(tables["impressions"], 50)
    assert {one: person.history for one, person in persons.items()} == {"5": [], **by_hand}
    assert persons["5"].features == {"age": 24.0, "city": "Pune"}


def test_where_only_ranked_lists_count_they_count_here_too(folder: Path, tmp_path: Path) -> None:
    tables = log_tables()
    when = pl.col("timestamp")
    labelled(tables, 1, when == when.max().over("user_id"))
    write_folder(folder, tables)
    made = prepare(folder, tmp_path / "dataset", history="evaluable", report=quietly)
    older = tables["impressions"].filter(when < when.max().over("user_id"))
    found = {one.id: one.history for one in people_of(made.folder).persons}
    assert found == clicks(older, made.schema.max_history)


def test_a_dataset_without_times_has_to_be_prepared_again(dataset: Dataset) -> None:
    (dataset.folder / "arrays" / "acted_timestamp.npy").unlink()
    with pytest.raises(DataError, match="prepare it again"):
        list(people_of(dataset.folder).persons)


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
