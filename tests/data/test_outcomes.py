from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.outcomes import counts_them, leak
from data.tables import Table

ROWS = 1000
POSITIVE = pl.Series([one % 10 == 0 for one in range(ROWS)])  # 100 of 1,000
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.random(ROWS)
TRUTH = POSITIVE.to_numpy()
DEVICES = np.where(NOISE < 0.4, "phone", "desk")
FIRST = np.cumsum(TRUTH)  # counts the positive rows


def where(hit: object, other: object) -> list[object]:
    return [hit if one else other for one in POSITIVE]


def some(count: int, hit: object, other: object) -> list[object]:
    """`hit` in the first so many positive rows."""
    return [hit if one and seen <= count else other for one, seen in zip(TRUTH, FIRST, strict=True)]


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("stay", where(7.5, 0.0), "filled and not 0 in 100% of the positive rows"),
        ("coupon", where("x", None), "filled in 100% of the positive rows"),
        ("baskets", [["a"] if one else [] for one in POSITIVE], "filled in 100%"),
        ("level", (TRUTH + NOISE * 0.9 + 1).tolist(), "all but perfectly"),
        ("result", where("click", "view"), "other than 'view' in 100% of the positive rows"),
        ("seconds", [f"{9 + one % 50}" if one % 20 == 0 else "-1" for one in range(ROWS)],
         "other than '-1' in 50% of the positive rows and 0% of the others"),
        ("next", [f"p{one % 70}" if one % 10 == 0 else "serp" for one in range(ROWS)],
         "other than 'serp' in 100%"),
        ("units", some(12, 2, 0), "filled and not 0 in 12% of the positive rows"),
        ("refusal", ["bored" if one % 4 == 1 else None for one in range(ROWS)],
         "filled in 28% of the rows that are not positive and 0% of the positive ones"),
        ("state", [("sent", "open", "won")[one % 3] if not hit or seen > 40 else "paid"
                   for one, (hit, seen) in enumerate(zip(TRUTH, FIRST, strict=True))],
         "of the 40 rows with 'paid' 100% are positive, of all rows 10%"),
        ("state", [("lost" if one % 4 == 1 else ("a", "b")[one % 7 % 2]) for one in range(ROWS)],
         "of the 250 rows with 'lost' 0% are positive, of all rows 10%"),
        ("order_value", NOISE.tolist(), "its name sounds like"),
        ("read_ms", NOISE.tolist(), "its name sounds like"),
    ],
)  # fmt: skip
def test_what_only_the_outcome_explains_is_a_leak(name, values, why):
    found = leak(Table(Path("impressions.csv"), pl.DataFrame({name: values})), name, POSITIVE)
    assert found is not None
    assert why in found


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("price", NOISE.tolist()),
        ("offer", ["x" if one < 0.3 else None for one in NOISE]),
        ("device", DEVICES.tolist()),
        ("seats", some(3, 2, 0)),  # three may be an accident
        ("thread", [f"t{one % 200}" for one in range(ROWS)]),  # few rows each; `read` is no word
        ("liked_by_editors", (np.where(TRUTH, 0.5, 0.2) > NOISE).astype(int).tolist()),
    ],
)
def test_what_is_known_before_is_none(name, values):
    assert (
        leak(Table(Path("impressions.csv"), pl.DataFrame({name: values})), name, POSITIVE) is None
    )


def test_in_a_small_log_an_accident_is_no_leak_and_what_always_holds_is():
    positive = pl.Series([one in (3, 17, 30) for one in range(40)])
    columns = {
        "price": [99.0 if one == 17 else float(one % 9 + 1) for one in range(40)],
        "offer": ["x" if one == 17 else None for one in range(40)],
    }
    table = Table(Path("impressions.csv"), pl.DataFrame(columns))
    one = positive & (pl.Series(range(40)) == 17)  # a single positive row, the dearest
    assert leak(table, "price", one) is None
    assert leak(table, "offer", one) is None
    paid = Table(table.path, pl.DataFrame({"sum": [9 if hit else 0 for hit in positive]}))
    assert "filled and not 0 in 100%" in (leak(paid, "sum", positive) or "")


def test_the_name_tells_where_no_label_was_found():
    table = Table(Path("impressions.csv"), pl.DataFrame({"purchased": [0, 1]}))
    assert "its name" in (leak(table, "purchased", None) or "")


@pytest.mark.parametrize(
    ("name", "kind", "counted"),
    [
        ("total_clicks", "numeric", True),
        ("ctr", "numeric", True),
        ("avgRating", "numeric", True),
        ("last_clicked_brand", "categorical", True),
        ("price", "numeric", False),
        ("content_rating", "categorical", False),
        ("total_clicks", None, False),
    ],
)
def test_counts_of_what_people_did_are_known_by_name(name, kind, counted):
    assert counts_them(name, kind) is counted
