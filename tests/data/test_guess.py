from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.guess import guess, percent, separator_of
from data.tables import Table
from data.titles import title_of

ROWS = 200
RANDOM = np.random.default_rng(0)
AMOUNTS = RANDOM.lognormal(5, 1.5, ROWS).round(2)


def table(values: object, name: str = "it", suffix: str = "csv") -> Table:
    return Table(Path(f"items.{suffix}"), pl.DataFrame({name: values}))


def cycle(*values: object) -> list[object]:
    return [values[one % len(values)] for one in range(ROWS)]


@pytest.mark.parametrize(
    ("name", "values", "kind", "settings"),
    [
        ("colour", cycle("red", "blue", None), "categorical", {}),
        ("maker", [f"m{one % 150}" for one in range(3 * ROWS)], "categorical", {"min_count": 2}),
        ("code", cycle("007", "008"), "categorical", {}),
        ("branch_id", cycle("1", "2", "3"), "categorical", {}),
        ("new", cycle("0", "1"), "categorical", {}),
        ("fresh", cycle("true", "false"), "categorical", {}),
        ("badge", cycle("sale", None), "categorical", {}),
        ("stars", cycle("1", "2", "3.5"), "numeric", {}),
        ("year", cycle("1994", "2003", "2011"), "numeric", {}),
        ("weight", [str(one) for one in AMOUNTS], "numeric", {"transform": "log"}),
        ("loss", [str(-one) for one in AMOUNTS], "numeric", {}),
        ("tags", cycle("a|b", "b", "c|a", "a"), "bag", {"separator": "|"}),
        ("genres", cycle("Drama, Film noir", "Comedy", "Drama"), "bag", {"separator": ","}),
        ("parts", cycle(["x", "y"], ["x"], None), "bag", {}),
        ("empty", cycle(None, ""), None, {}),
        ("same", cycle("NO"), None, {}),
        ("story", [f"All about number {one}" for one in range(ROWS)], None, {}),
        ("listed", cycle("2024-01-02", "2024-02-03"), None, {}),
        ("made_at", cycle("1700000000", "1700009000"), None, {}),
        ("ean", [str(4_000_000_000_000 + 17 * one) for one in range(ROWS)], None, {}),
        ("number", [str(one) for one in range(ROWS)], None, {}),
        ("names", cycle("['a', 'b']", "['c']"), None, {}),
        ("meta", cycle('{"v": 1, "w": 2}', '{"v": 2, "w": 2}'), None, {}),
        ("deep", [{"x": 1}] * ROWS, None, {}),
        ("deeper", [[["x"]]] * ROWS, None, {}),
    ],
)
def test_a_column_is_guessed_by_its_values_and_its_name(name, values, kind, settings):
    found = guess(table(values, name), name)
    assert (found.kind, found.settings) == (kind, settings), found.why
    assert found.why


def test_a_city_of_two_words_is_one_category():
    assert separator_of(pl.Series(cycle("New York", "San Juan"))) is None
    assert guess(table(cycle("New York", "San Juan")), "it").kind == "categorical"


def test_a_number_written_otherwise_in_few_rows_is_one_and_they_are_named():
    prices = [str(one) for one in AMOUNTS]
    found = guess(table(["n/a", *prices[1:]]), "it")
    assert (found.kind, found.settings) == ("numeric", {"transform": "log"})
    assert found.odd.startswith("numbers, except 'n/a' in 1 row: write a number there")
    third = [f"{one} EUR" if row % 3 == 0 else one for row, one in enumerate(prices)]
    found = guess(table(third), "it")
    assert found.kind == "numeric"
    assert f"'{min(third[::3])}' and 66 others in 67 rows" in found.odd
    assert not guess(table(["NA", *prices[1:]]), "it").odd  # prepare reads it as missing


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("size", cycle("38", "40", "XL")),
        ("sku", [f"{100_000 + 7 * one}{'B' * (one % 50 == 0)}" for one in range(ROWS)]),
        ("shelf_code", ["n/a", *cycle("1", "2")]),
        ("zip", ["n/a", *[f"0{one}" for one in range(1000, 1000 + ROWS)]]),
        ("words", [f"lamp {one}" for one in AMOUNTS]),
    ],
)
def test_codes_and_sizes_of_which_many_are_numbers_are_none(name, values):
    found = guess(table(values, name), name)
    assert (found.kind == "numeric", found.odd) == (False, "")


def test_a_title_of_two_fields_is_no_bag():
    parts, codes = ("Oven hose", "Mower blade", "Kettle lid"), [f"G{one}" for one in range(70)]
    named = [f"{parts[one % 3]}; {codes[one // 3]}" for one in range(ROWS)]
    columns = {"part_name": named}
    assert guess(table(named), "it").kind is None
    items = Table(Path("items.csv"), pl.DataFrame(columns))
    assert title_of(items, ["part_name"]) == ("part_name", "by its name")
    tags = [f"t{one % 15}|t{(one * 7 + one // 15) % 15}" for one in range(ROWS)]  # many pairs
    assert guess(table(tags), "it").kind == "bag"


def test_the_reason_says_how_many_values_there_are_and_are_missing():
    why = guess(table([*cycle("a", "b"), *[None] * ROWS]), "it").why
    assert why == "2 different values, 50% missing: 'a', 'b'"


@pytest.mark.parametrize(
    ("share", "written"),
    [(0, "0%"), (0.001, "under 1%"), (0.25, "25%"), (0.999, "99%"), (1, "100%")],
)
def test_a_share_that_is_not_all_is_not_written_as_all(share, written):
    assert percent(share) == written


def test_a_title_is_what_people_read():
    columns = {
        "sku": [f"P{one}" for one in range(ROWS)],
        "price": AMOUNTS,
        "story": [f"All that can be said about number {one}" for one in range(ROWS)],
        "short": [f"Lamp {one}" for one in range(ROWS)],
    }
    items = Table(Path("items.csv"), pl.DataFrame(columns))
    assert title_of(items, list(columns))[0] == "short"
    named = Table(items.path, items.frame.rename({"story": "productName"}))
    assert title_of(named, named.frame.columns) == ("productName", "by its name")
    assert title_of(items, ["sku", "price"]) is None
