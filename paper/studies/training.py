"""Which training suits PSAD: its state, its losses and its sizes, one factor at a time.

    psad reproduce training --data datasets/ml_100k
    psad reproduce training --data datasets/ml_100k --seeds 5 --only context-exposure

A screening with one seed on validation lists; `--seeds 5 --only NAME` confirms what it picks.
"""

from __future__ import annotations

from pathlib import Path

from paper.figures import draw_factors
from paper.reproduce import run_cells
from paper.studies.hyperparameters import FACTORS as SIZES
from paper.study import Asked, Study

FACTORS = {
    "context": ("context-rollout", "context-clicked-first", "context-exposure", "context-improved"),
    "step_loss": ("step-loss-binary", "step-loss-softmax"),
    "scorer_loss": ("scorer-loss-binary", "scorer-loss-softmax"),
    "position": ("position-relative", "position-pair"),
    **SIZES,
    "temperature": ("temperature-0.5", "temperature-1.0", "temperature-2.0", "temperature-4.0"),
    "decay": ("decay-0.1", "decay-0.5", "decay-1.0", "decay-dcg"),
    "distillation_warmup": ("warmup-0.0", "warmup-0.2", "warmup-0.5"),
    "mutual": ("mutual-false", "mutual-true"),
    "knots": ("knots-0", "knots-4", "knots-8"),
}
PARTS = ("wo-pairs", "order-blind", "greedy", "wo-evaluator")  # switches that the paper lacks
STUDY = Study(
    name="training",
    title="Training state, losses and sizes, one at a time",
    about=(
        "Each row changes one thing of the full model (the robust preset); *paper* is the preset "
        "of the printed formulas. What the tables pick is confirmed with more seeds."
    ),
    variants=("full", "paper", *(name for names in FACTORS.values() for name in names), *PARTS),
    quick=("paper", "context-exposure", "decay-dcg"),
    split="valid",
    modes=("scorer", "generator"),
    factors=FACTORS,
)


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY, draw=draw_factors)
