"""What a request lacks, filled in with what a store keeps of its user.

What the request says itself wins: a history, be it empty, as a whole; features key by key, null
included. Item features stay the catalogue's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic_core import ValidationError

from features.encode import RawItems, Request
from features.schema import FeatureSchema
from service.grammar import user_validator
from service.store.record import LARGEST, Stored, Unreadable, items_of

if TYPE_CHECKING:
    from service.decode import Asked


class Filler:
    """Reads stored values as one schema's requests are read."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._validator = user_validator(schema)
        self._names = frozenset(one.name for one in schema.user)
        self._longest = schema.max_history

    def lacks(self, asked: Asked) -> bool:
        """Whether anything could be filled in."""
        return not (asked.history_given and self._names <= asked.raw.user.keys())

    def fill(self, asked: Asked, stored: Stored) -> Asked:
        """The request with what it lacks; raises Unreadable where the values are nonsense."""
        user, history = asked.raw.user, asked.raw.history
        if stored.features is not None:
            known = self._features(stored.features)
            user = {**{n: known[n] for n in known if n in self._names}, **user}
        if stored.items is not None and not asked.history_given:
            history = RawItems(items_of(stored.items)[: self._longest])
        return replace(asked, raw=Request(user, history, asked.raw.candidates), stored=stored)

    def _features(self, text: bytes) -> dict[str, Any]:
        if len(text) > LARGEST:
            raise Unreadable("features that are too large")
        try:
            known: dict[str, Any] = self._validator.validate_json(text)
        except ValidationError as error:
            raise Unreadable("features that the model in service does not read") from error
        return known
