"""How a run is configured: defaults, a preset, a file, then `key=value` from the command line.

A file names `model` and `preset` (or leaves them out) and then any setting of the model or of its
training, as paper/configs/ does. A run's config.toml holds every value that was in force, so that
it says all there is to know.
"""

from __future__ import annotations

import difflib
import importlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import PsadError
from features.files import write_whole
from model import registry

MODEL, PRESET = "psad", "robust"  # where nothing names others


class ConfigError(PsadError):
    """A key or value that no configuration has; the message names it and the nearest one."""


class Training(BaseModel):
    """How a neural model is fitted; the same for all, so that each has an equal budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=15, ge=1)  # at most; the learning rate falls over all of them
    # the epoch that is kept is the best on valid by NDCG@10, or by the loss: where clicks depend on
    # what stands above, the list they were given to is not the one that a good generator makes
    select: Literal["ndcg", "loss"] = "ndcg"
    patience: int = Field(default=6, ge=1)  # epochs without a better one
    batch_size: int = Field(default=128, ge=1)  # lists
    learning_rate: float = Field(default=1e-3, gt=0)  # at its peak, after the warm-up
    warmup: float = Field(default=0.05, ge=0, lt=1)  # share of all steps
    weight_decay: float = Field(default=0.02, ge=0)  # decoupled (AdamW)
    embedding_weight_decay: float = Field(default=0.1, ge=0)  # of the vectors of ids
    average: float = Field(default=0.99, ge=0, lt=1)  # moving average of weights; 0 is off
    clip: float = Field(default=1.0, gt=0)  # largest norm of the gradient
    mixed_precision: Literal["no", "bf16"] = "no"
    seed: int = Field(default=0, ge=0)
    tensorboard: bool = False  # also write curves for TensorBoard (extra `tensorboard`)


class Ancestor(BaseModel):
    """A run that another one began from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str  # folder
    weights: str  # sha256 of its weights
    dataset: str  # folder that it learned from
    fingerprint: str  # of that dataset's schema


class RunConfig(BaseModel):
    """Everything a run is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    preset: str
    file: str | None = None  # `--config`, where one was given
    dataset: str  # folder
    fingerprint: str  # of the dataset's schema
    training: Training
    settings: dict[str, Any]  # the model's own Config
    ancestors: tuple[Ancestor, ...] = ()  # `--from`: that run, the one that it began from, …

    def save(self, path: Path) -> None:
        """Write as TOML; what is None is left out, because TOML has no word for it."""
        values = self.model_dump(mode="json", exclude_none=True)
        values["settings"] = {k: v for k, v in values["settings"].items() if v is not None}
        write_whole(path, tomli_w.dumps(values))

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read a run's config.toml; raises ConfigError."""
        try:
            return cls.model_validate(tomllib.loads(path.read_text()))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ConfigError(f"{path} cannot be read as a run's configuration: {error}") from error


class ConfigFile(NamedTuple):
    """What `--config` names; a header that it leaves out is None."""

    model: str | None
    preset: str | None
    settings: dict[str, Any]  # of the model and of its training


def read_config(path: Path | str) -> ConfigFile:
    """A configuration file, its keys checked; raises ConfigError, which names the file."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a configuration: {error}") from error
    header = {key: values.pop(key, None) for key in ("model", "preset")}
    for key, value in header.items():
        if not isinstance(value, str | None):
            raise ConfigError(f"{path}: {key} is {value!r}, not a name in quotes.")
    found = ConfigFile(header["model"], header["preset"], values)
    try:
        configure(found.model or MODEL, found.preset or PRESET, {}, values)
    except PsadError as error:
        raise ConfigError(f"{path}: {error}") from error
    return found


def configure(
    model: str,
    preset: str,
    overrides: Mapping[str, str],
    settings: Mapping[str, Any] | None = None,
) -> tuple[Any, Training]:
    """The model's Config and Training: a preset, `settings` of a file, `key=value` as text."""
    config_class = registry.find(model).Config
    values = preset_values(model, preset) | dict(settings or {})
    values |= {key: _parsed(text) for key, text in overrides.items()}
    _refuse_unknown(model, values, (*config_class.model_fields, *Training.model_fields))
    parts = [
        {key: value for key, value in values.items() if key in part.model_fields}
        for part in (config_class, Training)
    ]
    try:
        return config_class.model_validate(parts[0]), Training.model_validate(parts[1])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""  # none: two settings contradict
        where = f"{key}={overrides.get(key, values.get(key))}" if key else model
        raise ConfigError(f"{where}: {first['msg']}") from error


def _refuse_unknown(model: str, values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, (*known, "model", "preset"), 1, 0.5)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"{model} has no setting {key!r}.{guess} Known: {', '.join(known)}.")


def _parsed(value: str) -> Any:
    """A list such as `[64, 32]`; anything else stays text, which pydantic reads."""
    if value.startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


class Asked(NamedTuple):
    """What a run is asked to be."""

    model: str
    preset: str
    file: str | None
    settings: Any  # the model's Config
    training: Training


def resolve(
    model: str | None,
    preset: str | None,
    file: Path | str | None,
    overrides: Mapping[str, str],
) -> Asked:
    """What the command line says, over what the file says, over the defaults."""
    found = read_config(file) if file is not None else ConfigFile(None, None, {})
    model, preset = model or found.model or MODEL, preset or found.preset or PRESET
    made = configure(model, preset, overrides, found.settings)
    return Asked(model, preset, None if file is None else str(file), *made)


def resolve_from(
    elder: RunConfig, model: str | None, preset: str | None, file: Path | str | None,
    overrides: Mapping[str, str],
) -> Asked:  # fmt: skip
    """The same of a run that begins from another: that one's settings are its defaults."""
    if preset is None and file is None and model in (None, elder.model):
        own = elder.settings | elder.training.model_dump(mode="json")
        made = configure(elder.model, elder.preset, overrides, own)
        return Asked(elder.model, elder.preset, elder.file, *made)
    return resolve(model or elder.model, preset, file, overrides)


def preset_values(model: str, preset: str) -> dict[str, Any]:
    """What a preset changes from the defaults; baselines have `robust` (nothing) alone."""
    module = importlib.import_module(registry.find(model).Config.__module__)
    presets: dict[str, dict[str, Any]] = getattr(module, "PRESETS", {"robust": {}})
    if preset not in presets:
        raise ConfigError(f"{model} has no preset {preset!r}; it has {', '.join(presets)}.")
    return presets[preset]
