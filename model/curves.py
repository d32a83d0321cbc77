"""Learning curves of a run as a picture: losses on the left, validation NDCG@10 on the right."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(progress: Path, picture: Path, title: str) -> None:
    """Read progress.jsonl, write an SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    records = [json.loads(line) for line in progress.read_text().splitlines()]
    epochs = [record["epoch"] for record in records]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasSVG(figure)
    panels = {"loss_": "training loss", "ndcg_": "validation NDCG@10"}
    for axis, (prefix, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for name in [key for key in records[0] if key.startswith(prefix)]:
            values = [record[name] for record in records]
            axis.plot(epochs, values, marker="o", markersize=3, label=name.removeprefix(prefix))
        axis.set(xlabel="epoch", title=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    best = max(records, key=lambda record: record["valid"])["epoch"]
    figure.axes[1].axvline(best, color="grey", linestyle=":", linewidth=1)
    figure.suptitle(f"{title} (dotted: the epoch that was kept)")
    figure.savefig(picture)
