from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.lists import Positive
from data.roles import Role
from data.sample import Sample
from data.settings import guess_positive, guess_settings
from data.tables import Table


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        ([0, 1], ">=1"),
        ([-1, 1], ">=1"),
        ([1, 2], ">=2"),
        ([0, 1, 2, 3], ">=1"),
        ([-1, 0, 1], ">=1"),
        ([1, 2, 3, 4, 5], ">=4"),
        ([0.5, 2.5, 4, 5], ">=4"),
        ([1, 2, 3], ">=3"),
        ([2, 4, 6, 8, 10], ">=8"),
        ([0, 0.25, 17.3], ">=0.25"),
        ([1e-7, 0], ">=0.0000001"),
        ([3, 3], ">=1"),
        ([-3, -2, -1.5], ">=-1.5"),
    ],
)
def test_the_rule_takes_some_labels_and_leaves_some(labels, rule):
    found = guess_positive(pl.Series(labels, dtype=pl.Float64))
    assert found.value == rule
    holds = Positive.parse(rule).holds(pl.col("label"))
    taken = pl.DataFrame({"label": labels}, strict=False).select(holds).to_series()
    if len(set(labels)) > 1:
        assert 0 < taken.sum() < len(labels)


def test_more_than_two_labels_or_one_alone_are_to_be_looked_at():
    assert not guess_positive(pl.Series([0.0, 1.0])).warning
    assert guess_positive(pl.Series([0.0, 1.0, 2.0])).warning
    assert "passed over" in guess_positive(pl.Series([1.0, 1.0])).why


def settings_of(lists: int, users: int, span: int, length: int = 4, whole: bool = True):
    """Settings of lists with one click each, evenly over `span` seconds from 2023 on."""
    times = 1_700_000_000 + np.arange(lists) * span // lists
    frame = pl.DataFrame({
        "list_id": np.repeat([f"l{one}" for one in range(lists)], length),
        "user_id": np.repeat(np.arange(lists) % users, length),
        "timestamp": np.repeat(times, length),
        "label": np.tile([1, *[0] * (length - 1)], lists),
    })  # fmt: skip
    roles = {name: Role(name, name, "has the name itself") for name in frame.columns}
    total = len(frame) + (0 if whole else 1)
    table = Table(Path("impressions.csv"), frame)
    return guess_settings(Sample(table, 1, total, table.path.name), roles)


def test_the_split_is_by_time_where_there_is_time():
    assert settings_of(100, 20, 10**6).split.value == "time"
    short = settings_of(100, 20, 600).split
    assert short.value == "last-list"
    assert short.warning
    assert 'not "time": all times lie within 10 minutes' in short.why
    alone = settings_of(100, 100, 0).split
    assert alone.value == "user"
    assert 'not "last-list": it leaves train, valid or test without lists' in alone.why
    none = settings_of(2, 2, 0).split
    assert none.warning
    assert "no split leaves lists" in none.why


def test_sizes_follow_the_lists():
    assert settings_of(100, 20, 10**6, length=4).list_size.value == 4
    assert settings_of(100, 20, 10**6, length=30).list_size.value == 10
    assert settings_of(100, 20, 10**6).max_history.value == 10  # five lists a user, a click each
    assert settings_of(100, 2, 10**6).max_history.value == 50  # 45 clicks before nine lists in ten
    assert settings_of(100, 20, 10**6, whole=False).max_history.value == 50
