"""Decode: the bytes of a body in; a request ready to be encoded, or an error with a place, out.

The first of the four verbs (decode, encode, score, order). Everything wrong with a request is found
here, before it may wait for the model: a bad request is never answered by a fallback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from pydantic_core import ValidationError

from features.encode import OTHER, RawItems, Request
from features.schema import FeatureSchema
from features.values import ABSENT
from service.errors import ApiError, Mode
from service.grammar import Limits, request_validator
from service.refusals import refusal
from service.store.fill import Filler
from service.store.record import Stored

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A decoded request. `raw` holds columns only for features that the schema knows."""

    raw: Request
    unknown_features: Mapping[str, int]  # schema name or "other" -> times given in vain
    request_id: str | None
    top_k: int | None
    deadline_ms: float | None
    mode: Mode
    on_failure: Literal["incoming", "error"] | None
    user: str | None  # the id
    history_given: bool = False  # be it empty
    stored: Stored | None = None  # what a store added to `raw`

    @property
    def ids(self) -> Sequence[str]:
        """Candidate ids in incoming order."""
        return self.raw.candidates.ids


class Decoder:
    """Decodes bodies for one bundle's schema, or for none while no bundle is loaded."""

    def __init__(self, schema: FeatureSchema | None, limits: Limits) -> None:
        self._validator = request_validator(schema, limits)
        self._limits = limits
        item, context, user = (schema.item, schema.context, schema.user) if schema else ((),) * 3
        self._user = frozenset(f.name for f in user)
        self._history = tuple(f.name for f in item)
        self._candidates = tuple(f.name for f in item + context)
        self._scored = any(f.name == "score" for f in context)
        self._known = self._user.union(self._candidates)
        self.filler = Filler(schema) if schema else None

    def decode(self, body: bytes) -> Asked:
        """Raises ApiError: 400 where the body is not JSON, 422 where it is not a request."""
        try:
            fields = self._validator.validate_json(body)
        except ValidationError as error:
            raise refusal(error) from None
        unknown: dict[str, int] = {}
        candidates = self._items(fields["candidates"], self._candidates, unknown)
        _refuse_duplicates(candidates.ids, type(fields["candidates"]) is dict)
        history = self._items(fields.get("history") or [], self._history, unknown)
        user = (fields.get("user") or {}).get("features") or {}
        self._count(unknown, user.keys() - self._user)
        return Asked(
            Request({n: user[n] for n in user if n in self._user}, history, candidates),
            unknown,
            fields.get("request_id"),
            fields.get("top_k"),
            fields.get("deadline_ms"),
            fields.get("mode") or "scorer",
            fields.get("on_failure"),
            (fields.get("user") or {}).get("id"),
            fields.get("history") is not None,
        )

    def _items(self, items: Any, known: tuple[str, ...], unknown: dict[str, int]) -> RawItems:
        if type(items) is dict:
            return self._from_columns(items, known, unknown)
        if not items or set(map(type, items)) == {str}:  # ids alone: no work an item
            return RawItems(items)
        rows = [item if type(item) is dict else {"id": item} for item in items]
        return self._from_rows(rows, known, unknown)

    def _from_rows(
        self, rows: Sequence[Row], known: tuple[str, ...], unknown: dict[str, int]
    ) -> RawItems:
        features = [row.get("features") or {} for row in rows]
        names = set(chain.from_iterable(features))
        self._count(unknown, names.difference(known))
        columns = {
            name: [one.get(name, ABSENT) for one in features] for name in known if name in names
        }
        if self._scored and any("score" in row for row in rows):
            columns["score"] = [row.get("score", ABSENT) for row in rows]
        return RawItems([row["id"] for row in rows], columns)

    def _from_columns(
        self, items: Row, known: tuple[str, ...], unknown: dict[str, int]
    ) -> RawItems:
        ids, given = items["id"], items.get("features") or {}
        self._count(unknown, given.keys() - set(known))
        columns = {name: given[name] for name in known if name in given}
        if (scores := items.get("score")) is not None:
            _refuse_ragged(scores, ids, "candidates.score")
            if self._scored:
                columns["score"] = scores
        for name, column in columns.items():
            _refuse_ragged(column, ids, f"candidates.features.{name}")
        return RawItems(ids, columns)

    def _count(self, unknown: dict[str, int], names: Any) -> None:
        """A schema name in the wrong place keeps its name: callers must not create labels."""
        for name in names:
            label = name if name in self._known else OTHER
            unknown[label] = unknown.get(label, 0) + 1


def _refuse_duplicates(ids: Sequence[str], columnar: bool) -> None:
    if len(set(ids)) == len(ids):
        return
    seen: set[str] = set()
    for place, item in enumerate(ids):
        if item in seen:
            where = f"candidates.id[{place}]" if columnar else f"candidates[{place}]"
            raise ApiError(422, "duplicate_id", "this id stands earlier in the list too", where)
        seen.add(item)


def _refuse_ragged(column: Sequence[Any], ids: Sequence[str], param: str) -> None:
    if len(column) != len(ids):
        message = f"{len(column)} values for {len(ids)} ids: a column needs one value an id"
        raise ApiError(422, "ragged_columns", message, param)
