"""What is drawn: the same for the same seed, a beginning of every longer log, and by the law."""

from __future__ import annotations

import numpy as np

from data.simulator.generate import (
    LISTS,
    Lists,
    World,
    chunk,
    chunks,
    drawn_again,
)
from data.simulator.law import interest_of
from data.simulator.truth import Truth


def assert_same(one: Lists, other: Lists) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(value, vars(other)[name], err_msg=name)


def test_the_same_seed_draws_the_same_lists_and_another_seed_others(lists: Lists) -> None:
    assert_same(lists, chunk(World(3, 500), 0))
    assert not np.array_equal(lists.item, chunk(World(4, 500), 0).item)


def test_a_shorter_log_is_the_beginning_of_a_longer_one(world: World, lists: Lists) -> None:
    assert_same(Lists.joined(list(chunks(world, 100))), lists.select(slice(0, 100)))
    longer = Lists.joined(list(chunks(world, LISTS + 50)))
    assert len(longer.number) == LISTS + 50
    assert_same(longer.select(slice(0, LISTS)), lists)
    assert longer.number.tolist() == list(range(LISTS + 50))


def test_any_list_can_be_had_again(world: World, lists: Lists) -> None:
    numbers = np.array([LISTS + 3, 17, 4, LISTS + 1, 900])
    found = drawn_again(world, numbers)
    assert found.number.tolist() == numbers.tolist()
    assert_same(found.select(np.array([2, 1, 4])), lists.select(np.array([4, 17, 900])))


def test_times_of_a_user_strictly_increase_and_lists_hold_no_item_twice(lists: Lists) -> None:
    same_user = lists.user[1:] == lists.user[:-1]
    assert (np.diff(lists.timestamp)[same_user] > 0).all()
    assert (np.diff(lists.user) >= 0).all()
    for item in lists.item[:500]:
        shown = item[item >= 0]
        assert len(set(shown.tolist())) == shown.size
        assert 14 <= shown.size <= 24
    assert 18 < (lists.item >= 0).sum(axis=1).mean() < 21


def test_a_world_of_few_items_gives_short_lists(world: World) -> None:
    few = chunk(World(0, 24), 0)
    assert 5 < (few.item >= 0).sum(axis=1).mean() < 14


def test_interest_follows_from_the_clicks_of_earlier_lists(world: World, lists: Lists) -> None:
    for user in range(40):
        own, history = np.flatnonzero(lists.user == user), []
        for row in own:
            padded = np.array([history[:50] + [-1] * (50 - len(history[:50]))])
            by_hand = world.law.tastes()[lists.segment[row]] + interest_of(world.law, padded)[0]
            np.testing.assert_allclose(lists.interest[row], by_hand, atol=1e-5)
            history = world.topic[lists.item[row][lists.label[row]]].tolist() + history


def test_clicks_come_as_often_as_the_law_says(world: World, lists: Lists) -> None:
    truth = Truth.of(world, lists)
    incoming = truth.by(np.zeros(truth.mask.shape))
    mask = truth.mask
    for sees in (False, True):
        chance = truth.chances(incoming, sees=sees)
        for place in range(14):
            clicks, expected = lists.label[:, place].sum(), chance[:, place].sum()
            deviation = np.sqrt((chance[:, place] * (1 - chance[:, place])).sum())
            assert abs(clicks - expected) < 4 * deviation, place
    chance = truth.chances(incoming)
    for low in np.arange(0, 0.9, 0.1):  # as probable as predicted, not only on average
        some = mask & (chance >= low) & (chance < low + 0.1)
        deviation = np.sqrt((chance[some] * (1 - chance[some])).sum())
        assert abs(lists.label[some].sum() - chance[some].sum()) < 4 * deviation


def test_the_log_is_one_to_learn_from(lists: Lists) -> None:
    clicks, shown = lists.label.sum(axis=1), (lists.item >= 0).sum(axis=1)
    assert 0.15 < clicks.sum() / shown.sum() < 0.25
    assert ((clicks > 0) & (clicks < shown)).mean() > 0.95
    assert lists.label[:, 19].sum() / (lists.item[:, 19] >= 0).sum() > 0.05  # to the bottom


def test_neither_the_candidates_nor_their_order_tell_the_mood(world: World, lists: Lists) -> None:
    """So that what a model can see leaves the mood a priori."""
    truth = Truth.of(world, lists)
    mood, score = truth.mood[truth.mask], lists.score[truth.mask]
    assert abs(mood.mean()) < 0.01
    assert abs(np.corrcoef(mood, score)[0, 1]) < 0.01
