"""The run that another one begins from: `psad train … --from RUN`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import nn

from data.dataset import Dataset
from features.bundle import sha256_of
from model.config import Ancestor, Asked, RunConfig
from model.ranker import NeuralRanker, Ranker
from model.runs import load_run
from model.warm import (
    Copied,
    Row,
    WarmStartError,
    compared,
    refuse_other_settings,
    warm_start,
)
from model.weights import WEIGHTS, save_weights

START = "start"  # folder in a run: the weights that it began with, until it is finished


@dataclass(frozen=True)
class Elder:
    """A finished run, loaded."""

    folder: Path
    ranker: Ranker
    config: RunConfig
    ancestors: tuple[Ancestor, ...]  # of whoever begins from it: itself first


def load_elder(folder: Path, model: str | None) -> Elder:
    """Read it; raises RunError where it is not finished, WarmStartError where it is another model
    than the one that is asked for, or has no weights to go on with."""
    ranker, config = load_run(folder)
    if model not in (None, config.model):
        raise WarmStartError(
            f"{folder} is a run of {config.model}, and {model} was asked for. Leave --model out, "
            "or train without --from."
        )
    if not isinstance(ranker, NeuralRanker):
        raise WarmStartError(
            f"{folder} is a run of {config.model}, which grows anew each time and cannot go on "
            "from what it learned. Train without --from: it takes no longer."
        )
    itself = Ancestor(
        run=str(folder.resolve()),
        weights=sha256_of(folder / WEIGHTS),
        dataset=config.dataset,
        fingerprint=config.fingerprint,
    )
    return Elder(folder, ranker, config, (itself, *config.ancestors))


def begin_from(elder: Elder, asked: Asked, ranker: nn.Module, data: Dataset, start: Path) -> None:
    """Write the weights that a new run begins with, and say what they know already.

    Raises WarmStartError for settings that do not fit them.
    """
    settings = type(asked.settings).model_validate(elder.config.settings)
    theirs, ours = (one.model_dump(mode="json") for one in (settings, asked.settings))
    refuse_other_settings(
        theirs, ours, getattr(type(settings), "free", frozenset()), str(elder.folder)
    )
    copied = warm_start(ranker, elder.ranker)  # type: ignore[arg-type]
    start.mkdir(parents=True, exist_ok=True)
    save_weights(ranker, start)
    Console().print(table(compared(elder.ranker.schema, data.schema), str(elder.folder), copied))


def table(rows: list[Row], run: str, copied: Copied) -> Table:
    """What became of every feature; those that nothing happened to in one line."""
    share = copied.numbers / max(copied.of, 1)
    shown = Table(
        title=f"from {run}: {copied.numbers:,} of {copied.of:,} weights copied ({share:.0%})"
    )
    shown.add_column("")
    shown.add_column("")
    for name in ("values kept", "new", "gone"):
        shown.add_column(name, justify="right")
    quiet = [row for row in rows if row.state == "copied" and not row.gone]
    for row in rows:
        if row not in quiet:
            counts = (f"{count:,}" if count else "" for count in (row.kept, row.new, row.gone))
            shown.add_row(f"{row.feature} ({row.kind})", row.state, *counts)
    if quiet:
        values = sum(row.kept for row in quiet)
        shown.add_row(f"{len(quiet)} others", "copied", f"{values:,}", "", "")
    return shown
