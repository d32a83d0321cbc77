"""Every switch does something: turning it alone changes a score, a list, a loss or a gradient."""

from __future__ import annotations

import itertools
import typing
import zlib
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from model.psad.config import Config
from model.psad.model import Ranker

# everything on and seen, whatever the defaults are
BASE: dict[str, Any] = {
    "embedding_width": 4, "width": 16, "layers": 1, "heads": 2, "dropout": 0.0,
    "unknown_rate": 0.0, "attn_bias": "logit", "position": "relative", "residual": True,
    "wide": True, "knots": 4, "factors": 4, "interaction": "upn", "profile_width": 4, "gate": True,
    "gate_stop_gradient": True, "gate_width": 8, "gate_add_profile": True, "gate_bias": 3.0,
    "personal_position": True, "position_stop_gradient": True, "teacher": True, "student": True,
    "block_size": 2, "teacher_layers": 1, "refine": 1, "context": "rollout", "exploration": 0.0,
    "step_loss": "softmax", "step_loss_classes": "both", "hinge": 0.0, "hinge_on": "logits",
    "tail_weight": 0.1, "mask_chosen": True, "scorer_loss": "softmax", "alpha": 0.5,
    "temperature": 1.0, "decay": 0.5, "distillation": "logits", "mutual": False,
    "distillation_warmup": 0.0, "order_blind": False, "pairs": "kinds", "beam": 4,
    "beam_score": "likelihood", "evaluator": True, "evaluator_width": 8, "evaluator_heads": 2,
    "evaluator_layers": 1, "evaluator_stop_gradient": True, "polish": 0,
}  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {  # what has to be set for a switch to be felt
    "step_loss_classes": {"step_loss": "binary"},
    "hinge_on": {"hinge": 1.0},
    "beam_score": {"beam": 2, "evaluator": False, "refine": 0},
}
OTHER: dict[str, Any] = {  # a second value of what is neither a bool nor a choice
    "embedding_width": 3, "width": 8, "layers": 2, "heads": 4, "dropout": 0.5,
    "unknown_rate": 0.5, "profile_width": 3, "gate_width": 5, "gate_bias": 0.0, "block_size": 3,
    "teacher_layers": 2, "refine": 2, "exploration": 20.0, "hinge": 1.0, "tail_weight": 0.3,
    "alpha": 0.2, "temperature": 2.0, "decay": "dcg", "distillation_warmup": 0.9, "beam": 1,
    "evaluator_width": 16, "evaluator_heads": 4, "evaluator_layers": 2, "factors": 0, "polish": 2,
    "knots": 0,
}  # fmt: skip
ELSEWHERE = {
    "offline_from",  # names a run; tests/model/psad/test_offline.py
    "id_rate",  # of features with more values than these have; tests/model/test_embed.py
}
INITIAL = {"gate_bias"}  # felt before training alone: it is where a weight starts


def pairs() -> list[tuple[str, Any, Any]]:
    """Every field with each two of its values."""
    found = []
    for name, field in Config.model_fields.items():
        if name in ELSEWHERE:
            continue
        kind, values = field.annotation, [BASE.get(name, field.default), OTHER.get(name)]
        if kind is bool:
            values = [True, False]
        elif typing.get_origin(kind) is typing.Literal:
            values = list(typing.get_args(kind))
        found += [(name, one, two) for one, two in itertools.combinations(values, 2)]
    return found


def shake(ranker: Ranker) -> None:
    """Weights drawn by name: those that two configurations share are the same."""
    with torch.no_grad():
        for name, parameter in ranker.named_parameters():
            random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.4)


def figures(tools: Any, dataset: Dataset, initial: bool, **settings: Any) -> dict[str, Any]:
    """Scores, lists, loss terms and gradients of a configuration."""
    ranker: Ranker = tools.model(dataset, "psad", list_size=4, **settings)
    if not initial:
        shake(ranker)
    batch, found = tools.batch(dataset, 8), {}
    ranker.eval()
    with torch.no_grad():
        found["scores"] = ranker.scores(batch)
        found["list"] = ranker.generate(batch) if ranker.generates else None
    ranker.train()
    ranker.on_progress(0.5)
    torch.manual_seed(0)
    terms = ranker.loss(batch)
    torch.stack(list(terms.values())).sum().backward()
    gradients = {f"gradient of {n}": p.grad for n, p in ranker.named_parameters() if p.ndim}
    return found | terms | gradients


def differ(one: Any, two: Any) -> bool:
    if one is None or two is None:
        return one is not two
    return one.shape != two.shape or not torch.allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "one", "two"), pairs())
def test_every_switch_changes_something(
    dataset: Dataset, tools: Any, name: str, one: Any, two: Any
) -> None:
    assert two is not None, f"give {name} a second value in OTHER"
    settings = BASE | NEEDS.get(name, {})
    before, after = (
        figures(tools, dataset, name in INITIAL, **settings | {name: value}) for value in (one, two)
    )
    shared = before.keys() & after.keys()
    assert any(differ(before[key], after[key]) for key in shared), f"{name} is without effect"


def test_the_same_configuration_gives_the_same_figures(dataset: Dataset, tools: Any) -> None:
    """What the comparison above rests on."""
    settings = BASE | {"dropout": 0.3, "unknown_rate": 0.3, "exploration": 2.0}
    before, after = (figures(tools, dataset, False, **settings) for _ in range(2))
    assert not [key for key in before if differ(before[key], after[key])]
