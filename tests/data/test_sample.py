import gzip

import polars as pl
import pytest

from data.sample import BLOCK, sample
from data.tables import read_table
from features.errors import DataError

FRAME = pl.DataFrame({"a": range(5 * BLOCK), "b": "x"})


def test_a_small_table_is_read_whole(tmp_path):
    FRAME.write_parquet(tmp_path / "items.parquet")
    found = sample(tmp_path, "items")
    assert found.whole
    assert found.table.frame.equals(FRAME)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_of_a_long_table_whole_blocks_throughout_are_read(tmp_path, suffix):
    getattr(FRAME, {"csv": "write_csv", "parquet": "write_parquet"}[suffix])(
        tmp_path / f"items.{suffix}"
    )
    found = sample(tmp_path, "items", rows=2 * BLOCK)  # every third block
    rows = found.table.frame["a"].cast(pl.Int64).to_list()
    assert rows == [*range(BLOCK), *range(3 * BLOCK, 4 * BLOCK)]
    assert (found.whole, found.rows) == (False, 5 * BLOCK)


def test_a_folder_of_parts_is_one_table_in_the_order_of_their_names(tmp_path):
    for name, start in (("day=2/part", 2 * BLOCK), ("day=1/part", 0)):
        path = tmp_path / "items" / f"{name}.csv"
        path.parent.mkdir(parents=True)
        FRAME[start : start + 2 * BLOCK].write_csv(path)
    found = sample(tmp_path, "items")
    assert found.table.frame["a"].cast(pl.Int64).to_list() == list(range(4 * BLOCK))
    assert str(found) == "items/ (2 files of CSV): all of its 8,000 rows"
    assert dict(found.table.frame["day"].value_counts().rows()) == {"1": 4000, "2": 4000}


def test_parts_with_another_order_of_columns_and_other_types_are_one_table(tmp_path):
    (tmp_path / "items").mkdir()
    FRAME[:2].write_parquet(tmp_path / "items" / "a.parquet")
    other = pl.DataFrame({"b": ["y"], "a": [0.5]})
    other.write_parquet(tmp_path / "items" / "b.parquet")
    found = sample(tmp_path, "items").table.frame
    assert found.rows() == [(0.0, "x"), (1.0, "x"), (0.5, "y")]


def test_a_packed_csv_is_read(tmp_path):
    with gzip.open(tmp_path / "items.csv.gz", "wb") as file:
        file.write(FRAME[:3].write_csv().encode())
    found = sample(tmp_path, "items")
    assert found.table.text_only
    assert found.table.frame["a"].to_list() == ["0", "1", "2"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_what_prepare_refuses_is_refused_in_its_words(tmp_path, delimiter):
    FRAME[:3].write_csv(tmp_path / "items.csv", separator=delimiter)
    with pytest.raises(DataError) as theirs:
        read_table(tmp_path, "items")
    with pytest.raises(DataError) as ours:
        sample(tmp_path, "items")
    assert str(ours.value) == str(theirs.value)
    assert "not by commas" in str(ours.value)


def test_codes_of_a_csv_keep_their_zeros(tmp_path):
    (tmp_path / "items.csv").write_text("a\n007\n")
    assert sample(tmp_path, "items").table.frame["a"].to_list() == ["007"]


def test_no_table_is_none_and_two_are_refused(tmp_path):
    assert sample(tmp_path, "items") is None
    FRAME[:3].write_csv(tmp_path / "items.csv")
    FRAME[:3].write_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"both are there: items\.parquet and items\.csv"):
        sample(tmp_path, "items")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("items.parquet", b"PAR1 cut", r"items\.parquet cannot be read"),
        ("items.csv", b"a,b\n", r"items\.csv holds no rows"),
        ("items.csv", b"", r"items\.csv is empty"),
        ("items.csv", b"a,b\n1,2\n3,4,5,6\n", r"items\.csv cannot be read"),
    ],
)
def test_an_unreadable_table_is_explained(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        sample(tmp_path, "items")
