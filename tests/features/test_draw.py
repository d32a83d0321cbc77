"""Random requests are ones that a schema allows, of items that the catalogue knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.catalogue import Catalogue, pack
from features.draw import item_columns, random_request
from features.encode import Encoder, RawItems
from features.schema import FeatureSchema

KINDS = ("categorical", "bag", "numeric")


def test_raw_features_of_a_row_encode_to_what_the_catalogue_holds(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    rows = np.arange(1, len(catalogue) + 1)
    raw = item_columns(schema, catalogue, rows)
    assert any(None in column for column in raw.values())
    for kind in KINDS:
        np.testing.assert_allclose(
            pack(schema, kind, raw, len(rows)), getattr(catalogue, kind)[1:], atol=1e-5
        )


def test_inline_features_change_nothing_that_the_catalogue_knows(
    schema: FeatureSchema, catalogue: Catalogue
) -> None:
    random, encoder = np.random.default_rng(0), Encoder(schema, catalogue)
    request = random_request(schema, catalogue, random, history=4, candidates=8)
    context = {f.name: request.candidates.columns[f.name] for f in schema.context}
    by_id = RawItems(request.candidates.ids, context)
    inline, counts = encoder.encode_request(request)
    plain, _ = encoder.encode_request(type(request)(request.user, request.history, by_id))
    assert counts.unknown_items == 0
    assert counts.unknown_features == {}
    for name, array in plain.items():
        np.testing.assert_allclose(inline[name], array, atol=1e-4)


@pytest.mark.parametrize(("asked", "got"), [(3, 3), (6, 6), (50, 6)])
def test_a_request_is_as_long_as_asked_and_its_history_as_trained(
    schema: FeatureSchema, catalogue: Catalogue, asked: int, got: int
) -> None:
    random = np.random.default_rng(0)
    request = random_request(schema, catalogue, random, history=asked, candidates=30)
    assert len(request.history.ids) == got
    assert len(set(request.candidates.ids)) == 30
    assert {len(column) for column in request.candidates.columns.values()} == {30}
    cold = [one for one in request.candidates.ids if one not in catalogue.ids]
    assert len(cold) == 30 - len(catalogue)


def test_the_same_seed_draws_the_same_request(schema: FeatureSchema, catalogue: Catalogue) -> None:
    def draw(seed: int) -> Any:
        random = np.random.default_rng(seed)
        return random_request(schema, catalogue, random, history=3, candidates=5)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
