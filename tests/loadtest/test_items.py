"""Features read back from the catalogue mean what the catalogue holds."""

from __future__ import annotations

import numpy as np

from data.dataset import Dataset
from features.catalogue import Catalogue
from features.derived import Statistics
from features.schema import Feature, FeatureSchema
from loadtest.items import ItemFeatures

SCHEMA = FeatureSchema(
    name="hand",
    item=(
        Feature(name="year", kind="numeric", mean=1990.0, scale=14.0),
        Feature(name="brand", kind="categorical", vocabulary=("x", "y")),
        Feature(name="sales", kind="numeric", mean=3.0, scale=2.0, transform="log"),
        Feature(name="tags", kind="bag", vocabulary=("a", "b", "c"), max_length=2),
        Feature(name="second", kind="numeric", mean=1.7e9, scale=1e6),
    ),
)
COLUMNS = {
    "year": [1997, None, 1950.5],
    "brand": ["y", "never seen", None],
    "sales": [0.0, 1500.0, -3.5],
    "tags": [["c", "a"], [], ["never seen", "b"]],
    "second": [1_700_000_001, 1_699_000_000, None],
}


def test_values_come_back_as_they_were_given() -> None:
    catalogue = Catalogue.build(["1", "2", "3"], COLUMNS, SCHEMA, Statistics.empty(4))
    found = ItemFeatures(SCHEMA, catalogue).columns(["3", "1", "new", "2"])
    assert found["year"] == [1950.5, 1997.0, None, None]
    assert found["brand"] == [None, "y", None, None]
    np.testing.assert_allclose([found["sales"][i] for i in (0, 1, 3)], [-3.5, 0, 1500], 1e-5, 1e-6)
    assert found["tags"] == [["b"], ["c", "a"], None, None]
    assert found["second"][0] is None
    assert abs(found["second"][1] - 1_700_000_001) < 1
    assert abs(found["second"][3] - 1_699_000_000) < 1


def test_what_comes_back_encodes_to_the_catalogue(dataset: Dataset) -> None:
    known, schema = dataset.catalogue, dataset.schema
    columns = ItemFeatures(schema, known).columns(known.ids)
    again = Catalogue.build(known.ids, columns, schema, Statistics.empty(len(known) + 1))
    assert np.array_equal(again.categorical, known.categorical)
    np.testing.assert_allclose(again.numeric, known.numeric, atol=1e-5)
    unknown = known.bag == 1  # what is out of the vocabulary is not sent
    assert np.array_equal(again.bag[~unknown.any(1)], known.bag[~unknown.any(1)])
