"""Events become a history: newest first, each once, no longer than is kept."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.store.record import Change, Event, Row, Unreadable, changed, history, items_of, merged

OLD = [Event("c", 30.0, "e3"), Event("b", 20.0, "e2"), Event("a", 10.0, "e1")]


def test_a_late_event_lands_in_its_place() -> None:
    found = merged(OLD, [Event("x", 15.0, "e9")], 10)
    assert [one.item for one in found] == ["c", "b", "x", "a"]


def test_of_events_of_one_time_the_one_that_came_later_is_the_newer() -> None:
    found = merged(OLD, [Event("x", 30.0, "e8"), Event("y", 30.0, "e9")], 10)
    assert [one.item for one in found] == ["y", "x", "c", "b", "a"]


@pytest.mark.parametrize(
    "again",
    [
        Event("c", 99.0, "e3"),  # the same id, whatever else it says now
        Event("d", 5.0, None),
    ],
)
def test_an_event_that_is_sent_twice_counts_once(again: Event) -> None:
    first = merged(OLD, [Event("d", 5.0, None)], 10)
    assert merged(first, [again, again], 10) == first


def test_one_item_acted_on_twice_stands_there_twice() -> None:
    found = merged(OLD, [Event("a", 40.0, "e4"), Event("a", 50.0)], 10)
    assert [one.item for one in found] == ["a", "a", "c", "b", "a"]


def test_the_oldest_give_way() -> None:
    assert merged(OLD, [Event("x", 25.0), Event("y", 5.0)], 3) == [
        OLD[0], Event("x", 25.0), OLD[1],
    ]  # fmt: skip


EVENTS = st.lists(
    st.builds(Event, st.sampled_from("abc"), st.integers(0, 5).map(float),
              st.none() | st.sampled_from(["1", "2", "3"])),
    max_size=8,
)  # fmt: skip


@given(EVENTS, EVENTS)
def test_whatever_comes_the_order_holds_and_a_repeat_changes_nothing(
    before: list[Event], events: list[Event]
) -> None:
    once = merged(merged([], before, 20), events, 20)
    assert [one.time for one in once] == sorted((one.time for one in once), reverse=True)
    assert merged(once, [*before, *events], 20) == once
    known = [one.id or (one.item, one.time) for one in once]
    assert len(set(known)) == len(known)
    assert set(known) == {one.id or (one.item, one.time) for one in (*before, *events)}


def row(*events: Event) -> Row:
    return changed(Row(), Change({"age": 24}, events), 10)[0]


def test_features_and_items_are_kept_as_a_request_carries_them() -> None:
    kept = row(Event("50", 1.0), Event("172", 2.0, "e"))
    assert json.loads(kept.features or b"") == {"age": 24}
    assert json.loads(kept.items or b"") == ["172", "50"]
    assert history(kept) == [Event("172", 2.0, "e"), Event("50", 1.0)]


def test_events_leave_features_and_features_leave_events() -> None:
    first = row(Event("50", 1.0))
    second, added = changed(first, Change(events=[Event("60", 2.0)]), 10)
    assert (second.features, added) == (first.features, 1)
    third, added = changed(second, Change({"age": 25}), 10)
    assert (third.items, third.features, added) == (second.items, b'{"age":25}', 0)


def test_a_log_fills_what_lies_before_and_replaces_only_when_told() -> None:
    logged = [Event("b", 25.0), Event("a", 10.0)]
    live = row(Event("live", 20.0, "e"))
    filled, added = changed(live, Change(events=logged, how="fill"), 10)
    assert ([one.item for one in history(filled)], added) == (["live", "a"], 1)
    assert changed(filled, Change(events=logged, how="fill"), 10) == (filled, 0)
    replaced, _ = changed(live, Change(events=logged, how="replace"), 10)
    assert history(replaced) == logged


@pytest.mark.parametrize(
    "bad",
    [
        Row(items=b"{", marks=b"[]"),
        Row(items=b'["1","2"]', marks=b"[[1.0,null]]"),
        Row(items=b'["1"]', marks=b'[["now",null]]'),
        Row(items=b"[1]", marks=b"[[1.0,null]]"),
        Row(items=b"\xff", marks=None),
    ],
)
def test_nonsense_gives_way_to_what_is_new(bad: Row) -> None:
    after, added = changed(bad, Change(events=[Event("x", 1.0)]), 10)
    assert (history(after), added) == ([Event("x", 1.0)], 1)


@pytest.mark.parametrize(
    "text", [b"", b"null", b"{}", b"[1]", b'[""]', b"[" * 99, b" " * 2_000_000]
)
def test_what_is_no_list_of_ids_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(Unreadable):
        items_of(text)
