"""What new logs are worth: the old model as it was, refreshed, trained on from there, and anew.

    python -m benchmarks.weeks --seeds 3

ML-100K (or another source by name), cut in time: a model learns from the first half of its lists.
It is then judged on the test lists of the whole log (the last in time) with the catalogue of then,
and with one that `psad refresh` makes of all that came before these lists; beside a model trained
on the whole log's train lists, begun anew and begun from the first (`--from`). PSAD-S alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

from data import sources
from data.dataset import Dataset
from data.lists import RawLog
from data.merge import merge
from data.prepare import prepare_log
from data.recount import recount
from export.replies import as_read
from features.catalogue import Catalogue
from features.encode import Encoder
from model.evaluate import evaluate
from model.fit import PROGRESS
from model.metrics import ndcg_at_k, order_from_scores
from model.ranker import Batch, Ranker
from model.train import load_run, train

NEAR = 0.002  # of NDCG@10: as good as the best that a model begun anew comes to


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", default="ml_100k")
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = cut(sources.read(asked.source, 0, None), Path(folder))
        seeds = [of_seed(*data, Path(folder) / str(seed), seed) for seed in range(asked.seeds)]
    table = Table(title=f"{asked.source}, test NDCG@10 and epochs by seed")
    for column in ("", "mean", "each"):
        table.add_column(column)
    for name in seeds[0]:
        found = [one[name] for one in seeds]
        known = [one for one in found if one is not None]
        mean = f"{np.mean(known):.4f}" if known and isinstance(known[0], float) else ""
        table.add_row(name, mean, ", ".join(_text(one) for one in found))
    Console().print(table)


def _text(value: float | int | None) -> str:
    return "never" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def cut(log: RawLog, folder: Path) -> tuple[Dataset, Dataset, Dataset]:
    """The first half of the lists, all of them, and those before the test lists of all."""

    def before(name: str, time: int) -> Dataset:
        part = replace(log, impressions=log.impressions.filter(pl.col("timestamp") < time))
        return prepare_log(part, folder / name, split="time", report=lambda text: None)

    lists = log.impressions.group_by("list_id").agg(pl.col("timestamp").first())
    times = lists["timestamp"].sort()
    everything = before("all", int(times[-1]) + 1)
    test = everything.timestamps(everything.splits["test"])
    return before("half", int(times[len(times) // 2])), everything, before("past", int(test.min()))


def of_seed(
    half: Dataset, everything: Dataset, past: Dataset, runs: Path, seed: int
) -> dict[str, float | int | None]:
    """Every row of one seed."""
    own = {"overrides": {"teacher": "false", "seed": str(seed)}}
    train(half.folder, runs / "half", **own)  # type: ignore[arg-type]
    train(everything.folder, runs / "anew", **own)  # type: ignore[arg-type]
    train(everything.folder, runs / "from", start=runs / "half")
    old, _ = load_run(runs / "half")
    best = max(valid(runs / "anew"))
    return {
        "as it was": judged(old, half.catalogue, everything),
        "refreshed": judged(old, renewed(half, past), everything),
        "trained from it": _test(runs / "from", everything),
        "trained anew": _test(runs / "anew", everything),
        f"epochs to the best valid of anew less {NEAR}: from it": epochs(runs / "from", best),
        "the same: anew": epochs(runs / "anew", best),
    }  # fmt: skip


def renewed(half: Dataset, past: Dataset) -> Catalogue:
    """The catalogue that `psad refresh` would write."""
    merged = merge(half.catalogue, half.schema, past)
    statistics = recount(past, merged.rows, merged.catalogue, half.schema)
    blank = merged.catalogue
    return Catalogue(blank.ids, blank.categorical, blank.bag, blank.numeric, statistics)


def judged(ranker: Ranker, catalogue: Catalogue, everything: Dataset) -> float:
    """Test NDCG@10 of requests as a service reads them."""
    encoder, found = Encoder(ranker.schema, catalogue), []
    for index in everything.splits["test"].tolist():
        arrays, _ = encoder.encode_request(as_read(everything.request(index), ranker.schema))
        labels, mask = everything.labels([index]), arrays["candidate_mask"]
        with torch.inference_mode():
            scores = ranker.scores(Batch.from_arrays(arrays, labels)).numpy()
        found.append(float(ndcg_at_k(labels, mask, order_from_scores(scores, mask), 10)[0]))
    return float(np.mean(found))


def _test(run: Path, data: Dataset) -> float:
    return float(evaluate(load_run(run)[0], data, "test").mean("ndcg@10"))


def valid(run: Path) -> list[float]:
    """NDCG@10 on valid after each epoch."""
    return [json.loads(line)["valid"] for line in (run / PROGRESS).read_text().splitlines()]


def epochs(run: Path, best: float) -> int | None:
    """After how many it is about as good; None for never."""
    return next((i for i, one in enumerate(valid(run), start=1) if one >= best - NEAR), None)


if __name__ == "__main__":
    main()
