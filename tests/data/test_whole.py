from functools import reduce
from operator import or_

import polars as pl
import pytest

from data.tables import Table
from data.whole import Whole

COLUMNS = [
    ["24.0", "7.0", None], ["24.0", "v1.0"], ["True", "false", ""], ["1.0", "2.50", None],
    ["007", "8.5"], ["9007199254740993", "1.5"], ["1" * 400, "1.50"], ["", None], [None, None],
    ["2024-05-01T12:00:00Z", "2024-05-01"], ["1700000000", "1700000000000"],
    [1, 2**60, None], [1.5, float("nan")], [True, None],
]  # fmt: skip


@pytest.mark.parametrize("values", COLUMNS)
def test_what_holds_of_pieces_together_is_what_holds_of_the_whole(values):
    series = pl.Series("c", values)
    pieces = [series[place : place + 1] for place in range(len(series))]
    assert reduce(or_, (Whole.of(piece) for piece in pieces), Whole()) == Whole.of(series)


@pytest.mark.parametrize("values", [["1.0|x", "2"], ["1.0|2.0", "3.0"], [["1.0"], ["2.0", "a"]]])
def test_the_members_of_a_bag_are_looked_at_too(values):
    series = pl.Series("c", values)
    pieces = [series[place : place + 1] for place in range(len(series))]
    together = reduce(or_, (Whole.of(piece, "|") for piece in pieces), Whole())
    assert together.members == Whole.of(series, "|").members
    assert together.members != Whole()


@pytest.mark.parametrize("rest", [["x"], ["2.50"]])
def test_a_piece_is_read_as_its_whole_column_is(rest, tmp_path):
    whole = Whole.of(pl.Series("c", ["1.0", *rest]))
    piece = Table(tmp_path / "t.csv", pl.DataFrame({"c": ["1.0"]}), whole={"c": whole})
    assert piece.text("c").to_list() == (["1.0"] if rest == ["x"] else ["1"])


def test_the_largest_time_of_all_decides_the_unit_of_a_piece(tmp_path):
    whole = Whole.of(pl.Series("c", [999_999_999_999, 10**14]))
    piece = Table(tmp_path / "t.csv", pl.DataFrame({"c": [10**14 + 10**6]}), whole={"c": whole})
    assert piece.seconds("c").to_list() == [10**8 + 1]
