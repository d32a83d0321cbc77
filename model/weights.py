"""Weights on disk: safetensors, which hold numbers and nothing that runs."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from features.errors import PsadError
from features.files import whole

WEIGHTS = "weights.safetensors"


class WeightsError(PsadError):
    """Weights that are missing or made for another model."""


def save_weights(module: nn.Module, folder: Path) -> None:
    """Write weights.safetensors, whole or not at all."""
    state: dict[str, Tensor] = {
        k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()
    }
    with whole(folder / WEIGHTS) as beside:
        beside.touch()
        mode = beside.stat().st_mode
        save_file(state, beside)
        beside.chmod(mode)  # safetensors makes a file for its owner alone


def load_weights(module: nn.Module, folder: Path) -> None:
    """Read them back; raises WeightsError naming the file where they do not fit."""
    path = folder / WEIGHTS
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} does not hold this model's weights: {error}") from error
