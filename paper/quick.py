"""A small version of every study, to see that all of it works here: `make reproduce-quick`.

    python -m paper.quick --jobs 2

Prepares ml_100k and ranklens (where their data can be had) and a small simulated log, and makes
each study with --quick. Everything goes into build/quick/; the results that are kept are not
touched, and two epochs say nothing about any model.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from data.prepare import prepare
from features.errors import DataError, PsadError
from paper import studies
from paper.reproduce import reproduce
from paper.study import QUICK

SOURCES = {"ml_100k": None, "ranklens": None, "simulator": 2_000}  # lists to simulate


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare what can be prepared, make every study, say how long it took."""
    parser = argparse.ArgumentParser(prog="python -m paper.quick", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time")
    jobs = parser.parse_args(arguments).jobs
    began = time.monotonic()
    shutil.rmtree(QUICK, ignore_errors=True)  # what is made anew is what was to be seen
    datasets = prepared(SOURCES)
    for what in studies.names():
        reproduce(what, datasets, jobs=jobs, quick=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(studies.names())} studies on {len(datasets)} datasets in {minutes:.1f} minutes")


def prepared(sources: dict[str, int | None]) -> list[Path]:
    """The datasets that can be made here. Raises PsadError where none can."""
    made = []
    for name, lists in sources.items():
        folder = QUICK / "datasets" / name
        try:
            prepare(name, folder, lists=lists)
        except DataError as error:  # no network, and nothing in $PSAD_DATA or the cache
            print(f"left out {name}: {error}")
            continue
        made.append(folder)
    if not made:
        raise PsadError("no dataset could be prepared; what is missing stands above.")
    return made


if __name__ == "__main__":
    main()
