"""The pictures of a report: gains list by list, how far two orders agree, what came from where."""

from __future__ import annotations

from typing import Any

import numpy as np

from data.page import Figure
from data.pictures import INK, LINE, ONE, TWO, bars, percents, picture
from model.table import METRIC
from report.changes import Changes
from report.sides import Sides

PLACES = 6  # of the flow; the last stands for all below


def gains(sides: Sides) -> Figure:
    """How many lists win and lose how much."""
    found = sides.after.values[METRIC] - sides.before.values[METRIC]
    found = found[~np.isnan(found)]
    edges = np.linspace(-1, 1, 22)
    heights = np.histogram(found, edges)[0] / max(len(found), 1)
    win, lose = np.mean(found > 0), np.mean(found < 0)

    def draw(axes: Any) -> None:
        middle = (edges[:-1] + edges[1:]) / 2
        bars(axes, edges.tolist(), [(ONE, np.where(middle >= -1e-9, heights, 0)),
                                    (TWO, np.where(middle < -1e-9, heights, 0))])  # fmt: skip
        axes.set_xlabel("gain of a list in NDCG@10")
        axes.set_ylabel("lists")
        percents(axes)

    caption = f"{win:.0%} of the lists win, {lose:.0%} lose, the rest stay as they are."
    return Figure("Gain, list by list", picture(draw, "gains"), caption)


def agreement(changes: Changes) -> Figure:
    """Rank correlation of both orders."""
    found = changes.agreement[~np.isnan(changes.agreement)]
    edges = np.linspace(-1, 1, 22)
    heights = np.histogram(found, edges)[0] / max(len(found), 1)

    def draw(axes: Any) -> None:
        bars(axes, edges.tolist(), [(ONE, heights)])
        axes.set_xlabel("rank correlation of a list's two orders")
        axes.set_ylabel("lists")
        percents(axes)

    caption = "1 is the same order, 0 none in common, −1 upside down."
    return Figure("How far the orders agree", picture(draw, "agreement"), caption)


def entered(changes: Changes) -> Figure:
    """How many of the shown items are new there."""
    counts = np.bincount(changes.entered)
    heights = counts / counts.sum()

    def draw(axes: Any) -> None:
        edges = np.arange(len(counts) + 1) - 0.5
        bars(axes, edges.tolist(), [(ONE, heights)])
        axes.set_xlabel(f"items in the first {changes.shown} that were below before")
        axes.set_ylabel("lists")
        axes.set_xticks(np.arange(0, len(counts), max(1, len(counts) // 8)))
        percents(axes)

    caption = "Lists no longer than what is shown have none: their items only change places."
    return Figure("What comes into view", picture(draw, "entered"), caption)


def flow(changes: Changes) -> Figure:
    """Where the items of each place came from."""
    shares = changes.flow(PLACES)
    names = [*map(str, range(1, PLACES)), f"{PLACES}+"]

    def draw(axes: Any) -> None:
        axes.grid(visible=False)
        for now, row in enumerate(shares):
            for before, share in enumerate(row):
                axes.add_patch(_square(before, now, share))
                axes.text(before, now, f"{share:.0%}", ha="center", va="center", fontsize=8.5,
                          color=INK)  # fmt: skip
        axes.set_xlim(-0.5, PLACES - 0.5)
        axes.set_ylim(PLACES - 0.5, -0.5)
        axes.set_xticks(range(PLACES), names)
        axes.set_yticks(range(PLACES), names)
        axes.set_xlabel("place before")
        axes.set_ylabel("place now")

    caption = "Read across: of the items that now stand at a place, how many came from where."
    return Figure("From where to where", picture(draw, "flow"), caption)


def _square(x: float, y: float, share: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=ONE if share else LINE,
                     alpha=0.08 + 0.6 * float(share), linewidth=0)  # fmt: skip
