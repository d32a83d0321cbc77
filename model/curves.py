"""Learning curves of a run as a picture.

Above, each loss term on a scale of its own; below, the validation NDCG@10 of each way the model
ranks and, where there is a generator to learn from, the distillation target: its entropy as a share
of the uniform distribution's, and its rank correlation with the student.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.files import whole

Records = Sequence[dict[str, Any]]


def draw_curves(progress: Path, picture: Path, title: str) -> None:
    """Read progress.jsonl, write an SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    records = [json.loads(line) for line in progress.read_text().splitlines()]
    losses = [key for key in records[0] if key.startswith("loss_")]
    below = [
        [key for key in records[0] if key.startswith(prefix)] for prefix in ("ndcg_", "target_")
    ]
    panels = [keys for keys in below if keys]
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    FigureCanvasSVG(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=[2, 3])
    best = max(records, key=lambda record: record["valid"])["epoch"]
    for axis, key in zip(upper.subplots(1, len(losses), squeeze=False)[0], losses, strict=True):
        _draw(axis, records, [key], best)
        axis.set_title(f"{key.removeprefix('loss_')} loss", fontsize=10)
    titles = {"ndcg_": "validation NDCG@10", "target_": "distillation target"}
    for axis, keys in zip(lower.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        prefix = keys[0].split("_")[0] + "_"
        _draw(axis, records, keys, best)
        axis.set_title(titles[prefix], fontsize=10)
        axis.set_xlabel("epoch")
        if len(keys) > 1 or prefix == "target_":
            axis.legend([key.removeprefix(prefix) for key in keys], frameon=False)
    figure.suptitle(f"{title} (dotted: epoch {best}, which was kept)")
    with whole(picture) as beside:
        figure.savefig(beside)


def _draw(axis: Any, records: Records, keys: Sequence[str], best: int) -> None:
    """One line a key over the epochs; an epoch without the figure is a gap."""
    from matplotlib.ticker import MaxNLocator

    epochs = [record["epoch"] for record in records]
    for key in keys:
        axis.plot(epochs, [record.get(key, float("nan")) for record in records], "o-", markersize=3)
    axis.axvline(best, color="grey", linestyle=":", linewidth=1)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
