"""What came back for a request: scored, served by a fallback, refused, or wrong.

A load test that only counts status 200 calls a service healthy that ranks nothing. Here every
answer is held against its request: all candidates, each once, each from the place it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import from_json

from service.errors import REASONS

Kind = Literal["scored", "fallback", "failed"]
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Payload:
    """A request that is ready to be sent, and what its answer is held against."""

    body: bytes
    ids: tuple[str, ...]  # candidates in incoming order; the body asks for all of them


class Outcome(NamedTuple):
    """What became of a request. `label` says more: "fallback deadline", "429 overload"."""

    kind: Kind
    label: str


SCORED: Final = Outcome("scored", "scored")


def judge(status: int, content: bytes, payload: Payload) -> Outcome:
    """Hold an answer against its request."""
    try:
        answer = from_json(content)
    except ValueError:
        answer = None
    if status != OK:
        return Outcome("failed", f"{status} {_error_type(answer)}".rstrip())
    fault = _fault(answer, payload.ids)
    if fault:
        return Outcome("failed", f"wrong answer: {fault}")
    reason = answer["fallback"]
    return Outcome("fallback", f"fallback {reason}") if reason else SCORED


def _error_type(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("type", "")) if isinstance(error, dict) else ""


def _fault(answer: Any, ids: Sequence[str]) -> str | None:
    """What is wrong with an answer of status 200; None where nothing is."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or "fallback" not in answer:
        return "no results"
    if len(results) != len(ids):
        return "not as many results as candidates"
    try:
        places = [one["index"] for one in results]
        if sorted(places) != list(range(len(ids))):
            return "no permutation of the candidates"
        if any(_differs(one, rank, ids) for rank, one in enumerate(results, 1)):
            return "an id or rank that is not the item's"
    except (KeyError, TypeError):
        return "results of another form"
    reason = answer["fallback"]
    if reason is None:
        return None
    if reason not in REASONS:
        return "an unknown fallback"
    return None if places == list(range(len(ids))) else "a fallback in another order"


def _differs(result: Mapping[str, Any], rank: int, ids: Sequence[str]) -> bool:
    return bool(result["id"] != ids[result["index"]] or result["rank"] != rank)
