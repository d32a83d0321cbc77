"""The picture of an open-loop report: latency by rate, by percentile, and what was not scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from features.files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# light to dark as the percentile rises
COLOURS: Final = {
    "p50": "#9ecae1", "p90": "#4292c6", "p99": "#08519c", "p99.9": "#08306b", "max": "#bdbdbd",
}  # fmt: skip
NINES: Final = (50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
BAD: Final = {"fallback": "tab:orange", "failed": "tab:red"}

Steps = Sequence[Mapping[str, Any]]


def draw(report: Mapping[str, Any], picture: Path) -> None:
    """Write the picture, SVG or PNG by its name; beside it first, then renamed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = sorted(report["steps"], key=lambda step: float(step["rate"]))
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 1])
    upper = figure.add_subplot(grid[0, 0])
    _by_rate(upper, steps, report["limits"])
    _not_scored(figure.add_subplot(grid[1, 0], sharex=upper), steps)
    _by_percentile(figure.add_subplot(grid[:, 1]), steps)
    figure.suptitle(title(report), fontsize=11)
    with whole(picture) as beside:
        figure.savefig(beside, dpi=130)


def title(report: Mapping[str, Any]) -> str:
    """What was loaded, with what, and the verdict."""
    model = report["model"]
    name = f"{model['name']} {model['version']}" if model else report["url"]
    asked = f"{report['mode']}, {report['arrivals']} arrivals, {report['shapes']}"
    return f"{name}, {asked}: {report['verdict']}"


def _by_rate(axis: Axes, steps: Steps, limits: Mapping[str, Any]) -> None:
    places = range(len(steps))
    for name, colour in COLOURS.items():
        values = [step["latency_ms"][name] for step in steps]
        axis.plot(
            places, _drawn(values), "o-", color=colour, linewidth=1.6, markersize=5, label=name
        )
        late = [value if step["distrust"] else None
                for value, step in zip(values, steps, strict=True)]  # fmt: skip
        axis.plot(places, _drawn(late), "o", color=colour, markerfacecolor="white", markersize=5)
    lag = [step["lag_ms"]["p99"] for step in steps]
    axis.plot(places, _drawn(lag), ":", color="tab:green", label="generator's lag, p99")
    axis.axhline(limits["p99_ms"], color="dimgrey", linestyle="--", linewidth=0.8,
                 label=f"limit of p99, {limits['p99_ms']:g} ms")  # fmt: skip
    if any(step["distrust"] for step in steps):
        axis.plot([], [], "o", color="grey", markerfacecolor="white", label="not to be trusted")
    axis.set_title("Latency from the intended start, by rate", fontsize=10)
    axis.set_xlim(-0.5, len(steps) - 0.5)
    axis.tick_params(labelbottom=False)
    _milliseconds(axis)
    axis.legend(frameon=False, fontsize=8, ncols=2)


def _drawn(values: Sequence[float | None]) -> list[float]:
    """Gaps where there is nothing."""
    return [math.nan if value is None else value for value in values]


def _by_percentile(axis: Axes, steps: Steps) -> None:
    """The further right, the rarer: each label is ten times as rare as the one before."""
    from matplotlib import colormaps

    shades = colormaps["viridis_r"]
    for place, step in enumerate(steps):
        colour = shades(0.1 + 0.85 * place / max(1, len(steps) - 1))
        rare = [100.0 / (100.0 - percentile) for percentile, _ in step["curve"]]
        axis.plot(
            rare,
            [ms for _, ms in step["curve"]],
            ":" if step["distrust"] else "-",
            color=colour,
            label=f"{step['rate']:g} / s",
        )
    axis.set_xscale("log")
    furthest = max([2, *(step["requests"] for step in steps)])
    ticks = [one for one in NINES if 100.0 / (100.0 - one) <= furthest]
    axis.set_xticks([100.0 / (100.0 - one) for one in ticks], [f"{one:g}%" for one in ticks])
    axis.minorticks_off()
    axis.set_title("Latency by percentile (dotted: not to be trusted)", fontsize=10)
    axis.set_xlabel("requests that took no longer", fontsize=9)
    _milliseconds(axis)
    axis.legend(frameon=False, fontsize=8, title="offered", title_fontsize=8)


def _not_scored(axis: Axes, steps: Steps) -> None:
    places, base = range(len(steps)), [0.0] * len(steps)
    for kind, colour in BAD.items():
        key = "fallbacks" if kind == "fallback" else kind
        shares = [100.0 * step[key] / max(1, step["requests"]) for step in steps]
        axis.bar(places, shares, bottom=base, color=colour, width=0.6, label=kind)
        base = [low + share for low, share in zip(base, shares, strict=True)]
    for place, share in zip(places, base, strict=True):
        axis.annotate(f"{share:.1f}%", (place, share), (0, 2), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
    axis.set_xticks(places, [f"{step['rate']:g}" for step in steps], fontsize=8)
    axis.set_ylim(0, max(1.0, 1.35 * max(base)))
    axis.set_ylabel("% not scored", fontsize=9)
    axis.set_xlabel("offered, requests a second", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axis.spines[["top", "right"]].set_visible(False)


def _milliseconds(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_ylabel("ms", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.grid(which="major", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
