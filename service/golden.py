"""Golden requests: what a bundle must answer before it serves, and the warm-up at the same time.

An entry of golden.json is {"request": a body of /rerank, "arrays": {tensor: nested lists},
"scores": [M logits], "order": [M places]}, as export wrote it from the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from features.encode import Arrays
from features.errors import BundleError
from service.decode import Decoder
from service.engine import Engine
from service.errors import ApiError

TOLERANCE: Final = 1e-4  # floats and scores
TIE: Final = 1e-5  # scores closer than this may come in either order


def replay(engine: Engine, decoder: Decoder) -> float:
    """Replay all of them; seconds of the last run. Raises BundleError naming what differs."""
    entries = engine.bundle.golden()
    if not entries:
        raise BundleError("golden.json holds no request to prove the bundle by: export it again.")
    seconds = 0.0
    for number, entry in enumerate([*entries, entries[0]]):  # once more, warm, for the time
        try:
            asked = decoder.decode(to_json(entry["request"]))
            begun = perf_counter()
            scored = engine.rerank(asked.raw)
            seconds = perf_counter() - begun
            _same_arrays(engine.encode(asked.raw)[0], entry.get("arrays", {}))
            _same_scores(scored.logits, scored.order, entry)
        except ApiError as error:
            raise BundleError(f"golden request {number}: {error.param}: {error.message}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"golden request {number}: {str(error)[:200]}") from error
    return seconds


def _same_arrays(arrays: Arrays, expected: Mapping[str, Any]) -> None:
    for name, values in expected.items():
        found = arrays[name]
        wanted = np.asarray(values, found.dtype).reshape(found.shape)
        exact = found.dtype.kind in "bi"
        same = found == wanted if exact else np.abs(found - wanted) <= TOLERANCE
        if not same.all():
            raise ValueError(f"the array {name} differs from the expected one")


def _close(logits: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> bool:
    """Within the tolerance, times the largest score where that is above 1: float32 is relative."""
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)))
    return bool((np.abs(logits - expected) <= allowed).all())


def _same_scores(
    logits: npt.NDArray[np.float64], order: npt.NDArray[np.int64], entry: Mapping[str, Any]
) -> None:
    expected = np.asarray(entry["scores"], np.float64)
    if expected.shape != logits.shape or not _close(logits, expected):
        raise ValueError("the scores differ from the expected ones")
    wanted = np.asarray(entry.get("order", np.argsort(-expected, kind="stable")), np.int64)
    if np.abs(expected[order] - expected[wanted]).max(initial=0.0) >= TIE:
        raise ValueError("the order differs from the expected one by more than ties")
