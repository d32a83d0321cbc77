"""Figures of the results, drawn from the same rows as the tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from model.table import METRIC, Row

LEFT_OUT = ("oracle", "random")  # the ends of the scale say nothing about the rows between


def draw_quality(rows: Sequence[Row], picture: Path, data: str) -> None:
    """NDCG@10 of every row, best above, a whisker of one standard deviation over seeds; an SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    found = [
        (row.name, *row.mean_and_deviation(METRIC)) for row in rows if row.name not in LEFT_OUT
    ]
    found.sort(key=lambda one: one[1])
    figure = Figure(figsize=(8, 0.36 * len(found) + 1.2), layout="constrained")
    FigureCanvasSVG(figure)
    axis = figure.subplots()
    for place, (name, mean, deviation) in enumerate(found):
        colour = "tab:blue" if name.startswith("psad") else "dimgrey"
        axis.errorbar(mean, place, xerr=deviation or 0.0, fmt="o", color=colour, capsize=3)
        axis.annotate(f"{mean:.4f}", (mean, place), (0, 6), textcoords="offset points",
                      ha="center", fontsize=7, color=colour)  # fmt: skip
    axis.set_yticks(range(len(found)), [name for name, _, _ in found])
    axis.set_ylim(-0.6, len(found) - 0.2)
    axis.set_xlabel("NDCG@10, mean and standard deviation over seeds")
    axis.set_title("\n".join(textwrap.wrap(data, 90)), fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)
