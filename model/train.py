"""`psad train`: one run from configuration to weights, metrics and learning curves.

    psad train datasets/ml_100k runs/psad --model psad --preset robust key=value…
    psad train datasets/ml_100k runs/wo-sa --config paper/configs/wo-sa.toml
    psad train datasets/this_week runs/this_week --from runs/last_week

A run folder holds config.toml, schema.json, weights.safetensors, metrics.json, progress.jsonl and
curves.svg. metrics.json is written last: a run that has it is whole.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table

from data.dataset import Dataset
from features.files import write_whole
from model import registry
from model.config import Asked, RunConfig, resolve, resolve_from
from model.curves import draw_curves
from model.elder import START, Elder, begin_from, load_elder
from model.evaluate import evaluate, evaluate_references, row_name
from model.fit import CHECKPOINTS, PROGRESS, ways
from model.machine import commit
from model.ranker import Ranker
from model.runs import CONFIG, METRICS, SCHEMA, RunError, build, load_run
from model.weights import load_weights

SHOWN = ("ndcg@5", "ndcg@10", "map@5", "map@10", "auc")

__all__ = ["CONFIG", "METRICS", "SCHEMA", "RunError", "build", "load_run", "train"]


def train(
    dataset: Path | str,
    run: Path | str,
    *,
    model: str | None = None,
    preset: str | None = None,
    file: Path | str | None = None,
    seed: int | None = None,
    resume: bool = False,
    start: Path | str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Train and judge on the validation lists; returns metrics.json's content.

    Under `torchrun` or `accelerate launch` every process trains its share; the main one writes, the
    others return nothing. What is said here goes before what the configuration `file` says.

    `start` is a run to begin from: its weights, and its settings where nothing else is said.

    Raises RunError where the folder holds another run, ConfigError for unknown settings,
    WarmStartError for a run that cannot be begun from.
    """
    folder, data = Path(run), Dataset.load(Path(dataset))
    # one process, unless `torchrun` or `accelerate launch` started several
    processes = PartialState(cpu=not torch.accelerator.is_available())
    with processes.main_process_first():
        if processes.is_main_process:
            given = {} if seed is None else {"seed": str(seed)}
            said = (model, preset, file, given | dict(overrides or {}))
            elder = None if start is None else load_elder(Path(start), model)
            asked = resolve_from(elder.config, *said) if elder else resolve(*said)
            _begin(folder, data, asked, resume, any(said), elder)
    config = RunConfig.load(folder / CONFIG)
    if (folder / METRICS).exists():
        Console().print(f"{folder} is finished; nothing to resume.")
        return json.loads((folder / METRICS).read_text())
    torch.manual_seed(config.training.seed)
    ranker = build(config, data.schema)
    if config.ancestors:
        load_weights(ranker, folder / START)
    fitted = ranker.fit(data, folder, training=config.training, resume=resume)
    if not processes.is_main_process:
        return {}
    ranker.save(folder)
    metrics = _judge(ranker, data, config) | {"training": fitted, "parameters": parameters(ranker)}
    _finish(folder, metrics, f"{config.model} on {data.schema.name}")
    return metrics


def _begin(
    folder: Path,
    data: Dataset,
    asked: Asked,
    resume: bool,
    said_anything: bool,
    elder: Elder | None,
) -> None:
    """See to it that the folder holds the configuration to train by."""
    if resume and (folder / CONFIG).exists():
        config = _resumed(folder, data)
        if elder is not None and elder.ancestors != config.ancestors:
            raise RunError(f"{folder} was not begun from {elder.folder}: resume it without --from.")
        if said_anything:  # `--resume` alone takes the run's own settings
            _refuse_other_settings(folder, config, asked)
        return
    _new(folder, data, asked, elder)


def _finish(folder: Path, metrics: Mapping[str, Any], title: str) -> None:
    """Draw the curves, write metrics.json last, and let the checkpoints go."""
    if (folder / PROGRESS).exists():
        draw_curves(folder / PROGRESS, folder / "curves.svg", title)
    write_whole(folder / METRICS, json.dumps(metrics, indent=1))
    for scratch in (CHECKPOINTS, START):
        shutil.rmtree(folder / scratch, ignore_errors=True)


def _new(folder: Path, data: Dataset, asked: Asked, elder: Elder | None) -> None:
    if (folder / CONFIG).exists():
        raise RunError(
            f"{folder} holds a run already. Go on with it by --resume, or choose another folder."
        )
    torch.manual_seed(asked.training.seed)  # what a run begins from has weights drawn by it too
    # what it lacks shows before a folder is
    ranker = registry.find(asked.model).Ranker(data.schema, asked.settings)
    if elder is not None:
        begin_from(elder, asked, ranker, data, folder / START)
    folder.mkdir(parents=True, exist_ok=True)
    config = RunConfig(
        model=asked.model,
        preset=asked.preset,
        file=asked.file,
        dataset=str(data.folder.resolve()),
        fingerprint=data.schema.fingerprint(),
        training=asked.training,
        settings=asked.settings.model_dump(mode="json"),
        ancestors=() if elder is None else elder.ancestors,
    )
    data.schema.save(folder / SCHEMA)
    config.save(folder / CONFIG)


def _resumed(folder: Path, data: Dataset) -> RunConfig:
    config = RunConfig.load(folder / CONFIG)
    if config.fingerprint != data.schema.fingerprint():
        raise RunError(
            f"{folder} was started on another dataset ({config.dataset}); resume it with that one."
        )
    return config


def _refuse_other_settings(folder: Path, config: RunConfig, asked: Asked) -> None:
    """A run goes on as it began; raises RunError naming what was asked to be otherwise."""
    began = {"model": config.model, **config.settings, **config.training.model_dump(mode="json")}
    given = [part.model_dump(mode="json") for part in (asked.settings, asked.training)]
    wanted = {"model": asked.model, **given[0], **given[1]}
    other = [f"{key} is {began.get(key)}, not {wanted[key]}" for key in wanted
             if began.get(key) != wanted[key]]  # fmt: skip
    if other:
        raise RunError(
            f"{folder} was begun otherwise ({'; '.join(other[:3])}). Go on with it by --resume "
            "alone, or train into another folder."
        )


def _judge(ranker: Ranker, data: Dataset, config: RunConfig) -> dict[str, Any]:
    """Validation figures of the model and the reference rows, printed as a table."""
    rows: dict[str, dict[str, float]] = {}
    for mode in ways(ranker):
        name = row_name(config.model, config.settings, mode)
        rows[name] = evaluate(ranker, data, "valid", mode=mode).means()
    rows |= {name: found.means() for name, found in evaluate_references(data, "valid").items()}
    table = Table(title=f"{data.schema.name}, {len(data.splits['valid'])} validation lists")
    table.add_column("")
    for metric in SHOWN:
        table.add_column(metric.upper(), justify="right")
    for name, means in rows.items():
        table.add_row(name, *(f"{means[metric]:.4f}" for metric in SHOWN))
    Console().print(table)
    return {
        "valid": rows,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }


def parameters(ranker: Ranker) -> int:
    """Numbers that training sets; 0 for models without a gradient."""
    if not isinstance(ranker, torch.nn.Module):
        return 0
    return sum(parameter.numel() for parameter in ranker.parameters())
