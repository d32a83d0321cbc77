"""What a hostile request may be answered with, and what came back.

An answer is an offence where it is a 5xx that the caller did not ask for (`on_failure: error`), a
status that OpenAPI does not document for the path, no JSON or none that is finite, an error of
another shape or over 500 bytes, or a fallback because the model failed. So is a connection that
breaks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import from_json

LONGEST: Final = 500  # bytes of an error
SHOWN: Final = 10  # offenders in the report
_ERROR: Final = {"type", "message", "param", "request_id"}


def offence(status: int, content: bytes, body: bytes, documented: Collection[int]) -> str | None:
    """What is wrong with an answer of /rerank; None where nothing is."""
    if status not in documented:
        return f"status {status} is not documented"
    if status >= 500 and not asks_for_errors(body):
        return f"status {status}, and the request did not ask for errors"
    try:
        answer = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        return f"the answer is not JSON: {error}"
    if not isinstance(answer, dict):
        return "the answer is no object"
    return _of_error(answer, content) if status >= 400 else _of_results(answer)


def _of_error(answer: Mapping[str, Any], content: bytes) -> str | None:
    error = answer.get("error")
    if not isinstance(error, dict) or set(error) != _ERROR:
        return "the error has another shape"
    return f"the error has {len(content)} bytes" if len(content) > LONGEST else None


def _of_results(answer: Mapping[str, Any]) -> str | None:
    if not isinstance(answer.get("results"), list) or "fallback" not in answer:
        return "the answer has no results"
    return "the model failed on it" if answer["fallback"] == "model_error" else None


def asks_for_errors(body: bytes) -> bool:
    """Whether a body says `on_failure: error`."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("on_failure") == "error"


def outcome(status: int, content: bytes) -> str:
    """A few words: "200", "200 deadline", "422 out_of_range"."""
    try:
        answer = from_json(content)
        said = answer["error"]["type"] if status >= 400 else answer["fallback"]
    except (ValueError, LookupError, TypeError):
        said = None
    return f"{status} {said}" if said else str(status)


@dataclass
class Verdicts:
    """All answers, counted."""

    statuses: Counter[str] = field(default_factory=Counter)
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    offences: int = 0
    offenders: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, what: str, said: str) -> None:
        """One answer: what became of a request of this kind."""
        self.kinds.setdefault(kind, Counter())[said] += 1
        self.statuses[what] += 1

    def offend(self, kind: str, name: str, why: str, request: bytes, answer: bytes = b"") -> None:
        """One that must not be."""
        self.offences += 1
        if len(self.offenders) < SHOWN:
            self.offenders.append({
                "kind": kind, "name": name, "why": why, "request": _shown(request),
                "bytes": len(request), "answer": _shown(answer),
            })  # fmt: skip

    def report(self, seconds: float) -> dict[str, Any]:
        """As JSON can have it."""
        requests = self.statuses.total()
        return {
            "requests": requests,
            "statuses": dict(sorted(self.statuses.items())),
            "kinds": {kind: dict(counts.most_common()) for kind, counts in self.kinds.items()},
            "offences": self.offences,
            "offenders": self.offenders,
            "seconds": round(seconds, 1),
            "requests_per_second": round(requests / max(seconds, 1e-9), 1),
        }


def _shown(content: bytes) -> str:
    text = content[:300].decode(errors="backslashreplace")
    return text + ("…" if len(content) > 300 else "")
