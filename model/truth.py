"""The true value of orders, where the data set's click law is known (the simulator's).

`model.evaluate` adds it to every evaluation as the metric `value`: the expected clicks on the first
T items of the order given, by the law, with the moods as they were. It also adds reference rows:

    isolated          sorts by what each item is worth alone, as far as anybody can see
    greedy (sees)     takes the largest true gain at each place, as far as anybody can see
    ceiling (sees)    the best order a search finds that knows the law and sees what a model sees
    ceiling (knows)   the best order a search finds that knows everything, moods too

The truth is not stored: it is drawn again from what info.json says, and matched by ids.
L lists, M padded slots, T places shown.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.simulator.generate import World, drawn_again
from data.simulator.law import Law
from data.simulator.search import best, greedy
from data.simulator.tables import numbers_of
from data.simulator.truth import Truth
from features.errors import PsadError
from model.metrics import complete_order

if TYPE_CHECKING:
    from data.dataset import Dataset

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

VALUE = "value"  # the metric's name
ISOLATED, GREEDY = "isolated", "greedy (sees)"
CEILING_SEES, CEILING_KNOWS = "ceiling (sees)", "ceiling (knows)"
NAMES = (ISOLATED, GREEDY, CEILING_SEES, CEILING_KNOWS)
RANDOM_ORDERS = 32  # whose mean stands for the expected value of a random one
_FACTS = "simulator"  # in info.json


class TruthError(PsadError):
    """A dataset that is not the one its description says was simulated."""


def has_truth(dataset: Dataset) -> bool:
    """Whether the dataset's click law is known."""
    return _FACTS in dataset.info


def truth_of(dataset: Dataset, lists: Integers) -> Truth | None:
    """The truth about lists (L,) of a dataset; None where nobody knows it.

    Raises TruthError where the lists are not the ones that were simulated.
    """
    if not has_truth(dataset):
        return None
    facts = dataset.info[_FACTS]
    try:
        numbers = numbers_of(dataset.list_ids(lists))
        items = numbers_of(dataset.catalogue.ids)
    except ValueError as error:
        raise _other_lists(dataset) from error
    found, item = _drawn(json.dumps(facts, sort_keys=True), numbers.tobytes())
    rows = dataset.lists(lists).candidate_rows
    if not (rows > 0).all() or not np.array_equal(items[rows - 1], item):
        raise _other_lists(dataset)
    return found


def true_value(dataset: Dataset, lists: Integers, orders: Integers) -> Floats | None:
    """Expected clicks (L,) on the first T of orders (L, M), −1 after the last item.

    Orders (L, 0) stand for a random one. None where nobody knows the truth.
    """
    truth = truth_of(dataset, lists)
    if truth is None:
        return None
    shown = dataset.schema.list_size
    if orders.shape[1]:
        return truth.value(orders, shown=shown).astype(np.float64)
    random = np.random.default_rng(0)
    drawn = [truth.by(random.random(truth.mask.shape)) for _ in range(RANDOM_ORDERS)]
    return np.mean([truth.value(one, shown=shown) for one in drawn], axis=0, dtype=np.float64)


def true_orders(dataset: Dataset, lists: Integers) -> dict[str, Integers]:
    """The whole orders (L, M) of the reference rows NAMES; none where nobody knows the truth."""
    truth = truth_of(dataset, lists)
    if truth is None:
        return {}
    facts = json.dumps(dataset.info[_FACTS], sort_keys=True)
    numbers = numbers_of(dataset.list_ids(lists))
    return _orders(facts, numbers.tobytes(), dataset.schema.list_size)


def describe(dataset: Dataset) -> str:
    """Which truth the values of a table come from."""
    facts = dataset.info[_FACTS]
    return (
        f"true value: expected clicks on the first {dataset.schema.list_size} items by the click "
        f"law of docs/simulator.md, version {facts['law']['version']}, seed {facts['seed']}. "
        "Way: from the incoming order (0%) to ceiling (sees) (100%)."
    )


@lru_cache(maxsize=4)
def _drawn(facts: str, numbers: bytes) -> tuple[Truth, Integers]:
    """The truth about lists by number, and the items (ΣM,) that they show."""
    known: dict[str, Any] = json.loads(facts)
    world = World(known["seed"], known["items"], Law.model_validate(known["law"]))
    lists = drawn_again(world, np.frombuffer(numbers, np.int64))
    return Truth.of(world, lists), lists.item[lists.item >= 0]


@lru_cache(maxsize=4)
def _orders(facts: str, numbers: bytes, shown: int) -> dict[str, Integers]:
    truth, _ = _drawn(facts, numbers)
    found = {
        ISOLATED: truth.by(truth.isolated(sees=True))[:, :shown],
        GREEDY: greedy(truth, sees=True, shown=shown),
        CEILING_SEES: best(truth, sees=True, shown=shown),
        CEILING_KNOWS: best(truth, sees=False, shown=shown),
    }
    return {name: complete_order(order, truth.mask) for name, order in found.items()}


def _other_lists(dataset: Dataset) -> TruthError:
    return TruthError(
        f"{dataset.folder} says that it was simulated, but its lists are not the ones that its "
        "seed and law give in this version. Prepare it again (without law.json, if the simulated "
        "log was changed on purpose)."
    )
