"""A small log of the user's own, written as files, that tests bend to what they need."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SCHEMA = """
name = "shop"
title = "name"
split = "last-list"
max_history = 5
[user.age]
kind = "numeric"
[user.city]
kind = "categorical"
[item.item_id]
kind = "categorical"
min_count = 2
[item.category]
kind = "categorical"
[item.tags]
kind = "bag"
[context.price]
kind = "numeric"
transform = "log"
[context.badge]
kind = "categorical"
"""
USERS, ITEMS, LISTS, LENGTH = 12, 30, 6, 5  # LISTS a user
Tables = dict[str, pl.DataFrame]
Bend = Callable[[Tables], None]


def log_tables(seed: int = 0) -> Tables:
    """A random log: every list has two positives in five; one item is never described."""
    random = np.random.default_rng(seed)
    lists = np.arange(USERS * LISTS)
    users, times = lists // LISTS, 1_700_000_000 + random.permutation(len(lists)) * 60
    items = np.argsort(random.random((len(lists), ITEMS)), axis=1)[:, :LENGTH]
    labels = np.argsort(random.random((len(lists), LENGTH)), axis=1) < 2
    rows = len(lists) * LENGTH
    numbers = np.arange(ITEMS - 1)
    return {
        "impressions": pl.DataFrame({
            "list_id": [f"l{one}" for one in np.repeat(lists, LENGTH)],
            "user_id": np.repeat(users, LENGTH),
            "timestamp": np.repeat(times, LENGTH),
            "item_id": items.ravel(),
            "position": np.tile(np.arange(LENGTH), len(lists)),
            "label": labels.ravel().astype(int),
            "price": random.lognormal(2, 1, rows).round(2),
            "badge": random.choice(["new", "sale"], rows),
        }),
        "items": pl.DataFrame({
            "item_id": numbers,
            "name": [f"item {one}" for one in numbers],
            "category": [f"c{one % 4}" for one in numbers],
            "tags": ["|".join(f"t{(one * k) % 7}" for k in (1, 2, 3)) for one in numbers],
        }),
        "users": pl.DataFrame({
            "user_id": np.arange(USERS),
            "age": [None, *range(20, 19 + USERS)],
            "city": ["Oslo", "Lima", "Pune"] * (USERS // 3),
        }),
    }  # fmt: skip


def write_folder(folder: Path, tables: Tables, schema: str = SCHEMA, suffix: str = "csv") -> Path:
    """Write the tables as the files of a user's own folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        path = folder / f"{name}.{suffix}"
        table.write_csv(path) if suffix == "csv" else table.write_parquet(path)
    (folder / "schema.toml").write_text(schema, encoding="utf-8")
    return folder


@pytest.fixture
def tables() -> Tables:
    """The tables of the small log, a test's own to change."""
    return log_tables()


@pytest.fixture
def own_folder(tmp_path: Path, tables: Tables) -> Path:
    """A valid folder of the user's own."""
    return write_folder(tmp_path / "shop", tables)
