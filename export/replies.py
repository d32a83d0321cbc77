"""Golden requests answered by ONNX Runtime: for a bundle whose graphs are proved already.

M candidates, T places.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from data.dataset import Dataset
from export.golden import golden_requests
from export.runtime import GENERATED, OUTPUT, session
from features.body import rerank_body
from features.bundle import GENERATOR, SCORER, Bundle
from features.catalogue import Catalogue
from features.encode import Arrays, Encoder, RawItems, Request
from features.errors import BundleError
from features.schema import FeatureSchema

ROUNDING = 1e-6  # of a number: what some tens of float32 operations may lose
STEADY = 8  # changes of all numbers by so much, to try a request


def golden_replies(
    folder: Path, source: Bundle, catalogue: Catalogue, data: Dataset
) -> list[dict[str, Any]]:
    """Entries of golden.json for the graphs in `folder` and a new catalogue.

    Raises BundleError for a prediction that is no finite number, and where no request is left.
    """
    encoder = Encoder(source.schema, catalogue)
    scorer = session(folder / SCORER)
    generator = session(folder / GENERATOR) if source.generator else None
    entries = []
    for request in golden_requests(data):
        asked = as_read(request, source.schema)
        arrays, _ = encoder.encode_request(asked)
        if generator is None or is_steady(generator, arrays):
            entries.append(_reply(asked, arrays, scorer, generator))
    if not entries:
        raise BundleError(
            f"no list of {data.folder} is one that the generator decides by more than rounding: "
            "none can prove the bundle. Prepare a longer log."
        )
    return entries


def as_read(request: Request, schema: FeatureSchema) -> Request:
    """The request without what the model does not read."""
    user, context = ({f.name for f in side} for side in (schema.user, schema.context))
    columns = {n: column for n, column in request.candidates.columns.items() if n in context}
    return Request(
        {name: value for name, value in request.user.items() if name in user},
        request.history,
        RawItems(request.candidates.ids, columns),
    )


def _reply(
    request: Request,
    arrays: Arrays,
    scorer: onnxruntime.InferenceSession,
    generator: onnxruntime.InferenceSession | None,
) -> dict[str, Any]:
    scores = np.asarray(scorer.run([OUTPUT], arrays)[0][0], np.float64)
    entry: dict[str, Any] = {
        "request": rerank_body(request),
        "arrays": {name: array.tolist() for name, array in arrays.items()},
        "scores": scores.tolist(),
        "order": np.argsort(-scores, kind="stable").tolist(),
    }
    found = [scores]
    if generator is not None:
        lists = [one[0] for one in generator.run(list(GENERATED), arrays)]
        entry["generated"] = {
            name: one.tolist() for name, one in zip(GENERATED, lists, strict=True)
        }
        found += lists[1:]
    if odd := sum(int((~np.isfinite(one)).sum()) for one in found):
        raise BundleError(
            f"{odd} predictions for a list of {len(scores)} candidates are no finite numbers with "
            "the new statistics. Nothing was written."
        )
    return entry


def is_steady(generator: onnxruntime.InferenceSession, arrays: Arrays) -> bool:
    """Whether one request gets the same list, whatever rounding does: no tie decides it.

    Another machine, whose rounding is another, must find the same.
    """
    random = np.random.default_rng(0)
    (own,) = generator.run([GENERATED[0]], arrays)
    for _ in range(STEADY):
        shaken = {name: _shaken(array, random) for name, array in arrays.items()}
        if not np.array_equal(generator.run([GENERATED[0]], shaken)[0], own):
            return False
    return True


def _shaken(array: Any, random: np.random.Generator) -> Any:
    if array.dtype != np.float32:
        return array
    factors = 1 + ROUNDING * random.standard_normal(array.shape)
    return (array * factors).astype(np.float32)
