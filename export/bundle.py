"""`psad export`: a finished run becomes a version of a bundle, if the graph proves to be the model.

psad export runs/psad bundles/psad/1
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from data.dataset import Dataset
from export.onnx import Scorer, export_scorer
from export.parity import cases, prove
from features.body import rerank_body
from features.bundle import GOLDEN, SCORER, publish, seal, writing
from features.encode import RawItems, Request
from features.errors import BundleError
from model.config import RunConfig
from model.fit import ways
from model.ranker import NeuralRanker
from model.train import METRICS, commit, load_run

GOLDEN_REQUESTS = 8
NAMES = {"psad": "psad-s"}  # what a bundle calls its scorer, where that is not the model's name


def export_run(run: Path | str, bundle: Path | str, *, dataset: Path | str | None = None) -> Path:
    """Write bundles/NAME/VERSION and make it the version in service; returns its folder.

    `dataset` is where the run's dataset lies now, if it was moved. Raises ParityError where torch
    and ONNX Runtime disagree, BundleError where the version exists; nothing is left behind then.
    """
    run, folder, console = Path(run), Path(bundle), Console()
    ranker, config = load_run(run)
    if not isinstance(ranker, NeuralRanker):
        raise BundleError(
            f"{config.model} has no scoring network to export; choose a neural model."
        )
    if "scorer" not in ways(ranker):
        raise BundleError(f"{run} trained a generator alone; train its scoring network as well.")
    data = Dataset.load(Path(dataset or config.dataset))
    if data.schema.fingerprint() != config.fingerprint:
        raise BundleError(f"{data.folder} is not the dataset that {run} was trained on.")
    with writing(folder) as temporary:
        scorer = export_scorer(ranker, data.schema, temporary / SCORER)
        with console.status("comparing torch and ONNX Runtime"):
            parity = prove(scorer, temporary / SCORER, cases(data.schema, data))
        console.print(f"parity: {parity}")
        _write_rest(temporary, data, scorer)
        seal(temporary, **_describe(run, config, folder, str(parity)))
    publish(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    console.print(f"{folder} ({size / 1e6:.1f} MB) is the version in service of {folder.parent}")
    return folder


def _write_rest(folder: Path, data: Dataset, scorer: Scorer) -> None:
    data.schema.save(folder / "schema.json")
    data.catalogue.save(folder / "catalogue")
    requests = [golden(data, scorer, request) for request in golden_requests(data)]
    (folder / GOLDEN).write_text(json.dumps({"requests": requests}, allow_nan=False))


def _describe(run: Path, config: RunConfig, folder: Path, parity: str) -> dict[str, Any]:
    metrics = json.loads((run / METRICS).read_text())
    kept = {key: metrics[key] for key in ("valid", "parameters") if key in metrics}
    return {
        "name": NAMES.get(config.model, config.model),
        "version": folder.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": metrics.get("commit") or commit(),
        "fingerprint": config.fingerprint,
        "config": config.model_dump(mode="json", exclude={"dataset"}),
        "metrics": {**kept, "parity": parity},
    }


def golden_requests(data: Dataset) -> list[Request]:
    """Real lists of the validation split, and what is not in it: nobody known, nothing known."""
    indexes = data.splits["valid"]
    places = np.linspace(0, len(indexes) - 1, min(GOLDEN_REQUESTS, len(indexes))).astype(int)
    real = [data.request(int(indexes[place])) for place in places]
    first = real[0]
    cold = [f"never-seen-{number}" for number in range(3)]
    return [
        *real,
        Request({}, RawItems([]), RawItems(list(first.candidates.ids))),
        Request(first.user, first.history, RawItems([*first.candidates.ids, *cold])),
    ]


def golden(data: Dataset, scorer: Scorer, request: Request) -> dict[str, Any]:
    """A request as the service reads it, with the arrays and scores that it must give."""
    arrays, _ = data.encoder.encode_request(request)
    with torch.inference_mode():
        scores = scorer(*(torch.from_numpy(arrays[name]) for name in scorer.names))[0].tolist()
    return {
        "request": rerank_body(request),
        "arrays": {name: array.tolist() for name, array in arrays.items()},
        "scores": scores,
        "order": np.argsort(-np.array(scores), kind="stable").tolist(),
    }
