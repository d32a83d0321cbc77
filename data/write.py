"""Writes a dataset: ids become numbers, raw columns become arrays, statistics become features.

Vocabularies and scales come from train (data/vocabulary.py), derived statistics from train's side
of the split (data/statistics.py). The catalogue, valid and test get all of these; a training row
gets what the other 95% of the people did. Lists without both labels that lie on train's
side are counted too: a showing nobody clicked is evidence (on ML-100K, click rate alone gains a
point of valid NDCG@10 by it).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tqdm import tqdm

from data.coded import Coded, Flags
from data.dataset import SPLITS, Dataset, Int64, ragged
from data.lists import Described
from data.progress import bar
from data.statistics import BLOCK, count, fit_folds, fit_statistics, fold_of_users
from data.vocabulary import fit_schema, mean_and_scale
from features.catalogue import KINDS, Catalogue, pack_features
from features.derived import Statistics, derived_names
from features.encode import Encoder
from features.schema import Feature, FeatureSchema

CHUNK_LISTS = 512  # lists whose derived features are computed between two ticks of the bar
CHUNK_ROWS = 100_000
SCALE_LISTS = 100_000  # train lists, evenly spaced, that means and scales of derived features see
# columns of these that are taken at a time, which bounds the memory; always so many where there
# are, because numpy adds up a single column in another order
SCALE_COLUMNS = 4
FOLDS = 20  # out-of-fold statistics then rest on 95% of the people, as test-time ones do on all


def write(
    log: Described,
    coded: Coded,
    folder: Path,
    facts: dict[str, Any],
    *,
    derived: bool,
    seed: int,
    scratch: Path,
) -> None:
    """Write a dataset into a new folder; `scratch` is one for what memory should not hold."""
    schema = fit_schema(log, coded)
    if derived:
        names = derived_names(schema)
        schema = schema.model_copy(
            update={"derived": tuple(Feature(name=name, kind="numeric") for name in names)}
        )
    catalogue = _catalogue(log, coded, schema)
    (folder / "arrays").mkdir(parents=True)
    _write_lists(folder, coded)
    _write_rest(folder, coded)
    _write_users(folder, coded.users, schema)
    log.items.write_parquet(folder / "items.parquet")
    _write_context(folder, coded, schema)
    catalogue.save(folder / "catalogue")
    _seal(folder, schema, facts)
    if derived:
        _seal(folder, _derive(Dataset.load(folder), coded, seed, scratch), facts)


def _catalogue(log: Described, coded: Coded, schema: FeatureSchema) -> Catalogue:
    """All items with the statistics of train's side."""
    items, title = coded.items, log.spec.title
    columns = {feature.name: items[feature.name].to_list() for feature in schema.item}
    titles = None
    if title is not None:
        ids = items["item_id"]
        titles = items.select(pl.col(title).cast(pl.String).fill_null(ids)).to_series().to_list()
    empty = Statistics.empty(len(items) + 1)
    blank = Catalogue.build(items["item_id"].to_list(), columns, schema, empty, titles)
    seen = coded.impressions(_counted(coded))
    statistics = fit_statistics(seen, len(items) + 1, blank.bag, schema)
    return Catalogue(
        blank.ids, blank.categorical, blank.bag, blank.numeric, statistics, blank.titles
    )


def _counted(coded: Coded) -> Flags:
    """(L,) whether a list counts in the statistics."""
    return coded.chosen("train", "statistics")


def _write_lists(folder: Path, coded: Coded) -> None:
    chosen = coded.chosen(*SPLITS)
    kept, rows = coded.lists.filter(pl.Series(chosen)), coded.of_rows(chosen)
    split = kept["split"].replace_strict(list(SPLITS), list(range(len(SPLITS))))
    arrays: dict[str, np.ndarray] = {
        "list_user": kept["user"].to_numpy().astype(np.int32),
        "list_split": split.to_numpy().astype(np.uint8),
        "timestamp": kept["timestamp"].to_numpy(),
        "history_start": kept["history_start"].to_numpy(),
        "history_length": kept["history_length"].to_numpy().astype(np.int32),
        "candidate_offsets": np.concatenate([[0], np.cumsum(kept["length"].to_numpy())]),
        "candidate_row": coded.row[rows].astype(np.int32),
        "label": coded.positive[rows].astype(np.uint8),
        "acted": coded.acted.astype(np.int32),
        **_dates(coded.lists, len(coded.users)),
    }
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    kept.select("list_id").write_parquet(folder / "lists.parquet")


def _dates(lists: pl.DataFrame, users: int) -> dict[str, np.ndarray]:
    """Whose and when what is in `acted` was, which has each user's lists newest first."""
    user, counted = lists["user"].to_numpy().astype(np.int64), lists["counted"].to_numpy()
    newest_first = np.lexsort((-np.arange(len(user)), user))
    times = np.repeat(lists["timestamp"].to_numpy()[newest_first], counted[newest_first])
    of_user = np.bincount(user, counted, users).astype(np.int64)
    return {"acted_timestamp": times, "acted_offsets": np.concatenate([[0], np.cumsum(of_user)])}


def _write_rest(folder: Path, coded: Coded) -> None:
    """What the lists that are not ranked showed: statistics of the whole log count them too."""
    left_out = ~coded.chosen(*SPLITS)
    lists, rows = coded.lists.filter(pl.Series(left_out)), coded.of_rows(left_out)
    arrays = {
        "rest_user": lists["user"].to_numpy().astype(np.int32),
        "rest_offsets": np.concatenate([[0], np.cumsum(lists["length"].to_numpy())]),
        "rest_row": coded.row[rows].astype(np.int32),
        "rest_label": coded.positive[rows].astype(np.uint8),
    }
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)


def _write_users(folder: Path, users: pl.DataFrame, schema: FeatureSchema) -> None:
    columns = {feature.name: users[feature.name].to_list() for feature in schema.user}
    for kind in KINDS:
        wanted = [feature for feature in schema.user if feature.kind == kind]
        packed = pack_features(wanted, kind, columns, len(users))
        np.save(folder / "arrays" / f"user_{kind}.npy", packed)
    users.write_parquet(folder / "users.parquet")


def _write_context(folder: Path, coded: Coded, schema: FeatureSchema) -> None:
    """Encoded context columns, and the raw ones beside them, a chunk at a time."""
    from pyarrow.parquet import ParquetWriter

    kept = coded.of_rows(coded.chosen(*SPLITS))
    total = int(kept.sum())
    for kind in KINDS:
        width = sum(feature.width for feature in schema.context if feature.kind == kind)
        dtype = np.float32 if kind == "numeric" else np.int32
        np.lib.format.open_memmap(_context_path(folder, kind), "w+", dtype, (total, width)).flush()
    if not schema.context:
        return
    start, writer = 0, None
    names = [feature.name for feature in schema.context]
    with bar("writing", total, "row", rows=total) as progress:
        for part in _rechunked(coded.columns(names, kept), CHUNK_ROWS):
            _write_part(folder, schema, start, part.to_dict(as_series=False), len(part))
            table = part.to_arrow()
            writer = writer or ParquetWriter(folder / "context.parquet", table.schema)
            writer.write_table(table)
            start += len(part)
            progress.update(len(part))
    if writer:
        writer.close()


def _write_part(
    folder: Path, schema: FeatureSchema, start: int, columns: dict[str, list[Any]], count: int
) -> None:
    """Encode some rows into the context arrays, which are mapped no longer than that takes."""
    for kind in KINDS:
        if wanted := [feature for feature in schema.context if feature.kind == kind]:
            array = np.lib.format.open_memmap(_context_path(folder, kind), "r+")
            array[start : start + count] = pack_features(wanted, kind, columns, count)


def _context_path(folder: Path, kind: str) -> Path:
    return folder / "arrays" / f"context_{kind}.npy"


def _rechunked(frames: Iterable[pl.DataFrame], size: int) -> Iterator[pl.DataFrame]:
    """The same rows in frames of `size`, and what is left: files do not show how they were cut."""
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        while sum(map(len, held)) >= size:
            joined = pl.concat(held, rechunk=True)
            yield joined[:size]
            held = [joined[size:]]
    if sum(map(len, held)):
        yield pl.concat(held, rechunk=True)


def _derive(dataset: Dataset, coded: Coded, seed: int, scratch: Path) -> FeatureSchema:
    """Write the derived features of all lists; the schema with train's means and scales."""
    schema, offsets = dataset.schema, np.concatenate([[0], np.cumsum(dataset.lengths)])
    path = dataset.folder / "arrays" / "derived.npy"
    shape = (int(offsets[-1]), len(schema.derived))
    np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()
    fold = fold_of_users(len(coded.users), FOLDS, seed)
    train = dataset.splits["train"]
    own_fold = fold[coded.lists.filter(pl.Series(coded.chosen("train")))["user"].to_numpy()]
    others = _of_the_others(dataset, coded, fold, scratch)
    with bar("derived statistics", len(dataset), "list", rows=shape[0]) as progress:
        for number, statistics in enumerate(others):
            _derive_lists(dataset, statistics, train[own_fold == number], path, progress)
        held_out = np.concatenate([dataset.splits["valid"], dataset.splits["test"]])
        _derive_lists(dataset, dataset.catalogue.statistics, held_out, path, progress)
    sample = train[:: -(-len(train) // SCALE_LISTS)]
    return schema.model_copy(update={"derived": _scaled(schema, path, offsets, dataset, sample)})


def _of_the_others(dataset: Dataset, coded: Coded, fold: Int64, scratch: Path) -> list[Statistics]:
    """For each fold the statistics of the people who are not in it."""
    catalogue, counted = dataset.catalogue, _counted(coded)
    rows = len(catalogue) + 1
    of_list = fold[coded.lists["user"].to_numpy()]
    with bar("counting by fold", FOLDS, "fold", rows=len(coded.row)) as progress:
        counts = []
        for number in range(FOLDS):
            counts.append(count(coded.impressions(counted & (of_list == number)), rows))
            progress.update()
    with bar("neighbours", FOLDS * -(-rows // BLOCK), "block", rows=len(coded.row)) as progress:
        return fit_folds(
            counts, catalogue.bag, dataset.schema, scratch / "folds", tick=progress.update
        )


def _derive_lists(
    dataset: Dataset, statistics: Statistics, indexes: Int64, path: Path, progress: tqdm[Any]
) -> None:
    """Fill in the derived features of some lists by the service's own code."""
    known = dataset.catalogue
    catalogue = Catalogue(known.ids, known.categorical, known.bag, known.numeric, statistics)
    encoder = Encoder(dataset.schema, catalogue)
    offsets = np.concatenate([[0], np.cumsum(dataset.lengths)])
    for start in range(0, len(indexes), CHUNK_LISTS):
        chosen = indexes[start : start + CHUNK_LISTS]
        places, _ = ragged(offsets[chosen], dataset.lengths[chosen])
        made = encoder.derive(replace(dataset.lists(chosen), derived=None))
        np.lib.format.open_memmap(path, "r+")[places] = made  # mapped no longer than that takes
        progress.update(len(chosen))


def _scaled(
    schema: FeatureSchema, path: Path, offsets: Int64, dataset: Dataset, sample: Int64
) -> tuple[Feature, ...]:
    """The derived features with mean and scale of the sampled lists."""
    taken = np.concatenate([
        np.lib.format.open_memmap(path, "r")[ragged(offsets[part], dataset.lengths[part])[0]]
        for part in np.array_split(sample, -(-len(sample) // CHUNK_LISTS))
    ])  # fmt: skip
    fitted: list[Feature] = []
    columns = len(schema.derived)
    for start in range(0, columns, SCALE_COLUMNS):
        names = schema.derived[start : start + SCALE_COLUMNS]
        first = max(0, min(start, columns - SCALE_COLUMNS))
        means, scales = mean_and_scale(taken[:, first : first + SCALE_COLUMNS])
        fitted += [
            Feature(name=feature.name, kind="numeric", mean=mean, scale=scale)
            for feature, mean, scale in zip(
                names, means[start - first :], scales[start - first :], strict=True
            )
        ]
    return tuple(fitted)


def _seal(folder: Path, schema: FeatureSchema, facts: dict[str, Any]) -> None:
    """Write the schema and the description that names its fingerprint."""
    schema.save(folder / "schema.json")
    info = facts | {"fingerprint": schema.fingerprint()}
    text = json.dumps(info, ensure_ascii=False, indent=1)
    (folder / "info.json").write_text(text, encoding="utf-8")
