"""Trains one run and judges it on validation and test lists, in a process of its own.

    python -m paper.worker DATASET RUN key=value… --config paper/configs/full.toml --seed 0

Does what `psad train` does, going on where a run was interrupted, and then writes into the run's
folder judged.json (the mean of every metric) and lists-SPLIT.npz (one value a list, for intervals).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from data.dataset import Dataset
from features.files import write_whole
from model.evaluate import Evaluation, evaluate, row_name
from model.fit import ways
from model.metrics import METRICS
from model.report import describe
from model.table import METRIC
from model.train import load_run, train

JUDGED = "judged.json"
SPLITS = ("valid", "test")
DESCRIBED = ("data", "split", "truth")  # of model.report.describe


def main(arguments: Sequence[str] | None = None) -> None:
    """Train where it is not trained, judge where it is not judged."""
    asked = _parse(arguments)
    overrides = dict(word.split("=", 1) for word in asked.overrides)
    with _alone(asked.run):
        train(asked.dataset, asked.run, file=asked.config, seed=asked.seed, resume=True,
              overrides=overrides)  # fmt: skip
        if not (asked.run / JUDGED).exists():
            judge(asked.run, asked.dataset)


def judge(run: Path, dataset: Path) -> None:
    """Write judged.json, last, and the values list by list."""
    ranker, config = load_run(run)
    data, modes = Dataset.load(dataset), ways(ranker)
    found = {
        split: {mode: evaluate(ranker, data, split, mode=mode) for mode in modes}
        for split in SPLITS
    }
    for split, judged in found.items():
        np.savez_compressed(run / f"lists-{split}.npz", **list_by_list(data, judged))
    about = {split: describe(data, split) for split in SPLITS}
    content: dict[str, Any] = {
        "rows": {
            mode: {"name": row_name(config.model, config.settings, mode)}
            | {split: _means(found[split][mode]) for split in SPLITS}
            for mode in modes
        },
        "about": {
            split: {key: about[split][key] for key in DESCRIBED if key in about[split]}
            for split in SPLITS
        },
        "machine": about["test"]["machine"],
        "date": datetime.now(UTC).date().isoformat(),
    }
    write_json(run / JUDGED, content)


def list_by_list(data: Dataset, judged: dict[str, Evaluation]) -> dict[str, np.ndarray]:
    """What paired intervals and the figure by activity need: (L,) arrays."""
    first = next(iter(judged.values()))
    arrays = {
        "lists": first.lists.astype(np.int32),
        "users": np.unique(first.users, return_inverse=True)[1].astype(np.int32),
        "history": data.history_lengths[first.lists].astype(np.int32),
    }
    for mode, one in judged.items():
        compared = [METRIC, *(metric for metric in one.values if metric not in METRICS)]
        arrays |= {f"{mode}/{metric}": one.values[metric].astype(np.float32) for metric in compared}
    return arrays


def write_json(path: Path, content: Any) -> None:
    """Written beside, then renamed."""
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _means(one: Evaluation) -> dict[str, float | None]:
    means = {metric: round(value, 8) for metric, value in one.means().items()}
    return {metric: None if math.isnan(value) else value for metric, value in means.items()}


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Two studies at a time may want the same run: the second waits, and finds it made."""
    run.parent.mkdir(parents=True, exist_ok=True)
    with (run.parent / f".{run.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m paper.worker", description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
