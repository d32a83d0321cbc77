"""POST /events, which adds to histories, and /users, where what is kept of one is seen and deleted.

There only where RERANK_STORE names a store; /users only with the admin's key besides.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from pydantic_core import SchemaValidator, ValidationError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request

from service import docs, logs
from service.body import read_body
from service.errors import ApiError
from service.grammar import events_validator
from service.metrics import Metrics
from service.models import Models
from service.refusals import Path, refusal
from service.schemas import EventsResponse, HistoryEvent, UserDeleted, UserKept
from service.settings import Settings
from service.store.base import WAITING, Store, Unavailable
from service.store.record import KEPT, Change, Event, Row, Unreadable, history

USERS: Final = "/users/"
EVENTS: Final = 1_000  # at a time
AHEAD: Final = 86_400.0  # seconds that a caller's clock may be ahead of ours
_KEYS: Final = ("user_id", "item_id", "timestamp", "event_id")


class _AnyText(PathConvertor):
    """A path's rest, newlines included: whatever may be kept may be seen and deleted."""

    regex = "(?s:.*)"


class Events:
    """The answers of /events and /users."""

    def __init__(self, settings: Settings, models: Models, store: Store, metrics: Metrics) -> None:
        self._settings, self._models, self._store = settings, models, store
        self._counted = metrics.events
        self._validator: SchemaValidator = events_validator(EVENTS)
        self._seldom = logs.Seldom()
        self._inside = 0

    async def add(self, request: Request) -> EventsResponse:
        """Add to histories: all events or, with any error, none.

        An event with an id, or with a timestamp, may be sent again and counts once.
        """
        body = await read_body(request, self._settings.max_body_bytes)
        changes, count = self._changes(body)
        added = 0
        if changes:
            added = await self._written(changes, count)
        self._counted.labels("added").inc(added)
        self._counted.labels("known").inc(count - added)
        return EventsResponse(
            request_id=request.scope["visit"].request_id, events=count, added=added
        )

    def _changes(self, body: bytes) -> tuple[dict[str, Change], int]:
        """By user; raises ApiError."""
        try:
            given: list[dict[str, Any]] = self._validator.validate_json(body)["events"]
        except ValidationError as error:
            raise refusal(error, _known) from None
        now = time.time()
        of_user: dict[str, list[Event]] = {}
        for place, one in enumerate(given):
            when = one.get("timestamp")
            if when is not None and when > now + AHEAD:
                message = "the value must not lie in the future; it counts seconds since 1970"
                raise ApiError(422, "out_of_range", message, f"events[{place}].timestamp")
            event = Event(one["item_id"], now if when is None else when, one.get("event_id"))
            of_user.setdefault(one["user_id"], []).append(event)
        return {user: Change(events=events) for user, events in of_user.items()}, len(given)

    async def _written(self, changes: dict[str, Change], count: int) -> int:
        if self._inside >= WAITING:
            self._counted.labels("failed").inc(count)
            raise ApiError(429, "overload", "too many requests at once; try again")
        self._inside += 1
        try:
            return await self._store.write(changes, self._kept())
        except Unavailable as fault:
            self._counted.labels("failed").inc(count)
            self._seldom.event("events_failed", "store", said=str(fault))
            raise _unavailable() from None
        finally:
            self._inside -= 1

    def _kept(self) -> int:
        read = [one.engine.schema.max_history for one in self._models.loaded]
        longest = max(read) if read else self._settings.max_history
        return KEPT * longest

    async def user(self, user_id: str) -> UserKept:
        """All that is kept of a user."""
        try:
            row = await self._store.row(user_id)
        except Unavailable:
            raise _unavailable() from None
        except Unreadable:
            row = Row()
        if row is None:
            raise ApiError(404, "no_such_user", "nothing is kept of this user", "user_id")
        return UserKept(
            user_id=user_id, features=_features(row.features),
            history=[
                HistoryEvent(item_id=one.item, timestamp=one.time, event_id=one.id)
                for one in history(row)
            ],
        )  # fmt: skip

    async def delete(self, user_id: str) -> UserDeleted:
        """Forget a user: features and history."""
        try:
            deleted = await self._store.delete(user_id)
        except Unavailable:
            raise _unavailable() from None
        logs.event("user_deleted", found=deleted)
        return UserDeleted(user_id=user_id, deleted=deleted)


def _known(path: Path) -> Sequence[str]:
    return _KEYS if path else ("events",)


def _features(text: bytes | None) -> Any:
    """As they are kept; None where they are no JSON."""
    try:
        return json.loads(text or b"null")
    except ValueError:
        return None


def _unavailable() -> ApiError:
    return ApiError(
        503, "store_unavailable",
        "the store does not answer now: send the same once more, it is applied whole or not at all",
    )  # fmt: skip


def add_events(
    app: FastAPI, settings: Settings, models: Models, store: Store, metrics: Metrics
) -> None:
    """Register the routes."""
    events = Events(settings, models, store, metrics)
    app.add_api_route(
        "/events", events.add, methods=["POST"], summary="Add to users' histories",
        openapi_extra=docs.EVENTS_REQUEST, responses=docs.EVENTS,
    )  # fmt: skip
    if settings.admin_key or settings.admin_keys_file:
        register_url_convertor("anytext", _AnyText())
        for method, answer in (("GET", events.user), ("DELETE", events.delete)):
            app.add_api_route(
                f"{USERS}{{user_id:anytext}}", answer, methods=[method], tags=["admin"],
                responses=docs.USER if method == "GET" else docs.USER_DELETED,
            )  # fmt: skip
