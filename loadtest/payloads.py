"""Real requests drawn from a prepared dataset, in every shape that the service takes.

    requests = Requests(Dataset.load("datasets/mine"), parse_shapes("ids=2,rows=1,columns=1"))
    requests.journey(7)      # the lists of one person in time order
    requests.pool(2_000)     # many people's journeys, interleaved as a service sees them

A journey is what one person saw: each list's history holds what they acted on in the lists before,
newest first, exactly as data/lists.py defines it, because it is the dataset's own. Every request
asks for all of its candidates, so that the answer can be held against them.

Shapes: `ids` are candidates by id alone (context features are not sent); `rows` are objects with
the item's and the context's features, in history too; `columns` is the same, column by column, with
the history by id. The user's features go with all three.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

import numpy as np

from data.dataset import Dataset
from features.body import rerank_body
from features.encode import RawItems, Request
from loadtest.answers import Payload
from loadtest.errors import LoadError
from loadtest.items import ItemFeatures

OPEN_JOURNEYS = 50  # people whose sessions a pool interleaves


class Shape(StrEnum):
    """How a request names its candidates."""

    ids = "ids"
    rows = "rows"
    columns = "columns"


def parse_shapes(text: str) -> dict[Shape, float]:
    """`"ids=2,rows=1"` as each shape's share, `"ids"` as that one alone; raises LoadError."""
    shares: dict[Shape, float] = {}
    for word in text.split(","):
        name, _, number = (part.strip() for part in word.partition("="))
        try:
            shape, share = Shape(name), float(number or 1)
        except ValueError:
            shape, share = Shape.ids, -1.0
        if not 0.0 <= share < float("inf") or shape in shares:
            raise LoadError(
                f"--shapes {text}: {word!r} is not a shape with its share. Shapes are "
                f"{', '.join(Shape)}, each once; write them as in ids=2,rows=1,columns=1"
            )
        shares[shape] = share
    total = sum(shares.values())
    if not total:
        raise LoadError(f"--shapes {text}: no shape has a share above 0")
    return {shape: share / total for shape, share in shares.items()}


class Requests:
    """Draws requests from a dataset; `fields` (mode, deadline_ms …) go with each of them."""

    def __init__(
        self, dataset: Dataset, shapes: Mapping[Shape, float], *, seed: int = 0, **fields: Any
    ) -> None:
        self._dataset, self._fields = dataset, fields
        self._items = ItemFeatures(dataset.schema, dataset.catalogue)
        self._shapes, self._shares = list(shapes), list(shapes.values())
        self._random = np.random.default_rng(seed)
        first = np.flatnonzero(np.diff(dataset.users, prepend=-1))
        self._bounds = np.append(first, len(dataset))  # (people + 1,) into the lists

    @property
    def people(self) -> int:
        """How many journeys there are."""
        return len(self._bounds) - 1

    def journey(self, person: int) -> list[Payload]:
        """The requests of one person, 0..people-1, oldest list first."""
        return [self._payload(index) for index in range(*self._bounds[person : person + 2])]

    def journeys(self) -> Iterator[list[Payload]]:
        """Journeys without end: everybody's in random order, then everybody's again."""
        while True:
            for person in self._random.permutation(self.people).tolist():
                yield self.journey(person)

    def pool(self, count: int) -> list[Payload]:
        """`count` requests of many journeys at once; each person's stay in their order."""
        journeys = self.journeys()
        opened = [iter(next(journeys)) for _ in range(min(OPEN_JOURNEYS, self.people))]
        drawn: list[Payload] = []
        while len(drawn) < count:
            place = int(self._random.integers(len(opened)))
            payload = next(opened[place], None)
            if payload is None:
                opened[place] = iter(next(journeys))
            else:
                drawn.append(payload)
        return drawn

    def _payload(self, index: int) -> Payload:
        request = self._dataset.request(index)
        shape = self._shapes[int(self._random.choice(len(self._shapes), p=self._shares))]
        ids = tuple(request.candidates.ids)
        body = self.body(request, shape, top_k=len(ids), **self._fields)
        return Payload(json.dumps(body, allow_nan=False, separators=(",", ":")).encode(), ids)

    def body(self, request: Request, shape: Shape, **fields: Any) -> dict[str, Any]:
        """The JSON body of a list in one shape."""
        if shape is Shape.ids:
            return rerank_body(
                replace(request, candidates=RawItems(request.candidates.ids)), **fields
            )
        candidates = self._described(request.candidates)
        body = rerank_body(replace(request, candidates=candidates), **fields)
        if shape is Shape.rows:
            body["candidates"] = rows(candidates)
            body["history"] = rows(self._described(request.history))
        return body

    def _described(self, items: RawItems) -> RawItems:
        """With the catalogue's features as columns; what came with the request goes before."""
        return RawItems(items.ids, {**self._items.columns(items.ids), **items.columns})


def rows(items: RawItems) -> list[dict[str, Any]]:
    """Items as objects; a value that is missing is left out."""
    return [_row(item, place, items.columns) for place, item in enumerate(items.ids)]


def _row(item: str, place: int, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    given = {name: column[place] for name, column in columns.items()}
    given = {name: value for name, value in given.items() if value is not None}
    score = {"score": given.pop("score")} if "score" in given else {}
    return {"id": item, **score, **({"features": given} if given else {})}
