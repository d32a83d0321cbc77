"""Makes the cells of a study that are not there yet, several at a time, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from paper.cells import Cell, Run
from paper.records import adopt, is_judged, is_made, write_record

TAIL = 1_500  # characters of a failed training's output that are shown


def make(
    cells: Sequence[Cell],
    command: str,
    jobs: int,
    alike: Sequence[str] = (),
    *,
    with_runs: bool = False,
) -> list[str]:
    """Train, judge and record what is missing; returns what failed, in words.

    A cell counts as made when its result has its fingerprint; where a study of those `alike` has
    that result, it is taken from there. `with_runs` asks for its run as well, and takes nothing.
    Each result is written as soon as its run is judged, so that an interrupted study goes on from
    there; one run that fails leaves the others alone.
    """
    if with_runs:
        missing = [cell for cell in cells if not (is_made(cell) and is_judged(cell.run))]
    else:
        missing = [c for c in cells if not is_made(c) and not adopt(c, alike, command)]
    failures: list[str] = []
    if not missing:
        return failures
    with tqdm(total=len(missing), desc=missing[0].study.name, unit="cell") as bar:
        for runs in _stages(missing):
            for run, failure in _each(runs, jobs):
                served = [cell for cell in missing if cell.run.folder == run.folder]
                if failure:
                    failures.append(failure)
                    tqdm.write(failure)
                else:
                    for cell in served:
                        write_record(cell, command)
                bar.update(len(served))
    return failures


def train(run: Run) -> str | None:
    """Train and judge one run; None, or what went wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "paper.worker", *run.words],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"{run.command} failed:\n{done.stderr[-TAIL:]}" if done.returncode else None


def _stages(cells: Sequence[Cell]) -> list[list[Run]]:
    """Generators that teach offline first, then the rest; each run once."""
    teachers = {cell.run.teacher.folder: cell.run.teacher for cell in cells if cell.run.teacher}
    others = {cell.run.folder: cell.run for cell in cells if cell.run.folder not in teachers}
    return [list(teachers.values()), list(others.values())]


def _each(runs: Sequence[Run], jobs: int) -> Iterator[tuple[Run, str | None]]:
    """Every run with what went wrong, as they end."""
    pool = ThreadPoolExecutor(jobs)
    try:
        waiting = {pool.submit(train, run): run for run in runs}
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    finally:  # an interruption starts nothing more
        pool.shutdown(cancel_futures=True)
