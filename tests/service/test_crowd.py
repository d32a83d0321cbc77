"""A queue that stands, by a clock that is set: jobs of 2 ms, one at a time."""

from __future__ import annotations

import heapq
from collections import deque

import numpy as np
import pytest

from service.crowd import LEAST, LOOK_SECONDS, Crowd

JOB = 0.002
DEADLINE = 0.05
TURN = 0.001  # from the end of a job until its caller has the answer


class Place:
    """One server, its queue, and the event loop's turn until an answer is out."""

    def __init__(self) -> None:
        self.now, self.crowd = 100.0, Crowd()
        self.queue = deque[float]()  # when each of them came
        self.answers = list[float]()  # a heap: when each is out
        self.free_at = self.now
        self.waits, self.sent_away = list[float](), list[float]()
        self.random = np.random.default_rng(0)

    def offer(self, rate: float, seconds: float) -> None:
        """Independent callers."""
        end = self.now + seconds
        while (at := self.now + self.random.exponential(1.0 / rate)) < end:
            self.until(at)
            if self.crowd.full():
                self.sent_away.append(at)
            elif len(self.queue) * JOB < DEADLINE:
                self.crowd.enter()
                self.queue.append(at)
        self.until(end)

    def until(self, at: float) -> None:
        """Whatever begins and ends before."""
        while self.queue and (begins := max(self.free_at, self.queue[0])) < at:
            self.answered(begins)
            self.waits.append(begins - self.queue.popleft())
            self.crowd.begins(begins, self.waits[-1] / DEADLINE if self.queue else 0.0)
            self.free_at = begins + JOB
            heapq.heappush(self.answers, self.free_at + TURN)
        self.answered(at)
        self.now = at

    def answered(self, at: float) -> None:
        while self.answers and self.answers[0] <= at:
            heapq.heappop(self.answers)
            self.crowd.leave()


@pytest.fixture
def place() -> Place:
    return Place()


def test_a_queue_that_stands_is_held_short_and_the_rest_sent_away(place: Place) -> None:
    place.offer(rate=1_000.0, seconds=0.5)  # twice what can be done
    assert place.crowd.room is not None
    place.waits.clear()
    place.offer(rate=1_000.0, seconds=3.0)
    assert max(place.waits) <= LEAST * JOB + 1e-9
    assert len(place.waits) > 0.6 * 3.0 / JOB  # and it goes on


def test_a_queue_stands_no_more_when_the_load_is_over(place: Place) -> None:
    place.offer(rate=1_000.0, seconds=2.0)
    place.offer(rate=200.0, seconds=1.0)
    assert place.crowd.room is None
    ended = place.now
    place.offer(rate=200.0, seconds=5.0)
    assert not [at for at in place.sent_away if at > ended]


def test_a_silence_ends_it_too(place: Place) -> None:
    place.offer(rate=1_000.0, seconds=1.0)
    place.until(place.now + 2.0)
    place.offer(rate=10_000.0, seconds=0.001)
    place.until(place.now + 0.1)
    assert place.crowd.room is None


def test_the_room_grows_where_few_are_sent_away_and_shrinks_where_many_are() -> None:
    crowd, room = Crowd(), []
    for few in [False, True, True, True, False, False, False, False]:
        crowd.begins(crowd._look_at, 0.6)  # nobody began without a wait
        room.append(crowd.room)
        for _ in range(10):
            crowd.full()
            if few:
                crowd._sent_away = 1
            elif crowd.room is not None:
                crowd._sent_away = 5
    assert room == [2, 2, 3, 4, 5, 4, 3, 2]


def test_a_burst_is_no_queue_that_stands(place: Place) -> None:
    for _ in range(20):
        place.offer(rate=10_000.0, seconds=0.002)  # twenty at once: 40 ms of work
        place.offer(rate=50.0, seconds=LOOK_SECONDS)
    assert not place.sent_away
    assert max(place.waits) > 4 * LEAST * JOB


def test_half_of_what_can_be_done_sends_nobody_away(place: Place) -> None:
    place.offer(rate=0.5 / JOB, seconds=60.0)
    assert not place.sent_away


def test_one_job_at_a_time_whose_thread_is_slow_to_wake_is_no_queue(place: Place) -> None:
    for _ in range(50):
        assert not place.crowd.full()
        place.crowd.enter()
        place.now += 0.1
        place.crowd.begins(place.now, 0.0)  # nobody waits behind it
        place.crowd.leave()
    assert place.crowd.room is None


@pytest.mark.parametrize(("callers", "stands"), [(8, False), (20, True)])
def test_callers_who_ask_again_when_answered_keep_a_queue_that_may_be_short(
    callers: int, stands: bool
) -> None:
    crowd, now = Crowd(), 100.0
    for _ in range(1_000):
        now += JOB
        crowd.begins(now, (callers - 1) * JOB / DEADLINE)
    assert (crowd.room is not None) == stands
