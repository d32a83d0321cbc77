from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.lists import Arranged, Positive, RawLog, SourceSpec, arrange
from features.errors import DataError

ROWS = {"list_id": pl.String, "user_id": pl.String, "timestamp": pl.Int64,
        "item_id": pl.String, "position": pl.Int64, "label": pl.Float64}  # fmt: skip


def log_of(lists: list[tuple[str, int, list[int]]], **settings: object) -> RawLog:
    """A log from (user, time, labels by position); item ids tell list and position."""
    rows = [
        (f"l{number}", user, time, f"{number}.{place}", place, float(label))
        for number, (user, time, labels) in enumerate(lists)
        for place, label in enumerate(labels)
    ]
    spec = SourceSpec(name="hand", max_history=3, **settings)  # type: ignore[arg-type]
    frame = pl.DataFrame(rows, schema=ROWS, orient="row")
    return RawLog(frame, pl.DataFrame(), pl.DataFrame(), spec, Counter())


def histories(arranged: Arranged) -> dict[str, list[str]]:
    return {
        row["list_id"]: arranged.acted.slice(row["history_start"], row["history_length"]).to_list()
        for row in arranged.lists.iter_rows(named=True)
    }


# three lists each, so that every split has some
ENOUGH = [(user, time, [1, 0]) for user in ("x", "y", "z") for time in (900, 910, 920)]


def test_history_is_newest_list_first_in_shown_order_and_cut():
    log = log_of(
        [("a", 1, [1, 0, 1]), ("a", 2, [0, 1]), ("a", 3, [1, 1, 0]), ("a", 4, [0, 1]), *ENOUGH]
    )
    found = histories(arrange(log, "last-list"))
    assert found["l0"] == []
    assert found["l1"] == ["0.0", "0.2"]
    assert found["l2"] == ["1.1", "0.0", "0.2"]
    assert found["l3"] == ["2.0", "2.1", "1.1"]


def test_lists_of_the_same_moment_are_not_in_each_others_history():
    log = log_of([("a", 1, [1, 0]), ("a", 2, [1, 0]), ("a", 2, [1, 0]), ("a", 3, [1, 0]), *ENOUGH])
    found = histories(arrange(log, "last-list"))
    assert found["l1"] == found["l2"] == ["0.0"]
    assert found["l3"] == ["2.0", "1.0", "0.0"]


def test_lists_that_cannot_be_ranked_still_count_as_history_unless_told_otherwise():
    log = log_of([("a", 1, [1, 1]), ("a", 2, [1]), ("a", 3, [0, 1]), *ENOUGH])
    assert histories(arrange(log, "last-list"))["l2"] == ["1.0", "0.0", "0.1"]
    assert histories(arrange(log, "last-list", history="evaluable"))["l2"] == []


LABELS = st.lists(st.integers(0, 1), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 6), LABELS),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_history_equals_its_definition(lists, random):
    log = log_of([*lists, *ENOUGH])
    rows = list(range(len(log.impressions)))
    random.shuffle(rows)  # the order of a log's rows means nothing but ties
    shuffled = RawLog(log.impressions[rows], log.items, log.users, log.spec)
    positive = log.impressions.filter(pl.col("label") >= 1)
    for name, found in histories(arrange(shuffled, "last-list")).items():
        number = int(name[1:])
        user, time = [*lists, *ENOUGH][number][:2]
        earlier = positive.filter((pl.col("user_id") == user) & (pl.col("timestamp") < time))
        assert len(found) == min(3, len(earlier))
        assert set(found) <= set(earlier["item_id"])
        times = [log.impressions.filter(item_id=item)["timestamp"].item() for item in found]
        assert times == sorted(earlier["timestamp"], reverse=True)[:3]


def test_rows_keep_the_incoming_order_whatever_order_they_are_logged_in():
    log = log_of([("a", 1, [1, 0, 1, 0]), *ENOUGH])
    reverse = RawLog(log.impressions.reverse(), log.items, log.users, log.spec)
    rows = arrange(reverse, "last-list").rows.filter(list_id="l0")
    assert rows["item_id"].to_list() == ["0.0", "0.1", "0.2", "0.3"]


@pytest.mark.parametrize(
    ("labels", "evaluable"),
    [([1, 0], True), ([1], False), ([0, 0], False), ([1, 1], False), ([1, 0, 0, 0], False)],
)
def test_an_evaluable_list_has_both_labels_and_a_length_within_limits(labels, evaluable):
    log = log_of([("a", 1, labels), *ENOUGH], max_list=3)
    assert arrange(log, "last-list").lists.filter(list_id="l0")["evaluable"].item() is evaluable


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(">=1", [0, 1, 1]), (">1", [0, 0, 1]), ("== 5", [0, 0, 1]), ("=1", [0, 1, 0]),
     ("<0.5", [1, 0, 0]), ("!=0", [0, 1, 1]), ("<=1", [1, 1, 0])],
)  # fmt: skip
def test_positive_rules(rule, expected):
    frame = pl.DataFrame({"label": [0.0, 1.0, 5.0]})
    holds = frame.select(Positive.parse(rule).holds(pl.col("label"))).to_series()
    assert np.array_equal(holds.cast(int), expected)


@pytest.mark.parametrize("rule", ["", "1", ">=", ">=x", "=>1", ">=1 or 2"])
def test_a_rule_that_cannot_be_read_is_refused(rule):
    with pytest.raises(DataError, match="not a rule"):
        Positive.parse(rule)
