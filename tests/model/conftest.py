"""Two small prepared datasets, small models, and batches of every awkward shape.

`dataset` has something to learn: good items are clicked more, and so is a low price. Lists have 4
to 9 items. `plain` is the least a log may hold: no users, no bags, but a logged score.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from data.dataset import Dataset
from data.prepare import prepare
from features.schema import UNKNOWN
from model import registry
from model.config import preset_values
from model.evaluate import load_batch
from model.ranker import Batch, Ranker

torch.set_num_threads(1)

SCHEMA = """
name = "shop"
title = "name"
split = "last-list"
max_history = 6
[user.age]
kind = "numeric"
[user.city]
kind = "categorical"
[item.item_id]
kind = "categorical"
[item.category]
kind = "categorical"
[item.tags]
kind = "bag"
[item.weight]
kind = "numeric"
[context.price]
kind = "numeric"
"""
PLAIN = """
name = "plain"
split = "last-list"
max_history = 6
[item.item_id]
kind = "categorical"
[context.badge]
kind = "categorical"
"""
USERS, ITEMS, LISTS = 40, 50, 8  # LISTS a user
SMALL: dict[str, Any] = {  # a setting for each model that has it
    "embedding_width": 4, "width": 16, "heads": 2, "layers": 1, "hidden": (16,),
    "profile_width": 4, "dropout": 0.0, "unknown_rate": 0.0,
    "trees": 20, "min_rows": 5, "leaves": 7, "threads": 1,
}  # fmt: skip


def log_tables(seed: int = 0) -> dict[str, dict[str, Any]]:
    """The columns of impressions, items and users."""
    random = np.random.default_rng(seed)
    lengths = random.integers(4, 10, USERS * LISTS)
    lists = np.repeat(np.arange(USERS * LISTS), lengths)
    items = np.concatenate([random.permutation(ITEMS)[:length] for length in lengths])
    price = random.normal(size=items.size)
    quality = np.linspace(-1.5, 1.5, ITEMS)
    clicked = random.random(items.size) < 1 / (1 + np.exp(1 - 1.5 * quality[items] + 1.5 * price))
    numbers = np.arange(ITEMS)
    return {
        "impressions": {
            "list_id": lists, "user_id": lists // LISTS, "timestamp": 1_700_000_000 + lists * 60,
            "item_id": items, "position": np.arange(items.size), "label": clicked.astype(int),
            "price": price,
        },
        "items": {
            "item_id": numbers, "name": [f"item {one}" for one in numbers],
            "category": [f"c{one % 4}" for one in numbers],
            "tags": ["|".join(f"t{(one * k) % 7}" for k in (1, 2, 3)) for one in numbers],
            "weight": [None, *random.lognormal(size=ITEMS - 1)],
        },
        "users": {
            "user_id": np.arange(USERS), "age": [None, *range(20, 19 + USERS)],
            "city": ["Oslo", "Lima"] * (USERS // 2),
        },
    }  # fmt: skip


def write_log(folder: Path, schema: str, tables: dict[str, dict[str, Any]]) -> Path:
    """A folder of the user's own, as `psad prepare` reads it."""
    folder.mkdir(parents=True)
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(folder / f"{name}.parquet")
    (folder / "schema.toml").write_text(schema, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The small log, prepared."""
    folder = tmp_path_factory.mktemp("shop")
    log = write_log(folder / "log", SCHEMA, log_tables())
    return prepare(log, folder / "dataset", report=lambda text: None)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same clicks without users, bags and numbers, but with an earlier stage's score."""
    folder, tables = tmp_path_factory.mktemp("plain"), log_tables()
    shown = tables["impressions"]
    shown["score"] = -shown.pop("price")
    shown["badge"] = np.where(shown["item_id"] % 3, "new", "sale")
    tables = {"impressions": shown, "items": {"item_id": tables["items"]["item_id"]}}
    log = write_log(folder / "log", PLAIN, tables)
    return prepare(log, folder / "dataset", report=lambda text: None)


class Tools:
    """What tests of several models make."""

    SMALL = SMALL

    @staticmethod
    def batch(dataset: Dataset, lists: int = 6, split: str = "test") -> Batch:
        """The first lists of a split."""
        return load_batch(dataset, dataset.splits[split][:lists])

    @staticmethod
    def model(dataset: Dataset, name: str, list_size: int = 10, **settings: Any) -> Ranker:
        """A small untrained model, its Config by name; in training mode, seeded."""
        torch.manual_seed(0)
        found = registry.find(name)
        known = {key: value for key, value in SMALL.items() if key in found.Config.model_fields}
        schema = dataset.schema.model_copy(update={"list_size": list_size})
        ranker: Ranker = found.Ranker(schema, found.Config.model_validate(known | settings))
        return ranker

    @staticmethod
    def preset(name: str) -> dict[str, Any]:
        """A preset of PSAD, without what makes a model large or belongs to training."""
        fields = registry.find("psad").Config.model_fields.keys() - SMALL.keys()
        return {key: value for key, value in preset_values("psad", name).items() if key in fields}

    @classmethod
    def shaken(
        cls, dataset: Dataset, name: str, list_size: int = 10, scale: float = 0.4, **settings: Any
    ) -> Ranker:
        """The same with every weight drawn anew, so that no path is still zero; in evaluation.

        A model without gradients is fitted instead.
        """
        ranker = cls.model(dataset, name, list_size, **settings)
        if not isinstance(ranker, torch.nn.Module):
            ranker.fit(dataset, Path())
            return ranker
        random = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in ranker.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random) * scale)
        ranker.eval()
        return ranker

    @staticmethod
    def padded(batch: Batch, history: int, candidates: int) -> Batch:
        """Wider by empty slots, and every empty slot filled with what no model may look at."""
        tensors = dict(batch.tensors)
        for name, tensor in batch.tensors.items():
            side = name.rsplit("_", 1)[0]
            if side == "user":
                continue
            more = history if side == "history" else candidates
            if name.endswith("mask"):
                tensors[name] = torch.nn.functional.pad(tensor, (0, more))
                continue
            mask = torch.nn.functional.pad(batch.tensors[f"{side}_mask"], (0, more))
            wider = torch.nn.functional.pad(tensor, (0, 0, 0, more))
            garbage = UNKNOWN if wider.dtype == torch.int64 else 7.5
            tensors[name] = wider.masked_fill(~mask.unsqueeze(2), garbage)
        labels = torch.nn.functional.pad(batch.labels, (0, candidates))
        return Batch(tensors, labels)

    @staticmethod
    def select(batch: Batch, index: list[int]) -> Batch:
        """Some of the lists, in this order."""
        tensors = {name: tensor[index] for name, tensor in batch.tensors.items()}
        return Batch(tensors, batch.labels[index])

    @classmethod
    def odd(cls, dataset: Dataset) -> Batch:
        """Lists without a positive, without a negative, of one candidate, without history,
        of one candidate without history or positive, and an ordinary one."""
        batch = cls.batch(dataset, 6)
        tensors = {name: tensor.clone() for name, tensor in batch.tensors.items()}
        labels, mask = batch.labels.clone(), tensors["candidate_mask"]
        labels[0] = 0.0
        labels[1] = mask[1].float()
        for one in (2, 4):
            mask[one, 1:] = False
            labels[one, 1:] = 0.0
        for one in (3, 4):
            tensors["history_mask"][one] = False
        labels[2, 0], labels[4, 0] = 1.0, 0.0
        return replace(batch, tensors=tensors, labels=labels)


@pytest.fixture(scope="session")
def tools() -> type[Tools]:
    """The makers above, for tests of any folder."""
    return Tools
