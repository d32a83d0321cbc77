"""Writes a dataset: ids become numbers, raw columns become arrays, statistics become features.

Vocabularies and scales come from train (data/vocabulary.py), derived statistics from train's side
of the split (data/statistics.py). The catalogue, valid and test get all of these; a training row
gets what the other 95% of the people did. Lists without both labels that lie on train's
side are counted too: a showing nobody clicked is evidence (on ML-100K, click rate alone gains a
point of valid NDCG@10 by it).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from data.dataset import SPLITS, Dataset, Int64, ragged
from data.lists import Arranged, RawLog
from data.statistics import Impressions, fit_statistics, fold_of_users
from data.vocabulary import fit_schema, mean_and_scale
from features.catalogue import KINDS, Catalogue, pack_features
from features.derived import Statistics, derived_names
from features.encode import Encoder
from features.schema import Feature, FeatureSchema

CHUNK_LISTS = 512  # lists whose derived features are computed between two ticks of the bar
CHUNK_ROWS = 100_000
SCALE_LISTS = 100_000  # train lists, evenly spaced, that means and scales of derived features see
FOLDS = 20  # out-of-fold statistics then rest on 95% of the people, as test-time ones do on all


@dataclass(frozen=True)
class Coded:
    """An arranged log with dense numbers in place of ids."""

    lists: pl.DataFrame  # of Arranged, with `user`, a row of `users`
    row: Int64  # (rows,) catalogue row of each impression
    positive: np.ndarray  # (rows,) bool
    acted: Int64  # catalogue rows
    users: pl.DataFrame  # user_id and raw features
    items: pl.DataFrame  # item_id and raw features, row i of the catalogue at i - 1


def write(
    log: RawLog,
    arranged: Arranged,
    folder: Path,
    facts: dict[str, Any],
    *,
    derived: bool,
    seed: int,
) -> None:
    """Write a dataset into a new folder."""
    coded = code(log, arranged)
    schema = fit_schema(log, arranged)
    if derived:
        names = derived_names(schema)
        schema = schema.model_copy(
            update={"derived": tuple(Feature(name=name, kind="numeric") for name in names)}
        )
    catalogue = _catalogue(log, coded, schema)
    kept = coded.lists.filter(pl.col("split").is_in(SPLITS))
    (folder / "arrays").mkdir(parents=True)
    _write_lists(folder, coded, kept)
    _write_users(folder, coded.users, schema)
    _write_context(folder, arranged.rows, kept, schema)
    catalogue.save(folder / "catalogue")
    _seal(folder, schema, facts)
    if derived:
        _seal(folder, _derive(Dataset.load(folder), coded, kept, seed), facts)


def code(log: RawLog, arranged: Arranged) -> Coded:
    """Number users and items; items that were shown but not described join the catalogue."""
    users = arranged.lists.select("user_id").unique(maintain_order=True)
    shown = arranged.rows.select("item_id").unique().sort("item_id")
    bare = shown.join(log.items, on="item_id", how="anti")
    items = pl.concat([log.items, bare], how="diagonal")
    user_numbers = users.with_row_index("user")
    item_rows = items.select("item_id").with_row_index("row", offset=1)
    return Coded(
        lists=arranged.lists.join(user_numbers, on="user_id", how="left", maintain_order="left"),
        row=_looked_up(arranged.rows["item_id"], item_rows),
        positive=arranged.rows["positive"].to_numpy(),
        acted=_looked_up(arranged.acted, item_rows),
        users=users.join(log.users, on="user_id", how="left", maintain_order="left"),
        items=items,
    )


def _looked_up(items: pl.Series, rows: pl.DataFrame) -> Int64:
    found = items.to_frame("item_id").join(rows, on="item_id", how="left", maintain_order="left")
    return found["row"].to_numpy().astype(np.int64)


def _catalogue(log: RawLog, coded: Coded, schema: FeatureSchema) -> Catalogue:
    """All items with the statistics of train's side."""
    items, title = coded.items, log.spec.title
    columns = {feature.name: items[feature.name].to_list() for feature in schema.item}
    titles = None
    if title is not None:
        ids = items["item_id"]
        titles = items.select(pl.col(title).cast(pl.String).fill_null(ids)).to_series().to_list()
    empty = Statistics.empty(len(items) + 1)
    blank = Catalogue.build(items["item_id"].to_list(), columns, schema, empty, titles)
    lists = _statistics_lists(coded)
    statistics = _statistics(coded, lists, blank, schema)
    return Catalogue(
        blank.ids, blank.categorical, blank.bag, blank.numeric, statistics, blank.titles
    )


def _statistics_lists(coded: Coded) -> pl.DataFrame:
    return coded.lists.filter(pl.col("split").is_in(["train", "statistics"]))


def _statistics(
    coded: Coded, lists: pl.DataFrame, catalogue: Catalogue, schema: FeatureSchema
) -> Statistics:
    """The statistics of some lists."""
    length = lists["length"].to_numpy()
    places, _ = ragged(lists["first"].to_numpy(), length)
    shown = Impressions(
        user=np.repeat(lists["user"].to_numpy().astype(np.int64), length),
        row=coded.row[places],
        positive=coded.positive[places],
        lists=len(lists),
    )
    return fit_statistics(shown, len(catalogue) + 1, catalogue.bag, schema)


def _write_lists(folder: Path, coded: Coded, kept: pl.DataFrame) -> None:
    places, offsets = ragged(kept["first"].to_numpy(), kept["length"].to_numpy())
    split = kept["split"].replace_strict(list(SPLITS), list(range(len(SPLITS))))
    arrays: dict[str, np.ndarray] = {
        "list_user": kept["user"].to_numpy().astype(np.int32),
        "list_split": split.to_numpy().astype(np.uint8),
        "timestamp": kept["timestamp"].to_numpy(),
        "history_start": kept["history_start"].to_numpy(),
        "history_length": kept["history_length"].to_numpy().astype(np.int32),
        "candidate_offsets": offsets,
        "candidate_row": coded.row[places].astype(np.int32),
        "label": coded.positive[places].astype(np.uint8),
        "acted": coded.acted.astype(np.int32),
    }
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    kept.select("list_id").write_parquet(folder / "lists.parquet")


def _write_users(folder: Path, users: pl.DataFrame, schema: FeatureSchema) -> None:
    columns = {feature.name: users[feature.name].to_list() for feature in schema.user}
    for kind in KINDS:
        wanted = [feature for feature in schema.user if feature.kind == kind]
        packed = pack_features(wanted, kind, columns, len(users))
        np.save(folder / "arrays" / f"user_{kind}.npy", packed)
    users.write_parquet(folder / "users.parquet")


def _write_context(
    folder: Path, rows: pl.DataFrame, kept: pl.DataFrame, schema: FeatureSchema
) -> None:
    """Encoded context columns, a chunk at a time, and the raw ones beside them."""
    places, _ = ragged(kept["first"].to_numpy(), kept["length"].to_numpy())
    raw = rows[places].select(feature.name for feature in schema.context)
    for kind in KINDS:
        wanted = [feature for feature in schema.context if feature.kind == kind]
        width = sum(feature.width for feature in wanted)
        array = np.lib.format.open_memmap(
            folder / "arrays" / f"context_{kind}.npy", "w+",
            np.float32 if kind == "numeric" else np.int32, (len(places), width),
        )  # fmt: skip
        for start in range(0, len(places) if width else 0, CHUNK_ROWS):
            part = raw[start : start + CHUNK_ROWS]
            columns = part.to_dict(as_series=False)
            array[start : start + len(part)] = pack_features(wanted, kind, columns, len(part))
        array.flush()
    if schema.context:
        raw.write_parquet(folder / "context.parquet")


def _derive(dataset: Dataset, coded: Coded, kept: pl.DataFrame, seed: int) -> FeatureSchema:
    """Write the derived features of all lists; the schema with train's means and scales."""
    schema, offsets = dataset.schema, np.concatenate([[0], np.cumsum(dataset.lengths)])
    path = dataset.folder / "arrays" / "derived.npy"
    shape = (int(offsets[-1]), len(schema.derived))
    derived = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    fold = fold_of_users(len(coded.users), FOLDS, seed)
    own_fold = fold[kept["user"].to_numpy()]
    counted, train = _statistics_lists(coded), dataset.splits["train"]
    with tqdm(total=len(dataset), unit="list", desc="derived statistics") as bar:
        for number in range(FOLDS):
            others = counted.filter(pl.Series(fold[counted["user"].to_numpy()] != number))
            statistics = _statistics(coded, others, dataset.catalogue, schema)
            _derive_lists(dataset, statistics, train[own_fold[train] == number], derived, bar)
        held_out = np.concatenate([dataset.splits["valid"], dataset.splits["test"]])
        _derive_lists(dataset, dataset.catalogue.statistics, held_out, derived, bar)
    derived.flush()
    sample = train[:: -(-len(train) // SCALE_LISTS)]
    places, _ = ragged(offsets[sample], dataset.lengths[sample])
    means, scales = mean_and_scale(derived[places])
    fitted = tuple(
        Feature(name=feature.name, kind="numeric", mean=mean, scale=scale)
        for feature, mean, scale in zip(schema.derived, means, scales, strict=True)
    )
    return schema.model_copy(update={"derived": fitted})


def _derive_lists(
    dataset: Dataset, statistics: Statistics, indexes: Int64, derived: np.ndarray, bar: tqdm[Any]
) -> None:
    """Fill in the derived features of some lists by the service's own code."""
    known = dataset.catalogue
    catalogue = Catalogue(known.ids, known.categorical, known.bag, known.numeric, statistics)
    encoder = Encoder(dataset.schema, catalogue)
    offsets = np.concatenate([[0], np.cumsum(dataset.lengths)])
    for start in range(0, len(indexes), CHUNK_LISTS):
        chosen = indexes[start : start + CHUNK_LISTS]
        places, _ = ragged(offsets[chosen], dataset.lengths[chosen])
        derived[places] = encoder.derive(replace(dataset.lists(chosen), derived=None))
        bar.update(len(chosen))


def _seal(folder: Path, schema: FeatureSchema, facts: dict[str, Any]) -> None:
    """Write the schema and the description that names its fingerprint."""
    schema.save(folder / "schema.json")
    info = facts | {"fingerprint": schema.fingerprint()}
    text = json.dumps(info, ensure_ascii=False, indent=1)
    (folder / "info.json").write_text(text, encoding="utf-8")
