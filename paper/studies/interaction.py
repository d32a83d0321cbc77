"""PSAD's Figure 4: four ways for the user to meet the items, by how active the user is.

psad reproduce interaction --data datasets/ml_100k --seeds 5
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.table import Table
from paper.activity import METRIC_TITLES, buckets, judged, means
from paper.figures import draw_activity
from paper.pages import NAMES
from paper.records import Results
from paper.reproduce import run_cells
from paper.study import Asked, Study

STUDY = Study(
    name="interaction",
    title="User and items: none, concatenated, late, UPN (Figure 4)",
    about=(
        "By the length of the history that a list comes with, in fifths of the lists. The highest "
        "fifth is the paper's high activity, the others its low one."
    ),
    variants=("interaction-none", "interaction-concat", "interaction-late", "interaction-upn"),
    quick=("interaction-none",),
    base="interaction-upn",
)


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY, draw=draw_activity, more=by_activity)


def by_activity(results: Results) -> list[Table]:
    """What judges every variant, by history length: a table for each data set and mode."""
    made = []
    for name, groups in results.groups.items():
        lists = next(iter(groups.values())).first.lists
        if lists is None:
            continue
        parts = buckets(lists["history"])
        for mode in STUDY.modes:
            body, metric = [], judged(groups.values(), mode)
            for variant, group in groups.items():
                values = group.by_list(mode, metric)
                if values is not None:
                    body.append((variant, *(f"{one:.4f}" for one in means(values, parts))))
            titles = [f"history {part.title} ({np.sum(part.mask)})" for part in parts]
            title = f"{name}: {METRIC_TITLES[metric]} of {NAMES[mode]} by activity"
            made.append(Table(title, ("variant", *titles), tuple(body), "In brackets the lists."))
    return made
