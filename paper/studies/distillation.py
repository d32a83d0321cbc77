"""PSAD's Table 5: teachers of three kinds, trained with the student or before it.

psad reproduce distillation --data datasets/ml_100k --seeds 5
"""

from __future__ import annotations

from pathlib import Path

from paper.reproduce import run_cells
from paper.study import Asked, Study

STUDY = Study(
    name="distillation",
    title="Teachers and ways to distil (Table 5)",
    about=(
        "AR places one item at a time, NAR all at once, SAR a block (K=3). Online, teacher and "
        "student are trained together; offline, the generator is trained first and then teaches, "
        "fixed. *distillation-printed* has the printed formula of the distillation alone, "
        "*psad-alone* is the student without a teacher; three rows are the offline teachers "
        "themselves; *paper* has all formulas as printed, *paper-alone* without a teacher. What a "
        "training step takes is on the page of efficiency, where all are timed in one run."
    ),
    variants=(
        "ar-online", "nar-online", "sar-online", "ar-offline", "nar-offline", "sar-offline",
        "distillation-printed", "psad-alone", "ar-generator", "nar-generator", "psad-g", "paper",
        "paper-alone",
    ),
    quick=("nar-online", "sar-offline", "psad-g"),
    base="sar-online",
    modes=("scorer", "generator"),
)  # fmt: skip


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY)
