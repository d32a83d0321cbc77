"""Draws logs by the click law: users and lists in chunks, each from the seed and its own number.

A chunk is USERS users with SHORTEST to LONGEST lists, always LISTS of them, so that list n lies in
chunk n // LISTS whatever the size of the log: a shorter log is the beginning of a longer one, and
any list's truth can be had again without the others. Inside a chunk all users go forward together,
list by list, because what a user clicks changes what they are shown and like next.
B lists of a step, M padded candidates, C topics, N history items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.simulator.law import LAW, Float32, Int64, Law, attraction, context, interest_of

SHORTEST, LONGEST = 4, 12  # lists a user
USERS = 100 * (LONGEST - SHORTEST + 1)  # of a chunk
LISTS = 100 * sum(range(SHORTEST, LONGEST + 1))  # of a chunk
FEWEST, MOST = 14, 24  # candidates
DRAWS = 40  # candidates drawn before repeated ones are dropped
CHANNELS = 6  # topics a list is drawn from
START, DAY, DAYS = 1_735_689_600, 86_400, 90  # users arrive over so many days from 2025-01-01
HINT_NOISE = 0.7  # of the quality that items show
SCORE_NOISE = 4.0  # of the earlier stage, in logits


@dataclass(frozen=True)
class World:
    """The items of one seed, and the law."""

    seed: int
    items: int
    law: Law = LAW

    @cached_property
    def topic(self) -> Int64:
        """(I,) every topic equally often."""
        return self._random.permutation(self.items) % self.law.topics

    @cached_property
    def quality(self) -> Float32:
        """(I,) standard normal; shown to nobody."""
        return self._drawn(0)

    @cached_property
    def hint(self) -> Float32:
        """(I,) quality with noise; shown to everybody."""
        return self.quality + np.float32(HINT_NOISE) * self._drawn(1)

    @cached_property
    def popularity(self) -> Float32:
        """(I,) how often an item is retrieved within its topic, not normalised."""
        return np.exp(0.4 * self.quality + 0.6 * self._drawn(2))

    @property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 0])

    def _drawn(self, column: int) -> Float32:
        random = np.random.default_rng([self.seed, 1])
        return random.normal(size=(self.items, 3)).astype(np.float32)[:, column]

    @cached_property
    def shelves(self) -> tuple[Int64, NDArray[np.float64]]:
        """Items by topic (I,), and where each ends on a line on which topic t is [t, t + 1]."""
        order = np.argsort(self.topic, kind="stable")
        weight, topic = self.popularity[order].astype(np.float64), self.topic[order]
        share = weight / np.bincount(topic, weight)[topic]
        ends = np.cumsum(share)  # each topic's shares add up to 1
        return order, ends


@dataclass(frozen=True)
class Lists:
    """L lists in the order of users and their time, and what nobody logs about them."""

    number: Int64  # (L,) in the whole log
    user: Int64  # (L,)
    timestamp: Int64  # (L,) whole seconds
    item: Int64  # (L, M) in shown order, −1 after the last
    score: Float32  # (L, M) the earlier stage's
    label: NDArray[np.bool_]  # (L, M)
    segment: Int64  # (L,) of the user
    patience: Float32  # (L,) of the user
    interest: Float32  # (L, C) taste and drift, logits
    mood: Float32  # (L, C) logits

    def select(self, rows: Int64 | slice) -> Lists:
        """Some of the lists."""
        return Lists(**{name: value[rows] for name, value in vars(self).items()})

    @classmethod
    def joined(cls, parts: Sequence[Lists]) -> Lists:
        """Parts one after another."""
        return cls(**{n: np.concatenate([vars(one)[n] for one in parts]) for n in vars(parts[0])})


def chunks(world: World, lists: int) -> Iterator[Lists]:
    """The first `lists` lists of a world, chunk by chunk."""
    for number in range(-(-lists // LISTS)):
        yield chunk(world, number).select(slice(0, lists - number * LISTS))


def drawn_again(world: World, numbers: Int64) -> Lists:
    """The lists with these numbers, in their order."""
    home = numbers // LISTS
    found = Lists.joined([
        chunk(world, one).select(numbers[home == one] - one * LISTS) for one in np.unique(home)
    ])  # fmt: skip
    place = np.argsort(home, kind="stable")  # of each found list among the wanted ones
    return found.select(np.argsort(place))


def chunk(world: World, number: int) -> Lists:
    """All lists of one chunk."""
    random, law = np.random.default_rng([world.seed, 2, number]), world.law
    counts = np.tile(np.arange(SHORTEST, LONGEST + 1), USERS // (LONGEST - SHORTEST + 1))
    counts = random.permutation(counts)  # (users,)
    segment = random.integers(law.segments, size=USERS)
    patience = random.random(USERS, np.float32).round(2)
    times = _times(random)
    history = np.full((USERS, law.history), -1, np.int64)  # topics, newest first
    steps = []
    for step in range(LONGEST):
        users = np.flatnonzero(counts > step)
        shown = _step(world, random, segment[users], patience[users], history[users])
        history[users] = _remember(world.topic, history[users], shown["item"], shown["label"])
        steps.append({"user": users, "step": np.full(users.size, step), **shown})
    joined = {name: np.concatenate([one[name] for one in steps]) for name in steps[0]}
    order = np.lexsort((joined["step"], joined["user"]))
    joined = {name: value[order] for name, value in joined.items()}
    user, step = joined.pop("user"), joined.pop("step")
    return Lists(
        number=number * LISTS + np.arange(LISTS), user=number * USERS + user,
        timestamp=times[user, step], segment=segment[user], patience=patience[user], **joined,
    )  # fmt: skip


def _times(random: np.random.Generator) -> Int64:
    """(users, LONGEST) strictly increasing for each user, a day apart on average."""
    arrival = random.integers(DAYS * DAY, size=(USERS, 1))
    gaps = 60 + random.exponential(DAY, (USERS, LONGEST)).astype(np.int64)
    return START + arrival + np.cumsum(gaps, axis=1)


def _step(
    world: World, random: np.random.Generator, segment: Int64, patience: Float32, history: Int64
) -> dict[str, NDArray[np.generic]]:
    """One list for each of B users: candidates, the earlier stage's order, clicks."""
    law = world.law
    interest = law.tastes()[segment] + interest_of(law, history)  # (B, C)
    mood = np.float32(law.mood) * random.standard_normal(interest.shape, np.float32)
    item, mask = _candidates(world, random, interest)  # (B, M)
    topic = world.topic[item]
    own = alone(world, item, interest)
    score = own + np.float32(SCORE_NOISE) * random.standard_normal(own.shape, np.float32)
    order = np.argsort(np.where(mask, -score, np.inf), axis=1, kind="stable")
    item, mask, topic, own, score = (
        np.take_along_axis(one, order, axis=1) for one in (item, mask, topic, own, score)
    )
    logits = own + np.take_along_axis(mood, topic, axis=1)
    logits += context(law, topic, law.fatigue_of(patience))
    chance = law.examination(item.shape[1]) * attraction(logits)
    label = (random.random(chance.shape, np.float32) < chance) & mask
    return {
        "item": np.where(mask, item, -1), "score": np.where(mask, score, 0), "label": label,
        "interest": interest, "mood": mood,
    }  # fmt: skip


def alone(world: World, item: Int64, interest: Float32) -> Float32:
    """Isolated logits (B, M) without the mood: what an item is worth with nothing above it."""
    law = world.law
    liked = np.take_along_axis(interest, world.topic[item], axis=1)
    quality = np.float32(law.quality) * world.quality[item]
    return np.asarray(np.float32(law.base) + quality + liked, np.float32)


def _candidates(
    world: World, random: np.random.Generator, interest: Float32
) -> tuple[Int64, NDArray[np.bool_]]:
    """Different items of a few topics that the user likes, popular ones more often (B, M)."""
    lists, topics = interest.shape
    pull = 0.7 * interest + random.gumbel(size=interest.shape).astype(np.float32)
    least = np.partition(pull, topics - CHANNELS, axis=1)[:, topics - CHANNELS, None]
    weight = np.where(pull >= least, np.exp(0.4 * pull), 0.0)
    line = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)[:, None, :-1]
    topic = (random.random((lists, DRAWS, 1), np.float32) > line).sum(axis=2)
    order, ends = world.shelves
    at = np.searchsorted(ends, topic + random.random((lists, DRAWS)))
    item = order[np.minimum(at, len(order) - 1)]  # (B, draws)
    lengths = random.integers(FEWEST, MOST + 1, lists)
    return _first_distinct(item, lengths)


def _first_distinct(item: Int64, lengths: Int64) -> tuple[Int64, NDArray[np.bool_]]:
    """The first `lengths` different items of each row (B, M) and where there are any."""
    by_item = np.argsort(item, axis=1, kind="stable")
    ordered = np.take_along_axis(item, by_item, axis=1)
    again = np.zeros(item.shape, bool)
    np.put_along_axis(again, by_item[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    kept = np.argsort(again, axis=1, kind="stable")[:, :MOST]
    found = np.minimum((~again).sum(axis=1), lengths)
    return np.take_along_axis(item, kept, axis=1), np.arange(MOST) < found[:, None]


def _remember(topics: Int64, history: Int64, item: Int64, label: NDArray[np.bool_]) -> Int64:
    """Histories (B, N) after a list: its clicks in shown order, then the earlier ones."""
    order = np.argsort(~label, axis=1, kind="stable")
    clicked = np.where(label, topics[item], -1)
    clicked = np.take_along_axis(clicked, order, axis=1)  # (B, M) clicks first
    count = label.sum(axis=1, keepdims=True)
    place = np.arange(history.shape[1])
    older = np.take_along_axis(history, np.maximum(place - count, 0), axis=1)
    newer = np.take_along_axis(clicked, np.minimum(place, clicked.shape[1] - 1)[None], axis=1)
    return np.where(place < count, newer, older)
