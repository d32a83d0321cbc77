"""`psad reproduce`: the papers' tables and figures, and this project's own questions.

    psad reproduce ablation --data datasets/ml_100k --data datasets/ranklens --seeds 5 --jobs 2

Trains what is not trained yet, judges it, keeps each result under paper/results/STUDY/, and writes
paper/results/STUDY.md with its figures. A study that was interrupted goes on; runs are shared
between studies. Without --data the pages are made anew of the results that are there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data.tables import suggestion
from model.table import Table
from paper import studies
from paper.cells import plan, settings_of
from paper.pages import Draw, write_page
from paper.records import Results
from paper.runner import make
from paper.study import RESULTS, TWINS, Asked, Study, StudyError


def reproduce(
    what: str,
    data: Sequence[Path] = (),
    *,
    seeds: int = 1,
    jobs: int = 1,
    runs: Path = Path("runs"),
    results: Path = RESULTS,
    only: Sequence[str] = (),
    quick: bool = False,
) -> list[Path]:
    """Make one study; returns the pages and figures written.

    `only` restricts a study to some variants and its base. `quick` cuts it to a few epochs of a few
    variants with one seed, in build/quick/. Raises StudyError for an unknown study or variant, for
    two data sets of one name, and, in the end, for trainings that failed.
    """
    if what not in studies.names():
        raise StudyError(
            f"there is no study {what!r}.{suggestion(what, studies.names())} "
            f"Studies: {', '.join(studies.names())}."
        )
    asked = Asked(tuple(data), seeds, jobs, runs, results, tuple(only), quick).cut()
    written: list[Path] = _module(what).run(asked)
    for path in written:
        print(f"wrote {path}")
    return written


def run_cells(
    asked: Asked,
    study: Study,
    *,
    draw: Draw | None = None,
    more: Callable[[Results], Sequence[Table]] | None = None,
) -> list[Path]:
    """The way of every study that is made of cells: plan, make, write.

    Raises StudyError after the page is written where a training failed.
    """
    failures = make_cells(asked, study)
    written = write_page(
        asked, study, lambda name, data: settings_of(name, asked, data), draw=draw, more=more
    )
    say(failures)
    if not written:
        raise StudyError(f"{study.name} has no results yet; name a dataset by --data.")
    return written


def make_cells(asked: Asked, study: Study, *, with_runs: bool = False) -> list[str]:
    """Make the cells that are missing, or whose runs are (`with_runs`); returns what failed."""
    cells = plan(asked, study)
    paths = [cell.path for cell in cells]
    if len(set(paths)) < len(paths):
        raise StudyError(TWINS)
    return make(cells, asked.command(study), asked.jobs, _alike(study), with_runs=with_runs)


def _alike(study: Study) -> list[str]:
    """The studies that are judged on the same lists."""
    every = {name: _module(name).STUDY for name in studies.names()}
    return [name for name, other in every.items() if other.split == study.split]


def _module(name: str) -> Any:
    return importlib.import_module(f"paper.studies.{name}")


def say(failures: Sequence[str]) -> None:
    """Raise StudyError for trainings that failed."""
    if failures:
        raise StudyError(f"{len(failures)} trainings failed. The first: {failures[0]}")
