"""People as a store keeps them: their features and last history, of a dataset or a table of users.

A dataset's are all who were shown a list, and the newest that they acted on, in lists that are not
ranked too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
        return People(int(dataset.info["users"]), dataset.schema.max_history, _of_dataset(dataset))
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
    names = [one.name for one in dataset.schema.user]
    for profile, acted in dataset.acted():
        history = [(item, float(time)) for item, time in acted]
        yield Person(profile["user_id"], _given(profile, names), history)


def _given(row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {
        name: row[name]
        for name in names
        if row[name] is not None and not (isinstance(row[name], float) and math.isnan(row[name]))
    }
