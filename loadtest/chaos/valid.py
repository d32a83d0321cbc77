"""Requests that a bundle serves, made from what GET /info says of its schema.

They are what hostile bodies are made from: a body that is wrong in one place is looked at more
closely than one that is wrong all over.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtest.errors import LoadError

Feature = Mapping[str, str]  # name, kind
_WORDS: Final = ("a", "M", "drama", "2024", "-", "ä", "18-25")


class Schema:
    """The features that requests may give, by where they give them. Raises LoadError."""

    def __init__(self, info: Mapping[str, Any]) -> None:
        found = info.get("schema")
        if not found:
            raise LoadError("the service has no model loaded: GET /info knows of no schema.")
        self.user: Sequence[Feature] = found["user"]
        self.item: Sequence[Feature] = found["item"]
        self.context = [one for one in found["context"] if one["name"] != "score"]
        self.candidate = [*self.item, *self.context]
        self.modes: Sequence[str] = info["modes"]
        self.limits: Mapping[str, int] = info["limits"]


def value(kind: str, chance: random.Random) -> Any:
    """One that a feature of this kind may have."""
    if kind == "numeric":
        return chance.choice([0, 1, 3.5, -2.25, 1e6, chance.random(), None, True])
    if kind == "categorical":
        return chance.choice([*_WORDS, 7, 2.5, True, None])
    return [chance.choice(_WORDS) for _ in range(chance.randrange(4))]


def features(schema: Sequence[Feature], chance: random.Random) -> dict[str, Any]:
    """Some of them."""
    return {one["name"]: value(one["kind"], chance) for one in schema if chance.random() < 0.7}


def request(schema: Schema, chance: random.Random) -> dict[str, Any]:
    """A body that is served, of any shape."""
    count = chance.choice([2, 2, 3, 5, 8, 20])
    ids = [str(one) for one in chance.sample(range(1, 5_000), count)]
    shapes = {
        "ids": lambda: ids,
        "rows": lambda: [_row(one, schema.candidate, chance) for one in ids],
        "columns": lambda: _columns(ids, schema.candidate, chance),
    }
    body: dict[str, Any] = {"candidates": shapes[chance.choice(list(shapes))]()}
    history = [str(one) for one in range(chance.randrange(6))]
    optional: dict[str, Any] = {
        "user": {"id": str(chance.randrange(999)), "features": features(schema.user, chance)},
        "history": [_item(one, schema.item, chance) for one in history],
        "request_id": f"r-{chance.randrange(10**9)}",
        "top_k": chance.randrange(1, 30),
        "deadline_ms": chance.choice([0.5, 20, 1_000]),
        "mode": chance.choice(list(schema.modes)),
        "on_failure": chance.choice(["incoming", "error"]),
    }
    given = {name: one for name, one in optional.items() if chance.random() < 0.5}
    return {**given, **body} if chance.random() < 0.5 else {**body, **given}


def _item(item: str, schema: Sequence[Feature], chance: random.Random) -> Any:
    return item if chance.random() < 0.5 else {"id": item, "features": features(schema, chance)}


def _row(item: str, schema: Sequence[Feature], chance: random.Random) -> dict[str, Any]:
    given = {"id": item, "features": features(schema, chance)}
    return {**given, "score": chance.random()} if chance.random() < 0.5 else given


def _columns(ids: Sequence[str], schema: Sequence[Feature], chance: random.Random) -> Any:
    given = {
        one["name"]: [value(one["kind"], chance) for _ in ids]
        for one in schema
        if chance.random() < 0.5
    }
    return {"id": ids, "score": [chance.random() for _ in ids], "features": given}
