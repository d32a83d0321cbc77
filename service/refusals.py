"""What pydantic found wrong with a body, said in one sentence about one place.

A union reports the faults of all its branches; the branch that got deepest is the one the caller
meant. Messages never hold what the caller sent, but for a few characters of an unknown key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails, ValidationError

from features.encode import nearest
from service.errors import ApiError, clipped
from service.grammar import ITEM_KEYS, TAG

TOP_KEYS: Final = (
    "request_id", "user", "history", "candidates", "top_k", "deadline_ms", "mode", "on_failure",
)  # fmt: skip
_SOUGHT: Final = 1_000  # more faults than this are not searched for the best one to report
_KINDS: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
}
_RANGES: Final = (
    "finite_number", "less_than_equal", "greater_than_equal", "greater_than", "less_than",
    "int_parsing_size",
)  # fmt: skip

Path = tuple[str | int, ...]


def refusal(
    error: ValidationError, keys: Callable[[Path], Sequence[str]] | None = None
) -> ApiError:
    """The ApiError for a failed validation: 400 where the body is not JSON, else 422.

    `keys` names what is known at a place of another body than /rerank's.
    """
    if error.error_count() > _SOUGHT:
        return ApiError(422, "invalid", "more is wrong with this body than can be listed")
    faults = error.errors(include_url=False, include_input=False, include_context=True)
    if faults[0]["type"] == "json_invalid":
        return ApiError(400, "not_json", f"the body is not JSON: {_why(faults[0])}")
    too_long = [f for f in faults if f["type"] == "too_long" and written(_path(f)) in _LISTS]
    furthest = max(map(_progress, faults))
    worst = too_long[:1] or [fault for fault in faults if _progress(fault) == furthest]
    unknown = [fault for fault in worst if fault["type"] == "extra_forbidden"]
    if unknown:
        return _unknown_key(_path(unknown[0]), keys or _keys_at)
    return _wrong_value(worst)


def _path(fault: ErrorDetails) -> Path:
    """Without the names of branches; only the last step of an unknown key is the caller's own."""
    own = fault["loc"][-1:] if fault["type"] == "extra_forbidden" else ()
    steps = fault["loc"][: len(fault["loc"]) - len(own)]
    return (*(one for one in steps if not (isinstance(one, str) and one.startswith(TAG))), *own)


def _progress(fault: ErrorDetails) -> tuple[int, Path]:
    """How far a branch came: its depth, then its place in the lists on the way."""
    path = _path(fault)
    return len(path), tuple(step for step in path if isinstance(step, int))


def _why(fault: ErrorDetails) -> str:
    return str(fault.get("ctx", {}).get("error", "it cannot be parsed"))


def _unknown_key(path: Path, keys: Callable[[Path], Sequence[str]]) -> ApiError:
    key = str(path[-1])
    known = keys(path[:-1])
    near = nearest(key[:64], known)
    hint = f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}"
    place = (*path[:-1], clipped(key))
    return ApiError(
        422, "unknown_key", f"unknown key '{clipped(key)}'; {hint}", written(place) or None
    )


def _keys_at(path: Path) -> Sequence[str]:
    if not path:
        return TOP_KEYS
    if path[0] == "candidates":
        return ITEM_KEYS
    return ("id", "features")


def _wrong_value(faults: Sequence[ErrorDetails]) -> ApiError:
    """Faults of one depth: a value out of range says more than all that it also is not."""
    ranged = [fault for fault in faults if fault["type"] in _RANGES]
    others = [fault for fault in faults if fault["type"] not in _KINDS]
    fault: Any = (ranged or others or faults)[0]
    param = written(_path(fault)) or None
    if ranged:
        return ApiError(422, "out_of_range", _message(fault), param)
    if others:
        kinds = {"too_long": "too_many" if param in _LISTS else "invalid", "missing": "missing"}
        return ApiError(422, kinds.get(fault["type"], "invalid"), _message(fault), param)
    same = [_KINDS[one["type"]] for one in faults if _path(one) == _path(fault)]
    return ApiError(422, "invalid", f"expected {_or(same)}", param)


_LISTS: Final = ("candidates", "candidates.id", "history", "events", "requests")


def _message(fault: ErrorDetails) -> str:
    if fault["type"] == "too_long":
        return f"at most {fault.get('ctx', {}).get('max_length')} values are taken"
    if fault["type"] == "missing":
        return "this key is required"
    return (
        fault["msg"]
        .replace("Input should", "String should")
        .replace("String should", "the value must")
    )


def _or(kinds: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(kinds))


def written(path: Path) -> str:
    """("candidates", 3, "id") as candidates[3].id"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
