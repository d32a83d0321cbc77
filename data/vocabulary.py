"""Feature declarations become a schema: vocabularies, means and scales, from train lists only.

A value is counted once for each distinct training user or item that holds it (an id: once for each
training list that shows it; a context value: once for each training row), so that a tag counts the
films it joins, however popular they are. Values below `min_count` share the unknown bucket, which
training therefore sees even before any random replacement. Vocabularies are sorted by count, then
by value: the same log always gives the same schema.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from data.lists import Arranged, FeatureSpec, RawLog
from features.schema import Feature, FeatureSchema

LONGEST_BAG = 16  # ids kept of a bag whose declaration does not say


def fit_schema(log: RawLog, arranged: Arranged) -> FeatureSchema:
    """The schema of a log, without derived features."""
    spec = log.spec
    lists = arranged.lists.filter(pl.col("split") == "train")
    rows = arranged.rows.join(lists.select("list_id"), on="list_id", how="semi")
    users = log.users.join(lists, on="user_id", how="semi")
    items = log.items.join(rows, on="item_id", how="semi")
    return FeatureSchema(
        name=spec.name,
        user=fit_features(spec.user, users, {"user_id": lists["user_id"]}),
        item=fit_features(spec.item, items, {"item_id": rows["item_id"]}),
        context=fit_features(spec.context, rows, {}),
        max_history=spec.max_history,
        max_candidates=int(lists["length"].max()),  # type: ignore[arg-type]
        list_size=spec.list_size,
        positive=spec.positive,
    )


def fit_features(
    specs: Sequence[FeatureSpec], table: pl.DataFrame, ids: dict[str, pl.Series]
) -> tuple[Feature, ...]:
    """Fit each feature to its column of the training table, or to the occurrences of an id."""
    fit = {"categorical": _categorical, "bag": _bag, "numeric": _numeric}
    return tuple(
        fit[spec.kind](spec, ids[spec.name] if spec.name in ids else table[spec.name])
        for spec in specs
    )


def _categorical(spec: FeatureSpec, values: pl.Series) -> Feature:
    return Feature(name=spec.name, kind="categorical", vocabulary=_frequent(spec, values))


def _bag(spec: FeatureSpec, values: pl.Series) -> Feature:
    longest = int(values.list.len().max() or 1)  # type: ignore[arg-type]
    return Feature(
        name=spec.name,
        kind="bag",
        vocabulary=_frequent(spec, values.list.unique().explode()),
        max_length=spec.max_length or min(max(longest, 1), LONGEST_BAG),
    )


def _frequent(spec: FeatureSpec, values: pl.Series) -> tuple[str, ...]:
    counts = values.drop_nulls().alias("value").value_counts(name="count")
    counts = counts.filter(pl.col("count") >= spec.min_count)
    return tuple(counts.sort(["count", "value"], descending=[True, False])["value"])


def _numeric(spec: FeatureSpec, values: pl.Series) -> Feature:
    numbers = values.drop_nulls().to_numpy()
    if spec.transform == "log":
        numbers = np.sign(numbers) * np.log1p(np.abs(numbers))
    mean, scale = mean_and_scale(numbers[:, None])
    return Feature(
        name=spec.name, kind="numeric", transform=spec.transform, mean=mean[0], scale=scale[0]
    )


def mean_and_scale(numbers: np.ndarray) -> tuple[list[float], list[float]]:
    """Column means and standard deviations of (n, F) numbers; scale 1 where nothing varies."""
    if not len(numbers):
        return [0.0] * numbers.shape[1], [1.0] * numbers.shape[1]
    mean = numbers.mean(0, dtype=np.float64)
    spread = numbers.std(0, dtype=np.float64)
    constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1.0)
    return mean.tolist(), np.where(constant, 1.0, spread).tolist()
