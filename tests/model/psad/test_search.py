"""Inference of the generator: search, refinement, and the evaluator's choice."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from data.dataset import Dataset
from model.decode import remaining
from model.evaluate import in_evaluation
from model.psad import losses
from model.psad.search import best_of, generate, refill_least_confident, search

T = 5  # lists hold 4 to 9 candidates: fewer and more than T


def made(tools: Any, dataset: Dataset, **settings: Any) -> tuple[Any, Any]:
    """A model with weights on every path, and lists that its generator has read."""
    settings = {"block_size": 2, "teacher_layers": 2, "refine": 1} | settings
    ranker = tools.shaken(dataset, "psad", list_size=T, **settings).eval()
    with torch.no_grad():
        return ranker, ranker.teacher.remember(ranker.encoder(tools.odd(dataset).tensors))


def judged(tools: Any, dataset: Dataset, ranker: Any) -> Any:
    """The judge of the same lists."""
    with torch.no_grad():
        return ranker.evaluator.read(ranker.encoder(tools.odd(dataset).tensors))


def test_confidence_is_the_chance_of_each_choice_given_what_stands_above(
    dataset: Dataset, tools: Any
) -> None:
    ranker, memory = made(tools, dataset, block_size=3)
    with torch.no_grad():
        found = search(ranker.teacher, memory, 3)
        weights = losses.place_weights(torch.arange(T))
        for beam in range(3):
            chosen = found.chosen[:, beam]
            logits = ranker.teacher.all_places(memory, chosen)
            left = remaining(chosen, memory.candidate_mask)
            chances = logits.masked_fill(~left, -1e9).log_softmax(2)
            by_hand = chances.gather(2, chosen.clamp(min=0).unsqueeze(2)).squeeze(2)
            by_hand = by_hand.masked_fill(chosen < 0, 0.0)
            alive = found.alive[:, beam]
            torch.testing.assert_close(
                found.confidence[alive, beam], by_hand[alive], atol=1e-4, rtol=1e-4
            )
            torch.testing.assert_close(
                found.scores[alive, beam], (by_hand[alive] * weights).sum(1), atol=1e-4, rtol=1e-4
            )


@pytest.mark.parametrize("refine", [1, 2, T, T + 3])
def test_refinement_refills_the_least_confident_places_and_never_repeats(
    dataset: Dataset, tools: Any, refine: int
) -> None:
    ranker, memory = made(tools, dataset, refine=refine)
    with torch.no_grad():
        found = search(ranker.teacher, memory, 2)
        refined = refill_least_confident(ranker.teacher, memory, found, refine)
    for one, count in enumerate(memory.candidate_mask.sum(1).tolist()):
        for beam in range(2):
            before = found.chosen[one, beam].tolist()
            after = refined.chosen[one, beam].tolist()
            real = min(count, T)
            assert after[real:] == [-1] * (T - real)
            assert len(set(after[:real])) == real
            assert set(after[:real]) <= set(range(count))
            doubt = found.confidence[one, beam].tolist()
            doubtful = sorted(range(real), key=doubt.__getitem__)[:refine]
            kept = [p for p in range(real) if p not in doubtful]
            assert [after[p] for p in kept] == [before[p] for p in kept]


def test_a_refined_place_takes_the_best_item_that_does_not_stay(
    dataset: Dataset, tools: Any
) -> None:
    ranker, memory = made(tools, dataset)
    with torch.no_grad():
        found = search(ranker.teacher, memory, 1)
        doubt = found.confidence[:, 0].masked_fill(found.chosen[:, 0] < 0, torch.inf)
        hidden = doubt.argmin(1)
        logits = ranker.teacher.refill(memory, found.chosen, hidden[:, None, None])
        refined = refill_least_confident(ranker.teacher, memory, found, 1)
    for one, place in enumerate(hidden.tolist()):
        stays = {item for p, item in enumerate(found.chosen[one, 0].tolist()) if p != place}
        free = sorted(set(memory.candidate_mask[one].nonzero().flatten().tolist()) - stays)
        best = max(free, key=lambda item: logits[one, 0, 0, item].item())
        assert refined.chosen[one, 0, place] == best
        chance = logits[one, 0, 0, free].log_softmax(0)[free.index(best)]
        assert refined.confidence[one, 0, place].item() == pytest.approx(chance.item(), abs=1e-4)


def test_the_evaluator_takes_the_list_it_thinks_most_of(dataset: Dataset, tools: Any) -> None:
    ranker, memory = made(tools, dataset, beam=4)
    judge = judged(tools, dataset, ranker)
    with torch.no_grad():
        found = search(ranker.teacher, memory, 4)
        refined = refill_least_confident(ranker.teacher, memory, found, 1)
        shown = generate(ranker.teacher, memory, judge, 4, 1)
        for one in range(len(shown.worth)):
            lists = torch.cat([found.chosen[one], refined.chosen[one]])
            alive = found.alive[one].repeat(2)
            together = lists.expand(len(shown.worth), -1, -1)
            worth = judge.worth(judge.chances(together), together)[one]
            best = worth[alive].max().item()
            assert shown.worth[one].item() == pytest.approx(best, abs=1e-4)
            winners = lists[(worth >= best - 1e-5) & alive].tolist()
            assert shown.chosen[one].tolist() in winners


def test_a_beam_that_is_no_list_of_its_own_is_never_judged_best(
    dataset: Dataset, tools: Any
) -> None:
    ranker, memory = made(tools, dataset)
    judge = judged(tools, dataset, ranker)
    chosen = torch.arange(T).expand(len(memory.candidates), 2, -1).clone()
    chosen = torch.where(chosen < memory.candidate_mask.sum(1)[:, None, None], chosen, -1)
    chosen[:, 0, :2] = chosen[:, 0, :2].flip(1)
    scores = torch.tensor([[-1e9, -3.0]]).expand(len(chosen), -1)
    with torch.no_grad():
        shown = best_of(judge, chosen, scores > -1e8)
    assert torch.equal(shown.chosen, chosen[:, 1])


@pytest.mark.parametrize("evaluator", [True, False])
@pytest.mark.parametrize("beam", [1, 2, 4, 9])
def test_a_list_alone_is_generated_as_in_its_batch(
    dataset: Dataset, tools: Any, evaluator: bool, beam: int
) -> None:
    ranker = tools.shaken(
        dataset, "psad", list_size=T, block_size=3, refine=2, beam=beam, evaluator=evaluator
    ).eval()
    batch = tools.odd(dataset)
    with in_evaluation(ranker):
        together = ranker.generated(batch.tensors)
        for one in range(len(batch.labels)):
            alone = ranker.generated(tools.select(batch, [one]).tensors)
            assert torch.equal(alone.chosen[0], together.chosen[one])
            assert alone.worth[0].item() == pytest.approx(together.worth[one].item(), abs=1e-4)
            assert ((together.chances[one] >= 0) & (together.chances[one] <= 1)).all()


@pytest.mark.parametrize("context", ["rollout", "exposure"])
def test_a_list_is_worth_its_discounted_chances_or_its_clicks(
    dataset: Dataset, tools: Any, context: str
) -> None:
    ranker, memory = made(tools, dataset, context=context)
    judge = judged(tools, dataset, ranker)
    orders = torch.tensor([[[2, 0, 1, -1, -1]]]).expand(len(memory.candidates), -1, -1)
    with torch.no_grad():
        found = judge.chances(orders)
        worth = judge.worth(found, orders)
    discounts = [1.0, 0.6309, 0.5] if context == "rollout" else [1.0, 1.0, 1.0]
    for one in range(len(worth)):
        chances = found[one, 0, :3].tolist()
        by_hand = sum(p * d for p, d in zip(chances, discounts, strict=True))
        assert worth[one, 0].item() == pytest.approx(by_hand, abs=1e-3)


def test_the_evaluator_sees_what_stands_above_and_nothing_below(
    dataset: Dataset, tools: Any
) -> None:
    ranker, memory = made(tools, dataset)
    judge = judged(tools, dataset, ranker)
    order = torch.arange(4).expand(len(memory.candidates), 1, -1)
    with torch.no_grad():
        before = judge.logits(order)
        for place in range(4):
            changed = order.clone()
            changed[:, :, place] = (place + 1) % 4
            moved = (judge.logits(changed) - before).abs().amax((0, 1)) > 1e-6
            assert not moved[:place].any()
            assert moved[place + 1 :].all()


def test_the_looks_at_a_place_fall_and_multiply_the_chance(dataset: Dataset, tools: Any) -> None:
    ranker, memory = made(tools, dataset, context="exposure")
    judge, count = judged(tools, dataset, ranker), len(memory.candidates)
    order = torch.arange(4).expand(count, 1, -1)
    with torch.no_grad():
        looks = ranker.evaluator.log_looks(40).exp()
        falls = torch.nn.functional.softplus(ranker.evaluator.glance)
        chances = judge.chances(order)
        by_hand = torch.sigmoid(judge.logits(order)) * looks[:4]
    assert looks[0] == 1.0
    assert (looks.diff() <= 0).all()
    assert looks[2].item() == pytest.approx((-falls[0] - falls[1]).exp().item())
    assert looks[-1] == looks[len(falls)]  # what is longer than any list of the training
    torch.testing.assert_close(chances, by_hand)
    assert made(tools, dataset)[0].evaluator.log_looks(5) is None


def test_places_that_nobody_looks_at_have_a_finite_loss(dataset: Dataset, tools: Any) -> None:
    """Far down a long list the chance of a look is too small for a float; its log is not."""
    ranker, batch = made(tools, dataset, context="exposure")[0], tools.odd(dataset)
    with torch.no_grad():
        ranker.evaluator.glance.fill_(60.0)
        loss = ranker.evaluator.loss(ranker.encoder(batch.tensors), batch.labels)
    assert loss.isfinite()
    assert loss > 10  # clicks where nobody looks are a great surprise


def test_the_evaluator_learns_the_chance_of_a_click(dataset: Dataset, tools: Any) -> None:
    ranker, batch = made(tools, dataset, context="exposure")[0], tools.odd(dataset)
    mask = batch.candidate_mask
    with torch.no_grad():
        encoded = ranker.encoder(batch.tensors)
        found = ranker.evaluator.loss(encoded, batch.labels)
        order = torch.where(mask, torch.arange(mask.shape[1]), -1).unsqueeze(1)
        chances = ranker.evaluator.read(encoded).chances(order).squeeze(1)
    by_hand = torch.nn.functional.binary_cross_entropy(chances[mask], batch.labels[mask])
    torch.testing.assert_close(found, by_hand, atol=1e-4, rtol=1e-4)


def test_polish_makes_the_best_swap_of_neighbours_each_round(dataset: Dataset, tools: Any) -> None:
    ranker, memory = made(tools, dataset)
    judge = judged(tools, dataset, ranker)

    def worth(order: list[int], one: int) -> float:
        filled = torch.tensor(order + [-1] * (T - len(order))).expand(len(memory.mask), 1, -1)
        return float(judge.worth(judge.chances(filled), filled)[one, 0])

    with torch.no_grad():
        plain, polished = (generate(ranker.teacher, memory, judge, 2, 1, n) for n in (0, 3))
        for one in range(len(memory.mask)):
            order = [item for item in plain.chosen[one].tolist() if item >= 0]
            for _ in range(3):
                swapped = [order]
                for upper, apart in itertools.product(range(len(order)), (1, 2)):
                    if upper + apart < len(order):
                        other = list(order)
                        other[upper], other[upper + apart] = other[upper + apart], other[upper]
                        swapped.append(other)
                order = max(swapped, key=lambda each: worth(each, one))
            assert polished.worth[one].item() == pytest.approx(worth(order, one), abs=1e-4)
            shown = [item for item in polished.chosen[one].tolist() if item >= 0]
            assert sorted(shown) == sorted(order)
            assert polished.chosen[one, len(shown) :].eq(-1).all()  # and no gap
            assert worth(shown, one) == pytest.approx(worth(order, one), abs=1e-4)
    assert (polished.worth > plain.worth + 1e-3).any()
