"""Parity of torch and ONNX Runtime on scores; of lists see generated.py.

Scores within 1e-4, times the list's largest where that is above 1 (float32 is relative); order
equal except between items whose torch scores differ by less than 1e-5, and such swaps are counted:
identical cold items tie in one engine and not in the other. B lists, M candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from onnxruntime import InferenceSession

from export.onnx import Network, Scorer
from export.runtime import OUTPUT, session
from features.draw import random_arrays
from features.encode import Arrays
from features.errors import PsadError
from features.schema import FeatureSchema

if TYPE_CHECKING:
    from data.dataset import Dataset

TOLERANCE = 1e-4
TIE = 1e-5
REAL_LISTS = 1000
RANDOM_CASES = 60
Float64 = npt.NDArray[np.float64]


class ParityError(PsadError):
    """The exported graph does not compute what the model computes."""


@dataclass
class Parity:
    """What was compared and how far apart the engines were."""

    lists: int = 0
    largest_difference: float = 0.0
    swaps: int = 0  # neighbours in order that stand the other way round, all of them ties

    def __str__(self) -> str:
        return (
            f"{self.lists} lists, scores at most {self.largest_difference:.1e} apart, "
            f"{self.swaps} swaps between ties"
        )


def matching_session(network: Network, path: Path) -> InferenceSession:
    """A session of a graph that reads what the network reads; raises ParityError otherwise."""
    runtime = session(path)
    names = [one.name for one in runtime.get_inputs()]
    if set(names) != set(network.names):
        raise ParityError(
            f"the graph reads {sorted(names)}, the schema has {sorted(network.names)}"
        )
    return runtime


def tensors(network: Network, arrays: Arrays) -> list[torch.Tensor]:
    """The network's arguments."""
    return [torch.from_numpy(arrays[name]) for name in network.names]


def prove(scorer: Scorer, path: Path, cases: Iterable[Arrays]) -> Parity:
    """Compare on every case; raises ParityError with the first list that differs."""
    runtime, parity = matching_session(scorer, path), Parity()
    for arrays in cases:
        with torch.inference_mode():
            expected = scorer(*tensors(scorer, arrays))
        (found,) = runtime.run([OUTPUT], arrays)
        _compare(expected.numpy(), found, arrays["candidate_mask"], parity)
    return parity


def _compare(expected: Any, found: Any, mask: npt.NDArray[np.bool_], parity: Parity) -> None:
    for torch_scores, onnx_scores, real in zip(expected, found, mask, strict=True):
        e, f = torch_scores[real].astype(np.float64), onnx_scores[real].astype(np.float64)
        parity.lists += 1
        difference = float(np.abs(e - f).max(initial=0.0))
        allowed = TOLERANCE * max(1.0, float(np.abs(e).max(initial=0.0)))  # float32 is relative
        if not difference <= allowed:  # NaN is not
            raise ParityError(
                f"list {parity.lists} of {len(e)} candidates: scores of torch and ONNX Runtime "
                f"are {difference:.2e} apart, {allowed:.0e} is allowed. Nothing was exported."
            )
        parity.largest_difference = max(parity.largest_difference, difference)
        parity.swaps += swaps_between_ties(e, f, parity.lists)


def swaps_between_ties(expected: Float64, found: Float64, number: int) -> int:
    """Places where the orders differ; raises ParityError where that is more than a tie."""
    by_torch, by_onnx = (np.argsort(-scores, kind="stable") for scores in (expected, found))
    gaps = np.abs(expected[by_torch] - expected[by_onnx])
    if (gaps >= TIE).any():
        raise ParityError(f"list {number}: the orders differ by {gaps.max():.2e} in torch's scores")
    return int(np.count_nonzero(by_torch != by_onnx))


def cases(schema: FeatureSchema, dataset: Dataset) -> Iterator[Arrays]:
    """Random inputs of every awkward shape, then real lists, alone and padded together."""
    yield from random_cases(schema)
    for split in ("valid", "test"):
        indexes = dataset.splits[split][: REAL_LISTS // 2]
        for start in range(0, len(indexes), 64):
            yield dataset.batch(indexes[start : start + 64])[0]
        for index in indexes[:100]:
            yield dataset.batch([int(index)])[0]


def random_cases(schema: FeatureSchema) -> Iterator[Arrays]:
    """M = 1, N = 0, lengths beyond what was trained, one list and many, padded and not."""
    random = np.random.default_rng(1)
    longest_m, longest_n = schema.max_candidates, schema.max_history
    edges = [(1, 0, 1), (1, 0, 7), (3, 0, 5), (1, longest_n, 1), (1, 1, 2),
             (2, longest_n, longest_m), (1, longest_n, 2 * longest_m + 3), (1, 5, 300)]  # fmt: skip
    for lists, history, candidates in edges:
        yield random_arrays(schema, random, lists=lists, history=history, candidates=candidates)
    for _ in range(RANDOM_CASES):
        lists, history = int(random.integers(1, 5)), int(random.integers(0, longest_n + 1))
        candidates = int(random.integers(1, longest_m + 1))
        yield random_arrays(
            schema, random, lists=lists, history=history, candidates=candidates, padded=True
        )
