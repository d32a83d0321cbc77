"""What every model must do, whoever adds it: found through the registry, none is named here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model.baselines
from data.dataset import Dataset
from model import registry
from model.config import configure
from model.evaluate import in_evaluation
from model.metrics import list_metrics, order_from_scores
from model.ranker import Batch, NeuralRanker, Ranker
from model.train import train

GRADIENT = [name for name in registry.names() if registry.find(name).Ranker.trains_by_gradient]
SCHEMAS = ["dataset", "plain"]


@pytest.fixture(params=SCHEMAS)
def data(request: pytest.FixtureRequest) -> Dataset:
    """Each test runs on a rich and on a poor schema."""
    found: Dataset = request.getfixturevalue(request.param)
    return found


def ranked(ranker: Ranker, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, the list by scores and the list generated."""
    with in_evaluation(ranker):
        return ranker.scores(batch), ranker.rank(batch), ranker.generate(batch)


@pytest.mark.parametrize("name", registry.names())
def test_one_score_a_candidate_and_one_item_a_place(name: str, data: Dataset, tools: Any) -> None:
    ranker, batch = tools.shaken(data, name), tools.batch(data)
    scores, *lists = ranked(ranker, batch)
    assert scores.shape == batch.labels.shape
    assert scores.dtype == torch.float32
    assert scores[batch.candidate_mask].isfinite().all()
    assert (scores[~batch.candidate_mask] == -torch.inf).all()
    for found in lists:
        assert found.shape == (len(batch.labels), 10)
        assert found.dtype == torch.int64


@pytest.mark.parametrize("name", registry.names())
def test_padding_never_changes_a_real_score_or_rank(name: str, data: Dataset, tools: Any) -> None:
    ranker, batch = tools.shaken(data, name, list_size=6), tools.batch(data)
    scores, *lists = ranked(ranker, batch)
    for history, candidates in ((0, 0), (3, 0), (0, 4), (5, 2)):
        wider = tools.padded(batch, history, candidates)
        scores_again, *lists_again = ranked(ranker, wider)
        mask = batch.candidate_mask
        assert (scores_again[:, : mask.shape[1]][mask] - scores[mask]).abs().max() < 1e-5
        for found, again in zip(lists, lists_again, strict=True):
            assert found.tolist() == again.tolist()


@pytest.mark.parametrize("name", registry.names())
def test_a_list_alone_scores_as_in_its_batch(name: str, data: Dataset, tools: Any) -> None:
    ranker, batch = tools.shaken(data, name), tools.odd(data)
    scores, *lists = ranked(ranker, batch)
    for one in range(len(batch.labels)):
        alone, *lists_alone = ranked(ranker, tools.select(batch, [one]))
        mask = batch.candidate_mask[one]
        assert (alone[0][mask] - scores[one][mask]).abs().max() < 1e-5
        for found, again in zip(lists, lists_alone, strict=True):
            assert found[one].tolist() == again[0].tolist()


@pytest.mark.parametrize("name", registry.names())
def test_the_order_of_lists_in_a_batch_is_of_no_consequence(
    name: str, data: Dataset, tools: Any
) -> None:
    ranker, batch, order = tools.shaken(data, name), tools.batch(data), [4, 2, 5, 0, 1, 3]
    scores, *lists = ranked(ranker, batch)
    scores_again, *lists_again = ranked(ranker, tools.select(batch, order))
    torch.testing.assert_close(scores_again, scores[order], atol=1e-5, rtol=0)
    for found, again in zip(lists, lists_again, strict=True):
        assert found[order].tolist() == again.tolist()


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("list_size", [1, 3, 20])
def test_a_list_never_repeats_or_invents_an_item(
    name: str, list_size: int, data: Dataset, tools: Any
) -> None:
    ranker, batch = tools.shaken(data, name, list_size), tools.odd(data)
    for found in ranked(ranker, batch)[1:]:
        for row, count in zip(found.tolist(), batch.candidate_mask.sum(1).tolist(), strict=True):
            shown = row[: min(count, list_size)]
            assert len(set(shown)) == len(shown)
            assert set(shown) <= set(range(count))
            assert row[len(shown) :] == [-1] * (list_size - len(shown))


@pytest.mark.parametrize("name", GRADIENT)
def test_gradients_are_finite_for_lists_of_every_kind(name: str, data: Dataset, tools: Any) -> None:
    batch = tools.odd(data)
    for chosen in ([0, 1, 2, 3, 4, 5], [0], [1], [2], [3], [4], [0, 4]):
        ranker: NeuralRanker = tools.model(data, name)
        ranker.on_progress(0.5)
        terms = ranker.loss(tools.select(batch, chosen))
        assert all(term.ndim == 0 and term.isfinite() for term in terms.values()), (chosen, terms)
        torch.stack(list(terms.values())).sum().backward()
        for place, parameter in ranker.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), (chosen, place)


# added to all scores of a list alike: a list-wise loss gives them a gradient of rounding alone
SHIFTS = ("student.score.3.bias",)


@pytest.mark.parametrize("name", GRADIENT)
def test_every_weight_is_trained(name: str, dataset: Dataset, tools: Any) -> None:
    ranker: NeuralRanker = tools.shaken(dataset, name, list_size=4).train()
    ranker.on_progress(0.5)
    torch.stack(list(ranker.loss(tools.batch(dataset, 20)).values())).sum().backward()
    idle = [
        place
        for place, parameter in ranker.named_parameters()
        if parameter.grad is None or not (parameter.grad.any() or place in SHIFTS)
    ]
    assert idle == []


@pytest.mark.parametrize("name", GRADIENT)
def test_neither_loss_nor_gradient_sees_an_empty_slot(name: str, data: Dataset, tools: Any) -> None:
    batch, found = tools.batch(data), []
    for one in (batch, tools.padded(batch, 2, 3)):
        ranker: NeuralRanker = tools.shaken(data, name)
        ranker.on_progress(1.0)  # a roll-out that explores draws other numbers for other widths
        torch.manual_seed(0)
        terms = ranker.loss(one)
        torch.stack(list(terms.values())).sum().backward()
        found.append(
            [*terms.values(), *(p.grad for p in ranker.parameters() if p.grad is not None)]
        )
    for narrow, wide in zip(*found, strict=True):
        torch.testing.assert_close(narrow, wide, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", GRADIENT)
def test_it_overfits_eight_lists(name: str, dataset: Dataset, tools: Any) -> None:
    ranker: NeuralRanker = tools.model(dataset, name)
    batch, losses = tools.batch(dataset, 8), []
    optimiser, steps = torch.optim.Adam(ranker.parameters(), lr=0.02), 60
    for step in range(steps):
        ranker.on_progress(step / steps)
        loss = torch.stack(list(ranker.loss(batch).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    with in_evaluation(ranker):
        scores, generated = ranker.scores(batch), ranker.generate(batch)
    labels, mask = batch.labels.double().numpy(), batch.candidate_mask.numpy()
    assert losses[-1] < losses[0]
    assert ndcg(labels, mask, order_from_scores(scores.numpy(), mask)) > 0.99
    by_generator = generated.numpy()[:, : mask.shape[1]]
    assert (
        ndcg(labels, mask, np.where(by_generator < 0, order_of_padding(mask), by_generator)) > 0.95
    )


def ndcg(labels: np.ndarray, mask: np.ndarray, order: np.ndarray) -> float:
    """Mean NDCG@10."""
    return float(list_metrics(labels, mask, order)["ndcg@10"].mean())


def order_of_padding(mask: np.ndarray) -> np.ndarray:
    """(B, M) slots of padding at the places of padding, since lists fill from the left."""
    return np.broadcast_to(np.arange(mask.shape[1]), mask.shape)


@pytest.mark.parametrize("name", registry.names())
def test_a_saved_model_scores_as_before(
    name: str, data: Dataset, tools: Any, tmp_path: Path
) -> None:
    before, batch = tools.shaken(data, name), tools.batch(data)
    before.save(tmp_path)
    after = tools.model(data, name)
    after.load(tmp_path)
    for found, again in zip(ranked(before, batch), ranked(after, batch), strict=True):
        assert torch.equal(found, again)


NEWCOMER = '''
"""A model that orders by one learned number."""
import torch
from pydantic import BaseModel, ConfigDict
from model import losses
from model.ranker import NeuralRanker

class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    start: float = 0.0

class Ranker(NeuralRanker):
    def __init__(self, schema, config):
        super().__init__(schema)
        self.factor = torch.nn.Parameter(torch.tensor(config.start))

    def forward(self, tensors):
        return tensors["candidate_numeric"][..., 0] * self.factor

    def loss(self, batch):
        logits = self(batch.tensors)
        return {"binary": losses.binary(logits, batch.labels, batch.candidate_mask)}
'''


def test_a_new_file_is_a_model_without_an_edit_elsewhere(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "newcomer.py").write_text(NEWCOMER)
    monkeypatch.setattr(registry, "_HERE", tmp_path)
    monkeypatch.setattr(model.baselines, "__path__", [str(tmp_path / "baselines")])
    monkeypatch.delitem(sys.modules, "model.baselines.newcomer", raising=False)
    assert registry.names() == ("newcomer",)
    assert configure("newcomer", "robust", {"start": "0.5"})[0].start == 0.5
    metrics = train(
        dataset.folder, tmp_path / "run", model="newcomer",
        overrides={"epochs": "2", "learning_rate": "0.1", "start": "0.5"},
    )  # fmt: skip
    assert 0 < metrics["valid"]["newcomer"]["ndcg@10"] <= 1
    monkeypatch.delitem(sys.modules, "model.baselines.newcomer")
