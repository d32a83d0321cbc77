"""Results of cells: RESULTS/STUDY/DATASET/VARIANT-SEED.json, and what tables read of them.

The JSON holds the mean of every metric on validation and test lists, with everything that led to
it. Beside it lies VARIANT-SEED.npz, one value a list for paired intervals, where it is small;
a larger one stays in the run's folder, and without that folder the tables have no intervals.
L lists.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import PsadError
from model.compare import over_seeds
from model.config import RunConfig
from model.metrics import METRICS as KNOWN
from model.train import CONFIG, METRICS
from paper.cells import TEACHER, Cell, Run, shown
from paper.study import Asked, Study
from paper.worker import JUDGED, write_json

SMALL = 200_000  # bytes of a list-by-list file that is kept beside the result
Arrays = Mapping[str, np.ndarray[Any, Any]]


class RecordError(PsadError):
    """A result that cannot be read."""


def is_made(cell: Cell) -> bool:
    """Whether the cell's result is there, made with the configuration it has now."""
    return cell.path.exists() and _read(cell.path).get("fingerprint") == cell.run.fingerprint


def is_judged(run: Run) -> bool:
    """Whether the run itself is here, trained and judged."""
    return (run.folder / JUDGED).exists()


def write_record(cell: Cell, command: str) -> None:
    """The cell's result from its run's folder; the JSON is written last."""
    run, place = cell.run, cell.path
    metrics, judged = (_read(run.folder / name) for name in (METRICS, JUDGED))
    content = {
        "study": cell.study.name,
        "variant": cell.variant,
        "dataset": run.folder.parent.name,
        "seed": run.seed,
        "rows": judged["rows"],
        "parameters": metrics["parameters"],
        "training": metrics["training"] | _teaching(run),
        "command": run.command,
        "reproduced_by": command,
        "commit": metrics["commit"],
        "machine": judged["machine"],
        "date": judged["date"],
        "about": judged["about"],
        "data": run.data,
        "settings": cell.settings,
        "fingerprint": run.fingerprint,
        "run": shown(run.folder),
        "configuration": _configuration(run),
    }
    _place(place, content, run.folder / f"lists-{cell.study.split}.npz")


def adopt(cell: Cell, studies: Sequence[str], command: str) -> bool:
    """Take the result of the same run from another of these studies, if one has it.

    They must be judged on the same lists. What led to the result stays as it was. One whose values
    list by list are neither beside it nor in its run is of no use to a comparison, and not taken.
    """
    data, results = cell.path.parent.name, cell.path.parents[2]
    for name in studies:
        for path in sorted((results / name / data).glob("*.json")):
            found = _read(path)
            same = found.get("fingerprint") == cell.run.fingerprint and path != cell.path
            if same and Record(path, found, cell.study.split).lists is not None:
                own = {"study": cell.study.name, "variant": cell.variant}
                own |= {"settings": cell.settings, "reproduced_by": command}
                _place(cell.path, found | own, path.with_suffix(".npz"))
                return True
    return False


@dataclass(frozen=True)
class Record:
    """One cell's result."""

    path: Path
    content: Mapping[str, Any]
    split: str

    def mean(self, mode: str, metric: str) -> float | None:
        """Of the lists that have the metric; None where the model has no such mode."""
        value = self.content["rows"].get(mode, {}).get(self.split, {}).get(metric)
        return None if value is None else float(value)

    @property
    def extras(self) -> list[str]:
        """Metrics beyond the usual: the true value, where it is known."""
        rows = self.content["rows"].values()
        return sorted({metric for row in rows for metric in row[self.split]} - set(KNOWN))

    @cached_property
    def lists(self) -> Arrays | None:
        """Values list by list; None where neither they nor the run are here."""
        beside = self.path.with_suffix(".npz")
        there = Path(self.content["run"]) / f"lists-{self.split}.npz"
        for path in (beside, there):
            if path.exists():
                with np.load(path, allow_pickle=False) as file:
                    return {name: file[name] for name in file}
        return None


@dataclass(frozen=True)
class Group:
    """A variant's results on one data set, over seeds."""

    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The lowest seed's."""
        return self.records[0]

    @property
    def seeds(self) -> set[int]:
        """Those that there are results of."""
        return {record.content["seed"] for record in self.records}

    def of(self, seeds: set[int]) -> Group:
        """The results with one of these seeds."""
        return Group(tuple(one for one in self.records if one.content["seed"] in seeds))

    def mean_and_deviation(self, mode: str, metric: str) -> tuple[float, float | None] | None:
        """Over seeds, no deviation of one; None where there is no such mode or metric."""
        means = [record.mean(mode, metric) for record in self.records]
        values = [value for value in means if value is not None]
        if not values:
            return None
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return float(np.mean(values)), deviation

    def by_list(self, mode: str, metric: str) -> np.ndarray[Any, Any] | None:
        """Each list's value averaged over seeds (L,); None where a seed lacks it."""
        found = [record.lists for record in self.records]
        if any(one is None or f"{mode}/{metric}" not in one for one in found):
            return None
        return over_seeds([one[f"{mode}/{metric}"] for one in found if one is not None])


SettingsOf = Callable[[str, str], str]  # of a variant and the name of a data set


@dataclass(frozen=True)
class Results:
    """All that is there of a study, by data set and variant, in the study's order."""

    study: Study
    groups: Mapping[str, Mapping[str, Group]]
    left_out: tuple[str, ...]  # results of settings or data that are no longer these

    @property
    def records(self) -> list[Record]:
        """Every one that the tables are made of."""
        return [one for found in self.groups.values() for g in found.values() for one in g.records]


def read_results(asked: Asked, study: Study, settings: SettingsOf) -> Results:
    """Read a study's folder; `settings` gives the fingerprint of a variant on data as it is now.

    Of a data set in two versions the newer counts.
    """
    groups: dict[str, dict[str, Group]] = {}
    left_out: list[str] = []
    for folder in sorted((asked.results / study.name).glob("*/")):
        found = [Record(path, _read(path), study.split) for path in sorted(folder.glob("*.json"))]
        newest = max(found, key=lambda one: one.content["date"], default=None)
        for one in found:
            variant = one.content["variant"]
            same_data = newest is not None and one.content["data"] == newest.content["data"]
            now = settings(variant, folder.name) if variant in study.variants else None
            if now != one.content["settings"] or not same_data:
                left_out.append(f"{folder.name}/{one.path.stem}")
        kept = [one for one in found if f"{folder.name}/{one.path.stem}" not in left_out]
        if kept:
            groups[folder.name] = _by_variant(study, kept)
    return Results(study, groups, tuple(left_out))


def _place(path: Path, content: Mapping[str, Any], lists: Path) -> None:
    """Write a result, its JSON last; `lists` may be missing or too large to be kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = path.with_suffix(".npz")
    kept.unlink(missing_ok=True)
    if lists.exists() and lists.stat().st_size <= SMALL:
        shutil.copyfile(lists, kept)
    write_json(path, content)


def _by_variant(study: Study, records: Sequence[Record]) -> dict[str, Group]:
    made = {}
    for variant in study.variants:
        own = [one for one in records if one.content["variant"] == variant]
        if own:
            made[variant] = Group(tuple(sorted(own, key=lambda one: one.content["seed"])))
    return made


def _teaching(run: Run) -> dict[str, Any]:
    """What training the teacher took, where it was trained before its student."""
    if run.teacher is None:
        return {}
    return {"teacher_seconds": _read(run.teacher.folder / METRICS)["training"]["seconds"]}


def _configuration(run: Run) -> dict[str, Any]:
    config = RunConfig.load(run.folder / CONFIG)
    settings = dict(config.settings)
    if run.teacher is not None:
        settings[TEACHER] = shown(run.teacher.folder)
    training = config.training.model_dump(mode="json")
    return {"model": config.model, "preset": config.preset,
            "file": f"paper/configs/{run.variant}.toml",
            "settings": settings, "training": training}  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read as a result ({error}); remove it.") from error
    return content
