"""People as a store keeps them: their features and last history, of a dataset or a table of users.

A history ends with what the user acted on in the last list that the dataset holds of them. Its
times are those of the lists: each item has the time of the last list that it does not come before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from data.dataset import Dataset
from data.sources.parquet import read_users
from features.errors import DataError


class Person(NamedTuple):
    """A user by id; history newest first, with times in seconds since 1970."""

    id: str
    features: Mapping[str, Any]  # as a request would carry them
    history: list[tuple[str, float]]


@dataclass(frozen=True)
class People:
    """So many persons, and how long a history the dataset's models read."""

    count: int
    max_history: int
    persons: Iterator[Person]


def people_of(source: Path) -> People:
    """Of a prepared dataset, or of a table with schema.toml beside it; raises DataError."""
    if source.is_dir():
        dataset = Dataset.load(source)
        users = int(np.count_nonzero(np.diff(dataset.users, prepend=-1)))
        return People(users, dataset.schema.max_history, _of_dataset(dataset))
    if not source.exists():
        raise DataError(
            f"{source} is not there. Name a dataset that `psad prepare` wrote, or a table of users "
            "such as my_logs/users.csv."
        )
    table, spec = read_users(source)
    names = [one.name for one in spec.user]
    rows = table.iter_rows(named=True)
    persons = (Person(row["user_id"], _given(row, names), []) for row in rows)
    return People(len(table), spec.max_history, persons)


def _of_dataset(dataset: Dataset) -> Iterator[Person]:
    profiles = pl.read_parquet(dataset.folder / "users.parquet")
    names = [one.name for one in dataset.schema.user]
    starts = np.flatnonzero(np.diff(dataset.users, prepend=-1)).tolist()  # lists are by user, time
    for start, end in zip(starts, [*starts[1:], len(dataset)], strict=True):
        profile = profiles.row(int(dataset.users[start]), named=True)
        history = _history(dataset, start, end)
        yield Person(profile["user_id"], _given(profile, names), history)


def _history(dataset: Dataset, start: int, end: int) -> list[tuple[str, float]]:
    """After the last of a user's lists start..end."""
    held = np.arange(start, end)
    times, last = dataset.timestamps(held), dataset.lists([end - 1])
    newest = float(times[-1])
    clicked = [
        (row, newest)
        for index in held[times == times[-1]][::-1].tolist()
        for row in _clicked(dataset, index)
    ]
    before = last.history_rows.tolist()  # newest first, as it begins in `acted`
    first = dataset.history_starts[held]
    place = int(first[-1]) + np.arange(len(before))
    # lists whose own history begins behind an item saw it later: it is of their time, or after it
    seen = np.searchsorted(-first, -place, side="left") - 1
    dated = [float(times[one]) if one >= 0 else float(times[0]) - 1.0 for one in seen.tolist()]
    rows = [*clicked, *zip(before, dated, strict=True)][: dataset.schema.max_history]
    return [(dataset.catalogue.ids[row - 1], time) for row, time in rows]


def _clicked(dataset: Dataset, index: int) -> list[int]:
    """Catalogue rows of a list's positives, from its top."""
    rows = dataset.lists([index]).candidate_rows
    return rows[dataset.labels([index])[0] > 0].tolist()


def _given(row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {
        name: row[name]
        for name in names
        if row[name] is not None and not (isinstance(row[name], float) and math.isnan(row[name]))
    }
