"""A bundle's catalogue brought up to date with a new dataset, by raw values.

A dataset has a schema of its own, fitted to its own log: its numbers mean other values than the
bundle's do. So nothing encoded is taken over: the raw values of items.parquet are read again with
the bundle's vocabularies, means and scales, as the service reads what a request brings.

An item that the new log does not describe keeps what the bundle knows of it.
R rows of the new catalogue, Rd of the dataset's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from data.dataset import Dataset, Int64
from data.lists import Positive
from features.catalogue import KINDS, Catalogue
from features.derived import Statistics
from features.encode import columns_of
from features.errors import SchemaError, ValueRefused
from features.schema import UNKNOWN, Feature, FeatureSchema

SIDES = ("user", "item", "context")


class Unknown(NamedTuple):
    """Values that the bundle's vocabulary lacks."""

    items: int  # that hold one
    example: str


@dataclass(frozen=True)
class Merged:
    """The new catalogue, without statistics as yet, and what became of the old one's items."""

    catalogue: Catalogue
    rows: Int64  # (Rd,) where the dataset's items stand in it
    came: int
    changed: int  # have other features than before
    same: int
    unseen: int  # are not in the new log, kept or dropped
    unknown: dict[str, Unknown]  # by item feature


def refuse_other_features(schema: FeatureSchema, dataset: Dataset) -> None:
    """Raise SchemaError naming what the model reads and the dataset lacks or means otherwise."""
    wrong = []
    for side in SIDES:
        theirs = {feature.name: feature for feature in getattr(dataset.schema, side)}
        for feature in getattr(schema, side):
            other = theirs.get(feature.name)
            if other is None:
                wrong.append(f"[{side}.{feature.name}] ({feature.kind}) is missing")
            elif other.kind != feature.kind:
                wrong.append(f"[{side}.{feature.name}] is {other.kind}, not {feature.kind}")
    if wrong:
        raise SchemaError(
            f"{dataset.folder} is not described as the model's data were: {'; '.join(wrong)}. "
            "Mend its schema.toml and prepare it again, or train a model on it."
        )
    rules = [Positive.parse(one.positive) for one in (schema, dataset.schema)]
    if rules[0] != rules[1]:
        raise SchemaError(
            f'{dataset.folder} counts labels of "{dataset.schema.positive}" as positive, and the '
            f'model learned with "{schema.positive}": its click rates would mean something else. '
            "Mend its schema.toml and prepare it again."
        )


def ignored_features(schema: FeatureSchema, dataset: Dataset) -> list[str]:
    """What the dataset has and the model does not read, as schema.toml names it."""
    return [
        f"[{side}.{feature.name}]"
        for side in SIDES
        for feature in getattr(dataset.schema, side)
        if feature.name not in {one.name for one in getattr(schema, side)}
    ]


def merge(
    old: Catalogue, schema: FeatureSchema, dataset: Dataset, *, drop_unseen: bool = False
) -> Merged:
    """Read the dataset's items with `schema`; raises SchemaError for a value that it cannot read.

    Old items come first, in their order, so that the same log gives the same catalogue.
    """
    known, logged = set(old.ids), set(dataset.catalogue.ids)
    described = dataset.items
    bare = [one for one in dataset.catalogue.ids if one not in known]
    read = _read(described, bare, schema, dataset)
    ids = [one for one in old.ids if one in logged or not drop_unseen] + bare
    catalogue, differs = _combined(ids, old, read, dataset)
    both = sum(one in logged for one in old.ids)
    return Merged(
        catalogue,
        np.concatenate([[0], catalogue.rows(dataset.catalogue.ids)]),
        came=len(bare),
        changed=differs,
        same=both - differs,
        unseen=len(known) - both,
        unknown=_unknown(described, read, schema),
    )


def _read(
    described: pl.DataFrame, bare: Sequence[str], schema: FeatureSchema, dataset: Dataset
) -> Catalogue:
    """The described items and, by their ids alone, others that are new."""
    ids = described["item_id"].to_list()
    listed = set(ids)
    ids += [one for one in bare if one not in listed]
    more: list[Any] = [None] * (len(ids) - len(described))
    columns = {
        feature.name: ids if feature.name == "item_id"
        else described[feature.name].to_list() + more
        for feature in schema.item
    }  # fmt: skip
    try:
        return Catalogue.build(ids, columns, schema, Statistics.empty(len(ids) + 1))
    except ValueRefused as error:
        raise SchemaError(
            f"{dataset.folder / 'items.parquet'}, {error}: the model reads another kind of value "
            "there. Mend the items table and prepare it again."
        ) from error


def _combined(
    ids: list[str], old: Catalogue, read: Catalogue, dataset: Dataset
) -> tuple[Catalogue, int]:
    """What was read, else what was known; and how many known items were read otherwise."""
    before, now = old.rows(ids), read.rows(ids)
    differs = np.zeros(len(ids), np.bool_)
    arrays = []
    for kind in KINDS:
        known, found = getattr(old, kind)[before], getattr(read, kind)[now]
        differs |= (known != found).any(1)
        chosen = np.where((now > 0)[:, None], found, known)
        arrays.append(np.concatenate([getattr(read, kind)[:1], chosen]))
    titles, new = None, dataset.catalogue
    if new.titles is not None:
        titles = [
            new.title(one) if place and one in new else old.title(one)
            for one, place in zip(ids, now.tolist(), strict=True)
        ]
    elif old.titles is not None:
        titles = [old.title(one) for one in ids]
    catalogue = Catalogue(ids, *arrays, Statistics.empty(len(ids) + 1), titles)
    return catalogue, int((differs & (before > 0) & (now > 0)).sum())


def _unknown(described: pl.DataFrame, read: Catalogue, schema: FeatureSchema) -> dict[str, Unknown]:
    """By feature, the described items with a value that its vocabulary lacks."""
    found = {}
    for feature in schema.item:
        if feature.kind != "numeric":
            values = described[feature.name].to_list()
            packed = getattr(read, feature.kind)[1 : len(values) + 1]
            holds = (packed[:, columns_of(schema.item, feature)] == UNKNOWN).any(1)
            odd = [values[i] for i in np.flatnonzero(holds).tolist() if values[i] is not None]
            if odd:
                found[feature.name] = Unknown(len(odd), _example(feature, odd[0]))
    return found


def _example(feature: Feature, value: Any) -> str:
    if feature.kind == "bag":
        value = next(one for one in value if one not in feature.index)
    return str(value)[:40]
