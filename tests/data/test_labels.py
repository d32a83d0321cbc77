from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data.labels import find_label, steady
from data.tables import Table

RANDOM = np.random.default_rng(0)
LISTS, LENGTH, ITEMS = 200, 6, 40
LIST = np.repeat(np.arange(LISTS), LENGTH)
ITEM = np.argsort(RANDOM.random((LISTS, ITEMS)), 1)[:, :LENGTH].ravel()
CLICK = (RANDOM.random(LISTS * LENGTH) < 0.15).astype(int)
OTHER = (RANDOM.random(LISTS * LENGTH) < 0.15).astype(int)
OFTEN = (RANDOM.random(LISTS * LENGTH) < 0.8).astype(int)
STARS = RANDOM.integers(1, 6, LISTS * LENGTH)
BADGE = (ITEM % 7 == 0).astype(int)  # an item has it always
MOBILE = (LIST % 3 == 0).astype(int)  # a list has it throughout


def label(**columns: object):
    table = Table(Path("impressions.csv"), pl.DataFrame({"item": ITEM, "list": LIST, **columns}))
    return find_label(table, list(columns), "item", "list")


@pytest.mark.parametrize(
    "name", ["opened", "is_opened", "readFlag", "added_to_cart", "has_clicked"]
)
def test_a_usual_name_goes_before_values(name):
    names = {name: CLICK} if name != "readFlag" else {"read_flag": CLICK}
    found = label(zz=OTHER, **names)
    assert found.column in names
    assert found.warning is ("clicked" not in name)  # zz could be it
    assert not label(badge=BADGE, **names).warning


def test_what_an_item_or_a_list_always_has_is_no_label():
    found = label(is_new=BADGE, mobile=MOBILE, aa=CLICK)
    assert found.column == "aa"
    assert label(is_new=BADGE, mobile=MOBILE) is None
    assert label(rating=BADGE * 4 + 1, aa=CLICK).column == "aa"  # the item's own stars


def test_a_label_by_its_values_is_to_be_looked_at_and_names_the_others():
    slot = np.tile(np.arange(LENGTH), LISTS)  # a place, no grade
    found = label(often=OFTEN, aa=OTHER, bb=CLICK, read_ms=CLICK * 500, stars=STARS, slot=slot)
    assert (found.column, found.warning) == ("aa", True)
    assert found.rivals == ("bb", "often", "stars", "read_ms")
    assert "bb, often, stars and read_ms could be it as well" in found.why
    assert label(aa=CLICK).warning


def test_of_several_outcomes_by_name_the_click_is_clear_and_others_are_to_be_looked_at():
    assert not label(purchased=OTHER, clicked=CLICK).warning
    found = label(purchased=OTHER, opened=CLICK)
    assert (found.column, found.rivals, found.warning) == ("opened", ("purchased",), True)
    assert "purchased could be it as well" in found.why


def test_a_named_label_of_words_goes_before_values():
    found = label(aa=OTHER, clicked=np.where(CLICK, "yes", "no"))
    assert found.column == "clicked"


def test_a_few_items_that_were_shown_once_or_never_clicked_tell_nothing():
    table = Table(Path("x.csv"), pl.DataFrame({"it": [0, 0, 1, 0], "item": ["a", "a", "b", "c"]}))
    assert not steady(table, "it", "item")
