"""PSAD's Figure 3: K, γ and α, one at a time.

psad reproduce hyperparameters --data datasets/ml_100k --seeds 1
"""

from __future__ import annotations

from pathlib import Path

from paper.figures import draw_factors
from paper.reproduce import run_cells
from paper.study import Asked, Study

FACTORS = {
    "block_size": ("block-1", "block-2", "block-3", "block-5", "block-all"),
    "refine": ("refine-0", "refine-1", "refine-2", "refine-3"),
    "alpha": ("alpha-0.0", "alpha-0.1", "alpha-0.2", "alpha-0.5", "alpha-1.0"),
}
STUDY = Study(
    name="hyperparameters",
    title="Block size, masked places, weight of the distillation (Figure 3)",
    about="K (block_size), γ (refine) and α (alpha), each changed alone from the full model.",
    variants=("full", *(name for names in FACTORS.values() for name in names)),
    quick=("block-1", "block-all", "alpha-0.0"),
    split="valid",
    factors=FACTORS,
)


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY, draw=draw_factors)
