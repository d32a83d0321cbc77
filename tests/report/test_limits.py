"""What the page says of an online test is about the order that it compares with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.dataset import Dataset
from report.limits import limits
from report.measures import first_chosen, needed_for_a_test
from report.sides import TODAY, Sides, load, sides


def said_of_a_test(both: Sides) -> str:
    return limits(both, [])[-1]


def test_the_size_of_a_test_is_against_the_order_as_it_came(both: Sides) -> None:
    rate = float(np.nanmean(first_chosen(both.before, both.labels)))
    said = said_of_a_test(both)
    assert f"{TODAY} has an item first that was chosen in {rate:.1%}" in said
    assert f"about {needed_for_a_test(rate):,} such lists" in said


def test_beside_another_run_it_is_against_that_run(
    run: Path, trees: Path, dataset: Dataset, both: Sides
) -> None:
    beside = sides(load(run), dataset, "test", load(trees))
    rate = float(np.nanmean(first_chosen(beside.before, beside.labels)))
    assert rate != float(np.nanmean(first_chosen(both.before, both.labels)))
    said = said_of_a_test(beside)
    assert f"lambdamart has an item first that was chosen in {rate:.1%}" in said
    assert f"a test against lambdamart needs about {needed_for_a_test(rate):,}" in said
    assert not any(TODAY in line for line in limits(beside, []))
