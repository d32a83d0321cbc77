"""RankLens: 9,800 lists of 24 films, shown in order to 2,145 people who marked what they liked.

Lists are taken as logged; people without a single click are left out; there is no profile. All
times lie within 20 minutes and click times are artificial; there is no initial ranker, and an
item's popularity carries most of the signal.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from data.fetch import Layout, Way, download, obtain
from data.lists import FeatureSpec, RawLog, SourceSpec

FILE = "events.jsonl.gz"
SHA256 = "d4009c698bcc23f0648107dc167f2a3c797ebcb1737e68ec727c7057558a99aa"
LAYOUT: Layout = {FILE: SHA256}
REPOSITORY = "https://github.com/metarank/ranklens"
URLS = (  # the same file as test data of the publisher's engine, and a copy of that
    "https://github.com/metarank/metarank/raw/master/src/test/resources/ranklens/events/" + FILE,
    "https://raw.githubusercontent.com/lau-td/metarank-dummy/"
    "dccf450623c9e8e66955b5ac043df299c809719a/metarank/" + FILE,
)
REMEDY = (
    f"Fetch {FILE} (see {REPOSITORY}) where there is a network, put it at ranklens/{FILE} in some "
    f"folder, and set PSAD_DATA to that folder. Its sha256 is {SHA256}."
)
BAGS = {"genres": 7, "tags": 10, "actors": 5}  # ids kept
NAMES = ("director", "writer")
AMOUNTS = ("popularity", "vote_cnt", "budget")  # skewed: by their logarithm
NUMBERS = ("vote_avg", "runtime", "release_date")
SPEC = SourceSpec(
    name="ranklens",
    item=(
        FeatureSpec(name="item_id", kind="categorical", min_count=2),
        *(
            FeatureSpec(name=name, kind="bag", max_length=length, min_count=2)
            for name, length in BAGS.items()
        ),
        *(FeatureSpec(name=name, kind="categorical", min_count=2) for name in NAMES),
        *(FeatureSpec(name=name, kind="numeric", transform="log") for name in AMOUNTS),
        *(FeatureSpec(name=name, kind="numeric") for name in NUMBERS),
    ),
    title="title",
    split="last-list",
    provenance=f"RankLens (Metarank, {REPOSITORY}), CC-BY-SA 4.0; film metadata from TMDB, tags "
    "from MovieLens. All times lie within 20 minutes and click times are artificial.",
)
Event = dict[str, Any]


def read(seed: int = 0) -> RawLog:
    """Fetch where needed and read the lists; nothing is random, so `seed` changes nothing."""
    ways = [
        Way(url, lambda folder, url=url: download(url, folder / FILE, SHA256))  # type: ignore[misc]
        for url in URLS
    ]
    return read_file(obtain(("ranklens",), (LAYOUT,), ways, REMEDY) / FILE)


def read_file(path: Path) -> RawLog:
    """Read an event file: items, rankings, and clicks that name their ranking."""
    events: dict[str, list[Event]] = {"item": [], "ranking": [], "interaction": []}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            event = json.loads(line)
            events[event["event"]].append(event)
    impressions, dropped = _impressions(events["ranking"], events["interaction"])
    return RawLog(impressions, _items(events["item"]), _users(impressions), SPEC, dropped)


def _impressions(rankings: list[Event], clicks: list[Event]) -> tuple[pl.DataFrame, Counter[str]]:
    clicked = {(click["ranking"], click["item"]) for click in clicks}
    active = {click["user"] for click in clicks}
    kept = [ranking for ranking in rankings if ranking["user"] in active]
    rows = [
        (one["id"], one["user"], int(one["timestamp"]) // 1000, item["id"], place,
         float((one["id"], item["id"]) in clicked))
        for one in kept
        for place, item in enumerate(one["items"])
    ]  # fmt: skip
    columns = ["list_id", "user_id", "timestamp", "item_id", "position", "label"]
    frame = pl.DataFrame(rows, schema=columns, orient="row")
    dropped = Counter({
        "people without a click": len({one["user"] for one in rankings} - active),
        "lists of people without a click": len(rankings) - len(kept),
    })  # fmt: skip
    return frame, dropped


def _items(events: Iterable[Event]) -> pl.DataFrame:
    films = [
        {field["name"]: field["value"] for field in event["fields"]} | {"item_id": event["item"]}
        for event in events
    ]
    types: dict[str, Any] = {
        **dict.fromkeys(("item_id", "title", *NAMES), pl.String),
        **dict.fromkeys(BAGS, pl.List(pl.String)),
        **dict.fromkeys((*AMOUNTS, *NUMBERS), pl.Float64),
    }
    columns = {
        name: pl.Series([film.get(name) for film in films], dtype=kind)
        for name, kind in types.items()
    }
    # TMDB writes 0 where it does not know the budget
    return pl.DataFrame(columns).with_columns(pl.col("budget").replace(0.0, None))


def _users(impressions: pl.DataFrame) -> pl.DataFrame:
    return impressions.select("user_id").unique().sort("user_id")
