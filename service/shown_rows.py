"""A shown list as rows of CSV, one an item, with the columns that `psad prepare` reads and ours.

`position` is the place at which the item was shown, from 1; `rerank_index` its place in the
request, from 0. Features of candidates in their context are there under their names, in the text
form that training reads; the user's only where they are asked for, as `rerank_user_NAME`.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from features.schema import Feature, FeatureSchema
from features.values import ABSENT, number_of, text_of
from service.decode import Asked
from service.models import Model
from service.visit import Visit

COLUMNS: Final = (
    "list_id", "user_id", "timestamp", "item_id", "position", "rerank_index", "rerank_score",
    "rerank_shown", "rerank_candidates", "rerank_model", "rerank_version", "rerank_mode",
    "rerank_fallback",
)  # fmt: skip
POSITION: Final = COLUMNS.index("position")
SHOWN: Final = COLUMNS.index("rerank_shown")  # how many rows the list has
_ENDS: Final = ("\n", "\r", "\0")


class Unfit(Exception):
    """A list that cannot stand in a line-by-line file: a line break in an id or a feature."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One list as it was answered; what is kept of a request until it is written."""

    list_id: str
    user: str | None
    milliseconds: int  # since 1970
    results: Sequence[Mapping[str, Any]]
    candidates: int
    visit: Visit
    model: str | None
    context: Sequence[Sequence[Any]]  # a column a feature, of the results
    features: Mapping[str, Any]  # of the user


class Layout:
    """The columns of one schema's lists. Two of one schema have the same header."""

    def __init__(self, schema: FeatureSchema | None, with_user: bool) -> None:
        context, user = (schema.context, schema.user) if schema else ((), ())
        self.context: tuple[Feature, ...] = context
        self.user: tuple[Feature, ...] = user if with_user else ()
        names = (
            *(one.name for one in self.context),
            *(f"rerank_user_{one.name}" for one in self.user),
        )
        self.header = _line((*COLUMNS, *names))

    def take(self, asked: Asked, model: Model | None, results: Sequence[Mapping[str, Any]],
             visit: Visit) -> Shown:  # fmt: skip
        """What is to be written of an answer, in the time of the request: as little as can be."""
        given = asked.raw.candidates.columns
        places = [one["index"] for one in results] if self.context else ()
        absent = [ABSENT] * len(places)
        context = [
            [given[one.name][place] for place in places] if one.name in given else absent
            for one in self.context
        ]
        return Shown(
            visit.request_id, asked.user, time.time_ns() // 1_000_000, results, len(asked.ids),
            visit, model.engine.name if model else None, context,
            asked.raw.user if self.user else {},
        )  # fmt: skip

    def text(self, one: Shown) -> str:
        """The rows; raises Unfit where they would not be a line each."""
        count = len(one.results)
        after = (
            count, one.candidates, one.model, one.visit.version, one.visit.mode,
            one.visit.fallback,
        )  # fmt: skip
        user = [_written(feature, one.features.get(feature.name)) for feature in self.user]
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows(
            (one.list_id, one.user or one.list_id, one.milliseconds, item["id"], item["rank"],
             item["index"], item["score"], *after,
             *(_written(feature, column[place])
               for feature, column in zip(self.context, one.context, strict=True)),
             *user)
            for place, item in enumerate(one.results)
        )  # fmt: skip
        text = file.getvalue()
        if [text.count(end) for end in _ENDS] != [count, 0, 0]:
            raise Unfit
        return text


def _written(feature: Feature, value: Any) -> Any:
    """A raw value as training reads it of a table."""
    if value is ABSENT or value is None:
        return None
    if feature.kind == "numeric":
        return number_of(value)
    if feature.kind == "categorical":
        return text_of(value)
    return "|".join(text for one in value if (text := text_of(one)))


def _line(values: Sequence[str]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(values)
    return file.getvalue()


def end_of_whole_lists(found: Any) -> int:
    """Where the last whole list of a file ends, which may have been cut anywhere; 0 without one.

    `found` is its bytes, or a map of them.
    """
    columns = len(_fields(found[: found.find(b"\n") + 1]))
    end: int = found.rfind(b"\n") + 1
    while (begin := found.rfind(b"\n", 0, max(end - 1, 0)) + 1) > 0:
        fields = _fields(found[begin:end])
        if len(fields) == columns and fields[POSITION] == fields[SHOWN]:
            return end
        end = begin
    return 0


def _fields(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8", "replace").replace("\0", "")]), [])
