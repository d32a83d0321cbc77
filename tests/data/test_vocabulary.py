from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from data.coded import code
from data.lists import FeatureSpec, arrange
from data.sources import parquet
from data.vocabulary import fit_features, fit_schema, mean_and_scale
from features.errors import DataError


def fit(values: list[object], ids: pl.Series | None = None, **declared):
    table = pl.DataFrame({"f": values}, strict=False)
    given = {} if ids is None else {"f": ids}
    return fit_features([FeatureSpec(name="f", **declared)], table, given)[0]


def test_a_vocabulary_is_sorted_by_count_then_value_and_rare_values_stay_out():
    values = ["b", "a", "c", "c", "a", "b", "d", None, "c"]
    assert fit(values, kind="categorical").vocabulary == ("c", "a", "b", "d")
    assert fit(values, kind="categorical", min_count=2).vocabulary == ("c", "a", "b")


def test_an_id_counts_its_occurrences_and_not_its_row():
    feature = fit(["a", "b"], pl.Series(["b", "b", "a"]), kind="categorical", min_count=2)
    assert feature.vocabulary == ("b",)


def test_a_bag_counts_a_value_once_a_row_and_keeps_the_longest_length():
    bags = [["x", "x"], ["y", "z", "w"], ["y"], None]
    feature = fit(bags, kind="bag", min_count=2)
    assert feature.vocabulary == ("y",)
    assert feature.max_length == 3
    assert fit([["x"] * 40], kind="bag").max_length == 16
    assert fit(bags, kind="bag", max_length=2).max_length == 2


@pytest.mark.parametrize("transform", ["identity", "log"])
def test_mean_and_scale_are_of_the_transformed_known_values(transform):
    feature = fit([1.0, None, -3.0, 10.0], kind="numeric", transform=transform)
    known = np.array([1.0, -3.0, 10.0])
    known = known if transform == "identity" else np.sign(known) * np.log1p(np.abs(known))
    assert feature.mean == pytest.approx(known.mean())
    assert feature.scale == pytest.approx(known.std())


def test_a_column_that_never_varies_has_scale_one():
    assert mean_and_scale(np.full((4, 1), np.float32(3.178054)))[1] == [1.0]
    assert mean_and_scale(np.zeros((0, 2))) == ([0.0, 0.0], [1.0, 1.0])
    assert fit([None, None], kind="numeric").scale == 1.0


def test_what_cannot_be_a_schema_is_an_error_that_prepare_and_check_say(tmp_path, own_folder):
    log = parquet.read(own_folder)
    twice = log.spec.model_copy(update={"user": log.spec.user * 2})
    log = replace(log, spec=twice)
    coded = code(log, arrange(log, "last-list"))
    with pytest.raises(DataError, match=r"no schema can be made of 'shop': .*named twice: age"):
        fit_schema(log, coded)
