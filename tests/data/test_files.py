import gzip
from pathlib import Path

import polars as pl
import pytest

from data import files
from data.files import Files, open_files
from features.errors import DataError

FRAME = pl.DataFrame({"a": [str(n) for n in range(10)], "b": ["x"] * 10})


def opened(folder: Path) -> Files:
    return open_files(folder, "t", folder / "scratch")


def written(path: Path, frame: pl.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        path.write_bytes(gzip.compress(frame.write_csv().encode()))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("size", [1, 3, 4, 10, 99])
def test_pieces_are_the_table_whatever_their_size(tmp_path, monkeypatch, suffix, size):
    for number, (start, count) in enumerate([(0, 1), (1, 7), (8, 2)]):
        written(tmp_path / "t" / f"{number}{suffix}", FRAME[start : start + count])
    monkeypatch.setattr(files, "CHUNK_ROWS", size)
    table = opened(tmp_path)
    pieces = list(table.chunks())
    assert [start for start, _ in pieces] == list(range(0, 10, size))
    assert all(len(frame) == size for _, frame in pieces[:-1])
    assert pl.concat([frame for _, frame in pieces]).equals(FRAME)
    assert table.rows == 10


def test_what_a_folder_says_is_a_column_of_text(tmp_path):
    written(tmp_path / "t" / "day=2024-05-01" / "shop=a%2Fb" / "0.parquet", FRAME[:1])
    written(tmp_path / "t" / f"day={files.UNKNOWN_KEY}" / "shop=c" / "0.parquet", FRAME[1:2])
    read = opened(tmp_path).lazy().collect()
    assert read.columns == ["a", "b", "day", "shop"]
    assert read["day"].to_list() == ["2024-05-01", None]
    assert read["shop"].to_list() == ["a/b", "c"]


def test_a_column_of_the_file_wins_over_what_its_folder_says(tmp_path):
    written(tmp_path / "t" / "a=folder" / "0.csv", FRAME)
    assert opened(tmp_path).lazy().collect().equals(FRAME)


def test_parts_come_in_the_order_of_their_names_whatever_their_columns_order(tmp_path):
    written(tmp_path / "t" / "b.csv", FRAME[:5].select("b", "a"))
    written(tmp_path / "t" / "a.csv", FRAME[5:])
    assert opened(tmp_path).lazy().collect().equals(pl.concat([FRAME[5:], FRAME[:5]]))


def test_a_large_row_group_is_copied_into_small_ones(tmp_path, monkeypatch):
    written(tmp_path / "t.parquet", FRAME)
    assert opened(tmp_path).parts[0].readable == tmp_path / "t.parquet"
    monkeypatch.setattr(files, "GROUP_ROWS", 9)
    table = opened(tmp_path)
    assert table.parts[0].readable != tmp_path / "t.parquet"
    assert table.lazy().collect().equals(FRAME)


@pytest.mark.parametrize(
    ("types", "common"),
    [
        ((pl.Int64, pl.Float64), pl.Float64),
        ((pl.Int8, pl.Int64), pl.Int64),
        ((pl.Int64, pl.UInt64), pl.Int128),
        ((pl.Null, pl.Int64), pl.Int64),
        ((pl.Null, pl.Boolean), pl.Boolean),
        ((pl.Boolean, pl.Int64), pl.Int64),
        ((pl.Float64, pl.Boolean), pl.Float64),
        ((pl.Categorical, pl.String), pl.String),
        ((pl.Datetime("ms"), pl.Datetime("ns")), pl.Datetime("us")),
        ((pl.Datetime("us", "UTC"), pl.Datetime("us", "Asia/Tokyo")), pl.Datetime("us", "UTC")),
    ],
)
def test_parts_of_different_types_are_read_as_one_that_holds_both(tmp_path, types, common):
    for number, kind in enumerate(types):
        value = ["7"] if kind in (pl.String, pl.Categorical) else [7]
        series = pl.Series("c", [None] if kind == pl.Null else value)
        written(tmp_path / "t" / f"{number}.parquet", series.cast(kind).to_frame())
    read = opened(tmp_path).lazy().collect()
    assert read.schema["c"] == common
    if common == pl.Datetime("us", "UTC"):
        assert read["c"][0] == read["c"][1]  # the same moment on two clocks


def test_a_bag_that_is_empty_throughout_a_part_is_a_bag_of_what_the_others_hold(tmp_path):
    for number, bag in enumerate(([None], [["a", "b"]], [[]])):
        written(tmp_path / "t" / f"{number}.parquet", pl.DataFrame({"c": bag}))
    assert opened(tmp_path).types == {"c": pl.List(pl.String)}
    assert opened(tmp_path).lazy().collect()["c"].to_list() == [None, ["a", "b"], []]


def test_whole_numbers_that_a_float_holds_are_read_beside_floats_and_longer_ones_refused(tmp_path):
    written(tmp_path / "t" / "0.parquet", pl.DataFrame({"c": [1.0], "d": [2.5]}))
    written(tmp_path / "t" / "1.parquet", pl.DataFrame({"c": [7, 2**53], "d": [7, -(2**53) - 1]}))
    table = opened(tmp_path)
    table.exact(["c"])
    assert table.lazy().collect()["c"].to_list() == [1.0, 7.0, 2.0**53]
    with pytest.raises(
        DataError, match=r"1\.parquet, column 'd', row 1: .* c=9007199254740992, d=-900"
    ):
        table.exact(["c", "d"])


@pytest.mark.parametrize(
    "types", [(pl.Int64, pl.String), (pl.Datetime("us"), pl.Datetime("us", "UTC"))]
)
def test_parts_whose_types_have_nothing_in_common_are_refused(tmp_path, types):
    for number, kind in enumerate(types):
        written(
            tmp_path / "t" / f"{number}.parquet", pl.DataFrame({"c": pl.Series([1]).cast(kind)})
        )
    with pytest.raises(DataError, match=r"column 'c' holds .* in .*1\.parquet and .*0\.parquet"):
        opened(tmp_path)


def test_a_line_is_counted_as_an_editor_does_even_after_a_text_of_two_lines(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "0.csv").write_text('a,b\n1,"two\nlines"\n2,x\n')
    (tmp_path / "t" / "1.csv").write_text('a,b\n3,"two\nlines"\n4,x\n')
    table = opened(tmp_path)
    for row, name, line in ((0, "0.csv", 2), (1, "0.csv", 4), (2, "1.csv", 2), (3, "1.csv", 4)):
        assert f"{name}, column 'a', line {line}: odd." in str(table.fail("a", row, "odd", "Mend."))


def test_copies_are_made_in_the_scratch_folder_only(tmp_path):
    written(tmp_path / "t" / "0.csv.gz", FRAME)
    opened(tmp_path)
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["0.csv.gz"]
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["t-0.parquet"]


def test_a_progress_bar_ends_where_the_bytes_do(tmp_path, monkeypatch):
    told: list[tuple[str, int, list[int]]] = []

    class Bar:
        def __init__(self, what, total, unit, **_):
            self.steps: list[int] = []
            told.append((what, total, self.steps))
            self.update = self.steps.append

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(files, "bar", Bar)
    for name in ("0.csv", "1.csv"):
        written(tmp_path / "t" / name, FRAME)
    opened(tmp_path)
    size = sum(path.stat().st_size for path in (tmp_path / "t").iterdir())
    assert told[0][:2] == ("reading t", size)
    assert sum(told[0][2]) == size
