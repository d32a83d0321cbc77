import polars as pl
import pytest

from data.sources import parquet
from features.errors import DataError
from tests.data.conftest import SCHEMA, write_folder

OWN = {"list_id": "sessionId", "timestamp": "ts", "item_id": "sku", "position": "rank"}
COLUMNS = """
[columns.impressions]
list_id = "sessionId"
timestamp = "ts"
item_id = "sku"
position = "rank"
[columns.items]
item_id = "code"
"""


def own_names(tables):
    return tables | {
        "impressions": tables["impressions"].rename(OWN),
        "items": tables["items"].rename({"item_id": "code"}),
    }


def test_a_log_under_its_own_names_is_the_same_log(tmp_path, tables):
    plain = parquet.read(write_folder(tmp_path / "plain", tables))
    named = parquet.read(write_folder(tmp_path / "own", own_names(tables), SCHEMA + COLUMNS))
    for part in ("impressions", "items", "users"):
        assert getattr(named, part).equals(getattr(plain, part)), part
    assert named.dropped == plain.dropped


def test_one_column_may_be_the_list_and_the_person(tmp_path, tables):
    alone = tables | {"impressions": tables["impressions"].drop("user_id")}
    del alone["users"]
    schema = SCHEMA.split("[user.age]")[0] + "[item.item_id]" + SCHEMA.split("[item.item_id]")[1]
    schema += '[columns.impressions]\nuser_id = "list_id"\nlist_id = "list_id"\n'
    shown = parquet.read(write_folder(tmp_path, alone, schema)).impressions
    assert shown["user_id"].equals(shown["list_id"].alias("user_id"))


def test_a_declared_column_wins_over_one_that_has_the_name(tmp_path, tables):
    twice = tables["impressions"].with_columns(label=1 - pl.col("label"), clicked="label")
    schema = SCHEMA + '[columns.impressions]\nlabel = "clicked"\n'
    log = parquet.read(write_folder(tmp_path, tables | {"impressions": twice}, schema))
    assert log.impressions["label"].to_list() == tables["impressions"]["label"].to_list()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('columns = "x"', "columns is not a table"),
        ('[columns.item]\nitem_id = "x"', r"columns\.item is none of .*Did you mean 'items'"),
        ('[columns]\nlist_id = "x"', r"columns\.list_id is none of"),
        ('[columns.impressions]\nlistid = "x"', r"unknown key 'listid'\. Did you mean 'list_id'"),
        ("[columns.impressions]\nlist_id = 3", "list_id = 3 is no column's name"),
        ('[columns.items]\nitem_id = "skew"', r"items\.csv has no column 'skew', which schema"),
    ],
)
def test_wrong_columns_are_explained(tmp_path, tables, written, message):
    schema = SCHEMA + written if written.startswith("[") else written + SCHEMA
    with pytest.raises(DataError, match=message):
        parquet.read(write_folder(tmp_path, tables, schema))


def test_a_column_that_lacks_is_said_beside_the_file_s_own_names(tmp_path, tables):
    shown = tables["impressions"].rename({"user_id": "person", "list_id": "page"})
    schema = SCHEMA + '[columns.impressions]\nuser_id = "person"\n'
    folder = write_folder(tmp_path, tables | {"impressions": shown}, schema)
    with pytest.raises(DataError) as found:
        parquet.read(folder)
    said = str(found.value)
    assert "has no column 'list_id'" in said
    assert "person (read as user_id)" in said
    assert "Did you mean" not in said
