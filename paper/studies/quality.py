"""The quality table: PSAD beside its parts, the baselines and the reference rows.

    psad reproduce quality --data datasets/ml_100k --data datasets/ranklens --seeds 5 --jobs 2

A page a data set, RESULTS/quality-NAME.md, with cost and latency. It is made of the runs
themselves, which have to be there.
"""

from __future__ import annotations

from pathlib import Path

from data.dataset import Dataset
from features.files import write_whole
from model.report import evaluate_runs
from paper.cells import plan
from paper.figures import draw_quality
from paper.reproduce import make_cells, say
from paper.study import Asked, Study, StudyError

STUDY = Study(
    name="quality",
    title="Quality",
    about="",
    variants=("full", "psad-alone", "psad-g", "prm", "dnn", "lambdamart"),
    quick=("lambdamart", "prm"),
    modes=("scorer", "generator"),
)
BEAMS = (1, 4)  # PSAD-G's search: greedy, and its own
SUBJECTS = {"full": "psad-s", "psad-g": "psad-g, beam 4"}  # rows compared with all others
# what finding each model's settings cost, all on validation lists (RESULTS.md says more)
TUNING = {
    "psad": "about 60 one-seed runs, 14 settings on folds, 46 screened",
    "prm": "5 settings",
    "dnn": "5 settings",
    "lambdamart": "62 settings",
}


def run(asked: Asked) -> list[Path]:
    """Make the cells, then each data set's page."""
    if not asked.datasets:
        raise StudyError("quality is made of runs: name the datasets by --data.")
    failures = make_cells(asked, STUDY, with_runs=True)
    say(failures)
    return [path for folder in asked.datasets for path in _page(asked, folder)]


def _page(asked: Asked, folder: Path) -> list[Path]:
    name = Dataset.load(folder).schema.name
    cells = [cell for cell in plan(asked, STUDY) if cell.run.dataset == folder]
    report = evaluate_runs(
        [cell.run.folder for cell in cells], STUDY.split, base="click_rate", beams=BEAMS,
        subjects=[SUBJECTS[one] for one in asked.variants(STUDY) if one in SUBJECTS],
        with_latency=True, tuning=TUNING,
    )  # fmt: skip
    page = asked.results / f"quality-{name}.md"
    picture = page.with_suffix(".svg")
    text = f"# Quality on {name}\n\n![Quality]({picture.name})\n\n{report.markdown()}"
    write_whole(page, text)
    return [page, *draw_quality(report.rows, picture, report.header["data"])]
