"""MovieLens 100K: 100,000 ratings by 943 people of 1,682 films, made into lists.

As the PSAD paper builds its lists for Ad: users and items with fewer than 4
records are dropped until none is left; a user's ratings, in time, are cut into lists, a new one
300 s after the list's first item and after 20 items; a rating of 5 is positive; lists of 5 to 20
items with both labels are ranked. The order of rating is not an order of display, so candidates
come in a seeded shuffle. Ratings in the same second keep the order of the publisher's file.

The data may be used for research and not redistributed: it is fetched, never committed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from data.fetch import Layout, Way, download, obtain, pip_wheel, unpack
from data.lists import FeatureSpec, RawLog, SourceSpec

URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
URL_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
WHEEL = "recbole==1.2.1"  # carries the same ratings in the same order
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
PUBLISHED: Layout = {
    "u.data": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
    "u.item": "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701",
    "u.user": "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c",
}
RECBOLE: Layout = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
REMEDY = (
    f"Fetch {URL} where there is a network, unpack it, and set PSAD_DATA to the folder that holds "
    "ml-100k/; or let pip reach an index that carries recbole 1.2.1."
)
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
CORE = 4  # records a user or item must have
LIST_SECONDS = 300
LONGEST = 20
SPEC = SourceSpec(
    name="ml_100k",
    user=(
        FeatureSpec(name="age", kind="numeric"),
        FeatureSpec(name="gender", kind="categorical"),
        FeatureSpec(name="occupation", kind="categorical"),
    ),
    item=(
        FeatureSpec(name="item_id", kind="categorical", min_count=2),
        FeatureSpec(name="genres", kind="bag"),
        FeatureSpec(name="release_year", kind="numeric"),
    ),
    positive=">=5",
    title="title",
    split="last-list",
    min_list=5,
    max_list=LONGEST,
    provenance="MovieLens 100K (GroupLens); for research, no redistribution. Lists cut from "
    "ratings: 300 s, at most 20; candidates in a seeded shuffle, not in an order of display.",
)


def read(seed: int = 0) -> RawLog:
    """Fetch where needed and build the lists; `seed` shuffles the candidates."""
    ways = (Way("the publisher's site", _from_publisher), Way(f"PyPI ({WHEEL})", _from_wheel))
    return read_folder(obtain(("ml_100k", "ml-100k"), (PUBLISHED, RECBOLE), ways, REMEDY), seed)


def read_folder(folder: Path, seed: int = 0) -> RawLog:
    """Build the lists from a folder in either layout."""
    published = (folder / "u.data").is_file()
    ratings, items, users = (_published if published else _recbole)(folder)
    dropped: Counter[str] = Counter()
    kept = core(ratings, CORE)
    dropped[f"ratings of users or films with fewer than {CORE} records"] = len(ratings) - len(kept)
    return RawLog(cut_lists(kept, seed), _films(items), users, SPEC, dropped)


def _from_publisher(folder: Path) -> None:
    archive = folder / "ml-100k.zip"
    download(URL, archive, URL_SHA256)
    unpack(archive, {f"ml-100k/{name}": name for name in PUBLISHED}, folder)
    archive.unlink()


def _from_wheel(folder: Path) -> None:
    wheel = pip_wheel(WHEEL, folder, WHEEL_SHA256)
    unpack(wheel, {f"recbole/dataset_example/ml-100k/{name}": name for name in RECBOLE}, folder)
    wheel.unlink()


def core(ratings: pl.DataFrame, records: int) -> pl.DataFrame:
    """Drop users and items with fewer records until every one left has enough."""
    enough = pl.all_horizontal(pl.len().over(key) >= records for key in ("user_id", "item_id"))
    while len(kept := ratings.filter(enough)) < len(ratings):
        ratings = kept
    return ratings


def cut_lists(ratings: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Impressions from user_id, item_id, rating, timestamp (in the publisher's order)."""
    ratings = ratings.sort("user_id", "timestamp", maintain_order=True)
    times, people = ratings["timestamp"].to_numpy(), ratings["user_id"].to_numpy()
    starts, first = np.zeros(len(ratings), bool), 0
    for row in range(len(ratings)):  # each list's start depends on the one before
        over = times[row] - times[first] >= LIST_SECONDS or row - first >= LONGEST
        if row == 0 or over or people[row] != people[first]:
            starts[row], first = True, row
    lists = np.cumsum(starts) - 1
    drawn = np.random.default_rng(seed).random(len(ratings))
    place = np.empty(len(ratings), np.int64)
    place[np.lexsort((drawn, lists))] = np.arange(len(ratings))  # list by list, in drawn order
    return ratings.select(
        pl.Series("list_id", lists).cast(pl.String),
        pl.col("user_id").cast(pl.String),
        pl.Series("timestamp", times[starts][lists]),  # a list's time is its first item's
        pl.col("item_id").cast(pl.String),
        pl.Series("position", place - np.flatnonzero(starts)[lists]),
        pl.col("rating").cast(pl.Float64).alias("label"),
    )


def _published(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Ratings, films (item_id, printed title, genres) and people in the publisher's layout."""
    ratings = _rows(folder / "u.data", "\t", ["user_id", "item_id", "rating", "timestamp"])
    films = _rows(folder / "u.item", "|", ["item_id", "printed", "date", "video", "url", *GENRES])
    genres = pl.concat_list(
        pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES
    ).list.drop_nulls()
    people = _rows(folder / "u.user", "|", ["user_id", "age", "gender", "occupation", "zip"])
    return (
        ratings.cast(pl.Int64),
        films.select("item_id", "printed", genres.alias("genres")),
        _people(people),
    )


def _recbole(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The same three tables from RecBole's atomic files."""
    ratings, films, people = (
        _rows(folder / f"ml-100k.{part}", "\t", None) for part in ("inter", "item", "user")
    )
    # its titles lost the last bracket, "(1995)" or for one film "(V)", to the column of years
    printed = pl.format("{} ({})", "movie_title", "release_year")
    genres = pl.col("class").str.split(" ")
    return (
        ratings.cast(pl.Int64),
        films.select("item_id", printed.alias("printed"), genres.alias("genres")),
        _people(people),
    )


def _rows(path: Path, separator: str, columns: list[str] | None) -> pl.DataFrame:
    """A table as text: the publisher's in Latin-1 without a header, RecBole's with typed names."""
    text = path.read_bytes().decode("utf-8" if columns is None else "latin-1")
    frame = pl.read_csv(
        text.encode(), separator=separator, has_header=columns is None, new_columns=columns,
        infer_schema=False, quote_char=None,
    )  # fmt: skip
    return frame.rename(lambda name: name.split(":")[0])


def _people(people: pl.DataFrame) -> pl.DataFrame:
    return people.select("user_id", pl.col("age").cast(pl.Float64), "gender", "occupation")


def _films(films: pl.DataFrame) -> pl.DataFrame:
    """Title and year from the printed title, "Toy Story (1995)"; film 267 has neither."""
    printed = pl.col("printed")
    nameless = pl.col("genres").list.contains("unknown") & ~printed.str.contains(r"\(\d{4}\)")
    title = printed.str.replace(r"\s*\(\d{4}\)(\s*\(V\))?\s*$", "")
    return films.select(
        "item_id",
        pl.when(nameless).then(pl.lit("unknown")).otherwise(title).alias("title"),
        "genres",
        printed.str.extract(r"\((\d{4})\)(?:\s*\(V\))?\s*$").cast(pl.Float64).alias("release_year"),
    )
