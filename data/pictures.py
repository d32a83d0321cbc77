"""Pictures for pages (data/page.py): matplotlib's SVG, in the page's own colours and letters.

A picture is drawn in colours that stand for names (`INK`, `ONE` …); in the SVG they become CSS
variables, so that one picture suits light and dark. Words in it are ours alone: names from the data
stand in the page around it, where any alphabet has its letters.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

INK, LINE = "#010101", "#020202"
ONE, TWO, THREE, FOUR = "#030303", "#040404", "#050505", "#060606"
VARIABLES = {
    INK: "currentColor", LINE: "var(--line)", ONE: "var(--one)", TWO: "var(--two)",
    THREE: "var(--three)", FOUR: "var(--four)",
}  # fmt: skip
SIZES = {2: (4.7, 2.5), 3: (3.9, 2.5)}  # inches, by how many stand beside each other
MARGINS = (0.48, 0.12, 0.45, 0.1)  # inches, on the left, on the right, below and above
NAMED = 0.2  # inches more on the left, for the name of a y axis


def picture(draw: Callable[[Any], None], name: str, columns: int = 2) -> Markup:
    """What `draw` does to a matplotlib Axes, as an <svg>; no two on a page have one `name`."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False}
    with mpl.rc_context(settings):  # type: ignore[arg-type]
        width, height = SIZES[columns]
        figure = Figure(figsize=(width, height))  # its own layout would draw everything twice
        FigureCanvasSVG(figure)
        left, right, bottom, top = MARGINS
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        _plain(axes)
        draw(axes)
        left += NAMED if axes.get_ylabel() else 0.0
        axes.set_position((
            left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height,
        ))  # fmt: skip
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(written.getvalue()))


def _plain(axes: Any) -> None:
    """Little ink: no frame, light lines across."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
        axis.label.set_size(9)


def _inline(svg: str) -> str:
    """The <svg> alone, scalable, in the page's colours, without ids that two pictures share."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    svg = re.sub(r"font: ([^;\"]*?)px [^;\"]*", r"font-size: \1px", svg)
    return re.sub(r"font-family: [^;\"]*;? ?", "", svg)


def bars(
    axes: Any, edges: Sequence[float], stacks: Sequence[tuple[str, np.ndarray]], gap: float = 0.1
) -> None:
    """Stacked bars (colour, heights) between edges."""
    left, right = np.asarray(edges[:-1], float), np.asarray(edges[1:], float)
    below, pad = np.zeros(len(left)), (right - left) * gap / 2
    for colour, heights in stacks:
        axes.bar(
            left + pad, heights, right - left - 2 * pad, below, align="edge", color=colour,
            linewidth=0,
        )  # fmt: skip
        below = below + heights


def percents(axes: Any) -> None:
    """Shares of the y axis as percent, from 0."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))


def counts(axes: Any) -> None:
    """Whole numbers on the y axis, long ones as 20k or 1.5M."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(number: float) -> str:
    """9,500 as it is, 20000 as 20k, 1500000 as 1.5M."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if number >= max(unit, 1e4):
            return f"{number / unit:g}{letter}"
    return f"{number:,.0f}"
