"""Orders without a model stand in their place, with the model's paired gain over each."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.dataset import Dataset
from model.compare import compare
from report.plain import NAMES, Standing, share_of_gain, standings, strongest
from report.sides import TODAY, Sides, load, sides


def test_orders_stand_from_best_to_worst_with_the_models_gain_over_each(both: Sides) -> None:
    found = standings(both)
    assert [one.value for one in found] == sorted((one.value for one in found), reverse=True)
    assert {one.name for one in found} == {*NAMES.values(), "psad-s"}
    ours = both.after.values["ndcg@10"]
    for key, name in NAMES.items():
        one = next(one for one in found if one.name == name)
        reference = both.references[key]
        assert one.value == reference.mean("ndcg@10")
        if key == "oracle":
            assert one.gain is None
            continue
        assert one.gain is not None
        assert one.gain.found == compare(ours, reference.values["ndcg@10"], both.users)


def test_beside_another_run_both_stand_among_them(run: Path, trees: Path, dataset: Dataset) -> None:
    names = [one.name for one in standings(sides(load(run), dataset, "test", load(trees)))]
    assert sorted(names) == sorted([*NAMES.values(), "psad-s", "lambdamart"])


def test_the_strongest_needs_no_model_and_could_be_served() -> None:
    def at(name: str, value: float, plain: bool = True) -> Standing:
        return Standing(name, value, None, plain)

    found = [at("hindsight", 1.0, False), at("model", 0.9, False), at("rate", 0.7), at(TODAY, 0.6)]
    assert strongest(found).name == "rate"
    assert strongest([*found, at("other", 0.8)]).name == "other"
    assert strongest([at("rate", 0.6), at(TODAY, 0.6)]).name == TODAY


def test_the_share_of_a_gain_is_of_the_way_from_before_to_after() -> None:
    assert share_of_gain(0.696, 0.598, 0.715) == pytest.approx(0.098 / 0.117)
    assert share_of_gain(0.8, 0.7, 0.7) is None
    assert share_of_gain(0.8, 0.7, 0.6) is None
