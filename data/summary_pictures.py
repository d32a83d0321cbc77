"""The pictures of the summary page: sizes of lists, clicks by position, what changes over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data.dataset import SPLITS
from data.page import Figure
from data.pictures import (
    INK,
    ONE,
    THREE,
    TWO,
    bars,
    counts,
    percents,
    picture,
)  # fmt: skip
from data.tally import Tally, wilson

MOST = 40  # bars of a histogram
ENOUGH = 200  # showings of a part of the time, for the same reason
THIN = 30  # showings of a place, below which its rate says little and is not drawn
SPLIT_COLOURS = dict(zip(SPLITS, (ONE, THREE, TWO), strict=True))
SPLIT_LEGEND = [("one", "train"), ("three", "valid"), ("two", "test")]


def lists_pictures(figures: Tally) -> Iterator[Figure]:
    """How long lists and histories are, and how many positives a list has."""
    for title, name, numbers, label, caption in (
        ("Length of lists", "lengths", figures.lengths, "items in a list", ""),
        (
            "Length of histories", "histories", figures.histories, "items in a history",
            f"Histories are cut at {len(figures.histories) - 1} items, so the last bar holds all "
            "longer ones.",
        ),
        ("Positives in a list", "positives", figures.positives, "positive items", ""),
    ):  # fmt: skip
        typical = f"Number of lists by {label}; half have at most {_median(numbers):,}. "
        yield Figure(title, histogram(numbers, name, label), typical + caption)


def histogram(numbers: np.ndarray, name: str, label: str) -> Any:
    """Lists by a whole number; one bar for several numbers where there are many."""
    first = int(np.flatnonzero(numbers)[0]) if numbers.any() else 0
    last = int(np.flatnonzero(numbers)[-1]) if numbers.any() else 0
    step = -(-(last - first + 1) // MOST)
    starts = np.arange(first, last + 1, step)
    heights = np.add.reduceat(numbers[: last + 1], starts)

    def draw(axes: Any) -> None:
        bars(axes, [*(starts - 0.5), starts[-1] + step - 0.5], [(ONE, heights)])
        axes.set_xlabel(label)
        counts(axes)
        axes.set_xlim(min(first, last - 4) - 0.8, max(last, first + 4) + 0.8)
        _whole(axes)

    return picture(draw, name, 3)


def position_pictures(figures: Tally) -> Iterator[Figure]:
    """Positives by the place they came at: their rate with its interval, and how many up to it."""
    kept = np.flatnonzero(figures.position_shown >= min(THIN, figures.position_shown.max()))
    shown, clicks = figures.position_shown[kept], figures.position_clicks[kept]
    low, high = wilson(clicks, shown)

    def draw(axes: Any) -> None:
        axes.fill_between(kept + 1, low, high, color=ONE, alpha=0.22, linewidth=0)
        axes.plot(kept + 1, clicks / shown, color=ONE, linewidth=1.8, marker="o", markersize=3.5)
        axes.axhline(
            figures.clicks.sum() / figures.showings.sum(), color=INK, linewidth=1, alpha=0.55,
            linestyle=(0, (4, 4)),
        )  # fmt: skip
        percents(axes)
        _places(axes, int(kept[-1]) + 1)

    yield Figure(
        "Positive share by place",
        picture(draw, "position"),
        "The shade is the 95% interval, the dashed line the share over all places. "
        + position_note(clicks, shown),
    )

    through = np.cumsum(figures.position_clicks) / max(figures.position_clicks.sum(), 1)
    showings = np.cumsum(figures.position_shown) / figures.position_shown.sum()
    half = int(np.searchsorted(through, 0.5)) + 1

    def reached(axes: Any) -> None:
        place = np.arange(1, len(through) + 1)
        axes.plot(place, showings, color=TWO, linewidth=1.8)
        axes.plot(place, through, color=ONE, linewidth=1.8)
        percents(axes)
        axes.set_ylim(0, 1.03)
        _places(axes, len(through))

    yield Figure(
        "Reached from the top",
        picture(reached, "reached"),
        f"Half of all positives stand within the first {half:,} places. The further the two lines "
        "are apart, the more of the work the incoming order has done already.",
        [("one", "positives"), ("two", "showings")],
    )


def position_note(clicks: np.ndarray, shown: np.ndarray) -> str:
    """Whether the places differ by more than chance: a chi-squared test at 0.1%.

    By Wilson and Hilferty's normal approximation, because importing scipy.special costs more time
    than counting the whole dataset.
    """
    rate, free = clicks.sum() / shown.sum(), len(shown) - 1
    spread = max(rate * (1 - rate), 1e-12)
    apart = float(((clicks - shown * rate) ** 2 / (shown * spread)).sum())
    small = 2 / (9 * max(free, 1))
    if not free or (apart / free) ** (1 / 3) < 1 - small + 3.09 * small**0.5:
        return "The places do not differ by more than chance may do."
    return (
        "Places differ: by what stands there, by how people look at a list, or both; a log alone "
        "cannot part the two."
    )


def time_pictures(figures: Tally) -> Iterator[Figure]:
    """Lists, the share of positives, and what train did not know, by time."""
    edges = figures.drawn
    middle = (edges[:-1] + edges[1:]) / 2
    there = figures.showings >= min(ENOUGH, figures.showings.max())

    def lists(axes: Any) -> None:
        stacks = [
            (SPLIT_COLOURS[name], row) for name, row in zip(SPLITS, figures.lists, strict=True)
        ]
        bars(axes, edges.tolist(), stacks)
        counts(axes)
        _dates(axes, edges)

    yield Figure("Lists by split", picture(lists, "lists", 3), legend=SPLIT_LEGEND)
    rate = figures.clicks[there] / figures.showings[there]
    low, high = wilson(figures.clicks[there], figures.showings[there])

    def clicks(axes: Any) -> None:
        axes.fill_between(middle[there], low, high, color=ONE, alpha=0.22, linewidth=0)
        axes.plot(middle[there], rate, color=ONE, linewidth=1.8, marker="o", markersize=3)
        percents(axes)
        _dates(axes, edges)

    yield Figure(
        "Positive share", picture(clicks, "clicks", 3),
        "The shade is the 95% interval.",
    )  # fmt: skip

    def unknown(axes: Any) -> None:
        for colour, values in (
            (ONE, figures.new_items), (TWO, figures.new_users), (THREE, figures.unknown),
        ):  # fmt: skip
            axes.plot(
                middle[there], values[there], color=colour, linewidth=1.8, marker="o", markersize=3
            )
        percents(axes)
        axes.set_ylim(top=max(0.05, axes.get_ylim()[1]))
        _dates(axes, edges)

    yield Figure(
        "What train does not know", picture(unknown, "unknown", 3),
        "By showings for items and values, by lists for people. A value is unknown where it is "
        "missing, too.",
        [("one", "items train never showed"), ("two", "people without a train list"),
         ("three", "unknown values of items' features")],
    )  # fmt: skip


def _dates(axes: Any, edges: np.ndarray) -> None:
    """A few times below the axis, as short as tells them apart; the last edge is a second late."""
    width = int(np.diff(edges).max())
    unit, cut = ("D", slice(None)) if width >= 86_400 else ("m", slice(5, None))
    if width < 60:
        unit, cut = "s", slice(11, None)
    places = np.linspace(0, len(edges) - 1, min(3, len(edges))).round().astype(int)
    ends = [int(edges[place]) for place in places]
    times = np.array([*ends[:-1], ends[-1] - 1]).astype("datetime64[s]")
    names = [str(one).replace("T", " ")[cut] for one in np.datetime_as_string(times, unit=unit)]
    axes.set_xticks([float(edges[place]) for place in places], names)
    for tick, side in zip(axes.get_xticklabels(), _sides(len(names)), strict=True):
        tick.set_horizontalalignment(side)
    axes.set_xlim(float(edges[0]), float(edges[-1]))


def _sides(number: int) -> Sequence[str]:
    return ["left", *["center"] * (number - 2), "right"]


def _places(axes: Any, last: int) -> None:
    """Place 1 and then round ones."""
    step = next((one for one in (1, 2, 5, 10, 20, 50, 100, 200) if last / one <= 10), last)
    axes.set_xticks(sorted({1, *range(step, last + 1, step)}))
    axes.set_xlim(0.5, last + 0.5)
    axes.set_xlabel("position")


def _whole(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))


def _median(numbers: np.ndarray) -> int:
    """The number that half of the lists do not exceed."""
    return int(np.searchsorted(np.cumsum(numbers), numbers.sum() / 2))
