import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from data.tables import NOBODY, Table, read_table, suggestion
from features.errors import DataError
from features.values import ID_LENGTH, text_of

NAN = float("nan")


def column(values: list[object] | pl.Series) -> Table:
    return Table(Path("x.parquet"), pl.DataFrame({"c": values}, strict=False))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "a b", None], ["007", "a b", None]),
        ([7, None, -1], ["7", None, "-1"]),
        ([24.0, 0.5, NAN, None], ["24", "0.5", None, None]),
        (["24.0", "7.0", None], ["24", "7", None]),  # pandas, beside missing values
        (["24.0", "v1.0"], ["24.0", "v1.0"]),
        ([True, False, None], ["true", "false", None]),
        ([date(2024, 5, 1)], ["2024-05-01"]),
        (pl.Series(["x", "y"], dtype=pl.Categorical), ["x", "y"]),
        ([2**60 + 1], [str(2**60 + 1)]),
        (pl.Series([2**60 + 1, 700, None], dtype=pl.Decimal(38, 0)), [str(2**60 + 1), "700", None]),
        (pl.Series(["7.50", "700.00", "0.00", "-0.5"]).cast(pl.Decimal(9, 2)),
         ["7.5", "700", "0", "-0.5"]),
    ],
)  # fmt: skip
def test_text_has_one_form_whatever_type_it_came_in(values, expected):
    assert column(values).text("c").to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None], [1.0, None]),
        ([0.5, NAN], [0.5, None]),
        (["1", " 2.5 ", "", "NaN", "NA", None], [1.0, 2.5, None, None, None, None]),
        ([True, False], [1.0, 0.0]),
        (["True", "false"], [1.0, 0.0]),
    ],
)
def test_numbers_are_floats_and_missing_ones_null(values, expected):
    assert column(values).numbers("c").to_list() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a|b", " c ", "", "|", None], [["a", "b"], ["c"], None, None, None]),
        ([["a", "b"], [], None, [None]], [["a", "b"], None, None, None]),
        ([[1, 2], [3]], [["1", "2"], ["3"]]),
        ([5, None], [["5"], None]),
    ],
)
def test_bags_are_lists_of_text(values, expected):
    assert column(values).bags("c", "|").to_list() == expected


MOMENT = 1_714_564_800  # 2024-05-01T12:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        MOMENT, MOMENT * 1000, MOMENT * 10**6, MOMENT * 10**9, float(MOMENT), str(MOMENT),
        datetime(2024, 5, 1, 12), datetime(2024, 5, 1, 12, tzinfo=UTC), "2024-05-01T12:00:00",
        "2024-05-01 12:00:00", "2024-05-01T12:00:00.25Z", "2024-05-01T14:00:00+02:00",
    ],
)  # fmt: skip
def test_times_are_seconds_in_whatever_form_they_come(value):
    assert column([value]).seconds("c").to_list() == [MOMENT]


def test_a_date_is_its_midnight():
    assert column([date(2024, 5, 1)]).seconds("c").item() == MOMENT - 12 * 3600
    assert column(["2024-05-01"]).seconds("c").item() == MOMENT - 12 * 3600


@pytest.mark.parametrize(
    ("read", "values", "message"),
    [
        (lambda t: t.numbers("c"), ["1", "many"], r"'c', row 1: 'many' is not a number"),
        (lambda t: t.numbers("c", "Fill it in."), [1, None], r"row 1: there is no number"),
        (lambda t: t.numbers("c"), [1.0, float("inf")], r"row 1: the number is beyond"),
        (lambda t: t.numbers("c"), [[1.0]], r"is not a number"),
        (lambda t: t.ids("c"), ["a", ""], r"row 1: the id is empty"),
        (lambda t: t.ids("c"), ["a", None, None], r"\(2 rows are like this\)"),
        (lambda t: t.seconds("c"), ["yesterday"], r"'yesterday' is not a time"),
        (lambda t: t.seconds("c"), [MOMENT, None], r"None is not a time"),
        (lambda t: t.text("c"), [["a"]], r"expected text or a number"),
        (lambda t: t.require(["cc"], "which matters"), [1], r"no column 'cc', which matters"),
    ],
)
def test_what_cannot_be_read_is_said_with_file_column_and_row(read, values, message):
    with pytest.raises(DataError, match=message) as caught:
        read(column(values))
    assert "x.parquet" in str(caught.value)


def csv_column(values: list[str | None]) -> Table:
    return Table(Path("x.csv"), pl.DataFrame({"c": pl.Series(values, dtype=pl.String)}))


@pytest.mark.parametrize(
    ("values", "logged"),
    [
        (["True", "false", "TRUE", None], [True, False, True, None]),
        (["1.0", "2", "-3", ".5", "2.50", None], [1.0, 2, -3, 0.5, 2.5, None]),
        (["1e3", "-0.0"], [1e3, -0.0]),
        (["1.0", "v2"], ["1.0", "v2"]),
        (["True", "maybe"], ["True", "maybe"]),
        (["007", "8.5"], ["007", "8.5"]),
        (["+1", "2.5"], ["+1", "2.5"]),
        (["9007199254740993", "1.50"], ["9007199254740993", "1.50"]),
        (["1" * 400, "1.50"], ["1" * 400, "1.50"]),
        (["1_0", "2.50"], ["1_0", "2.50"]),
        (["", "2.50"], ["", "2.5"]),
        ([None, ""], [None, ""]),
    ],
)
def test_a_csv_feature_has_the_text_the_service_makes_of_the_same_json(values, logged):
    served = [text_of(value) for value in json.loads(json.dumps(logged))]
    assert csv_column(values).text("c").to_list() == served


def test_members_of_a_csv_bag_have_the_services_text_too():
    assert csv_column(["1.0| 2.5", "3", None]).bags("c", "|").to_list() == [
        ["1", "2.5"], ["3"], None,
    ]  # fmt: skip
    assert csv_column(["True|false"]).bags("c", "|").to_list() == [["true", "false"]]
    assert csv_column(["1.0|b"]).bags("c", "|").to_list() == [["1.0", "b"]]


def test_ids_of_a_csv_and_text_of_a_parquet_stand_as_they_were_written():
    assert csv_column(["1.50", "True"]).ids("c").to_list() == ["1.50", "True"]
    assert csv_column(["1.50", "2"]).ids("c").to_list() == ["1.50", "2"]
    assert column(["1.50", "2"]).text("c").to_list() == ["1.50", "2"]
    assert column(["True"]).text("c").to_list() == ["True"]


def test_whole_numbers_with_and_without_point_zero_are_the_same_ids_and_other_text_as_written():
    assert csv_column(["7", "7.0", "-8.0"]).ids("c").to_list() == ["7", "7", "-8"]
    assert csv_column(["7", "7.0", "v1"]).ids("c").to_list() == ["7", "7.0", "v1"]
    assert csv_column(["7", "7.0", "7.5"]).ids("c").to_list() == ["7", "7.0", "7.5"]
    assert csv_column(["7", "7.0"]).written("c").to_list() == ["7", "7.0"]
    assert column(["7", "7.0"]).text("c").to_list() == ["7", "7.0"]


@pytest.mark.parametrize("text", NOBODY)
def test_what_tools_write_for_no_id_is_nobody(text):
    with pytest.raises(DataError, match=r"'c', row 1: the id says that there is none"):
        column(["a", text]).people("c")
    assert column(["nancy", "Nan", "n"]).people("c").to_list() == ["nancy", "Nan", "n"]
    assert column([text]).ids("c").to_list() == [text]


def test_an_id_is_as_long_as_the_service_takes_and_no_longer():
    assert column(["ø" * ID_LENGTH]).ids("c").to_list() == ["ø" * ID_LENGTH]
    long = "x" * (ID_LENGTH + 1)
    with pytest.raises(DataError, match=r"x\.parquet, column 'c', row 1: .*256 char") as caught:
        column(["a", long]).ids("c")
    assert "shorter" in str(caught.value)
    assert long not in str(caught.value)


def test_a_csv_error_counts_lines_as_an_editor_does(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,x\n")
    with pytest.raises(DataError, match="line 3: 'x' is not a number"):
        read_table(tmp_path, "t").numbers("b")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "needs one of t.parquet and t.csv, but it holds nothing"),
        ({"t.csv": b"a\n1\n", "t.parquet": b""}, "both are there"),
        ({"t.csv": b""}, "cannot be read"),
        ({"t.csv": b"a,b\n"}, "no rows"),
        ({"t.csv": b"a\n1,2,3\n"}, "cannot be read"),
        ({"t.csv": b"a\n\xff\xfe\n"}, "cannot be read"),
        ({"t.parquet": b"not parquet"}, "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path, "t")


def test_suggestion_names_the_nearest_or_nothing():
    assert suggestion("lable", ["label", "item_id"]) == " Did you mean 'label'?"
    assert suggestion("zzz", ["label"]) == ""
