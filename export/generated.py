"""Parity of torch and ONNX Runtime on generated lists.

What a list is worth agrees within 1e-4 (times the worth where that is above 1), and the lists are
equal, except where the engines broke a tie differently: torch itself finds both worth the same
within 1e-5, or makes the other list too once its weights are changed by no more than rounding does
(a search that has two ways all but equal may end in lists that are not). Such lists are counted. No
list may repeat an item or hold one that is not there.

B lists, M candidates, T places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from export.onnx import Generator
from export.parity import TIE, TOLERANCE, ParityError, cases, matching_session, tensors
from export.runtime import GENERATED
from features.draw import random_arrays
from features.encode import Arrays
from features.schema import FeatureSchema

if TYPE_CHECKING:
    from data.dataset import Dataset

LEAST_LISTS = 2_000
TOGETHER = 32  # random lists in one batch
ROUNDING = 1e-6  # of a weight: what some tens of float32 operations may lose
TRIES, STEADY = 64, 8  # changes of all weights by so much, to find a list and to try a request


@dataclass
class ListParity:
    """What was compared and how far apart the engines were."""

    lists: int = 0
    largest_difference: float = 0.0  # of worth or chances
    ties: int = 0  # other lists, of the same worth or of a search whose ways were all but equal

    def __str__(self) -> str:
        return (
            f"{self.lists} generated lists, worth and chances at most "
            f"{self.largest_difference:.1e} apart, {self.ties} ties broken otherwise"
        )


def prove_lists(generator: Generator, path: Path, cases: Iterable[Arrays]) -> ListParity:
    """Compare on every case; raises ParityError with the first list that differs."""
    runtime, parity = matching_session(generator, path), ListParity()
    for arrays in cases:
        with torch.inference_mode():
            expected = [one.numpy() for one in generator(*tensors(generator, arrays))]
        found = runtime.run(list(GENERATED), arrays)
        for place, (e, f) in enumerate(zip(zip(*expected), zip(*found), strict=True)):  # noqa: B905
            parity.lists += 1
            refuse_impossible(f[0], arrays["candidate_mask"][place], parity.lists)
            if not np.array_equal(e[0], f[0]):
                one = {name: array[place : place + 1] for name, array in arrays.items()}
                _same_worth(generator, one, (e[0], f[0]), parity)
            else:
                _close(e[1], f[1], "chances", parity)
                _close(e[2], f[2], "worth", parity)
    return parity


def _close(expected: Any, found: Any, what: str, parity: ListParity) -> None:
    difference = float(np.abs(np.float64(expected) - np.float64(found)).max(initial=0.0))
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)))
    if not difference <= allowed:  # NaN is not
        raise ParityError(
            f"list {parity.lists}: its {what} by torch and by ONNX Runtime are {difference:.2e} "
            f"apart, {allowed:.0e} is allowed. Nothing was exported."
        )
    parity.largest_difference = max(parity.largest_difference, difference)


def refuse_impossible(
    chosen: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_], number: int
) -> None:
    """Raises ParityError where a list repeats, invents or leaves out: chosen (T,), mask (M,)."""
    there = set(np.flatnonzero(mask).tolist())
    filled = min(len(there), len(chosen))
    items = chosen[:filled].tolist()
    if len(set(items) & there) != filled or (chosen[filled:] != -1).any():
        raise ParityError(
            f"list {number} of {len(there)} candidates: ONNX Runtime generated {chosen.tolist()}, "
            "which repeats an item, or holds one that is not there, or none where one is left."
        )


def _same_worth(generator: Generator, arrays: Arrays, lists: Any, parity: ListParity) -> None:
    """Counts a tie; raises ParityError where torch has a reason for its list."""
    named = dict(zip(generator.names, tensors(generator, arrays), strict=True))
    with torch.inference_mode():
        both = torch.from_numpy(np.stack(lists)).unsqueeze(0)  # (1, 2, T)
        worth = generator.ranker.worth(named, both)[0]
    gap = float(abs(worth[0] - worth[1]))
    equal = gap < TIE * max(1.0, float(abs(worth[0])))
    if not (equal or by_rounding(generator, tuple(named.values()), lists[1])):
        raise ParityError(
            f"list {parity.lists}: torch generated {lists[0].tolist()} and ONNX Runtime "
            f"{lists[1].tolist()}, worth {gap:.2e} more or less. Nothing was exported."
        )
    parity.ties += 1


def by_rounding(
    generator: torch.nn.Module, inputs: Sequence[torch.Tensor], found: npt.NDArray[np.int64]
) -> bool:
    """Whether torch makes the list `found` (T,) too when its weights are off by ROUNDING."""
    return any(np.array_equal(one, found) for one in _rounded(generator, inputs, TRIES))


def is_steady(generator: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> bool:
    """Whether torch makes the same list of one request, whatever rounding does."""
    with torch.inference_mode():
        own = generator(*inputs)[0][0].numpy()
    return all(np.array_equal(one, own) for one in _rounded(generator, inputs, STEADY))


@torch.no_grad()
def _rounded(
    generator: torch.nn.Module, inputs: Sequence[torch.Tensor], tries: int
) -> Iterator[npt.NDArray[np.int64]]:
    """The list (T,) of one request with weights off by ROUNDING, which are then put back."""
    parameters, random = list(generator.parameters()), torch.Generator().manual_seed(0)
    kept = [one.detach().clone() for one in parameters]
    try:
        for _ in range(tries):
            for one, own in zip(parameters, kept, strict=True):
                one.copy_(own * (1 + ROUNDING * torch.randn(own.shape, generator=random)))
            yield generator(*inputs)[0][0].numpy()
    finally:
        for one, own in zip(parameters, kept, strict=True):
            one.copy_(own)


def list_cases(schema: FeatureSchema, dataset: Dataset) -> Iterator[Arrays]:
    """Those of scores, and random lists, many shorter than T, until there are LEAST_LISTS."""
    seen, random = 0, np.random.default_rng(2)
    for arrays in cases(schema, dataset):
        seen += len(arrays["candidate_mask"])
        yield arrays
    while seen < LEAST_LISTS:
        seen += TOGETHER
        history = int(random.integers(0, schema.max_history + 1))
        longest = max(schema.max_candidates, 2 * schema.list_size)
        candidates = int(random.integers(1, longest + 1))
        yield random_arrays(
            schema, random, lists=TOGETHER, history=history, candidates=candidates, padded=True
        )
