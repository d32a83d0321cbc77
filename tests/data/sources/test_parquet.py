from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from data.sources import names, parquet, read
from features.errors import DataError
from tests.data.conftest import SCHEMA, log_tables, write_folder


def test_csv_and_parquet_give_the_same_log(tmp_path, tables):
    tables["items"] = tables["items"].with_columns(pl.col("item_id").cast(pl.Int32))
    logs = [
        parquet.read(write_folder(tmp_path / suffix, tables, suffix=suffix))
        for suffix in ("csv", "parquet")
    ]
    for part in ("impressions", "items", "users"):
        assert getattr(logs[0], part).equals(getattr(logs[1], part)), part
    assert logs[0].spec == logs[1].spec


def test_what_the_folder_declares_is_what_the_log_holds(own_folder):
    log = parquet.read(own_folder)
    assert [feature.name for feature in log.spec.item] == ["item_id", "category", "tags"]
    assert log.spec.context[0].transform == "log"
    assert log.items["tags"][1].to_list() == ["t1", "t2", "t3"]
    assert log.items["name"][1] == "item 1"
    assert log.impressions.schema["item_id"] == pl.String
    assert log.users["age"].to_list()[:2] == [None, 20.0]


def test_a_logged_score_becomes_a_context_feature(tmp_path, tables):
    tables["impressions"] = tables["impressions"].with_columns(score=pl.lit(0.5))
    log = parquet.read(write_folder(tmp_path, tables))
    assert log.spec.context[-1].name == "score"
    assert log.impressions["score"].to_list()[0] == 0.5


def test_a_csv_feature_is_as_the_service_makes_it_and_ids_and_titles_are_as_written(
    tmp_path, tables
):
    rows = len(tables["impressions"])
    tables["impressions"] = tables["impressions"].with_columns(
        pl.Series("badge", ["True", "False"] * (rows // 2)), list_id=pl.col("list_id") + "x" * 256
    )
    tables["items"] = tables["items"].with_columns(
        category=pl.lit("1.50"), tags=pl.lit("1.0|2"), name=pl.lit("1.50")
    )
    log = parquet.read(write_folder(tmp_path, tables))
    assert log.impressions["badge"].to_list()[:2] == ["true", "false"]
    described = log.items.row(0, named=True)
    assert (described["category"], described["tags"]) == ("1.5", ["1", "2"])
    assert described["name"] == "1.50"


def test_users_may_be_left_out_where_no_user_feature_is_declared(tmp_path, tables):
    schema = SCHEMA.replace("[user.age]\nkind", "[user.user_id]\nkind").split("[user.city]")[0]
    schema = schema.replace("numeric", "categorical") + '[item.item_id]\nkind = "categorical"\n'
    del tables["users"]
    log = parquet.read(write_folder(tmp_path, tables, schema))
    assert [feature.name for feature in log.spec.user] == ["user_id"]


def test_columns_that_are_not_declared_are_counted(tmp_path, tables):
    tables["items"] = tables["items"].with_columns(colour=pl.lit("red"))
    log = parquet.read(write_folder(tmp_path, tables))
    assert "columns of items that schema.toml does not declare (colour)" in log.dropped


Bend = Callable[[dict[str, pl.DataFrame]], None]


def put(table: str, **columns: object) -> Bend:
    """Replace columns; a list of values replaces the first rows only."""

    def bend(tables: dict[str, pl.DataFrame]) -> None:
        frame = tables[table]
        for name, values in columns.items():
            kept = frame[name].cast(pl.String).to_list()
            new = [*values, *kept[len(values) :]] if isinstance(values, list) else values
            frame = frame.with_columns(
                pl.Series(name, new) if isinstance(new, list) else pl.lit(new).alias(name)
            )
        tables[table] = frame

    return bend


def drop(table: str, *columns: str) -> Bend:
    def bend(tables: dict[str, pl.DataFrame]) -> None:
        if columns:
            tables[table] = tables[table].drop(columns)
        else:
            del tables[table]

    return bend


def empty(tables: dict[str, pl.DataFrame]) -> None:
    tables["impressions"] = tables["impressions"].clear()


@pytest.mark.parametrize(
    ("bend", "message"),
    [
        (drop("impressions"), r"needs one of impressions\.parquet and impressions\.csv"),
        (drop("items"), r"needs one of items\.parquet"),
        (drop("users"), r"user features age, city, but there is no users"),
        (drop("impressions", "label"), r"impressions\.csv has no column 'label'"),
        (drop("impressions", "price"), r"no column 'price', which schema\.toml declares"),
        (drop("items", "tags"), r"items\.csv has no column 'tags'"),
        (drop("items", "name"), r"no column 'name', which schema\.toml names as the title"),
        (put("impressions", label=["yes"]), r"'label', line 2: 'yes' is not a number"),
        (put("impressions", label=["1", ""]), r"'label', line 3: there is no number"),
        (put("impressions", price=["7", "cheap"]), r"'price', line 3: 'cheap' is not a number"),
        (put("impressions", position=[""]), r"'position', line 2"),
        (put("impressions", item_id=["5", "5"]), r"line 3: an item is twice in one list"),
        (put("impressions", user_id=["77"]), r"one list has two values of user_id"),
        (put("impressions", timestamp=["77"]), r"one list has two values of timestamp"),
        (put("impressions", timestamp=["soon"]), r"'soon' is not a time"),
        (put("impressions", list_id=[""]), r"'list_id', line 2: the id is empty"),
        (put("users", age=["old"]), r"users\.csv, column 'age', line 2: 'old' is not a number"),
        (put("items", item_id=["1", "1"]), r"line 3: the id stands in two rows"),
        (put("items", item_id=["x" * 257]), r"items\.csv, column 'item_id', line 2: .*256"),
        (put("users", user_id=["x" * 257]), r"users\.csv, column 'user_id', line 2: .*256"),
        (put("impressions", item_id=["x" * 257]), r"'item_id', line 2: the id is longer"),
        (empty, r"impressions\.csv holds no rows"),
    ],
)  # fmt: skip
def test_a_wrong_folder_is_explained(tmp_path: Path, bend: Bend, message: str):
    tables = log_tables()
    bend(tables)
    with pytest.raises(DataError, match=message):
        parquet.read(write_folder(tmp_path / "shop", tables))


def test_a_list_beyond_the_limit_is_refused(tmp_path, tables):
    long = parquet.LIST_LIMIT + 1
    tables["impressions"] = pl.DataFrame({
        "list_id": ["long"] * long, "user_id": 1, "timestamp": 5, "item_id": range(long),
        "position": range(long), "label": 1, "price": 1.0, "badge": "new",
    })  # fmt: skip
    with pytest.raises(DataError, match="longer than 1000 items"):
        parquet.read(write_folder(tmp_path, tables))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (SCHEMA.replace("title", "titel"), r"unknown key 'titel'. Did you mean 'title'\?"),
        (SCHEMA.replace("min_count", "mincount"), r"\[item\.item_id\] unknown key 'mincount'. Did"),
        (SCHEMA.replace('"bag"', '"set"'), r"\[item\.tags\] kind: .*found 'set'"),
        (SCHEMA.replace("min_count = 2", "min_count = 0"), r"min_count"),
        ('positive = "clicked"\n' + SCHEMA, r"not a rule"),
        (SCHEMA.replace("last-list", "random"), r"split: .*found 'random'"),
        (SCHEMA.replace("[user.age]\nkind", "[user]\nage"), r"user\.age is not a table"),
        ('name = "nothing"', r"declares no feature of items"),
        ("name = ", r"schema\.toml cannot be read"),
        (SCHEMA + '[context.label]\nkind = "numeric"', r"what it is to predict"),
        (SCHEMA.replace('title = "name"', 'title = "tags"'), r"'tags', a bag"),
    ],
)
def test_a_wrong_schema_is_explained(tmp_path, tables, schema, message):
    with pytest.raises(DataError, match=message):
        parquet.read(write_folder(tmp_path, tables, schema))


def test_a_missing_schema_is_explained(own_folder):
    (own_folder / "schema.toml").unlink()
    with pytest.raises(DataError, match=r"schema\.toml is missing"):
        parquet.read(own_folder)


def test_a_source_is_found_by_name_or_folder(own_folder):
    assert {"ml_100k", "ranklens"} <= set(names())
    assert read(own_folder).spec.name == "shop"
    with pytest.raises(DataError, match="Did you mean 'ml_100k'"):
        read("ml_1000k")


def test_shown_items_without_a_row_in_items_are_counted(own_folder):
    log = parquet.read(own_folder)  # which never describes its last item
    assert list(log.notes) == [
        "1 shown item has no row in items, such as '29': it is kept, without features"
    ]
    assert not log.dropped


def test_ids_that_meet_nowhere_are_refused_with_an_example_of_each(tmp_path, tables):
    tables["items"] = tables["items"].with_columns(item_id=pl.format("art-{}", "item_id"))
    with pytest.raises(DataError, match=r"no item_id of impressions \(such as '0'\).*'art-0'"):
        parquet.read(write_folder(tmp_path, tables))


LONG = 2**60  # ids beyond it come in steps of 256 as floats


def long_ids(folder: Path, tables, kinds) -> Path:
    """The log with long user ids, in two parts that hold them in two types."""
    shown = tables["impressions"].with_columns(pl.col("user_id") + LONG)
    tables = tables | {"users": tables["users"].with_columns(pl.col("user_id") + LONG)}
    del tables["impressions"]
    write_folder(folder, tables)
    (folder / "impressions").mkdir()
    for number, kind in enumerate(kinds):
        part = shown[number * 180 : (number + 1) * 180]
        path = folder / "impressions" / f"{number}.parquet"
        part.with_columns(pl.col("user_id").cast(kind)).write_parquet(path)
    return folder


@pytest.mark.parametrize("kind", [pl.UInt64, pl.Decimal(38, 0), pl.Int64])
def test_long_ids_are_the_same_people_in_whatever_type_a_part_has_them(tmp_path, tables, kind):
    log = parquet.read(long_ids(tmp_path / "log", tables, [pl.Int64, kind]))
    assert set(log.impressions["user_id"]) == {str(LONG + one) for one in range(12)}


def test_long_ids_that_were_written_as_floats_somewhere_are_refused(tmp_path, tables):
    folder = long_ids(tmp_path / "log", tables, [pl.Int64, pl.Float64])
    with pytest.raises(DataError, match=r"0\.parquet, column 'user_id', row 0: .* beyond 2\^53"):
        parquet.read(folder)


@pytest.mark.parametrize("size", [50, 1000])
def test_a_part_in_which_pandas_wrote_ids_as_floats_has_the_same_people(
    tmp_path, tables, monkeypatch, size
):
    monkeypatch.setattr("data.files.CHUNK_ROWS", size)
    shown = tables.pop("impressions")
    folder = write_folder(tmp_path / "log", tables)
    (folder / "impressions").mkdir()
    shown[:180].write_csv(folder / "impressions" / "0.csv")
    floats = shown[180:].with_columns(pl.col("list_id", "user_id", "item_id").cast(pl.String))
    floats = floats.with_columns(pl.col("user_id", "item_id") + ".0")
    floats.write_csv(folder / "impressions" / "1.csv")
    log = parquet.read(folder)
    for name in ("user_id", "item_id"):
        assert log.impressions[name].to_list() == shown[name].cast(pl.String).to_list()


def test_people_without_a_row_in_users_are_counted_and_refused_where_that_is_everyone(
    tmp_path, tables
):
    users = tables["users"]
    tables["users"] = users[:4]
    log = parquet.read(write_folder(tmp_path / "some", tables))
    note = "8 users have no row in users, such as '10': they are kept, without features"
    assert note in log.notes
    assert not log.dropped
    tables["users"] = users.with_columns(pl.format("u{}", "user_id").alias("user_id"))
    with pytest.raises(DataError, match=r"no user_id of impressions \(such as '0'\).*'u0'"):
        parquet.read(write_folder(tmp_path / "none", tables))
    bare = SCHEMA.split("[user.age]")[0] + "[item.item_id]" + SCHEMA.split("[item.item_id]")[1]
    parquet.read(write_folder(tmp_path / "unused", tables, bare))  # nothing of users is read
