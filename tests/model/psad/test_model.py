"""The two networks together: what is trained along which list, and what teaches whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from model.evaluate import in_evaluation
from model.fit import ways
from model.psad import PRESETS
from model.psad.model import Ranker
from model.ranker import Batch, top_candidates


def made(tools: Any, dataset: Dataset, **settings: Any) -> Ranker:
    """With weights on every path, in training mode, past the warm-up of distillation."""
    ranker: Ranker = tools.shaken(dataset, "psad", list_size=4, **settings).train()
    ranker.on_progress(1.0)
    return ranker


def gradients(ranker: Ranker, *losses: torch.Tensor) -> dict[str, torch.Tensor]:
    ranker.zero_grad()
    torch.stack(losses).sum().backward()
    return {name: p.grad for name, p in ranker.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("context", ["rollout", "clicked_first", "exposure", "improved"])
@pytest.mark.parametrize("refine", [0, 1, 2])
def test_every_preset_trains_a_step(
    dataset: Dataset, tools: Any, preset: str, context: str, refine: int
) -> None:
    values = tools.preset(preset) | {"alpha": 0.5, "context": context, "refine": refine}
    ranker = tools.model(dataset, "psad", list_size=4, **values)
    ranker.on_progress(0.3)
    terms = ranker.loss(tools.odd(dataset))
    names = {"scorer", "generator", "evaluator", "distillation"}
    names |= {"refinement"} if refine else set()
    assert set(terms) == names
    optimiser = torch.optim.SGD(ranker.parameters(), lr=0.1)
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in ranker.parameters())
    optimiser.step()
    again = ranker.loss(tools.odd(dataset))
    assert all(term.isfinite() for term in again.values())
    assert any(again[name].item() != terms[name].item() for name in terms)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_learn_eight_lists(dataset: Dataset, tools: Any, preset: str) -> None:
    # both classes: with positives alone, as printed, the best a scorer can do is one for everyone
    settings = tools.preset(preset) | {"scorer_loss": "binary", "step_loss_classes": "both"}
    ranker, batch = tools.model(dataset, "psad", **settings), tools.batch(dataset, 8)
    optimiser, first = torch.optim.Adam(ranker.parameters(), lr=0.02), 0.0
    for step in range(50):
        ranker.on_progress(step / 50)
        terms = ranker.loss(batch)
        first = first or terms["scorer"].item()
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    assert terms["scorer"].item() < 0.6 * first


@pytest.mark.parametrize("mutual", [False, True])
def test_the_teacher_learns_from_distillation_only_where_it_is_mutual(
    dataset: Dataset, tools: Any, mutual: bool
) -> None:
    ranker = made(tools, dataset, mutual=mutual, alpha=0.5)
    found = gradients(ranker, ranker.loss(tools.batch(dataset))["distillation"])
    assert any(grad.any() for name, grad in found.items() if name.startswith("student"))
    assert any(grad.any() for name, grad in found.items() if name.startswith("encoder"))
    assert any(grad.any() for name, grad in found.items() if name.startswith("teacher")) == mutual


def test_without_mutual_learning_the_encoder_is_moved_by_the_students_side_alone(
    dataset: Dataset, tools: Any
) -> None:
    """The teacher reads the same encodings; none of the gradient comes through it."""
    ranker, batch = (
        made(tools, dataset, mutual=False, context="clicked_first"),
        tools.batch(dataset),
    )
    before = gradients(ranker, ranker.loss(batch)["distillation"])
    plain = ranker.teacher.all_places
    ranker.teacher.all_places = lambda *given: plain(*given).detach()
    after = gradients(ranker, ranker.loss(batch)["distillation"])
    for name, grad in before.items():
        assert torch.equal(grad, after[name]), name


def test_distillation_warms_up_to_alpha(dataset: Dataset, tools: Any) -> None:
    ranker = made(tools, dataset, alpha=0.4, distillation_warmup=0.5, context="clicked_first")
    batch, found = tools.batch(dataset), []
    for done in (0.0, 0.25, 0.5, 1.0):
        ranker.on_progress(done)
        found.append(ranker.loss(batch)["distillation"].item())
    full = found[-1]
    assert full > 0
    assert found == pytest.approx([0.0, full / 2, full, full])
    ranker = made(tools, dataset, alpha=0.2, distillation_warmup=0.0, context="clicked_first")
    ranker.on_progress(0.0)
    assert ranker.loss(batch)["distillation"].item() == pytest.approx(full / 2)


@pytest.mark.parametrize("context", ["rollout", "clicked_first", "exposure"])
def test_the_list_trained_along_is_the_one_its_name_says(
    dataset: Dataset, tools: Any, context: str
) -> None:
    ranker, batch = made(tools, dataset, context=context), tools.batch(dataset)
    memory = ranker.teacher.remember(ranker.encoder(batch.tensors))
    found = ranker._context(memory, batch)
    expected = {
        "rollout": ranker.teacher.roll_out(memory),  # greedy, since training is done
        "clicked_first": top_candidates(batch.labels, batch.candidate_mask, 4),
        "exposure": top_candidates(torch.zeros_like(batch.labels), batch.candidate_mask, 4),
    }[context]
    assert torch.equal(found, expected)
    assert not found.requires_grad
    for one in range(len(found)):
        shown = batch.labels[one][found[one]]
        if context == "clicked_first":
            assert shown.tolist() == sorted(shown.tolist(), reverse=True)
        if context == "exposure":
            assert found[one].tolist() == [0, 1, 2, 3]


def test_a_roll_out_explores_less_as_training_goes_on(dataset: Dataset, tools: Any) -> None:
    ranker = made(tools, dataset, context="rollout", exploration=30.0)
    batch = tools.batch(dataset, 30)
    memory = ranker.teacher.remember(ranker.encoder(batch.tensors))
    greedy = ranker.teacher.roll_out(memory)
    shares = []
    for done in (0.0, 0.98, 1.0):
        torch.manual_seed(0)
        ranker.on_progress(done)
        shares.append((ranker._context(memory, batch) == greedy).float().mean().item())
    assert shares[0] < shares[1] < shares[2] == 1.0


def test_a_roll_out_leaves_dropout_of_the_teacher_as_it_was(dataset: Dataset, tools: Any) -> None:
    ranker = made(tools, dataset, context="rollout", dropout=0.5)
    ranker.loss(tools.batch(dataset))
    assert all(module.training for module in ranker.modules())
    ranker.eval()
    ranker.loss(tools.batch(dataset))
    assert not any(module.training for module in ranker.modules())


@pytest.mark.parametrize("refine", [1, 2, 3])
def test_refinement_is_trained_on_items_that_do_not_stay(
    dataset: Dataset, tools: Any, monkeypatch: pytest.MonkeyPatch, refine: int
) -> None:
    ranker, batch = made(tools, dataset, refine=refine), tools.odd(dataset)
    memory = ranker.teacher.remember(ranker.encoder(batch.tensors))
    chosen = ranker.teacher.roll_out(memory)
    caught: list[Any] = []
    monkeypatch.setattr(
        "model.psad.losses.generative",
        lambda logits, labels, left, places, config: caught.append((left, places)) or logits.sum(),
    )
    ranker._refinement_loss(memory, chosen, batch)
    ((left, hidden),) = caught
    for one in range(len(chosen)):
        places = hidden[one].tolist()
        assert len(set(places)) == refine
        taken = {item for p, item in enumerate(chosen[one].tolist()) if p not in places}
        for row, place in enumerate(places):
            free = set(left[one, row].nonzero().flatten().tolist())
            item = int(chosen[one, place])
            real = set(batch.candidate_mask[one].nonzero().flatten().tolist())
            assert free == (real - taken if item >= 0 else set())
            taken.add(item)  # in turn


def test_the_generator_alone_scores_by_its_list(dataset: Dataset, tools: Any) -> None:
    ranker, batch = made(tools, dataset, student=False).eval(), tools.odd(dataset)
    with in_evaluation(ranker):
        scores, ranked, generated = ranker.scores(batch), ranker.rank(batch), ranker.generate(batch)
        by_scores = top_candidates(scores, batch.candidate_mask, 4)
    assert torch.equal(ranked, generated)
    assert torch.equal(by_scores, generated)
    for one, count in enumerate(batch.candidate_mask.sum(1).tolist()):
        order = np.argsort(-scores[one, :count].numpy(), kind="stable").tolist()
        left_out = [item for item in range(count) if item not in generated[one].tolist()]
        assert order[min(count, 4) :] == left_out  # in incoming order
    assert (scores[~batch.candidate_mask] == -torch.inf).all()


@pytest.mark.parametrize(
    ("settings", "expected", "terms"),
    [
        ({}, ["scorer", "generator"], {"scorer", "generator", "distillation"}),
        ({"alpha": 0.0}, ["scorer", "generator"], {"scorer", "generator"}),
        ({"teacher": False}, ["scorer"], {"scorer"}),
        ({"student": False}, ["generator"], {"generator"}),
    ],
)
def test_parts_that_are_off_are_neither_trained_nor_judged(
    dataset: Dataset, tools: Any, settings: Any, expected: list[str], terms: set[str]
) -> None:
    ranker = made(tools, dataset, refine=0, evaluator=False, **{"alpha": 0.5, **settings})
    assert ways(ranker) == expected
    assert set(ranker.loss(tools.batch(dataset))) == terms
    names = {name.split(".")[0] for name, _ in ranker.named_parameters()}
    assert ("teacher" in names, "student" in names) == (
        "generator" in expected, "scorer" in expected,
    )  # fmt: skip


def test_a_scorer_without_a_generator_says_so_when_asked_to_generate(
    dataset: Dataset, tools: Any
) -> None:
    ranker, batch = made(tools, dataset, teacher=False), tools.batch(dataset)
    with pytest.raises(AssertionError, match="without a generator"):
        ranker.generate(batch)


@pytest.mark.parametrize(
    ("part", "terms"),
    [({}, ("scorer", "evaluator")), ({"evaluator": False}, ("scorer",)),
     ({"student": False}, ("evaluator",)), ({"teacher": False}, ("scorer",)),
     ({"student": False, "evaluator": False}, ("generator",)),
     ({"context": "improved"}, ("evaluator",))],  # its scorer learns against the clicks
)  # fmt: skip
def test_epochs_are_compared_by_what_does_not_depend_on_chance(
    dataset: Dataset, tools: Any, part: dict[str, Any], terms: tuple[str, ...]
) -> None:
    ranker, batch = made(tools, dataset, exploration=0.0, **part).eval(), tools.batch(dataset)
    with torch.no_grad():
        torch.manual_seed(1)
        expected = sum(ranker.loss(batch)[name] for name in terms)
        torch.manual_seed(1)
        torch.testing.assert_close(ranker.validation_loss(batch), expected)


def test_what_is_observed_are_shares_and_correlations(dataset: Dataset, tools: Any) -> None:
    with in_evaluation(ranker := made(tools, dataset)):
        found = ranker.observe(tools.odd(dataset))
    assert 0 < found["target_entropy"] <= 1 + 1e-6
    assert -1 <= found["target_correlation"] <= 1
    for part in ({"teacher": False}, {"student": False}):
        assert made(tools, dataset, **part).observe(tools.batch(dataset)) == {}


def test_lists_whose_items_are_all_alike_can_be_observed(dataset: Dataset, tools: Any) -> None:
    """A correlation with a constant is none: no warning, no NaN and no figure."""
    ranker, batch = made(tools, dataset).eval(), tools.batch(dataset)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.zero_()
        found = ranker.observe(batch)
        one = ranker.observe(Batch(tools.select(batch, [0]).tensors, batch.labels[:1]))
    for figures in (found, one):
        assert set(figures) == {"target_entropy"}
        assert np.isfinite(figures["target_entropy"])
