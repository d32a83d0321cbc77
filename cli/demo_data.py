"""A small generated log for the demo, for a machine that can reach no real data.

People have favourite genres that drift a little, films have a genre or two and a quality, and a
click follows from both. It is written as a user's own folder (impressions, items, users as CSV and
schema.toml), so that it goes through the same `parquet` source as anybody's logs. It shows that the
machinery runs; it says nothing about quality on real people.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

GENRES = ("Comedy", "Drama", "Thriller", "Romance", "Documentary", "Animation")
ADJECTIVES = ("Quiet", "Last", "Golden", "Broken", "Distant", "Midnight", "Second", "Hidden")
NOUNS = ("River", "Summer", "Letter", "Harbour", "Orchard", "Signal", "Garden", "Winter")
NAME = "generated"  # of the schema, and so of a bundle that was made from this log
USERS, ITEMS, LISTS_PER_USER, LIST_SIZE = 300, 240, 10, 12
DAY = 86_400
START = 1_700_000_000  # any fixed second: the log must be the same on every run

SCHEMA = f"""\
# A generated log, in the layout of anybody's own: see "Your own data" in README.md.
name = "{NAME}"
positive = ">=1"
split = "last-list"
title = "title"
list_size = 10

[user.age]
kind = "numeric"

[item.genres]
kind = "bag"
max_length = 2

[item.year]
kind = "numeric"
"""


def write(folder: Path, seed: int = 0) -> Path:
    """Write the log's four files into `folder` and return it; the same seed, the same bytes."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    genres = [generator.choice(len(GENRES), size=2, replace=False) for _ in range(ITEMS)]
    quality = generator.normal(size=ITEMS)
    _write_csv(
        folder / "items.csv", ("item_id", "title", "genres", "year"), _items(genres, generator)
    )
    ages = generator.integers(18, 75, size=USERS)
    _write_csv(folder / "users.csv", ("user_id", "age"), ((f"u{u}", a) for u, a in enumerate(ages)))
    header = ("list_id", "user_id", "timestamp", "item_id", "position", "label")
    _write_csv(folder / "impressions.csv", header, _impressions(genres, quality, generator))
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    return folder


def _items(
    genres: Sequence[np.ndarray], generator: np.random.Generator
) -> Iterable[tuple[object, ...]]:
    names = [f"The {first} {second}" for first in ADJECTIVES for second in NOUNS]
    for item, pair in enumerate(genres):
        part = item // len(names)
        title = names[item % len(names)] + (f" {part + 1}" if part else "")
        yield f"i{item}", title, "|".join(GENRES[g] for g in pair), generator.integers(1960, 2024)


def _impressions(
    genres: Sequence[np.ndarray], quality: np.ndarray, generator: np.random.Generator
) -> Iterable[tuple[object, ...]]:
    """One row an item shown; as in life, a list may have no click, or nothing but clicks."""
    for user in range(USERS):
        taste = generator.normal(size=len(GENRES))
        for turn in range(LISTS_PER_USER):
            taste = 0.9 * taste + 0.3 * generator.normal(size=len(GENRES))
            shown = generator.choice(ITEMS, size=LIST_SIZE, replace=False)
            liking = np.array([taste[genres[item]].mean() for item in shown]) + 0.5 * quality[shown]
            clicked = generator.random(LIST_SIZE) < 1 / (1 + np.exp(1.5 - 2 * liking))
            at = START + turn * DAY + user
            for position, item in enumerate(shown):
                label = int(clicked[position])
                yield f"u{user}-{turn}", f"u{user}", at, f"i{item}", position, label


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
