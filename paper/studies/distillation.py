"""PSAD's Table 5: teachers of three kinds, trained with the student or before it.

psad reproduce distillation --data datasets/ml_100k --seeds 5
"""

from __future__ import annotations

from pathlib import Path

from model.table import Table
from paper.records import Group, Results
from paper.reproduce import run_cells
from paper.study import Asked, Study

STUDY = Study(
    name="distillation",
    title="Teachers and ways to distil (Table 5)",
    about=(
        "AR places one item at a time, NAR all at once, SAR a block (K=3). Online, teacher and "
        "student are trained together; offline, the generator is trained first and then teaches, "
        "fixed. *psad-alone* is the student without a teacher; the last three rows are the offline "
        "teachers themselves."
    ),
    variants=(
        "ar-online", "nar-online", "sar-online", "ar-offline", "nar-offline", "sar-offline",
        "psad-alone", "ar-generator", "nar-generator", "psad-g",
    ),
    quick=("nar-online", "sar-offline", "psad-g"),
    base="sar-online",
    modes=("scorer", "generator"),
)  # fmt: skip


def run(asked: Asked) -> list[Path]:
    """Make the study."""
    return run_cells(asked, STUDY, more=lambda results: [times(results)])


def times(results: Results) -> Table:
    """Training time: of an epoch, and of all until the student is ready."""
    columns = ["variant"]
    for name in results.groups:
        columns += [f"{name} epochs", f"{name} s an epoch", f"{name} s before it", f"{name} s"]
    body = []
    for variant in there(results):
        cells = [text for groups in results.groups.values() for text in _times(groups.get(variant))]
        body.append((variant, *cells))
    note = (
        "One thread, on the machine above; means over seeds. Before it: training an offline "
        "teacher, which the last column contains. Trainings side by side slow each other down."
    )
    return Table("Training time", tuple(columns), tuple(body), note)


def there(results: Results) -> list[str]:
    """The variants that some data set has results of."""
    found = {variant for groups in results.groups.values() for variant in groups}
    return [variant for variant in STUDY.variants if variant in found]


def _times(group: Group | None) -> tuple[str, str, str, str]:
    if group is None:
        return ("–",) * 4  # type: ignore[return-value]
    seconds, epochs = group.training("seconds"), group.training("epochs")
    before = group.training("teacher_seconds")
    an_epoch = f"{seconds / epochs:.2f}" if epochs else "–"
    return f"{epochs:.1f}", an_epoch, f"{before:.1f}" if before else "–", f"{seconds + before:.1f}"
