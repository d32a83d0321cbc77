"""Drawn lists as the tables of a user's own log: impressions, items, users, and their declaration.

    psad simulate my_logs --lists 20000 --seed 0

writes them as files, with law.json beside them; data/sources/simulator.py hands them on directly.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w
from tqdm import tqdm

from data.lists import FeatureSpec, SourceSpec
from data.simulator.generate import LISTS, Lists, World, chunks
from data.simulator.law import Law
from features.errors import DataError

LISTS_BY_DEFAULT, ITEMS = 20_000, 500
LAW_FILE, FORMAT = "law.json", "psad simulator 1"
SPEC = SourceSpec(
    name="simulator",
    user=(
        FeatureSpec(name="segment", kind="categorical"),
        FeatureSpec(name="patience", kind="numeric"),
    ),
    item=(
        FeatureSpec(name="item_id", kind="categorical", min_count=2),
        FeatureSpec(name="topic", kind="categorical"),
        FeatureSpec(name="quality_hint", kind="numeric"),
    ),
    context=(FeatureSpec(name="score", kind="numeric"),),
    split="time",
    list_size=10,
    max_history=50,
    provenance="Simulated by the click law of docs/simulator.md, whose true values are known.",
)


def check_size(lists: int, items: int = ITEMS, seed: int = 0) -> None:
    """Raise DataError for what cannot be simulated."""
    for name, found, least in (("lists", lists, 1), ("items", items, 24), ("seed", seed, 0)):
        if found < least:
            raise DataError(f"{name} is {found}; give a whole number of at least {least}.")


def impressions(lists: Lists) -> pl.DataFrame:
    """One row an item shown, list by list from the top down."""
    row, place = np.nonzero(lists.item >= 0)
    return pl.DataFrame({
        "list_id": _ids("l", lists.number[row]),
        "user_id": _ids("u", lists.user[row]),
        "timestamp": lists.timestamp[row],
        "item_id": _ids("i", lists.item[row, place]),
        "position": place.astype(np.int32),
        "label": lists.label[row, place].astype(np.int8),
        "score": lists.score[row, place].astype(np.float64).round(4),
    })  # fmt: skip


def items_of(world: World) -> pl.DataFrame:
    """One row an item: what anybody can see of it."""
    return pl.DataFrame({
        "item_id": _ids("i", np.arange(world.items)),
        "topic": _ids("t", world.topic),
        "quality_hint": world.hint.astype(np.float64).round(3),
    })  # fmt: skip


def users_of(lists: Lists) -> pl.DataFrame:
    """One row a user of these lists."""
    user, first = np.unique(lists.user, return_index=True)
    return pl.DataFrame({
        "user_id": _ids("u", user),
        "segment": _ids("s", lists.segment[first]),
        "patience": lists.patience[first].astype(np.float64).round(2),
    })  # fmt: skip


def numbers_of(ids: list[str]) -> np.ndarray:
    """The numbers of ids such as l17; raises ValueError for ids of another form."""
    return np.array([int(one[1:]) for one in ids], np.int64)


def facts_of(world: World, lists: int) -> dict[str, Any]:
    """All that is needed to have the truth again."""
    law = world.law.model_dump()
    return {"format": FORMAT, "seed": world.seed, "lists": lists, "items": world.items, "law": law}


def facts_beside(folder: Path) -> dict[str, Any]:
    """What a folder that `simulate` wrote says of its truth; nothing for any other folder."""
    try:
        found = json.loads((folder / LAW_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return {}  # somebody else's law.json
    constants = {name: found["law"][name] for name in Law.model_fields}
    return {"simulator": found | {"law": constants}}


def drawn(world: World, lists: int) -> Iterator[Lists]:
    """The lists of a world chunk by chunk, with a bar where it takes a while."""
    with tqdm(total=lists, unit="list", desc="simulating", disable=lists <= 10 * LISTS) as bar:
        for part in chunks(world, lists):
            yield part
            bar.update(len(part.number))


def simulate(
    folder: Path | str, *, lists: int = LISTS_BY_DEFAULT, seed: int = 0, items: int = ITEMS,
    report: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Write a log in the user's own format, whole or not at all; memory does not grow with it.

    Raises DataError where the folder is there already.
    """
    check_size(lists, items, seed)
    target, world = Path(folder), World(seed, items)
    if target.exists():
        raise DataError(f"{target} is there already. Name a new folder, or remove it yourself.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        made = Path(scratch) / "log"
        made.mkdir()
        _write(made, world, lists)
        made.rename(target)
    report(
        f"{target}: {lists:,} lists of {items:,} items in the user's own format, seed {seed}; "
        f"{LAW_FILE} holds the click law. Next: psad prepare {target} DATASET"
    )


def _write(folder: Path, world: World, lists: int) -> None:
    from pyarrow.parquet import ParquetWriter

    writers: dict[str, ParquetWriter] = {}
    for part in drawn(world, lists):
        for name, frame in (("impressions", impressions(part)), ("users", users_of(part))):
            table = frame.to_arrow()
            if name not in writers:
                writers[name] = ParquetWriter(folder / f"{name}.parquet", table.schema)
            writers[name].write_table(table)
    for writer in writers.values():
        writer.close()
    items_of(world).write_parquet(folder / "items.parquet")
    (folder / "schema.toml").write_text(tomli_w.dumps(declaration(SPEC)), encoding="utf-8")
    facts = facts_of(world, lists)
    described = facts | {"law": world.law.describe()}
    (folder / LAW_FILE).write_text(json.dumps(described, indent=1), encoding="utf-8")


def declaration(spec: SourceSpec) -> dict[str, Any]:
    """A source's features and settings as schema.toml says them."""
    kept = ("name", "positive", "split", "list_size", "max_history", "provenance")
    sides = {
        side: {
            one.name: one.model_dump(exclude={"name"}, exclude_defaults=True)
            for one in getattr(spec, side)
        }
        for side in ("user", "item", "context")
    }
    return {name: getattr(spec, name) for name in kept} | sides


def _ids(letter: str, numbers: np.ndarray) -> pl.Series:
    return pl.select(pl.lit(letter) + pl.Series(numbers).cast(pl.String)).to_series()
