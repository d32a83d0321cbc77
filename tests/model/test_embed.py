"""Features to vectors, looked up by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from features.schema import PADDING, UNKNOWN, Feature, FeatureSchema
from model.embed import FeatureEmbedding

SCHEMA = FeatureSchema(
    name="toy",
    user=(Feature(name="city", kind="categorical", vocabulary=("a", "b")),
          Feature(name="age", kind="numeric")),
    item=(Feature(name="tags", kind="bag", vocabulary=("x", "y", "z"), max_length=3),
          Feature(name="brand", kind="categorical", vocabulary=("p", "q")),
          Feature(name="cost", kind="numeric"), Feature(name="size", kind="numeric")),
    context=(Feature(name="badge", kind="categorical", vocabulary=("new",)),
             Feature(name="score", kind="numeric"),
             Feature(name="words", kind="bag", vocabulary=("k", "l"), max_length=2)),
    derived=(Feature(name="rate", kind="numeric"),),
)  # fmt: skip
WIDTH = 3
# rows of each item feature's range in the one table: categories before bags, item before context
BRAND, BADGE, TAGS, WORDS = 0, 4, 7, 12


def made(unknown_rate: float = 0.0) -> FeatureEmbedding:
    torch.manual_seed(0)
    return FeatureEmbedding(SCHEMA, WIDTH, unknown_rate)


def test_a_candidate_is_its_vectors_bag_means_and_numbers_in_this_order() -> None:
    embedding = made().eval()
    rows, numbers = embedding.items.vectors.weight.detach().numpy(), np.arange(7.0)
    tensors = {
        "candidate_categorical": torch.tensor([[[3, 2]]]),
        "candidate_bag": torch.tensor([[[4, 2, PADDING, PADDING, PADDING]]]),
        "candidate_numeric": torch.tensor(numbers, dtype=torch.float32).reshape(1, 1, 7),
    }
    found = embedding(tensors, "candidate")[0, 0].detach().numpy()
    tags = (rows[TAGS + 4] + rows[TAGS + 2]) / 2
    by_hand = [rows[BRAND + 3], rows[BADGE + 2], tags, np.zeros(WIDTH), numbers]
    np.testing.assert_allclose(found, np.concatenate(by_hand), atol=1e-6)
    assert len(found) == embedding.widths["candidate"]


def test_history_and_candidates_share_the_vectors_of_item_features() -> None:
    embedding = made().eval()
    rows = embedding.items.vectors.weight.detach().numpy()
    history = {
        "history_categorical": torch.tensor([[[2]]]), "history_bag": torch.tensor([[[3, 0, 0]]]),
        "history_numeric": torch.zeros(1, 1, 4),
    }  # fmt: skip
    found = embedding(history, "history")[0, 0].detach().numpy()
    np.testing.assert_allclose(found[: 2 * WIDTH], [*rows[BRAND + 2], *rows[TAGS + 3]], atol=1e-6)
    assert found.shape == (embedding.widths["history"],)


def test_no_two_features_share_a_row() -> None:
    embedding = made()
    sizes = [f.size for f in (*SCHEMA.item, *SCHEMA.context) if f.kind != "numeric"]
    assert embedding.items.vectors.num_embeddings == sum(sizes)
    assert embedding.users.vectors.num_embeddings == SCHEMA.user[0].size


def test_an_empty_history_and_a_user_have_their_widths() -> None:
    embedding = made()
    empty = {
        "history_categorical": torch.zeros(2, 0, 1, dtype=torch.int64),
        "history_bag": torch.zeros(2, 0, 3, dtype=torch.int64),
        "history_numeric": torch.zeros(2, 0, 4),
    }
    assert embedding(empty, "history").shape == (2, 0, embedding.widths["history"])
    user = {"user_categorical": torch.tensor([[2]]), "user_numeric": torch.zeros(1, 2)}
    assert embedding(user, "user").shape == (1, embedding.widths["user"])


def test_values_are_hidden_at_their_rate_in_training_alone() -> None:
    embedding, index = made(0.25), torch.tensor([[2, PADDING, 3]]).repeat(5000, 1)
    hidden = embedding._hide(index, "history_bag")
    shares = (hidden == UNKNOWN).float().mean(0)
    assert shares.tolist() == pytest.approx([0.25, 0.0, 0.25], abs=0.03)
    assert (hidden[hidden != UNKNOWN] == index[hidden != UNKNOWN]).all()
    assert torch.equal(embedding.eval()._hide(index, "history_bag"), index)
    assert torch.equal(made(0.0)._hide(index, "history_bag"), index)


def test_a_hidden_number_is_missing_by_its_flag_and_derived_ones_are_never_hidden() -> None:
    embedding = made(0.25)
    # [cost size | flags] of the item, [score | flag] of the context, then what is derived
    numbers = torch.tensor([5.0, 6.0, 0.0, 0.0, 7.0, 0.0, 9.0]).repeat(1, 5000, 1)
    found = embedding._hide_numbers(numbers, "candidate")[0]
    for value, flag in ((0, 2), (1, 3), (4, 5)):
        hidden = found[:, flag] == 1
        assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.03)
        assert (found[hidden, value] == 0).all()
        assert (found[~hidden, value] == numbers[0, 0, value]).all()
        assert (found[~hidden, flag] == 0).all()
    assert (found[:, 6] == 9).all()
    assert ((found[:, 2] == 1) & (found[:, 3] == 0)).any()  # one without the other
    assert torch.equal(embedding.eval()._hide_numbers(numbers, "candidate"), numbers)


def test_nothing_hidden_is_written_into_the_batch() -> None:
    embedding = made(0.9)
    user = {"user_categorical": torch.tensor([[2]] * 50), "user_numeric": torch.ones(50, 2)}
    embedding(user, "user")
    assert (user["user_categorical"] == 2).all()
    assert (user["user_numeric"] == 1).all()


@pytest.mark.parametrize(("side", "slots"), [("candidate", 5), ("history", 3)])
@pytest.mark.parametrize("items", [4, 0])
def test_bags_are_read_in_training_as_they_are_otherwise(side: str, slots: int, items: int) -> None:
    table, found = made().items, []
    index = torch.randint(0, 4, (6, items, slots), generator=torch.Generator().manual_seed(0))
    index[0] = PADDING  # bags that hold nothing
    weights = torch.randn(6, items, WIDTH * (2 if side == "candidate" else 1))
    for training in (True, False):
        means = table.train(training).bag(index)
        assert means.shape == weights.shape
        (gradient,) = torch.autograd.grad((means * weights).sum(), table.vectors.weight)
        found.append((means, gradient))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("training", [True, False])
def test_an_id_rate_of_1_reads_no_id_and_all_else(
    monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    monkeypatch.setattr("model.embed.MANY", 2)  # tags have three values, all others fewer
    embedding = FeatureEmbedding(SCHEMA, WIDTH, 0.0, id_rate=1.0).train(training)
    rows = embedding.items.vectors.weight.detach().numpy()
    history = {
        "history_categorical": torch.tensor([[[2]]]), "history_bag": torch.tensor([[[3, 2, 0]]]),
        "history_numeric": torch.zeros(1, 1, 4),
    }  # fmt: skip
    found = embedding(history, "history")[0, 0].detach().numpy()
    expected = [*rows[BRAND + 2], *rows[TAGS + UNKNOWN]]
    np.testing.assert_allclose(found[: 2 * WIDTH], expected, atol=1e-6)


def test_ids_are_hidden_at_a_rate_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.embed.MANY", 2)
    torch.manual_seed(0)
    embedding = FeatureEmbedding(SCHEMA, WIDTH, 0.2, id_rate=0.7).train()
    index = torch.full((4000, 5), 2)  # three slots of tags, two of words
    hidden = (embedding._hide(index, "candidate_bag") == UNKNOWN).float().mean(0)
    np.testing.assert_allclose(hidden, [0.7, 0.7, 0.7, 0.2, 0.2], atol=0.03)
    assert torch.equal(embedding.eval()._hide(index, "candidate_bag"), index)
