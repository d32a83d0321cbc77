"""`psad export`: a finished run becomes a version of a bundle, if the graph proves to be the model.

psad export runs/psad bundles/psad/1

A bundle has the scoring network, and beside it the generator where the run trained one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tqdm import tqdm

from data.dataset import Dataset
from export.generated import is_steady, list_cases, prove_lists
from export.golden import golden_requests
from export.onnx import Generator, Scorer, export_generator, export_scorer
from export.parity import cases, prove, tensors
from export.runtime import GENERATED
from features.body import rerank_body
from features.bundle import GENERATOR, GOLDEN, SCORER, GeneratorFacts, seal, writing
from features.encode import Arrays, Request
from features.errors import BundleError
from features.publish import publish
from model.config import RunConfig
from model.fit import ways
from model.machine import commit
from model.ranker import NeuralRanker
from model.train import METRICS, load_run

# of the machine that trained, which a bundle tells nothing of
FOLDERS: Any = {"dataset": True, "ancestors": {"__all__": {"run", "dataset"}}}
NAMES = {"psad": "psad-s"}  # what a bundle calls its scorer, where that is not the model's name


def export_run(
    run: Path | str,
    bundle: Path | str,
    *,
    dataset: Path | str | None = None,
    beam: int | None = None,
    current: bool = True,
) -> Path:
    """Write bundles/NAME/VERSION, and where `current`, put it in service; returns its folder.

    `dataset` is where the run's dataset lies now, if it was moved; `beam` how many lists the
    generator searches, in place of the run's own setting. Raises ParityError where torch and ONNX
    Runtime disagree, BundleError where the version exists; nothing is left behind then.
    """
    run, folder, console = Path(run), Path(bundle), Console()
    trained, config = load_run(run)
    ranker = _fit_for_service(trained, run, config, beam)
    data = Dataset.load(Path(dataset or config.dataset))
    if data.schema.fingerprint() != config.fingerprint:
        raise BundleError(f"{data.folder} is not the dataset that {run} was trained on.")
    with writing(folder) as temporary:
        scorer, parity = _scorer(ranker, data, temporary / SCORER, console)
        described = _describe(run, config, folder, parity)
        generator = None
        if "generator" in ways(ranker):
            generator, parity = _generator(ranker, beam, data, temporary / GENERATOR, console)
            described["metrics"]["generator_parity"] = parity
            described["generator"] = _facts(ranker)
        _write_rest(temporary, data, scorer, generator)
        seal(temporary, **described)
    if current:
        publish(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    where = f"the version in service of {folder.parent}" if current else "written, not published"
    console.print(f"{folder} ({size / 1e6:.1f} MB) is {where}")
    return folder


def _fit_for_service(ranker: Any, run: Path, config: RunConfig, beam: int | None) -> NeuralRanker:
    if not isinstance(ranker, NeuralRanker):
        raise BundleError(
            f"{config.model} has no scoring network to export; choose a neural model."
        )
    if "scorer" not in ways(ranker):
        raise BundleError(
            f"{run} trained a generator alone, and a bundle serves the scoring network where a "
            "request does not choose: train both (student=true)."
        )
    if beam is not None and "generator" not in ways(ranker):
        raise BundleError(f"{run} has no generator whose beam could be {beam}.")
    return ranker


def _scorer(ranker: Any, data: Dataset, path: Path, console: Console) -> tuple[Scorer, str]:
    scorer = export_scorer(ranker, data.schema, path)
    asked = list(cases(data.schema, data))
    parity = str(prove(scorer, path, _watched(asked, "comparing torch and ONNX Runtime", console)))
    console.print(f"parity: {parity}")
    return scorer, parity


def _generator(
    ranker: Any, beam: int | None, data: Dataset, path: Path, console: Console
) -> tuple[Generator, str]:
    ranker.beam = ranker.beam if beam is None else beam
    console.print("exporting the generator: a minute or so")
    generator = export_generator(ranker, data.schema, path)
    asked = list(list_cases(data.schema, data))
    parity = str(
        prove_lists(generator, path, _watched(asked, "comparing generated lists", console))
    )
    console.print(f"parity: {parity}")
    return generator, parity


def _watched(asked: Sequence[Arrays], what: str, console: Console) -> Iterable[Arrays]:
    """A bar on a terminal, elsewhere a line: it takes seconds to minutes."""
    lists = sum(len(arrays["candidate_mask"]) for arrays in asked)
    if not console.is_terminal:
        console.print(f"{what}: {lists:,} lists")
        return asked
    bar: Iterable[Arrays] = tqdm(asked, what, unit="batch", leave=False, dynamic_ncols=True)
    return bar


def _facts(ranker: Any) -> GeneratorFacts:
    return GeneratorFacts(
        list_size=ranker.teacher.list_size,
        block_size=ranker.teacher.block_size,
        beam=ranker.beam,
    )


def _write_rest(folder: Path, data: Dataset, scorer: Scorer, generator: Generator | None) -> None:
    data.schema.save(folder / "schema.json")
    data.catalogue.save(folder / "catalogue")
    asked = [one for one in golden_requests(data) if _is_steady(data, one, generator)]
    requests = [golden(data, request, scorer, generator) for request in asked]
    (folder / GOLDEN).write_text(json.dumps({"requests": requests}, allow_nan=False))


def _is_steady(data: Dataset, request: Request, generator: Generator | None) -> bool:
    """No tie decides its list: another machine, whose rounding is another, must find the same."""
    if generator is None:
        return True
    return is_steady(generator, tensors(generator, data.encoder.encode_request(request)[0]))


def _describe(run: Path, config: RunConfig, folder: Path, parity: str) -> dict[str, Any]:
    metrics = json.loads((run / METRICS).read_text())
    kept = {key: metrics[key] for key in ("valid", "parameters") if key in metrics}
    return {
        "name": NAMES.get(config.model, config.model),
        "version": folder.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": metrics.get("commit") or commit(),
        "fingerprint": config.fingerprint,
        "config": config.model_dump(mode="json", exclude=FOLDERS),
        "metrics": {**kept, "parity": parity},
    }


def golden(
    data: Dataset, request: Request, scorer: Scorer, generator: Generator | None = None
) -> dict[str, Any]:
    """A request as the service reads it, with the arrays and results that it must give."""
    arrays, _ = data.encoder.encode_request(request)
    with torch.inference_mode():
        scores = scorer(*tensors(scorer, arrays))[0].tolist()
        lists = generator(*tensors(generator, arrays)) if generator else None
    entry = {
        "request": rerank_body(request),
        "arrays": {name: array.tolist() for name, array in arrays.items()},
        "scores": scores,
        "order": np.argsort(-np.array(scores), kind="stable").tolist(),
    }
    if lists is not None:
        entry["generated"] = dict(zip(GENERATED, (one[0].tolist() for one in lists), strict=True))
    return entry
