"""Figures of the results, drawn from the same rows as the tables; SVG and PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.files import whole
from model.table import METRIC, TITLES, TRUE_TITLES, Row
from model.truth import VALUE
from paper.activity import METRIC_TITLES, buckets, judged, means
from paper.records import Group, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT_OUT = ("oracle", "random")  # the ends of the scale say nothing about the rows between
STYLES = {"scorer": "-", "generator": "--"}
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple")


def draw_quality(rows: Sequence[Row], picture: Path, data: str) -> list[Path]:
    """Every row, best above, a whisker of one standard deviation over seeds.

    By the true value where it is known, else by NDCG@10.
    """
    metric = VALUE if all(VALUE in row.evaluations[0].values for row in rows) else METRIC
    found = [
        (row.name, *row.mean_and_deviation(metric)) for row in rows if row.name not in LEFT_OUT
    ]
    found.sort(key=lambda one: one[1])
    figure = _figure(8, 0.36 * len(found) + 1.2)
    axis = figure.subplots()
    for place, (name, mean, deviation) in enumerate(found):
        colour = "tab:blue" if name.startswith("psad") else "dimgrey"
        axis.errorbar(mean, place, xerr=deviation or 0.0, fmt="o", color=colour, capsize=3)
        axis.annotate(f"{mean:.4f}", (mean, place), (0, 6), textcoords="offset points",
                      ha="center", fontsize=7, color=colour)  # fmt: skip
    axis.set_yticks(range(len(found)), [name for name, _, _ in found])
    axis.set_ylim(-0.6, len(found) - 0.2)
    axis.set_xlabel(f"{(TITLES | TRUE_TITLES)[metric]}, mean and standard deviation over seeds")
    axis.set_title("\n".join(textwrap.wrap(data, 90)), fontsize=9)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    return _save(figure, picture.with_suffix(""))


def draw_factors(results: Results, place: Path) -> list[Path]:
    """A panel a factor: difference of NDCG@10 from the base, a line a data set and mode.

    Data sets with the true value have a second row of panels for it.
    """
    factors = results.study.factors
    extras = {metric for record in results.records for metric in record.extras}
    metrics = [METRIC, *sorted(extras)]
    columns = min(len(factors), 5)
    rows = -(-len(factors) // columns)
    figure = _figure(2.9 * columns, 2.7 * rows * len(metrics) + 0.6)
    axes = figure.subplots(rows * len(metrics), columns, squeeze=False)
    for number, metric in enumerate(metrics):
        for one, factor in enumerate(factors):
            row, column = divmod(one, columns)
            _factor(axes[number * rows + row, column], results, factor, metric)
    for axis in axes.flat:
        axis.set_visible(axis.has_data())
    _legend(figure, axes.flat)
    return _save(figure, place)


def draw_activity(results: Results, place: Path) -> list[Path]:
    """A panel a data set and mode: every variant by history length, by what is judged there."""
    modes = results.study.modes
    figure = _figure(4.2 * len(results.groups), 3 * len(modes) + 0.6)
    axes = figure.subplots(len(modes), len(results.groups), squeeze=False)
    for row, mode in enumerate(modes):
        for column, (name, groups) in enumerate(results.groups.items()):
            axis, metric = axes[row, column], judged(groups.values(), mode)
            for colour, (variant, group) in zip(COLOURS, groups.items(), strict=False):
                _activity(axis, variant, group, (mode, metric), colour)
            axis.set_title(f"{name}, {mode}", fontsize=9)
            axis.set_xlabel("length of history")
            axis.set_ylabel(METRIC_TITLES[metric])
            axis.grid(alpha=0.3)
    _legend(figure, axes.flat)
    return _save(figure, place)


def draw_efficiency(
    found: Mapping[str, Any], shares: Mapping[str, Any], base: str, place: Path
) -> list[Path]:
    """Two panels a data set: the time of a call, and the generator's parts, as ratios to `base`.

    `found` has for each data set and batch size the time of each row, `shares` that of each part.
    """
    figure = _figure(9.5, 3.1 * len(found))
    axes = figure.subplots(len(found), 2, squeeze=False)
    for (calls, parts), (name, times) in zip(axes, found.items(), strict=True):
        places = range(len(times))
        for row in next(iter(times.values())):
            ratios = [column[row] / column[base] for column in times.values()]
            width = 2 if row == base else 1.2
            calls.plot(places, ratios, marker="o", ms=3, lw=width, label=row)
        _batches(calls, times, f"{name}: time of a call ÷ {base}")
        calls.set_yscale("log")
        calls.set_yticks((ticks := (0.1, 0.2, 0.5, 1, 2, 5, 10)), [f"{one:g}×" for one in ticks])
        calls.minorticks_off()
        calls.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        below = [0.0] * len(times)
        for part in shares[name].get("mflop", ()):
            ratios = [shares[name][size][part] / times[size][base] for size in times]
            parts.bar(places, ratios, 0.6, below, label=part)
            below = [under + ratio for under, ratio in zip(below, ratios, strict=True)]
        _batches(parts, times, f"{name}: parts of PSAD-G ÷ {base}")
        if parts.has_data():
            parts.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
        parts.set_visible(parts.has_data())
    return _save(figure, place)


def _batches(axis: Axes, sizes: Sequence[str] | Mapping[str, Any], title: str) -> None:
    axis.set_xticks(range(len(sizes)), list(sizes))
    axis.set_xlabel("batch size, lists")
    axis.set_title(title, fontsize=9)
    axis.grid(axis="y", alpha=0.3)


def _factor(axis: Axes, results: Results, factor: str, metric: str) -> None:
    variants = results.study.factors[factor]
    ticks: dict[int, str] = {}
    for colour, (name, groups) in zip(COLOURS, results.groups.items(), strict=False):
        base = groups.get(results.study.base)
        for mode, style in STYLES.items():
            points = [(n, *found) for n, variant in enumerate(variants)
                      if (found := _beside(groups.get(variant), base, mode, metric))]  # fmt: skip
            if points:
                x, y, deviation = zip(*points, strict=True)
                axis.errorbar(x, y, deviation, ls=style, marker="o", ms=3, color=colour,
                              capsize=2, label=f"{name}, {mode}")  # fmt: skip
                ticks |= {n: _value(groups[variants[n]], factor) for n in x}
    if not ticks:
        return
    axis.axhline(0, color="black", lw=0.6)
    axis.set_xticks(list(ticks), list(ticks.values()), fontsize=7)
    axis.tick_params(axis="y", labelsize=7)
    axis.set_title(f"{factor}: {metric} − {results.study.base}", fontsize=8)
    axis.grid(alpha=0.3)


def _beside(
    group: Group | None, base: Group | None, mode: str, metric: str
) -> tuple[float, float] | None:
    """Difference of means over the seeds that both have, and the deviation over these."""
    if group is None or base is None:
        return None
    seeds = group.seeds & base.seeds
    ours, theirs = (one.of(seeds).mean_and_deviation(mode, metric) for one in (group, base))
    if ours is None or theirs is None:
        return None
    return ours[0] - theirs[0], ours[1] or 0.0


def _value(group: Group, factor: str) -> str:
    """The factor's value as it stands in the configuration."""
    value = group.first.content["configuration"]["settings"][factor]
    return "T" if factor == "block_size" and value >= 1000 else str(value)


def _activity(axis: Axes, variant: str, group: Group, shown: tuple[str, str], colour: str) -> None:
    values, lists = group.by_list(*shown), group.first.lists
    if values is None or lists is None:
        return
    parts = buckets(lists["history"])
    axis.plot(range(len(parts)), means(values, parts), marker="o", color=colour, label=variant)
    axis.set_xticks(range(len(parts)), [part.title for part in parts], fontsize=8)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Figure, axes: Any) -> None:
    """One for all panels: the same line has the same look in each."""
    lines = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    if lines:
        columns = min(len(lines), 4)
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=columns,
                      fontsize=8)  # fmt: skip


def _save(figure: Figure, place: Path) -> list[Path]:
    """PLACE.svg and PLACE.png, the same bytes from the same figure."""
    import matplotlib as mpl

    paths = [place.with_name(f"{place.name}.{ending}") for ending in ("svg", "png")]
    with mpl.rc_context({"svg.hashsalt": "psad"}), whole(paths[0]) as beside:
        figure.savefig(beside, metadata={"Date": None})
    with whole(paths[1]) as beside:
        figure.savefig(beside, dpi=130)
    return paths
