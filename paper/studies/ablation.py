"""PSAD's Table 4: the model without one of its parts.

psad reproduce ablation --data datasets/ml_100k --seeds 5
"""

from __future__ import annotations

from pathlib import Path

from paper.reproduce import run_cells
from paper.study import Asked, Study

STUDY = Study(
    name="ablation",
    title="PSAD without one of its parts (Table 4)",
    about=(
        "The paper ablates PSAD-G. Here generator and scoring network come from one joint run of "
        "each variant, and both are shown; what an ablation of the generator does to the scoring "
        "network reaches it through the distillation alone."
    ),
    variants=("wo-sa", "wo-ce", "wo-sace", "wo-ppe", "wo-pg", "full"),
    quick=("wo-sa", "wo-pg"),
)


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY)
