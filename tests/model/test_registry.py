"""A model is found by its file's name, alone and with a helpful refusal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from model import registry


def test_the_models_of_the_project_are_found_by_their_file_names() -> None:
    assert {"psad", "dnn", "prm", "lambdamart"} <= set(registry.names())
    assert "baselines" not in registry.names()


@pytest.mark.parametrize("name", registry.names())
def test_every_model_shows_a_frozen_strict_config_and_a_ranker(name: str) -> None:
    model = registry.find(name)
    assert model.name == name
    assert model.Config.model_config["frozen"]
    assert model.Config.model_config["extra"] == "forbid"
    assert {"fit", "scores", "rank"} <= set(dir(model.Ranker))


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(registry.UnknownModel, match="Did you mean 'lambdamart'") as refusal:
        registry.find("lamdamart")
    assert "prm" in str(refusal.value)
    with pytest.raises(
        registry.UnknownModel, match=r"^there is no model 'xyzzy' in model/\. Known"
    ):
        registry.find("xyzzy")


def test_listing_the_names_imports_no_model() -> None:
    code = (
        "import sys; from model import registry; registry.names(); "
        "heavy = ('model.baselines', 'model.psad', 'torch', 'lightgbm'); "
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
