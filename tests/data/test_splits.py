import polars as pl
import pytest

from data.splits import assign
from features.errors import DataError


def lists_of(rows: list[tuple[str, int, bool]]) -> pl.DataFrame:
    """Lists (user, time, evaluable), already by user and time."""
    columns = {"user_id": pl.String, "timestamp": pl.Int64, "evaluable": pl.Boolean}
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_last_list_takes_a_users_last_evaluable_lists():
    rows = [("a", 1, True), ("a", 2, True), ("a", 3, True), ("a", 4, True),
            ("b", 1, True), ("b", 2, True), ("c", 1, True)]  # fmt: skip
    assert assign(lists_of(rows), "last-list")["split"].to_list() == [
        "train", "train", "valid", "test", "valid", "test", "test",
    ]  # fmt: skip


def test_a_list_that_cannot_be_ranked_serves_statistics_only_before_what_is_held_out():
    rows = [("a", time, time % 2 == 0) for time in range(1, 8)]
    rows += [("b", 1, False), ("b", 2, True), ("c", 1, False)]
    assert assign(lists_of(rows), "last-list")["split"].to_list() == [
        "statistics", "train", "statistics", "valid", None, "test", None, "statistics", "test",
        "statistics",
    ]  # fmt: skip


def test_time_puts_train_strictly_before_valid_and_valid_strictly_before_test():
    rows = [(f"u{i % 7}", i // 2, i % 5 > 0) for i in range(100)]
    split = assign(lists_of(rows), "time").filter(pl.col("split").is_not_null())
    times = {
        part: split.filter(pl.col("split") == part)["timestamp"] for part in split["split"].unique()
    }
    assert times["train"].max() < times["valid"].min()
    assert times["valid"].max() < times["test"].min()
    assert times["statistics"].max() < times["valid"].min()
    ranked = sum(len(times[part]) for part in ("train", "valid", "test"))
    assert len(times["train"]) / ranked == pytest.approx(0.8, abs=0.03)
    assert len(times["test"]) / ranked == pytest.approx(0.1, abs=0.03)


def test_user_holds_whole_users_out_by_the_seed():
    rows = [(f"u{i:02}", time, time != 2) for i in range(30) for time in range(4)]
    first, again, other = (assign(lists_of(rows), "user", seed) for seed in (0, 0, 1))
    users = {part: set(first.filter(split=part)["user_id"]) for part in ("train", "valid", "test")}
    assert [len(users[part]) for part in ("train", "valid", "test")] == [24, 3, 3]
    assert not users["train"] & users["valid"]
    assert not users["train"] & users["test"]
    assert set(first.filter(split="statistics")["user_id"]) == users["train"]
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize("split", ["last-list", "time", "user"])
@pytest.mark.parametrize(
    "rows",
    [[], [("a", 1, True)], [("a", 1, False), ("b", 1, False)], [("a", 5, True), ("a", 5, True)]],
)
def test_a_split_with_an_empty_part_says_so(split, rows):
    with pytest.raises(DataError, match="empty"):
        assign(lists_of(rows), split)
