"""Derived statistics recomputed with dense matrices."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import statistics
from data.statistics import RATE_SMOOTHING, Impressions, fit_statistics, fold_of_users
from features.derived import NEIGHBOUR_SMOOTHING, Derivation, Statistics, derived_names
from features.schema import Feature, FeatureSchema

ROWS, PEOPLE = 12, 9
SCHEMA = FeatureSchema(
    name="s",
    item=(
        Feature(name="genres", kind="bag", vocabulary=("a", "b", "c"), max_length=2),
        Feature(name="n", kind="numeric"),
        Feature(name="tags", kind="bag", vocabulary=("x", "y"), max_length=3),
    ),
)
BAG = np.array(
    [[0, 0, 0, 0, 0], *([2 + i % 3, 0 if i % 2 else 1, 2 + i % 2, 3 - i % 2, 0] for i in range(11))]
).astype(np.int32)


def impressions(seed: int, count: int = 150) -> Impressions:
    """Random showings, several of some items to some people; row 0 is an unknown item."""
    rng = np.random.default_rng(seed)
    return Impressions(
        user=rng.integers(0, PEOPLE, count), row=rng.integers(0, ROWS - 2, count),
        positive=rng.random(count) < 0.3, lists=count // 5,
    )  # fmt: skip


def dense(shown: Impressions) -> tuple[Any, Any]:
    """(PEOPLE, ROWS) showings and clicks, of known items."""
    seen, clicked = np.zeros((PEOPLE, ROWS)), np.zeros((PEOPLE, ROWS))
    for user, row, positive in zip(shown.user, shown.row, shown.positive, strict=True):
        if row:
            seen[user, row] += 1
            clicked[user, row] += positive
    return seen, clicked


def table(fitted: Statistics, name: str) -> Any:
    """(ROWS, ROWS) one pair table, NaN where it holds no pair."""
    full = np.full((ROWS, ROWS), np.nan)
    for h in range(ROWS):
        places = slice(*fitted.neighbour_offsets[h : h + 2])
        full[h, fitted.neighbour_rows[places]] = getattr(fitted, f"neighbour_{name}")[places]
    return full


@pytest.mark.parametrize("seed", range(5))
def test_rates_are_smoothed_counts(seed: int) -> None:
    shown = impressions(seed)
    seen, clicked = dense(shown)
    showings, clicks = seen.sum(0), clicked.sum(0)
    prior = (clicks.sum() + 1) / (showings.sum() + 10)
    rate = (clicks + RATE_SMOOTHING * prior) / (showings + RATE_SMOOTHING)
    fitted = fit_statistics(shown, ROWS, BAG, SCHEMA)
    np.testing.assert_array_equal(fitted.showings, showings)
    np.testing.assert_array_equal(fitted.clicks, clicks)
    np.testing.assert_allclose(fitted.click_rate, rate, rtol=1e-6)
    np.testing.assert_allclose(fitted.exposure, np.log1p(1000 * showings / 30), rtol=1e-6)
    assert fitted.showings[0] == 0
    assert fitted.click_rate[0] == fitted.click_rate[11] == np.float32(prior)  # never shown


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [1, 5, ROWS - 1, ROWS, 100])
def test_pair_tables_are_products_of_dense_matrices(
    seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "BLOCK", block)
    shown = impressions(seed)
    seen, clicked = dense(shown)
    has = (clicked > 0).astype(float)
    rate = fit_statistics(shown, ROWS, BAG, SCHEMA).click_rate.astype(float)
    showings, clicks = has.T @ seen, has.T @ clicked  # of c, to and by those who clicked h
    held = (showings > 0) & ~np.eye(ROWS, dtype=bool)
    lift = (clicks + NEIGHBOUR_SMOOTHING * rate) / (showings + NEIGHBOUR_SMOOTHING) - rate
    clickers = np.maximum(has.sum(0), 1)
    cosine = has.T @ has / np.sqrt(np.outer(clickers, clickers))
    fitted = fit_statistics(shown, ROWS, BAG, SCHEMA)
    expected = {"clicks": clicks, "showings": showings, "lift": lift, "cosine": cosine}
    for name, values in expected.items():
        wanted = np.where(held, values, np.nan)
        np.testing.assert_allclose(table(fitted, name), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep", [1, 3, 8])
def test_the_neighbours_kept_are_those_shown_most(keep: int) -> None:
    shown = impressions(1, 90)
    every, fewer = (fit_statistics(shown, ROWS, BAG, SCHEMA, neighbours=n) for n in (99, keep))
    for h in range(ROWS):
        places = slice(*every.neighbour_offsets[h : h + 2])
        showings, rows = every.neighbour_showings[places], every.neighbour_rows[places]
        best = sorted(zip(-showings, rows, strict=True))[:keep]  # of equals, the lower row
        got = fewer.neighbour_rows[slice(*fewer.neighbour_offsets[h : h + 2])]
        assert got.tolist() == sorted(row for _, row in best)
    cut = table(fewer, "lift")
    np.testing.assert_array_equal(cut, np.where(np.isnan(cut), np.nan, table(every, "lift")))


def test_blocks_give_the_same_bits_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = impressions(7)
    whole = fit_statistics(shown, ROWS, BAG, SCHEMA, neighbours=4)
    monkeypatch.setattr(statistics, "BLOCK", 5)
    parts = fit_statistics(shown, ROWS, BAG, SCHEMA, neighbours=4)
    for field in dataclasses.fields(Statistics):
        np.testing.assert_array_equal(getattr(parts, field.name), getattr(whole, field.name))


def test_bag_base_is_the_share_of_showings_that_hold_the_value() -> None:
    shown = impressions(2)
    fitted = fit_statistics(shown, ROWS, BAG, SCHEMA)
    expected = []
    for columns, values in ((slice(0, 2), 5), (slice(2, 5), 4)):
        for value in range(values):
            held = sum(value in BAG[row, columns] for row in shown.row if row)
            expected.append((held + 1) / ((shown.row > 0).sum() + 10) if value > 1 else 1.0)
    np.testing.assert_allclose(fitted.bag_base, expected, rtol=1e-6)
    assert (fitted.bag_base > 0).all()


def test_the_order_of_impressions_and_the_numbering_of_people_do_not_matter() -> None:
    shown = impressions(3)
    order = np.random.default_rng(0).permutation(len(shown.row))
    renumbered = np.random.default_rng(1).permutation(PEOPLE)
    other = Impressions(
        renumbered[shown.user[order]], shown.row[order], shown.positive[order], shown.lists
    )
    left, right = (fit_statistics(one, ROWS, BAG, SCHEMA) for one in (shown, other))
    for field in dataclasses.fields(Statistics):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))


def test_unknown_items_are_counted_nowhere() -> None:
    shown = impressions(4)
    known = shown.row > 0
    without = Impressions(shown.user[known], shown.row[known], shown.positive[known], shown.lists)
    left, right = (fit_statistics(one, ROWS, BAG, SCHEMA) for one in (shown, without))
    for field in dataclasses.fields(Statistics):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))
    assert 0 not in left.neighbour_rows
    assert left.neighbour_offsets[1] == 0


@pytest.mark.parametrize("count", [0, 1])
def test_a_log_of_next_to_nothing_gives_finite_statistics(count: int) -> None:
    shown = dataclasses.replace(impressions(5, count), lists=count)
    fitted = fit_statistics(shown, ROWS, BAG, SCHEMA)
    fitted.check(ROWS)
    for field in dataclasses.fields(Statistics):
        assert np.isfinite(getattr(fitted, field.name)).all(), field.name


def test_statistics_fit_the_catalogue_and_the_derivation() -> None:
    fitted = fit_statistics(impressions(6), ROWS, BAG, SCHEMA)
    fitted.check(ROWS)
    derived = tuple(Feature(name=name, kind="numeric") for name in derived_names(SCHEMA))
    Derivation(SCHEMA.model_copy(update={"derived": derived}), fitted)
    kinds = {field.name: getattr(fitted, field.name).dtype for field in dataclasses.fields(fitted)}
    assert kinds.pop("neighbour_offsets") == np.int64
    assert kinds.pop("neighbour_rows") == np.int32
    assert set(kinds.values()) == {np.dtype(np.float32)}


@given(st.integers(0, 60), st.integers(1, 7), st.integers(0, 5))
def test_folds_are_seeded_and_of_equal_size_but_for_one(users: int, folds: int, seed: int) -> None:
    fold = fold_of_users(users, folds, seed)
    sizes = np.bincount(fold, minlength=folds)
    assert len(fold) == users
    assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(fold, fold_of_users(users, folds, seed))


def test_folds_are_not_by_the_order_of_people() -> None:
    assert (fold_of_users(50, 5, 0) != np.arange(50) % 5).any()
    assert (fold_of_users(50, 5, 0) != fold_of_users(50, 5, 1)).any()
