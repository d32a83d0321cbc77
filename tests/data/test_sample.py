import polars as pl
import pytest

from data.sample import BLOCK, sample
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
    assert "items.csv/ (2 files): all of its 8,000 rows" in str(found)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_is_parted_at_what_its_head_is_parted_at(tmp_path, delimiter):
    FRAME[:3].write_csv(tmp_path / "items.csv", separator=delimiter)
    assert sample(tmp_path, "items").table.frame.columns == ["a", "b"]


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
        ("items.csv", b"", r"items\.csv cannot be read"),
        ("items.csv", b"a,b\n1,2\n3,4,5,6\n", r"items\.csv cannot be read"),
    ],
)
def test_an_unreadable_table_is_explained(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        sample(tmp_path, "items")
