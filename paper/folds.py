"""Comparisons that may be made as often as one likes: folds of a log without its test lists.

    python -m paper.folds ml_100k "psad teacher=false knots=0" "psad teacher=false" lambdamart

Each user's last ranked list, which the tables test on, is taken away. What is left is split eight
times: by last lists, again without those, and by user with six seeds. Every model (with its
settings) is trained on each fold, judged on the fold's own test lists, and set beside the first.
Data sets and results lie in build/folds/; what is there with today's settings is not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from tqdm.auto import tqdm

from data import sources
from data.dataset import Dataset
from data.lists import RawLog, arrange
from data.prepare import prepare_log
from data.splits import Split
from model.config import resolve
from model.evaluate import evaluate
from model.fit import ways
from model.table import METRIC, Table, show
from model.train import load_run, train
from paper.cells import digest
from paper.worker import write_json

FOLDER = Path("build/folds")
FOLDS: dict[str, tuple[int, Split, int]] = {  # last lists taken away, split, seed
    "last": (1, "last-list", 0), "before": (2, "last-list", 0),
} | {f"users-{seed}": (1, "user", seed) for seed in range(6)}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Make what is missing, print the table."""
    parser = argparse.ArgumentParser(prog="python -m paper.folds", description=__doc__)
    parser.add_argument("source", help="a data set by name, or a folder of one's own")
    parser.add_argument("models", nargs="+", metavar="'MODEL key=value …'")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args(arguments)
    log = sources.read(asked.source)
    datasets = {name: _dataset(log, name) for name in FOLDS}
    found = {
        (model, fold): np.mean([_judged(dataset, model, seed) for seed in range(asked.seeds)])
        for model in tqdm(asked.models, unit="model", leave=False)
        for fold, dataset in tqdm(datasets.items(), model, unit="fold", leave=False)
    }
    show({}, [table(found, asked.models)], Console(width=160))


def without_last_lists(log: RawLog, times: int) -> RawLog:
    """The log without each user's last list that can be ranked, taken away so many times."""
    for _ in range(times):
        lists = arrange(log, "last-list").lists
        last = lists.filter(pl.col("split") == "test")["list_id"]
        kept = ~pl.col("list_id").is_in(last.to_list())
        log = replace(log, impressions=log.impressions.filter(kept))
    return log


def table(found: dict[tuple[str, str], float], models: Sequence[str]) -> Table:
    """A row a model; the difference to the first is of the same folds."""
    body = []
    for model in models:
        each = np.array([found[model, fold] for fold in FOLDS])
        gaps = each - [found[models[0], fold] for fold in FOLDS]
        error = gaps.std(ddof=1) / np.sqrt(len(gaps))
        body.append((model, *(f"{one:.4f}" for one in each), f"{each.mean():.4f}",
                     f"{gaps.mean():+.4f} ± {error:.4f}"))  # fmt: skip
    note = "NDCG@10 of each fold's test lists; the last column is a mean and its standard error."
    return Table("Folds", ("model", *FOLDS, "mean", "to the first"), tuple(body), note)


def _dataset(log: RawLog, fold: str) -> Dataset:
    times, split, seed = FOLDS[fold]
    folder = FOLDER / log.spec.name / fold
    if not folder.exists():
        prepare_log(without_last_lists(log, times), folder, split=split, seed=seed)
    return Dataset.load(folder)


def _judged(dataset: Dataset, model: str, seed: int) -> float:
    """METRIC of what ranks first in a model: the scoring network, or a generator that is alone."""
    name, *words = model.split()
    overrides = dict(word.split("=", 1) for word in words)
    asked = resolve(name, None, None, overrides)
    values = [name, asked.settings.model_dump(mode="json"), asked.training.model_dump(mode="json")]
    kept = dataset.folder / f"{name}-{digest(values)[:10]}-{seed}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch) / "run"
            with redirect_stdout(io.StringIO()):  # epochs and tables of every fold
                train(dataset.folder, run, model=name, seed=seed, overrides=overrides)
            ranker, _ = load_run(run)
            judged = evaluate(ranker, dataset, "test", mode=ways(ranker)[0])
        write_json(kept, {METRIC: judged.mean(METRIC)})
    return float(json.loads(kept.read_text(encoding="utf-8"))[METRIC])


if __name__ == "__main__":
    main()
