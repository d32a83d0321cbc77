"""The grammar of a request body: pydantic-core schemas, run straight over the body's bytes.

Written as core schemas because the hot path needs what annotations do not give: lists that stop at
their first fault, unions in a set order, dicts in place of objects, and the feature types of the
bundle in service. schemas.py documents the same grammar; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from pydantic_core import SchemaValidator
from pydantic_core import core_schema as c
from pydantic_core.core_schema import CoreSchema

from features.schema import Feature, FeatureSchema
from features.values import ID_LENGTH, LARGEST
from service.errors import MODES

ITEM_KEYS: Final = ("id", "score", "features")
TAG: Final = "\0"  # begins the names of union branches, to be left out of a fault's path
_BAG_LENGTH: Final = 1_000
_INT64: Final = 2**63 - 1

_TEXT_ID = c.str_schema(strict=True, min_length=1, max_length=ID_LENGTH)
_WHOLE = c.int_schema(strict=True, ge=-_INT64, le=_INT64)
_WHOLE_ID = c.no_info_after_validator_function(str, _WHOLE)
_NUMBER = c.float_schema(strict=True, allow_inf_nan=False, ge=-LARGEST, le=LARGEST)
_TRUTH = c.bool_schema(strict=True)
_SCORE = c.nullable_schema(_NUMBER)


class Limits(NamedTuple):
    """What a request may ask for at most."""

    candidates: int
    history: int
    deadline_ms: float = 60_000.0


def request_validator(schema: FeatureSchema | None, limits: Limits) -> SchemaValidator:
    """The validator of a whole body; without a schema any feature may hold any value."""
    free: CoreSchema = c.dict_schema(c.str_schema(strict=True))
    user, item, candidate, columns = free, free, free, free
    if schema is not None:
        user, item = _features(schema.user), _features(schema.item)
        candidate = _features(schema.item + schema.context)
        columns = _columns(schema.item + schema.context, limits.candidates)
    fields = {
        "request_id": c.str_schema(strict=True, pattern=r"^[!-~]{1,128}$"),
        "user": _object({"id": c.nullable_schema(_id()), "features": c.nullable_schema(user)}),
        "history": _either(_ids(limits.history), _items({"features": item}, limits.history)),
        "candidates": _either(
            _ids(limits.candidates),
            _items({"score": _SCORE, "features": candidate}, limits.candidates),
            _columnar(columns, limits.candidates),
        ),
        "top_k": c.int_schema(strict=True, ge=1),
        "deadline_ms": c.float_schema(strict=True, gt=0, le=limits.deadline_ms),
        "mode": c.literal_schema(list(MODES)),
        "on_failure": c.literal_schema(["incoming", "error"]),
    }
    optional = {n: c.nullable_schema(f) for n, f in fields.items() if n != "candidates"}
    return SchemaValidator(_object({**fields, **optional}, required="candidates"))


def user_validator(schema: FeatureSchema) -> SchemaValidator:
    """Of a user's features as a store keeps them, by the same grammar."""
    return SchemaValidator(_features(schema.user))


def events_validator(limit: int) -> SchemaValidator:
    """Of the body of POST /events, of so many events at most."""
    optional = {
        "timestamp": c.float_schema(strict=True, allow_inf_nan=False, ge=0),
        "event_id": _id(),
    }
    fields = {n: c.nullable_schema(one) for n, one in optional.items()}
    event = _object({"user_id": _id(), "item_id": _id(), **fields}, required="user_id item_id")
    return SchemaValidator(_object({"events": _list(event, limit)}, required="events"))


def _object(
    fields: Mapping[str, CoreSchema],
    required: str = "",
    extra: Literal["forbid", "allow"] = "forbid",
) -> CoreSchema:
    always = required.split()
    typed = {n: c.typed_dict_field(f, required=n in always) for n, f in fields.items()}
    return c.typed_dict_schema(typed, extra_behavior=extra)


def _list(of: CoreSchema, limit: int) -> CoreSchema:
    return c.list_schema(of, max_length=limit, fail_fast=True)


def _either(*branches: CoreSchema) -> CoreSchema:
    """The first branch that fits: in this order, so that the common one costs nothing extra."""
    tagged = [(branch, f"{TAG}{place}") for place, branch in enumerate(branches)]
    return c.union_schema(tagged, mode="left_to_right")  # type: ignore[arg-type]


def _id() -> CoreSchema:
    return _either(_TEXT_ID, _WHOLE_ID)


def _ids(limit: int) -> CoreSchema:
    return _list(_TEXT_ID, limit)


def _items(fields: Mapping[str, CoreSchema], limit: int) -> CoreSchema:
    """Objects and bare ids, mixed at will."""
    optional = {n: c.nullable_schema(f) for n, f in fields.items()}
    return _list(_either(_object({"id": _id(), **optional}, required="id"), _id()), limit)


def _columnar(columns: CoreSchema, limit: int) -> CoreSchema:
    fields = {
        "id": _list(_id(), limit),
        "score": c.nullable_schema(_list(_SCORE, limit)),
        "features": c.nullable_schema(columns),
    }
    return _object(fields, required="id")


def _scalar() -> CoreSchema:
    return _either(c.str_schema(strict=True), _WHOLE, _NUMBER, _TRUTH)


def _value(feature: Feature) -> CoreSchema:
    kinds: dict[str, CoreSchema] = {
        "numeric": _either(_NUMBER, _TRUTH),
        "categorical": _scalar(),
        "bag": _list(c.nullable_schema(_scalar()), _BAG_LENGTH),
    }
    return c.nullable_schema(kinds[feature.kind])


def _features(features: Sequence[Feature]) -> CoreSchema:
    """An object of features; those the schema does not know are let through, to be counted."""
    return _object({f.name: _value(f) for f in features}, extra="allow")


def _columns(features: Sequence[Feature], limit: int) -> CoreSchema:
    return _object({f.name: _list(_value(f), limit) for f in features}, extra="allow")
