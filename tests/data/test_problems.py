from pathlib import Path

import pytest

from data.problems import MOST, Problems, RowsError
from features.errors import DataError


def rows(column: str = "price", count: int = 1, place: str = "line 2", **row: object) -> RowsError:
    return RowsError(Path("a/t.csv"), column, place, "'x' is no number", row, "Mend it.", count)


def test_the_same_problem_is_counted_and_its_first_row_kept():
    problems = Problems()
    for error in (rows(count=2), rows(place="line 90", count=3), rows("label")):
        problems.add(error)
    first, second = problems
    assert "line 2: 'x' is no number (5 rows are like this)" in str(first)
    assert "'label'" in str(second)


def test_the_same_problem_in_two_tables_is_two_and_in_two_parts_of_one_table_is_one():
    problems = Problems()
    for table, path in (("a/t", "a/t/k=1/0.csv"), ("a/t", "a/t/k=2/0.csv"), ("a/u.csv", "a/u.csv")):
        problems.add(RowsError(Path(path), "id", "line 2", "empty", {}, "Mend it.", 2, Path(table)))
    first, second = problems
    assert "k=1/0.csv, column 'id', line 2: empty (4 rows are like this)" in str(first)
    assert "a/u.csv, column 'id', line 2: empty (2 rows are like this)" in str(second)


def test_one_problem_is_raised_as_it_is_and_of_several_the_first_says_where_to_see_all():
    problems = Problems("my_logs")
    problems.raise_any()
    with problems.collected():
        raise DataError("one")
    with pytest.raises(DataError, match=r"^one$"):
        problems.raise_any()
    problems.add(DataError("two"))
    with pytest.raises(
        DataError,
        match=r"^one\n1 more problem was found so far: `psad prepare my_logs --check` reads on",
    ):
        problems.raise_any()


def test_what_is_no_fault_of_the_users_is_not_collected():
    with pytest.raises(ZeroDivisionError), Problems().collected():
        raise ZeroDivisionError


def test_no_more_than_a_page_of_problems_is_named():
    problems = Problems()
    for number in range(MOST + 5):
        problems.add(DataError(str(number)))
    assert len(list(problems)) == MOST
    assert len(problems) == MOST + 5


def test_the_column_at_fault_is_among_the_values_shown_and_long_ones_are_cut():
    named = {f"c{number}": number for number in range(20)} | {"price": "x" * 500}
    message = str(rows(**named))
    assert "price='xxx" in message
    assert "c7" not in message
    assert len(message) < 300
