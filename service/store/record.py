"""What is kept of a user, and how events become a history.

Features and items are kept as a request would carry them, so that a bundle of any version reads
them: `features` is {"age": 24}, `items` is ["50", "172"], newest first. Beside the items stands
`marks`, [time, event id or null] of each, which only writers read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import SchemaValidator, ValidationError, to_json
from pydantic_core import core_schema as c

from features.values import ID_LENGTH

KEPT: Final = 2  # histories are kept this many times as long as the model reads, for the next one
LARGEST: Final = 1_000_000  # bytes of a value; what is larger is nothing that was written here

_ID: Final = c.str_schema(strict=True, min_length=1, max_length=ID_LENGTH)
_ITEMS: Final = SchemaValidator(c.list_schema(_ID, fail_fast=True))
_TIME: Final = c.float_schema(strict=True, allow_inf_nan=False)
_MARK: Final = c.tuple_schema([_TIME, c.nullable_schema(c.str_schema(strict=True))])
_MARKS: Final = SchemaValidator(c.list_schema(_MARK, fail_fast=True))


class Unreadable(ValueError):
    """A value that is there and is none that a store writes."""


class Event(NamedTuple):
    """A user acted on an item. Seconds since 1970."""

    item: str
    time: float
    id: str | None = None


class Stored(NamedTuple):
    """What a request reads: JSON, or None where there is none."""

    features: bytes | None
    items: bytes | None


class Row(NamedTuple):
    """All that is kept of a user, as JSON."""

    features: bytes | None = None
    items: bytes | None = None
    marks: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a user: features in place of those that were, and events.

    "append" takes events in the order they came. The others take the whole history of a log, newest
    first: "fill" adds what is older than all that is there, since the rest may be the same events
    under other times; "replace" puts it in place of what is there.
    """

    features: Mapping[str, Any] | None = None  # None leaves them as they are
    events: Sequence[Event] = ()
    how: Literal["append", "fill", "replace"] = "append"


def items_of(text: bytes) -> list[str]:
    """The ids of a history, newest first; raises Unreadable."""
    if len(text) > LARGEST:
        raise Unreadable("a history that is too large")
    try:
        items: list[str] = _ITEMS.validate_json(text)
    except ValidationError as error:
        raise Unreadable("a history that is no list of ids") from error
    return items


def history(row: Row) -> list[Event]:
    """The events of a row, newest first; none where they cannot be read."""
    try:
        items = items_of(row.items or b"[]")
        marks = _MARKS.validate_json(row.marks or b"[]")
        return [Event(item, *mark) for item, mark in zip(items, marks, strict=True)]
    except ValueError:  # ours and pydantic's are such; what is nonsense gives way to what is new
        return []


def changed(row: Row, change: Change, keep: int) -> tuple[Row, int]:
    """The row after a change, its newest `keep` events, and how many of the events were new."""
    features = row.features if change.features is None else to_json(dict(change.features))
    if not change.events:
        return row._replace(features=features), 0
    before = [] if change.how == "replace" else history(row)
    if change.how == "append":
        events = merged(before, change.events, keep)
    else:
        oldest = before[-1].time if before else math.inf
        events = [*before, *(one for one in change.events if one.time < oldest)][:keep]
    added = len(set(events).difference(before))
    return Row(
        features, to_json([one.item for one in events]),
        to_json([(one.time, one.id) for one in events]),
    ), added  # fmt: skip


def merged(before: Sequence[Event], events: Iterable[Event], keep: int) -> list[Event]:
    """Newest first, `keep` at most; of two of one time the one that came later is the newer.

    An event is known by its id, or where it has none by its item and time: it counts once.
    """
    known = {_identity(one) for one in before}
    new: list[Event] = []
    for event in events:
        if (identity := _identity(event)) not in known:
            known.add(identity)
            new.append(event)
    together = [*reversed(new), *before]
    together.sort(key=lambda one: -one.time)  # stable
    return together[:keep]


def _identity(event: Event) -> tuple[str, float]:
    return (event.id, math.inf) if event.id is not None else (event.item, event.time)
