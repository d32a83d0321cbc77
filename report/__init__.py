"""The decision report: what a trained model would change for a team's own lists, and what it costs.

    psad report runs/mine

It judges the run on lists it was not trained on, beside the order as it came or another run, and
writes one HTML page. Every figure is of this log; what a log cannot tell, the page says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from features.files import write_whole
from model.evaluate import Mode
from model.machine import Load
from model.machine import load as machine_load
from model.report import describe
from report.answer import Report, verdict
from report.changes import changes
from report.cost import costs
from report.examples import examples
from report.limits import limits
from report.measures import MEASURES, gain, slice_gains
from report.page import render
from report.plain import standings
from report.sides import ReportError, Sides, Trained, dataset_of, load, sides
from report.slices import slices

PAGE = "report.html"
FACTS = ("data", "split", "commit", "machine")


def report_run(
    run: Path | str,
    *,
    beside: Path | str | None = None,
    bundle: Path | str | None = None,
    dataset: Path | str | None = None,
    split: str = "test",
    mode: Mode | None = None,
    file: Path | str | None = None,
) -> Path:
    """Write RUN/report.html, or `file`; returns where it is.

    `beside` is a run to compare with, in place of the order as it came; with `bundle` its graphs
    are timed, else the model in its own library, as `beside` is.
    Raises ReportError, RunError, DataError, EvaluationError.
    """
    load_before, trained = machine_load(), load(run, mode)
    data = dataset_of(trained, dataset)
    both = sides(trained, data, split, None if beside is None else load(beside))
    found = collect(trained, both, bundle, load_before)
    page = Path(file) if file is not None else trained.folder / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, render(found))
    print(verdict(found))
    print(f"wrote {page}")
    return page


def collect(
    run: Trained, both: Sides, bundle: Path | str | None = None, load: Load | None = None
) -> Report:
    """All that the page says; `load` is the machine's before this work, now where none is given."""
    measured = [one for measure in MEASURES if (one := gain(both, measure)) is not None]
    if not measured:
        raise ReportError(
            "no list of the split has an item that was chosen; nothing can be judged."
        )
    parts = slice_gains(both, slices(both))
    described = describe(both.dataset, both.after.split)
    facts = {name: described[name] for name in FACTS}
    facts["run"] = str(run.folder)
    if both.other is not None:
        facts["beside"] = str(both.other.folder)
    facts |= {"made": datetime.now(UTC).date().isoformat()}
    return Report(
        both, measured, standings(both), parts, changes(both), examples(both),
        costs(run, both, bundle, load), limits(both, parts), facts,
    )  # fmt: skip
