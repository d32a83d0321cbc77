"""The summary page of a dataset: `psad prepare` writes it as DATASET/summary.html.

What came in, what was left out, how lists and labels look, what is known of users and items, and
what changes over time. It is read and thrown away at will: no code reads it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data.dataset import SPLITS, Dataset
from data.page import (
    Bar,
    Card,
    Cards,
    Figures,
    Noted,
    Section,
    Table,
    Warnings,
    count,
    page,
    share,
)  # fmt: skip
from data.splits import NOTES
from data.summary_pictures import lists_pictures, position_pictures, time_pictures
from data.tally import Coverage, Tally, tally, wilson

PAGE = "summary.html"
TOP = 15
LOW = 0.5  # features known for fewer are pointed out
SIDES = {"user": "users", "item": "items", "context": "impressions"}


def write_summary(dataset: Dataset) -> None:
    """Write the page into the dataset's folder; info.json and the arrays stay as they are."""
    (dataset.folder / PAGE).write_text(summary(dataset), encoding="utf-8")


def summary(dataset: Dataset) -> str:
    """The page as text."""
    figures, info = tally(dataset), dataset.info
    sections = [
        Section("", [_cards(dataset, figures), *_warnings(dataset, figures)]),
        Section("Splits", [_sizes(info)], note=_divided(info)),
        Section("What was left out", [_dropped(info)]),
        Section("Lists and labels", [Figures([*lists_pictures(figures)], 3)]),
        Section(
            "Clicks by position",
            [Figures([*position_pictures(figures)])],
            note="Places in the order in which the lists came, from the top.",
        ),
        Section("Over time", [Figures([*time_pictures(figures)], 3)], note=_times(figures)),
        Section(
            "Features",
            [_coverage(figures)],
            note="How often a value is known: given, and, of categories and bags, seen in train "
            "often enough to have a place of its own. Items and impressions count by showings, "
            "users by lists.",
        ),
        Section(
            "Items shown most", [_top(dataset, figures)],
            note="Over train, valid and test; the rate with its 95% interval.",
        ),
    ]  # fmt: skip
    return page(
        info["name"], sections, lead=info.get("provenance") or "A dataset made by psad prepare.",
        foot=f"Source {info['source']}, split {info['split']}, seed {info['seed']}. "
        f"Fingerprint of the schema {info['fingerprint']}.",
    )  # fmt: skip


def _cards(dataset: Dataset, figures: Tally) -> Cards:
    shown, clicks = int(figures.showings.sum()), int(figures.clicks.sum())
    lengths = dataset.lengths
    made, people = dataset.info["lists"], dataset.info["users"]
    ranked, seen = len(dataset), len(np.unique(dataset._arrays["list_user"]))
    return Cards([
        Card(count(ranked), f"lists to learn from and to judge by{_of(ranked, made)}"),
        Card(count(seen), f"people who saw them{_of(seen, people)}"),
        Card(count(int((figures.item_shown.sum(0) > 0).sum())), "different items in them"),
        Card(count(shown), "showings of an item in these lists"),
        Card(share(clicks / max(shown, 1)), "of these showings are positive"),
        Card(f"{np.median(lengths):,.0f}", f"items in a typical list, {lengths.max():,} at most"),
    ])  # fmt: skip


def _of(part: int, whole: int) -> str:
    """`, of 5,000 in the log`, where these are not all."""
    return f", of {count(whole)} in the log" if part < whole else ""


def _warnings(dataset: Dataset, figures: Tally) -> Iterator[Warnings]:
    if lines := list(notes(dataset, figures)):
        yield Warnings(lines)


def notes(dataset: Dataset, figures: Tally) -> Iterator[str]:
    """What somebody should know before they believe a result on this dataset."""
    info = dataset.info
    if info["split"] == "last-list":
        yield f"The split {NOTES['last-list']}"
    yield from (f"{note[0].upper()}{note[1:]}." for note in info.get("notes", []))
    span = int(dataset._arrays["timestamp"].max() - dataset._arrays["timestamp"].min())
    if span < 3600:
        yield (
            f"All lists lie within {span // 60 + 1} minutes: what changes over time cannot be seen "
            "here."
        )
    test = figures.item_shown[SPLITS.index("test")]
    new = float(test[dataset.catalogue.statistics.showings == 0].sum() / max(test.sum(), 1))
    if new > 0.1:
        yield f"{share(new)} of the showings in test are of items that train never showed."
    without = info["counts"]["test"]["without_history"] / max(info["counts"]["test"]["lists"], 1)
    if without > 0.3:
        yield f"{share(without)} of the test lists are of people without a history."
    kept, made = len(dataset), info["lists"]
    if kept < made / 2:
        yield (
            f"Only {count(kept)} of {count(made)} lists can be ranked; see what was left out, and "
            "whether the rule for positive labels says what you mean."
        )
    if low := [one.feature.name for one in figures.coverage if one.known[0] < LOW]:
        yield f"Known for less than half of train: {', '.join(low)}."
    if info["counts"]["test"]["lists"] < 1000:
        yield (
            f"Test has {count(info['counts']['test']['lists'])} lists: small differences between "
            "models are within its noise."
        )


def _divided(info: Mapping[str, Any]) -> str:
    return "" if info["split"] == "last-list" else f"Divided by {NOTES[info['split']]}"


def _sizes(info: Mapping[str, Any]) -> Table:
    rows = []
    for name in SPLITS:
        part = info["counts"][name]
        lists, candidates = max(part["lists"], 1), max(part["candidates"], 1)
        rows.append([
            name, count(part["lists"]), count(part["users"]), count(part["candidates"]),
            share(part["positives"] / candidates), share(part["without_history"] / lists),
        ])  # fmt: skip
    head = ["", "lists", "people", "showings", "positive", "no history"]
    return Table(head, rows, numbers=range(1, 6))


def _dropped(info: Mapping[str, Any]) -> Table:
    rows = [[reason, count(number)] for reason, number in info["dropped"].items()]
    if info["statistics_only"]:
        rows.append([
            "of these, lists on train's side that still count in the derived statistics",
            count(info["statistics_only"]),
        ])  # fmt: skip
    return Table(["what", "how many"], rows or [["nothing", "0"]], numbers=[1])


def _times(figures: Tally) -> str:
    first, last = (np.datetime64(one, "s") for one in (figures.first, figures.last))
    unit = "D" if last - first > np.timedelta64(2, "D") else "m"
    begin, end = (np.datetime_as_string(one, unit=unit).replace("T", " ") for one in (first, last))
    each = f"in parts of {_length(int(figures.edges[1] - figures.edges[0]))}"
    cut = ", the first and last of which may be shorter" if len(figures.edges) > 2 else ""
    return f"From {begin} to {end} (UTC), {each}{cut}."


def _length(seconds: int) -> str:
    """Of a part of the time, in the largest unit that divides it."""
    units = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
    size, unit = next((size, unit) for size, unit in units if seconds % size == 0)
    number = seconds // size
    return f"{number:,} {unit}{'s' if number != 1 else ''}"


def _coverage(figures: Tally) -> Table:
    rows = [
        [
            Noted(one.feature.name, _kind(one)),
            *(Bar(float(np.nan_to_num(part)), share(part), part < LOW) for part in one.known),
        ]
        for one in figures.coverage
    ]
    return Table(["feature", *(f"in {name}" for name in SPLITS)], rows)


def _kind(one: Coverage) -> str:
    kind, values = one.feature.kind, len(one.feature.vocabulary)
    many = "" if kind == "numeric" else f" of {count(values)} value{'s' if values != 1 else ''}"
    return f"{SIDES[one.side]}, {kind}{many}"


def _top(dataset: Dataset, figures: Tally) -> Table:
    shown, clicks = figures.item_shown.sum(0), figures.item_clicks
    order = np.argsort(-shown, kind="stable")[:TOP]
    low, high = wilson(clicks, shown)
    most = max(int(shown.max()), 1)
    rows = [
        [
            dataset.catalogue.title(item), Bar(shown[row] / most, count(shown[row])),
            Noted(share(clicks[row] / shown[row]), f"{share(low[row])} to {share(high[row])}"),
        ]
        for row in order.tolist()
        if shown[row] and (item := dataset.catalogue.ids[row - 1])
    ]  # fmt: skip
    return Table(["item", "showings", "positive"], rows, numbers=[2])
