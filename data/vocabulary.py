"""Feature declarations become a schema: vocabularies, means and scales, from train lists only.

A value is counted once for each distinct training user or item that holds it (an id: once for each
training list that shows it; a context value: once for each training row), so that a tag counts the
films it joins, however popular they are. Values below `min_count` share the unknown bucket, which
training therefore sees even before any random replacement. Vocabularies are sorted by count, then
by value: the same log always gives the same schema.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from data.coded import Coded
from data.lists import Described, FeatureSpec
from features.errors import DataError
from features.schema import Feature, FeatureSchema

LONGEST_BAG = 16  # ids kept of a bag whose declaration does not say


def fit_schema(log: Described, coded: Coded) -> FeatureSchema:
    """The schema of a log, without derived features; raises DataError where it cannot be one."""
    try:
        return _fitted(log, coded)
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise DataError(f"no schema can be made of {log.spec.name!r}: {first}.") from error


def _fitted(log: Described, coded: Coded) -> FeatureSchema:
    spec, train = log.spec, coded.chosen("train")
    lists = coded.lists.filter(pl.Series(train))
    rows, catalogue = coded.of_rows(train), len(coded.items) + 1
    showings = np.zeros(catalogue, np.int64)
    for part in coded.impressions(train):
        showings += np.bincount(part.row, minlength=catalogue)
    showings = showings[1:]
    users = log.users.join(lists, on="user_id", how="semi", maintain_order="left")
    items = log.items.filter(pl.Series(showings[: len(log.items)] > 0))
    shown = pl.DataFrame({"item_id": coded.items["item_id"], "count": showings})
    return FeatureSchema(
        name=spec.name,
        user=fit_features(spec.user, users, {"user_id": lists["user_id"]}),
        item=fit_features(spec.item, items, {"item_id": shown}),
        context=tuple(
            FIT[one.kind](one, (part[one.name] for part in coded.columns([one.name], rows)))
            for one in spec.context
        ),
        max_history=spec.max_history,
        max_candidates=int(lists["length"].max()),  # type: ignore[arg-type]
        list_size=spec.list_size,
        positive=spec.positive,
    )


def fit_features(
    specs: Sequence[FeatureSpec], table: pl.DataFrame, ids: Mapping[str, pl.Series | pl.DataFrame]
) -> tuple[Feature, ...]:
    """Fit each feature to its column of the training table; an id to its rows, or `count`."""
    return tuple(
        _of_counts(spec, ids[spec.name])
        if spec.name in ids and spec.kind == "categorical"
        else FIT[spec.kind](spec, [table[spec.name]])
        for spec in specs
    )


def _categorical(spec: FeatureSpec, parts: Iterable[pl.Series]) -> Feature:
    return Feature(name=spec.name, kind="categorical", vocabulary=_frequent(spec, parts))


def _of_counts(spec: FeatureSpec, ids: pl.Series | pl.DataFrame) -> Feature:
    counts = ids.value_counts(name="count") if isinstance(ids, pl.Series) else ids
    kept = counts.filter(pl.col("count") >= max(spec.min_count, 1))
    return Feature(name=spec.name, kind="categorical", vocabulary=_sorted(kept))


def _bag(spec: FeatureSpec, parts: Iterable[pl.Series]) -> Feature:
    lengths: list[int] = []

    def members() -> Iterator[pl.Series]:
        for values in parts:
            lengths.append(int(values.list.len().max() or 1))  # type: ignore[arg-type]
            yield values.list.unique().explode()

    vocabulary = _frequent(spec, members())
    longest = spec.max_length or min(max(1, *lengths), LONGEST_BAG)
    return Feature(name=spec.name, kind="bag", vocabulary=vocabulary, max_length=longest)


def _frequent(spec: FeatureSpec, parts: Iterable[pl.Series]) -> tuple[str, ...]:
    counts = pl.DataFrame(schema={"value": pl.String, "count": pl.UInt32})
    for values in parts:
        found = values.drop_nulls().cast(pl.String).alias("value").value_counts(name="count")
        joined = pl.concat([counts, found], how="vertical_relaxed")
        counts = joined.group_by("value").agg(pl.col("count").sum())
    return _sorted(counts.filter(pl.col("count") >= spec.min_count))


def _sorted(counts: pl.DataFrame) -> tuple[str, ...]:
    value = next(name for name in counts.columns if name != "count")
    return tuple(counts.sort(["count", value], descending=[True, False])[value])


def _numeric(spec: FeatureSpec, parts: Iterable[pl.Series]) -> Feature:
    # all at once: added up in pieces, a mean would differ in its last digits with their size
    known = np.concatenate([np.zeros(0), *(_transformed(spec, values) for values in parts)])
    mean, scale = mean_and_scale(known[:, None])
    return Feature(
        name=spec.name, kind="numeric", transform=spec.transform, mean=mean[0], scale=scale[0]
    )


def _transformed(spec: FeatureSpec, values: pl.Series) -> npt.NDArray[np.float64]:
    numbers = values.drop_nulls().to_numpy()
    return np.sign(numbers) * np.log1p(np.abs(numbers)) if spec.transform == "log" else numbers


FIT: dict[str, Callable[[FeatureSpec, Iterable[pl.Series]], Feature]] = {
    "categorical": _categorical, "bag": _bag, "numeric": _numeric,
}  # fmt: skip


def mean_and_scale(numbers: np.ndarray) -> tuple[list[float], list[float]]:
    """Column means and standard deviations of (n, F) numbers; scale 1 where nothing varies."""
    if not len(numbers):
        return [0.0] * numbers.shape[1], [1.0] * numbers.shape[1]
    mean = numbers.mean(0, dtype=np.float64)
    spread = numbers.std(0, dtype=np.float64)
    constant = spread <= 1e-6 * np.maximum(np.abs(mean), 1.0)
    return mean.tolist(), np.where(constant, 1.0, spread).tolist()
