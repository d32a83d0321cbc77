"""Item features in raw values, as a caller would send them, read back from the catalogue.

A dataset keeps its items encoded. The value returned here encodes to what the catalogue holds: a
number up to float32's rounding and the cut of outliers, a category exactly; one that is out of the
vocabulary is missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from features.catalogue import Catalogue
from features.encode import columns_of
from features.schema import FIRST_KNOWN, Feature, FeatureSchema
from features.values import Column

DIGITS = 7  # as many as float32 can tell apart


class ItemFeatures:
    """Raw item features by id."""

    def __init__(self, schema: FeatureSchema, catalogue: Catalogue) -> None:
        self._schema, self._catalogue = schema, catalogue

    def columns(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """One column a feature, one value an id; None where it is missing."""
        rows = self._catalogue.rows(ids)
        found = {}
        for feature in self._schema.item:
            packed = getattr(self._catalogue, feature.kind)
            encoded = packed[rows][:, columns_of(self._schema.item, feature)]  # (n, width)
            found[feature.name] = [_raw(feature, one) for one in encoded]
        return found


def _raw(feature: Feature, encoded: Column) -> Any:
    if feature.kind == "numeric":
        value, missing = encoded.tolist()
        return None if missing else _number(feature, value)
    known = [
        feature.vocabulary[code - FIRST_KNOWN] for code in encoded.tolist() if code >= FIRST_KNOWN
    ]
    if feature.kind == "bag":
        return known or None
    return known[0] if known else None


def _number(feature: Feature, value: float) -> float:
    """The inverse of features.values.standardise."""
    number = value * feature.scale + feature.mean
    if feature.transform == "log":
        return float(f"{np.sign(number) * np.expm1(abs(number)):.{DIGITS}g}")
    return round(number, DIGITS - 1 - math.floor(math.log10(feature.scale)))
