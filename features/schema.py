"""FeatureSchema: the names, kinds, vocabularies and sizes of everything a model may read.

One schema is written by `psad prepare`, travels with dataset, run and bundle, and is the only
thing that knows which column of a packed array is which feature.

Index convention of categorical and bag features: 0 is padding, 1 is unknown (out of vocabulary or
absent), 2 + i is `vocabulary[i]`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from features.errors import SchemaError
from features.files import write_whole

PADDING = 0
UNKNOWN = 1
FIRST_KNOWN = 2

Kind = Literal["categorical", "bag", "numeric"]
Side = Literal["user", "history", "candidate"]
SIDES: tuple[Side, ...] = ("user", "history", "candidate")


class Feature(BaseModel):
    """One feature of a user, an item, or a candidate in its context."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    kind: Kind
    vocabulary: tuple[str, ...] = ()  # categorical and bag: index 2 + place here
    max_length: int = Field(default=0, ge=0)  # bag: ids kept a row
    transform: Literal["identity", "log"] = "identity"  # numeric: log is sign(x)·log(1 + |x|)
    mean: float = 0.0  # numeric: of the transformed training values
    scale: float = Field(default=1.0, gt=0)  # numeric: their standard deviation

    @model_validator(mode="after")
    def _consistent(self) -> Feature:
        if self.kind == "bag" and self.max_length < 1:
            raise ValueError(f"bag feature {self.name!r} needs max_length of at least 1")
        if self.kind != "bag" and self.max_length:
            raise ValueError(f"only a bag has max_length; {self.name!r} is {self.kind}")
        if self.kind == "numeric" and self.vocabulary:
            raise ValueError(f"numeric feature {self.name!r} has a vocabulary")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError(f"the vocabulary of {self.name!r} names a value twice")
        return self

    @property
    def size(self) -> int:
        """Rows an embedding table needs: padding, unknown, and the vocabulary."""
        return FIRST_KNOWN + len(self.vocabulary)

    @property
    def width(self) -> int:
        """Columns in the packed array of its kind; a numeric one has value and missing flag."""
        return {"categorical": 1, "bag": self.max_length, "numeric": 2}[self.kind]

    @cached_property
    def index(self) -> dict[str, int]:
        """Value to index, for known values."""
        return {value: FIRST_KNOWN + place for place, value in enumerate(self.vocabulary)}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the index of what may now be another vocabulary."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("index", None)
        return copy


class TensorSpec(NamedTuple):
    """One array of a batch: its name is the array's key, the batch's field and the ONNX input."""

    name: str
    dtype: Literal["int64", "float32", "bool"]
    axes: tuple[str | int, ...]  # symbolic names are dynamic: batch, history, candidates


class FeatureSchema(BaseModel):
    """All features of a dataset and the sizes its lists were prepared with.

    Candidates carry `item` features (from the catalogue), `context` features (with the request)
    and `derived` statistics (computed by features/derived.py); history items carry `item` features.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str = Field(min_length=1)
    user: tuple[Feature, ...] = ()
    item: tuple[Feature, ...] = ()
    context: tuple[Feature, ...] = ()  # the incoming score, where logged, is the numeric "score"
    derived: tuple[Feature, ...] = ()  # numeric, always defined, so without missing flags
    max_history: int = Field(default=50, ge=0)
    max_candidates: int = Field(default=100, ge=1)  # the longest list seen in training
    list_size: int = Field(default=10, ge=1)  # T, the length of the list that is shown
    positive: str = ">=1"  # which labels count as positive

    @model_validator(mode="after")
    def _consistent(self) -> FeatureSchema:
        sides = {"user": self.user, "item": self.item + self.context, "derived": self.derived}
        for side, features in sides.items():
            names = [feature.name for feature in features]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{side} features named twice: {', '.join(twice)}")
        if any(feature.kind != "numeric" for feature in self.derived):
            raise ValueError("derived features are numeric")
        if not (self.item or self.context or self.derived):
            raise ValueError("a schema needs at least one feature of items or their context")
        return self

    def of(self, side: Side, kind: Kind) -> tuple[Feature, ...]:
        """The features of one packed array, in column order (derived ones are not among them)."""
        groups = {"user": self.user, "history": self.item, "candidate": self.item + self.context}
        return tuple(feature for feature in groups[side] if feature.kind == kind)

    def width(self, side: Side, kind: Kind) -> int:
        """Columns of the packed array; numeric candidates end with the derived statistics."""
        extra = len(self.derived) if (side, kind) == ("candidate", "numeric") else 0
        return sum(feature.width for feature in self.of(side, kind)) + extra

    def tensors(self) -> tuple[TensorSpec, ...]:
        """The arrays of an encoded batch, in a fixed order; arrays without columns are left out.

        Numeric arrays hold `[values | missing flags]` block by block: user or item features first,
        then (candidates only) context features, then derived statistics without flags.
        """
        rows: dict[Side, tuple[str, ...]] = {
            "user": ("batch",),
            "history": ("batch", "history"),
            "candidate": ("batch", "candidates"),
        }
        specs = []
        for side in SIDES:
            for kind in ("categorical", "bag", "numeric"):
                if width := self.width(side, kind):
                    dtype: Literal["int64", "float32"] = "float32" if kind == "numeric" else "int64"
                    specs.append(TensorSpec(f"{side}_{kind}", dtype, (*rows[side], width)))
            if side != "user":
                specs.append(TensorSpec(f"{side}_mask", "bool", rows[side]))
        return tuple(specs)

    def fingerprint(self) -> str:
        """sha256 of the canonical JSON: equal exactly where two schemas are equal."""
        return hashlib.sha256(self._canonical().encode()).hexdigest()

    def _canonical(self) -> str:
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def save(self, path: Path) -> None:
        """Write as JSON, with its fingerprint beside it for whoever compares by eye."""
        fields = {"fingerprint": self.fingerprint(), **self.model_dump(mode="json")}
        write_whole(path, json.dumps(fields, ensure_ascii=False, indent=1))

    @classmethod
    def load(cls, path: Path) -> FeatureSchema:
        """Read and verify; raises SchemaError naming the file and what is wrong in it."""
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            stated = fields.pop("fingerprint", None)
            schema = cls.model_validate(fields)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise SchemaError(f"{path} cannot be read as a schema: {error}") from error
        if stated != schema.fingerprint():
            raise SchemaError(
                f"{path}: the fingerprint does not match the content; the file was edited by hand. "
                "Run `psad prepare` again to make a new one."
            )
        return schema
