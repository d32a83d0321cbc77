"""Golden requests: what a bundle must answer before it serves, and the warm-up at the same time.

An entry of golden.json is {"request": a body of /rerank, "arrays": {tensor: nested lists},
"scores": [M logits], "order": [M places]}, as export wrote it from the model itself, and where the
bundle has a generator, "generated": {"list": [T places, -1 for none], "chances": [T], "worth": w}.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter, thread_time
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from features.encode import Arrays, Request
from features.errors import BundleError
from service.decode import Decoder
from service.engine import Engine, Generated, NonFinite, best_first
from service.errors import ApiError, Mode

TOLERANCE: Final = 1e-4  # floats and scores
TIE: Final = 1e-5  # scores closer than this may come in either order


def replay(engine: Engine, decoder: Decoder) -> dict[Mode, float]:
    """Replay all of them; seconds of each mode's last run.

    Raises BundleError naming what differs, or what is no number.
    """
    entries = engine.bundle.golden()
    if not entries:
        raise BundleError("golden.json holds no request to prove the bundle by: export it again.")
    # on a processor what this thread computed: it may have waited for those that answer requests
    clock = thread_time if engine.providers[0] == "CPUExecutionProvider" else perf_counter
    seconds: dict[Mode, float] = {}
    for number, entry in enumerate([*entries, entries[0]]):  # once more, warm, for the time
        try:
            asked = decoder.decode(to_json(entry["request"]))
            for mode in engine.modes:
                begun = clock()
                engine.rerank(asked.raw, mode)
                seconds[mode] = clock() - begun
            _same_results(engine, asked.raw, entry)
        except ApiError as error:
            raise BundleError(f"golden request {number}: {error.param}: {error.message}") from error
        except NonFinite as error:
            said = f"golden request {number}: {error.count} predictions are no finite numbers"
            raise BundleError(said) from error
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BundleError(f"golden request {number}: {str(error)[:200]}") from error
    return seconds


def _same_results(engine: Engine, request: Request, entry: Mapping[str, Any]) -> None:
    arrays, count = engine.encode(request)[0], len(request.candidates.ids)
    _same_arrays(arrays, entry.get("arrays", {}))
    logits = engine.logits(arrays, count)
    _same_scores(logits, best_first(logits), entry)
    if "generator" in engine.modes:
        _same_list(engine.generated(arrays, count), entry["generated"])


def _same_arrays(arrays: Arrays, expected: Mapping[str, Any]) -> None:
    for name, values in expected.items():
        found = arrays[name]
        wanted = np.asarray(values, found.dtype).reshape(found.shape)
        exact = found.dtype.kind in "bi"
        same = found == wanted if exact else np.abs(found - wanted) <= TOLERANCE
        if not same.all():
            raise ValueError(f"the array {name} differs from the expected one")


def _same_list(found: Generated, expected: Mapping[str, Any]) -> None:
    """The same items in the same places, or others of the same worth: engines break ties apart."""
    places = found.places.tolist()
    wanted, none = expected["list"][: len(places)], expected["list"][len(places) :]
    worth = np.array([found.worth]), np.array([expected["worth"]], np.float64)
    if not _close(*worth) or set(none) - {-1}:
        raise ValueError("the generated list is not worth what is expected")
    if places != wanted:
        if abs(float(worth[0][0] - worth[1][0])) >= TIE * max(1.0, abs(float(worth[1][0]))):
            raise ValueError("the generated list differs from the expected one by more than ties")
    elif not _close(found.chances, np.asarray(expected["chances"][: len(places)], np.float64)):
        raise ValueError("the chances of the generated list differ from the expected ones")


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
