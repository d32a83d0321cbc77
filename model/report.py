"""`psad evaluate`: runs of one dataset beside the reference rows, as tables of model/table.py.

    psad evaluate RUN… --split test

Runs that differ by seed alone become one row. Each run's folder keeps its list-by-list results as
SPLIT-MODE.npz (model/evaluate.py).
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from data.dataset import Dataset
from data.splits import NOTES
from model.config import RunConfig
from model.evaluate import EvaluationError, Mode, evaluate, evaluate_references, row_name
from model.fit import ways
from model.latency import latency
from model.machine import commit, processor
from model.ranker import Ranker
from model.table import METRIC, Row, Table, markdown, show, tables
from model.train import load_run
from model.truth import VALUE, has_truth
from model.truth import describe as describe_truth

BASES = ("lambdamart", "click_rate")  # what rows are compared with, the first that is there


@dataclass(frozen=True)
class Report:
    """Tables and what they were made on."""

    header: dict[str, str]
    rows: tuple[Row, ...]
    tables: tuple[Table, ...]

    def markdown(self) -> str:
        """As it stands in RESULTS.md."""
        return markdown(self.header, self.tables)

    def show(self, console: Console) -> None:
        """In a terminal."""
        show(self.header, self.tables, console)


@dataclass(frozen=True)
class _Run:
    """One trained run."""

    folder: Path
    ranker: Ranker
    config: RunConfig
    metrics: Mapping[str, Any]


def evaluate_runs(
    runs: Sequence[Path | str],
    split: str = "test",
    *,
    mode: Mode | None = None,
    base: str | None = None,
    subjects: Sequence[str] = (),
    metric: str | None = None,
    with_latency: bool = False,
    beams: Sequence[int] = (),
    tuning: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> Report:
    """Evaluate runs on one split, print the tables, return them.

    `mode` None takes every way a model can rank; one without a generator is judged by its scores.
    `base` names the row that all are compared with, `subjects` those to be compared with all;
    `metric` is what they are compared by: the true value where it is known, else NDCG@10;
    `beams` gives a generator a row for each width of its search, instead of its own;
    `tuning` says, by model, what finding its settings cost.
    Raises EvaluationError for runs of different datasets.
    """
    loaded = [_load(Path(folder)) for folder in runs]
    dataset = _common_dataset(loaded)
    rows = [Row(name, (found,)) for name, found in evaluate_references(dataset, split).items()]
    groups = _by_seed(loaded)
    for group, suffix in zip(groups, _suffixes(groups), strict=True):
        for one, width in _ways(group[0].ranker, mode, beams):
            row = _row(group, dataset, split, one, suffix, width)
            if with_latency:
                row = replace(row, latency=latency(group[0].ranker, dataset, split, mode=one))
            rows.append(replace(row, tuning=(tuning or {}).get(group[0].config.model, "")))
    names = [row.name for row in rows]
    chosen = base or next(name for name in BASES if name in names)
    judged = metric or (VALUE if has_truth(dataset) else METRIC)
    made = tables(rows, chosen, metric=judged, subjects=subjects)
    report = Report(describe(dataset, split), tuple(rows), made)
    report.show(console or _console())
    return report


def describe(dataset: Dataset, split: str) -> dict[str, str]:
    """What a table was made on: data and counts, split, commit, machine, command, date."""
    info = dataset.info
    counts, fingerprint = info["counts"][split], dataset.schema.fingerprint()[:12]
    return {
        "data": (
            f"{info['name']} (schema {fingerprint}, seed {info['seed']}), {split}: "
            f"{counts['lists']:,} lists of {counts['users']:,} users, "
            f"{counts['candidates']:,} candidates, {counts['positives']:,} positive"
        ),
        "split": f"{NOTES[info['split']]} {_later(dataset, split)}",
        **({"truth": describe_truth(dataset)} if has_truth(dataset) else {}),
        "commit": commit() or "unknown (not in a git checkout)",
        "machine": machine(),
        "command": _command(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _console() -> Console:
    """The terminal, or, where the output is a file or a pipe, lines as long as the tables are."""
    console = Console()
    return console if console.is_terminal else Console(width=220)


def _command() -> str:
    """What was typed, without the folders of this machine's programs."""
    as_module = sys.orig_argv[1:2] == ["-m"]
    words = ["python", *sys.orig_argv[1:]] if as_module else [Path(sys.argv[0]).name, *sys.argv[1:]]
    return shlex.join(words)


def _later(dataset: Dataset, split: str) -> str:
    """How far training reaches into the time of the lists that are judged."""
    train, judged = (dataset.timestamps(dataset.splits[name]) for name in ("train", split))
    share = float(np.mean(train > np.median(judged)))
    return f"{share:.0%} of the train lists are later than the median {split} list."


def machine() -> str:
    """What a table was made by."""
    return f"{processor()}, {os.cpu_count()} cores, torch {torch.__version__}"


def _load(folder: Path) -> _Run:
    ranker, config = load_run(folder)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return _Run(folder, ranker, config, metrics)


def _common_dataset(runs: Sequence[_Run]) -> Dataset:
    """The dataset that all runs were trained on."""
    if not runs:
        raise EvaluationError("no run is given; name the folder of at least one.")
    first, others = runs[0], runs[1:]
    dataset = Dataset.load(first.config.dataset)
    for run in (first, *others):
        if run.config.fingerprint != dataset.schema.fingerprint():
            raise EvaluationError(
                f"{run.folder} was trained on {run.config.dataset}, whose schema is not that of "
                f"{first.config.dataset} as it is now; runs in one table need one dataset."
            )
    return dataset


def _by_seed(runs: Sequence[_Run]) -> list[tuple[_Run, ...]]:
    """Runs whose configurations are equal but for the seed, together, in the order given."""
    groups: dict[str, list[_Run]] = {}
    for run in runs:
        key = json.dumps(_settings(run.config), sort_keys=True)
        groups.setdefault(key, []).append(run)
    for group in groups.values():
        seeds = [run.config.training.seed for run in group]
        if len(set(seeds)) < len(seeds):
            folders = ", ".join(str(run.folder) for run in group)
            raise EvaluationError(f"{folders}: a seed is there twice, and would count twice.")
    return [tuple(group) for group in groups.values()]


def _settings(config: RunConfig) -> dict[str, Any]:
    """All that tells two configurations apart, without seed and place."""
    training = config.training.model_dump(exclude={"seed", "tensorboard"})
    return {"model": config.model, **config.settings, **training}


def _suffixes(groups: Sequence[tuple[_Run, ...]]) -> list[str]:
    """What tells rows of the same name apart: the preset, or the settings that vary."""
    configs = [group[0].config for group in groups]
    names = [
        row_name(config.model, config.settings, ways(group[0].ranker)[0])
        for config, group in zip(configs, groups, strict=True)
    ]
    suffixes = []
    for config, name in zip(configs, names, strict=True):
        same = [one for one, other in zip(configs, names, strict=True) if other == name]
        if len(same) == 1:
            suffixes.append("")
        elif len({one.preset for one in same}) == len(same):
            suffixes.append(f" ({config.preset})")
        else:
            suffixes.append(f" ({_varying(config, same)})")
    return suffixes


def _varying(config: RunConfig, same: Sequence[RunConfig]) -> str:
    everyone, own = [_settings(one) for one in same], _settings(config)
    return ", ".join(
        f"{key}={value}"
        for key, value in own.items()
        if any(other.get(key) != value for other in everyone)
    )


def _modes(ranker: Ranker, mode: Mode | None) -> Sequence[Mode]:
    able: Sequence[Mode] = ways(ranker)
    return [mode] if mode in able else able


def _ways(
    ranker: Ranker, mode: Mode | None, beams: Sequence[int]
) -> Iterator[tuple[Mode, int | None]]:
    """Every mode to judge in, and the width of its search where one was asked for."""
    for one in _modes(ranker, mode):
        searches = one == "generator" and hasattr(ranker, "beam")
        yield from ((one, width) for width in beams) if beams and searches else [(one, None)]


def _row(
    group: Sequence[_Run],
    dataset: Dataset,
    split: str,
    mode: Mode,
    suffix: str,
    width: int | None = None,
) -> Row:
    """Evaluate every seed of a group, and keep each result in its run's folder."""
    evaluations, beam = [], "" if width is None else f"-beam-{width}"
    for run in group:
        if width is not None:
            run.ranker.beam = width  # type: ignore[attr-defined]
        evaluations.append(evaluate(run.ranker, dataset, split, mode=mode))
        evaluations[-1].save(run.folder / f"{split}-{mode}{beam}.npz")
    config = group[0].config
    return Row(
        row_name(config.model, config.settings, mode)
        + ("" if width is None else f", beam {width}")
        + suffix,
        tuple(evaluations),
        parameters=_size(group[0].ranker),
        train_seconds=tuple(run.metrics["training"]["seconds"] for run in group),
    )


def _size(ranker: Ranker) -> int | None:
    """Parameters of a network, leaves of trees."""
    if isinstance(ranker, torch.nn.Module):
        return sum(parameter.numel() for parameter in ranker.parameters())
    size = getattr(ranker, "size", None)
    return None if size is None else size()
