"""The quality table: PSAD beside its parts, the baselines and the reference rows, several seeds.

    python -m paper.quality datasets/ml_100k datasets/ranklens --seeds 5 --jobs 2

Trains what is not trained yet (a run that was interrupted goes on), judges every run on the test
split, and writes paper/results/quality-NAME.md and .svg. Each run is `psad train` in a process of
its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from data.dataset import Dataset
from features.errors import PsadError
from model.report import evaluate_runs
from model.train import METRICS
from paper.figures import draw_quality

RESULTS = Path(__file__).parent / "results"

# row -> arguments of `psad train`
ROWS: dict[str, tuple[str, ...]] = {
    "psad": ("--model", "psad"),
    "psad-alone": ("--model", "psad", "teacher=false"),
    "psad-g": ("--model", "psad", "student=false"),
    "prm": ("--model", "prm"),
    "dnn": ("--model", "dnn"),
    "lambdamart": ("--model", "lambdamart"),
}
# what finding each model's settings cost, all on validation lists (RESULTS.md says more)
TUNING = {
    "psad": "about 35 one-seed runs",
    "prm": "5 settings",
    "dnn": "5 settings",
    "lambdamart": "62 settings",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, train, evaluate, write."""
    asked = _parse(arguments)
    for folder in asked.datasets:
        data = Dataset.load(folder)
        runs = {
            (row, seed): asked.runs / data.schema.name / f"{row}-{seed}"
            for seed in range(asked.seeds)
            for row in asked.rows
        }
        _train_all(folder, runs, asked.jobs)
        report = evaluate_runs(
            list(runs.values()), "test", base="click_rate", subject=asked.subject,
            with_latency=True, tuning=TUNING,
        )  # fmt: skip
        RESULTS.mkdir(exist_ok=True)
        name = f"quality-{data.schema.name}"
        text = f"# Quality on {data.schema.name}\n\n![NDCG@10]({name}.svg)\n\n{report.markdown()}"
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
        draw_quality(report.rows, RESULTS / f"{name}.svg", report.header["data"])
        print(f"wrote {RESULTS / name}.md and .svg")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m paper.quality", description=__doc__)
    parser.add_argument("datasets", nargs="+", type=Path, help="folders of `psad prepare`")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--subject", default="psad-s", help="the row compared with all others")
    return parser.parse_args(arguments)


def _train_all(dataset: Path, runs: dict[tuple[str, int], Path], jobs: int) -> None:
    missing = {key: run for key, run in runs.items() if not (run / METRICS).exists()}
    with (
        ThreadPoolExecutor(jobs) as pool,
        tqdm(total=len(missing), desc=f"training on {dataset}") as bar,
    ):
        for _ in pool.map(lambda item: _train(dataset, item[1], *item[0]), missing.items()):
            bar.update()


def _train(dataset: Path, run: Path, row: str, seed: int) -> None:
    run.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cli.main", "train", str(dataset), str(run),
               "--seed", str(seed), "--resume", *ROWS[row]]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise PsadError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
