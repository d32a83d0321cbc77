"""The shared encoder: which position entry belongs to which pair, and who influences whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data.dataset import Dataset
from features.draw import random_arrays
from features.encode import RawItems
from features.schema import Feature, FeatureSchema
from model.psad.config import Config
from model.psad.encoder import Encoder, Positions
from model.ranker import Batch

N, M = 4, 3  # what was trained


def entries(how: str, history: int, candidates: int) -> np.ndarray:
    positions = Positions(N, M, how)
    return positions(torch.arange(history), torch.arange(candidates)).numpy()


def relative_by_hand(i: int, j: int, history: int) -> tuple[str, int]:
    """Kind of pair, and the offset or the history slot, cut to what was trained."""
    if i < history and j < history:
        return "history-history", int(np.clip(j - i, 1 - N, N - 1))
    if i >= history and j >= history:
        return "candidate-candidate", int(np.clip(j - i, 1 - M, M - 1))
    kind = "history-candidate" if i < history else "candidate-history"
    return kind, min(i, j, N - 1)  # the history slot: its recency


def pair_by_hand(i: int, j: int, history: int) -> tuple[int, int]:
    """Both places, candidates from a fixed base."""
    return tuple(min(p, N - 1) if p < history else N + min(p - history, M - 1) for p in (i, j))


@pytest.mark.parametrize(
    ("how", "by_hand"), [("relative", relative_by_hand), ("pair", pair_by_hand)]
)
def test_pairs_share_an_entry_exactly_where_they_should(how: str, by_hand: Any) -> None:
    meaning: dict[int, Any] = {}
    for history, candidates in ((N, M), (2, 2), (0, M), (0, 1), (N + 5, 1), (N + 2, M + 4)):
        found = entries(how, history, candidates)
        assert found.shape == (history + candidates,) * 2
        for i, row in enumerate(found.tolist()):
            for j, entry in enumerate(row):
                assert meaning.setdefault(entry, by_hand(i, j, history)) == by_hand(i, j, history)
    assert len(set(meaning.values())) == len(meaning)  # and no two entries mean the same
    assert set(meaning) <= set(range(Positions(N, M, how).entries))


@pytest.mark.parametrize("how", ["relative", "pair"])
def test_every_entry_is_trained_at_the_trained_lengths(how: str) -> None:
    assert set(entries(how, N, M).ravel().tolist()) == set(range(Positions(N, M, how).entries))


@pytest.mark.parametrize("how", ["relative", "pair"])
def test_a_schema_without_history_has_positions(how: str) -> None:
    positions = Positions(0, M, how)
    found = positions(torch.arange(0), torch.arange(M))
    assert found.shape == (M, M)
    assert found.max() < positions.entries


def encoder(tools: Any, dataset: Dataset, **settings: Any) -> Encoder:
    found: Encoder = tools.shaken(dataset, "psad", **settings).encoder
    return found


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("position", ["relative", "pair"])
def test_the_last_layer_for_candidates_alone_is_the_last_layer_for_all(
    dataset: Dataset, tools: Any, layers: int, position: str
) -> None:
    """And the history that a generator reads is what went into it."""
    made, batch = encoder(tools, dataset, layers=layers, position=position), tools.batch(dataset)
    entered: list[tuple[Any, ...]] = []
    made.blocks[-1].register_forward_hook(lambda block, given, found: entered.append(given))
    with torch.no_grad():
        found = made(batch.tensors)
        x, mask, _, last = entered[0]
        count, places = batch.labels.shape[1], x.shape[1]
        assert last == count
        bias = made._bias(
            layers - 1, found.profile, torch.arange(places - count), torch.arange(count)
        )
        whole = made.norm(made.blocks[-1](x, mask, bias))
    torch.testing.assert_close(found.candidates, whole[:, -count:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.states[:, -count:], found.candidates)
    torch.testing.assert_close(found.states[:, :-count], made.norm(x[:, :-count]))


@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize("position", ["relative", "pair"])
def test_the_last_layer_reads_what_all_places_would(
    dataset: Dataset, tools: Any, blind: bool, position: str
) -> None:
    made = encoder(tools, dataset, order_blind=blind, position=position)
    profile = torch.randn(3, made.config.profile_width)
    with torch.no_grad():
        made.tables.normal_()
        for personal in made.personal:
            personal.output.weight.normal_()
        for sizes in ((4, 3), (0, 2), (dataset.schema.max_history + 2, 1)):
            places = [torch.arange(size) for size in sizes]
            expected = made._bias(0, profile, *places)[:, sizes[0] :]
            found = made._last_bias(0, profile, *places)
            torch.testing.assert_close(found.expand_as(expected), expected)


@pytest.mark.parametrize("blind", [True, False])
@pytest.mark.parametrize("position", ["relative", "pair"])
def test_a_blind_encoder_reads_the_set_of_candidates_and_not_their_order(
    dataset: Dataset, tools: Any, blind: bool, position: str
) -> None:
    made = encoder(tools, dataset, order_blind=blind, position=position)
    request = dataset.request(int(dataset.splits["test"][0]))
    count = len(request.candidates.ids)
    turned = replace(
        request,
        candidates=RawItems(
            request.candidates.ids[::-1],
            {name: list(column)[::-1] for name, column in request.candidates.columns.items()},
        ),
    )
    with torch.no_grad():
        one, two = (
            made({
                name: torch.from_numpy(array)
                for name, array in dataset.encoder.encode_request(each)[0].items()
            })
            for each in (request, turned)
        )  # fmt: skip
    for read in (lambda each: each.candidates, lambda each: each.kinds.numbers):
        assert torch.allclose(read(one), read(two).flip(1), atol=1e-5) == blind
    assert count > 2


def other_user(batch: Batch) -> Batch:
    """The same lists, each seen by the user of the list before."""
    tensors = {
        name: one.roll(1, 0) if name.startswith("user") else one
        for name, one in batch.tensors.items()
    }
    return Batch(tensors, batch.labels)


@pytest.mark.parametrize(
    ("interaction", "matters"),
    [("none", False), ("concat", True), ("late", True), ("upn", True)],
)
def test_who_looks_matters_exactly_where_the_interaction_says(
    dataset: Dataset, tools: Any, interaction: str, matters: bool
) -> None:
    """To the encoder, and to every head: each reads the profile in more than one way."""
    ranker = tools.shaken(dataset, "psad", interaction=interaction, factors=4)
    batch, mask = tools.batch(dataset), tools.batch(dataset).candidate_mask
    found = []
    with torch.no_grad():
        for each in (batch, other_user(batch)):
            encoded = ranker.encoder(each.tensors)
            memory = ranker.teacher.remember(encoded)
            order = ranker.teacher.roll_out(memory) if not found else found[0][3]
            shown = ranker.evaluator.read(encoded).logits(order.unsqueeze(1))
            found.append(
                (
                    encoded.candidates[mask],
                    ranker.student(encoded)[mask],
                    ranker.teacher.all_places(memory, order)[:, 0][mask],
                    order,
                    shown,
                )
            )
    same = [torch.allclose(one, two, atol=1e-6) for one, two in zip(*found, strict=True)]
    assert same == [not matters] * 3 + [True, not matters]


def test_late_interaction_leaves_attention_alone(dataset: Dataset, tools: Any) -> None:
    """It shifts all encodings of a list by one vector."""
    made, batch = encoder(tools, dataset, interaction="late"), tools.batch(dataset)
    with torch.no_grad():
        one, two = (made(each.tensors).states for each in (batch, other_user(batch)))
    shift = one - two
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("interaction", ["none", "concat", "late", "upn"])
def test_users_without_features_are_encoded_all_the_same(
    plain: Dataset, tools: Any, interaction: str
) -> None:
    made, batch = encoder(tools, plain, interaction=interaction), tools.batch(plain)
    assert not made.embed.widths["user"]
    assert made(batch.tensors).candidates.isfinite().all()


def test_history_items_without_features_count_by_their_presence() -> None:
    schema = FeatureSchema(name="toy", context=(Feature(name="score", kind="numeric"),))
    config = Config(width=8, heads=2, embedding_width=2, dropout=0.0, unknown_rate=0.0)
    torch.manual_seed(0)
    made = Encoder(schema, config).eval()
    arrays = random_arrays(schema, np.random.default_rng(0), lists=1, history=3, candidates=2)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    without = tensors | {"history_mask": torch.zeros(1, 3, dtype=torch.bool)}
    assert not torch.allclose(made(tensors).candidates, made(without).candidates)
