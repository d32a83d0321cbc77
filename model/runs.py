"""Run folders as they are read: what `psad train` wrote."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from features.errors import PsadError
from features.schema import FeatureSchema
from model import registry
from model.config import ConfigError, RunConfig
from model.ranker import Ranker

CONFIG, SCHEMA, METRICS = "config.toml", "schema.json", "metrics.json"


class RunError(PsadError):
    """A run folder that cannot be used as asked."""


def build(config: RunConfig, schema: FeatureSchema) -> Ranker:
    """The untrained model of a configuration; raises ConfigError for settings it does not have."""
    model = registry.find(config.model)
    try:
        settings = model.Config.model_validate(config.settings)
    except ValidationError as error:
        raise ConfigError(
            f"the run's settings are not those of {config.model} in this version: {error}"
        ) from error
    ranker: Ranker = model.Ranker(schema, settings)
    return ranker


def load_run(folder: Path | str) -> tuple[Ranker, RunConfig]:
    """The trained model of a run folder; raises RunError where it is not finished."""
    folder = Path(folder)
    if not (folder / METRICS).exists():
        state = (
            "has not finished: go on with --resume" if (folder / CONFIG).exists() else "is no run"
        )
        raise RunError(f"{folder} {state}.")
    config = RunConfig.load(folder / CONFIG)
    schema = FeatureSchema.load(folder / SCHEMA)
    if config.fingerprint != schema.fingerprint():
        raise ConfigError(f"{folder}: {SCHEMA} is not the schema that the run was trained with.")
    ranker = build(config, schema)
    ranker.load(folder)
    if isinstance(ranker, torch.nn.Module):
        ranker.eval()
    return ranker, config
