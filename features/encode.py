"""Lists in, arrays out: the one place where a list becomes numbers, for training and serving.

B lists, N history items, M candidates (both padded to the batch's longest), ΣN and ΣM their sums.
Keys of an encoded batch are exactly the names of `schema.tensors()`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.catalogue import KINDS, Catalogue, pack_features
from features.derived import Derivation
from features.derived import Items as GatheredItems
from features.schema import SIDES, Feature, FeatureSchema, Kind, Side
from features.values import ABSENT, STANDARDISED_LIMIT, Column, Float32, Int32, encode_column

Int64 = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

OTHER: Final = "other"  # what an unknown feature is counted under: a caller makes no new names


@dataclass(frozen=True)
class Override:
    """Encoded values that replace what the catalogue says of some items."""

    side: str  # "history" | "candidate"
    kind: Kind
    columns: Sequence[int]  # of the packed array of that kind
    places: Int64  # (n,) into the concatenated items of that side
    values: Column  # (n, len(columns))


@dataclass(frozen=True)
class Lists:
    """B lists by catalogue row; ragged sides are concatenated, offsets (B + 1,) cut them."""

    user_categorical: Int32  # (B, Uc)
    user_bag: Int32  # (B, Lu)
    user_numeric: Float32  # (B, 2·Un)
    history_rows: Int64  # (ΣN,)
    history_offsets: Int64
    candidate_rows: Int64  # (ΣM,)
    candidate_offsets: Int64
    context_categorical: Int32  # (ΣM, Cc)
    context_bag: Int32  # (ΣM, Lc)
    context_numeric: Float32  # (ΣM, 2·Cn)
    derived: Float32 | None = None  # (ΣM, D) raw; computed from the catalogue where None
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class RawItems:
    """Items of a request: ids, and one column a feature given inline (ABSENT where not given)."""

    ids: Sequence[str]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One list in raw values, as a caller knows it. History newest first."""

    user: Mapping[str, Any]
    history: RawItems
    candidates: RawItems


@dataclass(frozen=True)
class Counts:
    """What a request held that the schema or the catalogue did not know."""

    unknown_items: int
    unknown_features: Mapping[str, int]
    history_cut: int


class Encoder:
    """Encodes lists of one schema against one catalogue. Safe to share between threads."""

    def __init__(self, schema: FeatureSchema, catalogue: Catalogue) -> None:
        self.schema, self.catalogue = schema, catalogue
        self._derivation = Derivation(schema, catalogue.statistics) if schema.derived else None
        self._derived_mean = np.array([f.mean for f in schema.derived])
        self._derived_scale = np.array([f.scale for f in schema.derived])
        self._item = {f.name: f for f in schema.item}
        self._context = {f.name: f for f in schema.context}
        self._user = {f.name: f for f in schema.user}
        self._columns = {f.name: columns_of(schema.item, f) for f in schema.item}
        names = {spec.name for spec in schema.tensors()}
        self._packed = {  # the packed arrays of each side that have columns
            side: [kind for kind in KINDS if f"{side}_{kind}" in names] for side in SIDES
        }
        self._given = {  # what a request brings of its own, by side and kind
            (side, kind): [f for f in features if f.kind == kind]
            for side, features in (("user", schema.user), ("context", schema.context))
            for kind in KINDS
        }

    def encode(self, lists: Lists) -> Arrays:
        """Padded arrays of a batch, keyed and typed as `schema.tensors()` says."""
        history = self._gather(lists, "history", lists.history_rows)
        candidates = self._gather(lists, "candidate", lists.candidate_rows)
        derived = self._derived(lists, history, candidates)
        arrays = self._pad("history", history, lists.history_offsets)
        packed = {
            "categorical": [candidates["categorical"], lists.context_categorical],
            "bag": [candidates["bag"], lists.context_bag],
            "numeric": [candidates["numeric"], lists.context_numeric, derived],
        }
        joined = {kind: _join(parts) for kind, parts in packed.items()}
        arrays |= self._pad("candidate", joined, lists.candidate_offsets)
        for kind in self._packed["user"]:
            arrays[f"user_{kind}"] = getattr(lists, f"user_{kind}").astype(_dtype(kind), copy=False)
        return arrays

    def derive(self, lists: Lists) -> Float32:
        """(ΣM, D) raw derived features, list by list."""
        history = self._gather(lists, "history", lists.history_rows)
        candidates = self._gather(lists, "candidate", lists.candidate_rows)
        return self._compute(lists, history, candidates)

    def encode_request(self, request: Request) -> tuple[Arrays, Counts]:
        """Arrays of one request (B = 1) and what it held that is unknown.

        History beyond the trained length is cut to the newest. Raises ValueRefused naming the
        field for a value that its feature cannot read.
        """
        lists, counts = self.lists_of(request)
        return self.encode(lists), counts

    def lists_of(self, request: Request) -> tuple[Lists, Counts]:
        """A request as Lists (B = 1)."""
        kept = request.history.ids[: self.schema.max_history]
        history, candidates = self.catalogue.rows(kept), self.catalogue.rows(request.candidates.ids)
        unknown: dict[str, int] = {}
        overrides = [
            *self._overrides("history", request.history.columns, len(kept), unknown),
            *self._overrides("candidate", request.candidates.columns, len(candidates), unknown),
        ]
        context = self._context_columns(request.candidates)
        user = self._user_columns(request.user, unknown)
        packed = {
            f"{side}_{kind}": pack_features(self._given[side, kind], kind, columns, count, param)
            for side, columns, count, param in (
                ("user", user, 1, _user_param),
                ("context", context, len(candidates), _candidate_param),
            )
            for kind in KINDS
        }
        lists = Lists(
            history_rows=history, history_offsets=np.array([0, len(history)]),
            candidate_rows=candidates, candidate_offsets=np.array([0, len(candidates)]),
            overrides=tuple(overrides), **packed,
        )  # fmt: skip
        known = int(np.count_nonzero(candidates) + np.count_nonzero(history))
        cold = len(candidates) + len(history) - known
        return lists, Counts(cold, unknown, len(request.history.ids) - len(kept))

    def _gather(self, lists: Lists, side: str, rows: Int64) -> dict[str, Column]:
        """Packed features of the items, inline values in place of the catalogue's."""
        catalogue = self.catalogue
        gathered: dict[str, Column] = {
            "categorical": catalogue.categorical.take(rows, axis=0),  # a third of [rows]'s time
            "bag": catalogue.bag.take(rows, axis=0),
            "numeric": catalogue.numeric.take(rows, axis=0),
        }
        for one in lists.overrides:
            if one.side == side:
                gathered[one.kind][one.places[:, None], one.columns] = one.values
        return gathered

    def _derived(
        self, lists: Lists, history: dict[str, Column], candidates: dict[str, Column]
    ) -> Float32:
        """(ΣM, D) standardised derived features."""
        if self._derivation is None:
            return np.zeros((len(lists.candidate_rows), 0), np.float32)
        raw = self._compute(lists, history, candidates) if lists.derived is None else lists.derived
        standardised = raw - self._derived_mean
        standardised /= self._derived_scale
        np.minimum(standardised, STANDARDISED_LIMIT, out=standardised)
        np.maximum(standardised, -STANDARDISED_LIMIT, out=standardised)
        return np.asarray(standardised, np.float32)

    def _compute(
        self, lists: Lists, history: dict[str, Column], candidates: dict[str, Column]
    ) -> Float32:
        assert self._derivation is not None, "the schema has no derived features"
        ends = zip(lists.history_offsets.tolist(), lists.history_offsets[1:].tolist(),
                   lists.candidate_offsets.tolist(), lists.candidate_offsets[1:].tolist(),
                   strict=False)  # fmt: skip
        computed = [
            self._derivation.compute(_slice(lists.history_rows, history, h, h_end),
                                     _slice(lists.candidate_rows, candidates, c, c_end))
            for h, h_end, c, c_end in ends
        ]  # fmt: skip
        nothing = np.zeros((0, len(self.schema.derived)), np.float32)
        return computed[0] if len(computed) == 1 else np.concatenate([nothing, *computed])

    def _pad(self, side: Side, packed: Mapping[str, Column], offsets: Int64) -> Arrays:
        """Padded (B, longest, width) arrays and the mask of one ragged side."""
        lists = len(offsets) - 1
        if lists == 1:  # nothing to pad: the whole of a request
            arrays: Arrays = {f"{side}_mask": np.ones((1, int(offsets[1] - offsets[0])), np.bool_)}
            for kind in self._packed[side]:
                arrays[f"{side}_{kind}"] = packed[kind].astype(_dtype(kind), copy=False)[None]
            return arrays
        lengths = np.diff(offsets)
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]  # (B, longest)
        arrays = {f"{side}_mask": mask}
        for kind in self._packed[side]:
            array = np.zeros((*mask.shape, packed[kind].shape[1]), _dtype(kind))
            array[mask] = packed[kind]
            arrays[f"{side}_{kind}"] = array
        return arrays

    def _overrides(
        self, side: str, columns: Mapping[str, Sequence[Any]], count: int, unknown: dict[str, int]
    ) -> list[Override]:
        """Encode the item features given inline; count those that no feature reads."""
        overrides = []
        for name, values in columns.items():
            if (feature := self._item.get(name)) is None:
                if side == "history" or name not in self._context:
                    _count_unknown(unknown, self._known_or_other(name))
                continue
            given = [i for i, value in enumerate(values[:count]) if value is not ABSENT]
            if not given:
                continue
            param = partial(_given_param, side, name, given)
            encoded = encode_column(feature, [values[i] for i in given], param)
            places = np.array(given, np.int64)
            replacing = encoded.reshape(len(given), -1)
            overrides.append(Override(side, feature.kind, self._columns[name], places, replacing))
        return overrides

    def _context_columns(self, candidates: RawItems) -> dict[str, list[Any]]:
        return {
            name: [None if value is ABSENT else value for value in candidates.columns[name]]
            for name in self._context
            if name in candidates.columns
        }

    def _user_columns(
        self, user: Mapping[str, Any], unknown: dict[str, int]
    ) -> dict[str, list[Any]]:
        for name in user:
            if name not in self._user:
                _count_unknown(unknown, self._known_or_other(name))
        return {name: [user[name]] for name in self._user if name in user}

    def _known_or_other(self, name: str) -> str:
        """A schema name given in the wrong place keeps its name; anything else is `other`."""
        known = name in self._item or name in self._context or name in self._user
        return name if known else OTHER


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name most like this one, for error messages."""
    return next(iter(difflib.get_close_matches(name, known, 1, 0.6)), None)


def columns_of(features: Sequence[Feature], feature: Feature) -> list[int]:
    """Columns of one feature in the packed array of its kind."""
    same = [f for f in features if f.kind == feature.kind]
    place = same.index(feature)
    if feature.kind == "numeric":
        return [place, len(same) + place]
    start = sum(f.width for f in same[:place])
    return list(range(start, start + feature.width))


def _count_unknown(unknown: dict[str, int], name: str) -> None:
    unknown[name] = unknown.get(name, 0) + 1


def _slice(rows: Int64, gathered: Mapping[str, Column], start: int, end: int) -> GatheredItems:
    return GatheredItems(
        rows[start:end],
        gathered["bag"][start:end],
        gathered["numeric"][start:end],
    )


def _join(parts: Sequence[Column]) -> Column:
    filled = [part for part in parts if part.shape[1]]
    if len(filled) == 1:
        return filled[0]
    return np.concatenate(filled or [parts[0]], 1)


def _dtype(kind: str) -> type[np.float32] | type[np.int64]:
    return np.float32 if kind == "numeric" else np.int64


def _param(side: str, place: int, name: str) -> str:
    return f"{'candidates' if side == 'candidate' else side}[{place}].features.{name}"


def _given_param(side: str, name: str, given: Sequence[int], place: int) -> str:
    return _param(side, given[place], name)


def _user_param(name: str, place: int) -> str:
    return f"user.features.{name}"


def _candidate_param(name: str, place: int) -> str:
    return _param("candidate", place, name)
