"""Parity of torch and ONNX Runtime on generated lists.

What a list is worth agrees within 1e-4 (times the worth where that is above 1), and the lists are
equal, except where torch itself finds both worth the same within 1e-5: then the engines broke a tie
differently, and such lists are counted. No list may repeat an item or hold one that is not there.

B lists, M candidates, T places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from export.onnx import GENERATED, Generator
from export.parity import TIE, TOLERANCE, ParityError, cases, matching_session, tensors
from features.draw import random_arrays
from features.encode import Arrays
from features.schema import FeatureSchema

if TYPE_CHECKING:
    from data.dataset import Dataset

LEAST_LISTS = 2_000
TOGETHER = 32  # random lists in one batch


@dataclass
class ListParity:
    """What was compared and how far apart the engines were."""

    lists: int = 0
    largest_difference: float = 0.0  # of worth or chances
    ties: int = 0  # other lists of the same worth

    def __str__(self) -> str:
        return (
            f"{self.lists} generated lists, worth and chances at most "
            f"{self.largest_difference:.1e} apart, {self.ties} other lists of equal worth"
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
    """Counts a tie; raises ParityError where torch finds the two lists worth different amounts."""
    named = dict(zip(generator.names, tensors(generator, arrays), strict=True))
    with torch.inference_mode():
        both = torch.from_numpy(np.stack(lists)).unsqueeze(0)  # (1, 2, T)
        worth = generator.ranker.worth(named, both)[0]
    gap = float(abs(worth[0] - worth[1]))
    if not gap < TIE * max(1.0, float(abs(worth[0]))):
        raise ParityError(
            f"list {parity.lists}: torch generated {lists[0].tolist()} and ONNX Runtime "
            f"{lists[1].tolist()}, worth {gap:.2e} more or less. Nothing was exported."
        )
    parity.ties += 1


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
