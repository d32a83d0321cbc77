"""Weights on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from torch import nn, zeros

from model.weights import WEIGHTS, WeightsError, load_weights, save_weights


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_weights_may_be_read_by_whom_the_user_s_other_files_may(
    tmp_path: Path, mask: int, mode: int
) -> None:
    before = os.umask(mask)
    try:
        save_weights(nn.Linear(2, 1), tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / WEIGHTS).stat().st_mode & 0o777 == mode


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    one, other = nn.Linear(2, 1), nn.Linear(2, 1)
    save_weights(one, tmp_path)
    load_weights(other, tmp_path)
    assert (one.weight == other.weight).all()
    assert [file.name for file in tmp_path.iterdir()] == [WEIGHTS]


def test_weights_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    save_weights(nn.Linear(3, 1), tmp_path)
    other = nn.Linear(2, 1)
    nn.init.zeros_(other.weight)
    with pytest.raises(WeightsError, match=r"weights\.safetensors does not hold this model"):
        load_weights(other, tmp_path)
    assert (other.weight == zeros(1, 2)).all()
