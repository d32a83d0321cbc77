"""Offline distillation: a generator trained before teaches, and stays what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from features.errors import PsadError
from model.decode import remaining
from model.psad import losses
from model.psad.model import Ranker
from model.train import load_run, train


@pytest.fixture(scope="module")
def elder(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a generator alone."""
    run = tmp_path_factory.mktemp("runs") / "elder"
    small = {"width": "16", "embedding_width": "4", "profile_width": "4", "epochs": "1"}
    train(dataset.folder, run, overrides={"student": "false", **small})
    return run


def made(tools: Any, dataset: Dataset, elder: Path, **settings: Any) -> Ranker:
    found: Ranker = tools.model(dataset, "psad", teacher=False, offline_from=str(elder), **settings)
    return found


def test_the_target_is_that_of_the_trained_generator(
    dataset: Dataset, tools: Any, elder: Path
) -> None:
    ranker, batch = made(tools, dataset, elder, distillation_warmup=0.0), tools.batch(dataset)
    terms = ranker.loss(batch)
    assert set(terms) == {"scorer", "distillation"}
    teacher, _ = load_run(elder)
    with torch.no_grad():
        memory = teacher.teacher.remember(teacher.encoder(batch.tensors))
        chosen = teacher.teacher.roll_out(memory)
        logits, mask = teacher.teacher.all_places(memory, chosen), batch.candidate_mask
        goal = losses.target(logits, remaining(chosen, mask), mask, ranker.config)
        scores = ranker.student(ranker.encoder(batch.tensors))
        by_hand = ranker.config.alpha * losses.distillation(scores, goal, mask, ranker.config)
    assert terms["distillation"].item() == pytest.approx(by_hand.item(), rel=1e-4)


def test_the_teacher_of_before_is_neither_trained_nor_saved(
    dataset: Dataset, tools: Any, elder: Path
) -> None:
    ranker, batch = made(tools, dataset, elder, distillation_warmup=0.0), tools.batch(dataset)
    torch.stack(list(ranker.loss(batch).values())).sum().backward()
    (teacher,) = ranker._elder
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert not teacher.training
    assert not [name for name in ranker.state_dict() if "elder" in name or "teacher" in name]
    ranker.loss(batch)
    assert ranker._elder == [teacher]  # read once


def test_a_teacher_online_and_one_of_before_contradict(dataset: Dataset, tools: Any) -> None:
    for settings in ({"teacher": True}, {"teacher": False, "student": False}):
        with pytest.raises(ValueError, match="off"):
            tools.model(dataset, "psad", offline_from="runs/x", **settings)


def test_a_run_that_is_not_there_is_named(dataset: Dataset, tools: Any, tmp_path: Path) -> None:
    ranker = made(tools, dataset, tmp_path / "gone")
    with pytest.raises(PsadError, match="gone"):
        ranker.loss(tools.batch(dataset))
