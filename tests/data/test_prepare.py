import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data import prepare as preparing
from data import write
from data.dataset import Dataset
from data.prepare import check, prepare
from features.errors import DataError
from tests.data.conftest import SCHEMA, write_folder


def silent(_: str) -> None:
    """Reports nothing."""


def arrays_of(dataset: Dataset, split: str) -> dict[str, np.ndarray]:
    arrays, labels = dataset.batch(dataset.splits[split])
    return arrays | {"labels": labels}


def statistics_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return dict(vars(dataset.catalogue.statistics))


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def with_other_labels(tables, lists: list[str]):
    """The same log with the labels of some lists turned around, still two of five positive."""
    turned = pl.col("label").reverse().over("list_id")
    label = pl.when(pl.col("list_id").is_in(lists)).then(turned).otherwise(pl.col("label"))
    shown = tables["impressions"].with_columns(label)
    assert not shown.equals(tables["impressions"])
    return tables | {"impressions": shown}


@pytest.mark.parametrize("split", ["last-list", "time", "user"])
def test_no_label_of_valid_or_test_reaches_train_or_the_statistics(tmp_path, tables, split):
    first = prepare(
        write_folder(tmp_path / "a", tables), tmp_path / "one", split=split, report=silent
    )
    held_out = first.list_ids(np.concatenate([first.splits["valid"], first.splits["test"]]))
    turned = write_folder(tmp_path / "b", with_other_labels(tables, held_out))
    second = prepare(turned, tmp_path / "two", split=split, report=silent)
    assert first.schema == second.schema
    assert_same(statistics_of(first), statistics_of(second))
    assert_same(arrays_of(first, "train"), arrays_of(second, "train"))
    assert not np.array_equal(
        arrays_of(first, "test")["labels"], arrays_of(second, "test")["labels"]
    )


def test_a_training_row_never_sees_its_own_users_clicks_in_its_statistics(tmp_path, tables):
    first = prepare(write_folder(tmp_path / "a", tables), tmp_path / "one", report=silent)
    train = first.splits["train"]
    users = first.user_ids(train)
    last = train[np.flatnonzero(users == users[0])[-1]]  # its clicks are in no train history
    turned = write_folder(tmp_path / "b", with_other_labels(tables, first.list_ids([last])))
    second = prepare(turned, tmp_path / "two", report=silent)
    own = train[users == users[0]]
    np.testing.assert_array_equal(first.lists(own).derived, second.lists(own).derived)
    others = train[users != users[0]]
    assert not np.array_equal(first.lists(others).derived, second.lists(others).derived)


def test_the_share_of_people_in_a_training_rows_statistics_is_the_one_documented():
    assert f"what the other {1 - 1 / write.FOLDS:.0%} of the people did" in write.__doc__


def test_a_value_seen_only_after_train_is_not_in_a_vocabulary(tmp_path, tables):
    first = prepare(write_folder(tmp_path / "a", tables), tmp_path / "one", report=silent)
    test = first.list_ids(first.splits["test"])
    only_here = pl.when(pl.col("list_id").is_in(test)).then(pl.lit("late"))
    tables["impressions"] = tables["impressions"].with_columns(
        only_here.otherwise("badge").alias("badge")
    )
    second = prepare(write_folder(tmp_path / "b", tables), tmp_path / "two", report=silent)
    assert first.schema == second.schema
    assert (
        "late"
        not in {feature.name: feature for feature in second.schema.context}["badge"].vocabulary
    )


@pytest.mark.parametrize("split", ["last-list", "time", "user"])
def test_splits_are_disjoint_and_hold_every_list(tmp_path, own_folder, split):
    dataset = prepare(own_folder, tmp_path / "d", split=split, report=silent)
    parts = list(dataset.splits.values())
    assert sorted(np.concatenate(parts)) == list(range(len(dataset)))
    assert all(len(part) for part in parts)


def test_the_same_seed_gives_the_same_files(tmp_path, own_folder):
    for name in ("one", "two"):
        prepare(own_folder, tmp_path / name, split="user", report=silent)
    first = {path.relative_to(tmp_path / "one"): path.read_bytes()
             for path in (tmp_path / "one").rglob("*") if path.is_file()}  # fmt: skip
    assert first
    for path, content in first.items():
        assert (tmp_path / "two" / path).read_bytes() == content, path


@pytest.mark.parametrize("split", ["last-list", "time"])
def test_a_held_out_list_is_bit_equal_through_a_raw_request(tmp_path, own_folder, split):
    dataset = prepare(own_folder, tmp_path / "d", split=split, report=silent)
    for index in np.concatenate([dataset.splits["valid"], dataset.splits["test"]]).tolist():
        logged, _ = dataset.batch([index])
        posted, counts = dataset.encoder.encode_request(dataset.request(index))
        assert_same(logged, posted)
        assert (counts.unknown_items, counts.unknown_features) == (0, {})
        assert {name: array.dtype for name, array in logged.items()} == {
            name: array.dtype for name, array in posted.items()
        }


def test_a_request_of_a_dataset_is_plain_json(tmp_path, own_folder):
    dataset = prepare(own_folder, tmp_path / "d", report=silent)
    request = dataset.request(int(dataset.splits["test"][0]))
    text = json.dumps(
        [request.user, request.history.ids, request.candidates.ids, request.candidates.columns]
    )
    assert "NaN" not in text


def test_an_item_that_is_shown_but_not_described_is_in_the_catalogue(tmp_path, own_folder, tables):
    dataset = prepare(own_folder, tmp_path / "d", report=silent)
    assert sorted(dataset.catalogue.ids) == sorted(map(str, range(30)))
    assert dataset.catalogue.title("29") == "29"
    assert dataset.catalogue.title("3") == "item 3"


def test_derived_features_can_be_left_out_and_are_standardised_on_train(tmp_path, own_folder):
    plain = prepare(own_folder, tmp_path / "plain", derived=False, report=silent)
    assert plain.schema.derived == ()
    plain.batch(plain.splits["test"])
    dataset = prepare(own_folder, tmp_path / "d", report=silent)
    count = len(dataset.schema.derived)
    assert count
    arrays, _ = dataset.batch(dataset.splits["train"])
    derived = arrays["candidate_numeric"][arrays["candidate_mask"]][:, -count:]
    np.testing.assert_allclose(derived.mean(0), 0, atol=0.05)
    varies = derived.std(0) > 0
    np.testing.assert_allclose(derived.std(0)[varies], 1, atol=0.05)


def test_the_report_says_what_was_left_out_and_what_the_split_is(tmp_path, tables):
    spare = tables["impressions"].filter(list_id="l0")
    barren = spare.with_columns(list_id=pl.lit("none"), label=0, timestamp=1_600_000_000)
    short = spare.head(1).with_columns(list_id=pl.lit("short"), timestamp=1_600_000_000)
    tables["impressions"] = pl.concat(
        [tables["impressions"], barren.cast(spare.schema), short.cast(spare.schema)]
    )
    said: list[str] = []
    prepare(write_folder(tmp_path / "a", tables), tmp_path / "d", report=said.append)
    assert "left out: 1 lists of fewer than 2 items" in said[0]
    assert "left out: 1 lists without a positive item" in said[0]
    assert "2 of the lists left out lie on train's side" in said[0]
    assert "not a split in time" in said[0]
    assert "test       12 lists of 12 users" in said[0]


def test_a_folder_that_holds_no_dataset_is_left_alone(tmp_path, own_folder):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match="not empty and holds no dataset"):
        prepare(own_folder, precious, report=silent)
    with pytest.raises(DataError, match="is a file"):
        prepare(own_folder, precious / "thesis.tex", report=silent)
    assert (precious / "thesis.tex").read_text() == "years of work"


def test_a_failure_leaves_the_earlier_dataset_and_no_rubbish(tmp_path, own_folder, monkeypatch):
    target = tmp_path / "out" / "d"
    prepare(own_folder, target, report=silent)
    before = (target / "info.json").read_text()
    monkeypatch.setattr("data.write.fit_statistics", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(own_folder, target, split="user", report=silent)
    assert (target / "info.json").read_text() == before
    assert [path.name for path in target.parent.iterdir()] == ["d"]


def test_a_dataset_is_replaced_whole(tmp_path, own_folder):
    target = tmp_path / "d"
    prepare(own_folder, target, report=silent)
    (target / "stale").write_text("")
    assert prepare(own_folder, target, split="user", report=silent).info["split"] == "user"
    assert not (target / "stale").exists()


def test_a_log_without_users_table_or_context_prepares(tmp_path, tables):
    schema = (
        SCHEMA.split("[user.age]")[0]
        + "[item.category]"
        + SCHEMA.split("[item.category]")[1].split("[context")[0]
    )
    del tables["users"]
    folder: Path = write_folder(tmp_path / "a", tables, schema, "parquet")
    dataset = prepare(folder, tmp_path / "d", report=silent)
    assert dataset.request(0).user == {}
    assert "user_numeric" not in dataset.batch([0])[0]


def test_an_item_may_say_whose_it_is_and_a_user_what_they_like(tmp_path, tables):
    tables["items"] = tables["items"].with_columns(user_id=pl.lit("maker"))
    tables["users"] = tables["users"].with_columns(item_id=pl.lit("favourite"))
    named = '[item.user_id]\nkind = "categorical"\n[user.item_id]\nkind = "categorical"\n'
    dataset = prepare(write_folder(tmp_path / "a", tables, SCHEMA + named), tmp_path / "d",
                      report=silent)  # fmt: skip
    assert {one.name: one for one in dataset.schema.item}["user_id"].vocabulary == ("maker",)
    assert {one.name: one for one in dataset.schema.user}["item_id"].vocabulary == ("favourite",)


def test_check_fits_the_schema_as_prepare_does(own_folder, monkeypatch):
    def refused(*_: object) -> None:
        raise DataError("no schema can be made")

    monkeypatch.setattr("data.prepare.fit_schema", refused)
    with pytest.raises(DataError, match="no schema can be made"):
        check(own_folder, report=silent)


def test_one_user_with_much_of_the_log_is_noted_and_no_error(tmp_path, tables, monkeypatch):
    folder = write_folder(tmp_path / "a", tables)
    monkeypatch.setattr(preparing, "CROWD_ROWS", 30)  # each of the 12 people has as many
    dataset = prepare(folder, tmp_path / "d", report=(said := []).append)
    note = "the user '9' has 30 of 360 rows (8%)"
    assert [one.startswith(note) for one in dataset.info["notes"]] == [False, True]
    assert f"  note: {note}" in said[0]
    page = (tmp_path / "d" / "summary.html").read_text(encoding="utf-8")
    assert "has 30 of 360 rows (8%): if that is everyone who was not signed in" in page
    check(folder, report=(checked := []).append)
    assert f"  note: {note}" in checked[0]
    for name, value in (("CROWD_ROWS", 31), ("CROWD_SHARE", 1 / 12)):
        with monkeypatch.context() as bent:
            bent.setattr(preparing, name, value)
            notes = prepare(folder, tmp_path / name, report=silent).info["notes"]
            assert [one[:12] for one in notes] == ["1 shown item"]
