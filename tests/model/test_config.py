"""Settings from defaults, preset and command line; what a run remembers of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import registry
from model.config import ConfigError, RunConfig, Training, configure, preset_values


def test_the_command_line_wins_over_the_preset_and_the_preset_over_defaults() -> None:
    config, training = configure("psad", "paper", {"attn_bias": "logit", "epochs": "7"})
    defaults, usual = configure("psad", "robust", {})
    changed = preset_values("psad", "paper")
    assert config.attn_bias == "logit"
    assert config.position == changed["position"] != defaults.position
    assert config.block_size == defaults.block_size
    assert (training.epochs, training.patience) == (7, usual.patience)


@pytest.mark.parametrize("name", registry.names())
def test_every_preset_of_every_model_is_valid(name: str) -> None:
    module = __import__(registry.find(name).Config.__module__, fromlist=["PRESETS"])
    for preset in getattr(module, "PRESETS", {"robust": {}}):
        config, training = configure(name, preset, {})
        for key, value in preset_values(name, preset).items():
            assert getattr(config if key in type(config).model_fields else training, key) == value


def test_text_is_read_as_its_setting_is_declared() -> None:
    config, training = configure(
        "psad", "robust",
        {"wide": "false", "dropout": "0.25", "decay": "dcg", "seed": "3", "teacher_layers": "2"},
    )  # fmt: skip
    assert (config.wide, config.dropout, config.decay) == (False, 0.25, "dcg")
    assert (config.teacher_layers, training.seed) == (2, 3)
    assert configure("psad", "robust", {"decay": "0.7"})[0].decay == 0.7
    assert configure("dnn", "robust", {"hidden": "[64, 32]"})[0].hidden == (64, 32)


@pytest.mark.parametrize(
    ("model", "preset", "key", "value", "message"),
    [
        (
            "psad",
            "robust",
            "blocksize",
            "3",
            r"psad has no setting 'blocksize'. Did you mean block",
        ),
        ("psad", "robust", "learning_rat", "3", r"Did you mean learning_rate\?"),
        ("psad", "robust", "zzzzzz", "3", r"psad has no setting 'zzzzzz'. Known: embedding_width"),
        ("dnn", "robust", "gate", "true", r"dnn has no setting 'gate'"),
        ("psad", "robust", "dropout", "lots", r"^dropout=lots: "),
        ("psad", "robust", "decay", "fast", r"^decay=fast: "),
        ("psad", "robust", "epochs", "0", r"^epochs=0: "),
        ("psad", "robust", "heads", "7", r"^psad: .*width \d+ does not divide into 7 heads"),
        ("prm", "robust", "heads", "7", r"^prm: .*width \d+ does not divide into 7 heads"),
        ("dnn", "robust", "hidden", "[64,", r"^hidden=\[64,: "),
        ("psad", "quick", "heads", "2", r"psad has no preset 'quick'; it has robust, paper"),
        ("dnn", "paper", "dropout", "0", r"dnn has no preset 'paper'; it has robust"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    model: str, preset: str, key: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(model, preset, {key: value})


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="teacher"):
        configure("psad", "robust", {"teacher": "false", "student": "false"})


def a_run(**changes: object) -> RunConfig:
    config, training = configure("psad", "robust", {})
    fields = {
        "model": "psad", "preset": "robust", "dataset": "/data/ml", "fingerprint": "ab",
        "training": training, "settings": config.model_dump(mode="json"),
    }  # fmt: skip
    return RunConfig.model_validate(fields | changes)


def test_a_run_remembers_every_value_in_force(tmp_path: Path) -> None:
    run = a_run()
    run.save(tmp_path / "config.toml")
    again = RunConfig.load(tmp_path / "config.toml")
    in_force = {key: value for key, value in run.settings.items() if value is not None}
    assert again == run.model_copy(update={"settings": in_force})
    assert set(again.settings) == set(in_force)
    text = (tmp_path / "config.toml").read_text()
    assert all(f"{key} = " in text for key in Training.model_fields)


@pytest.mark.parametrize("name", registry.names())
def test_every_models_settings_survive_the_file(name: str, tmp_path: Path) -> None:
    config, _ = configure(name, "robust", {})
    a_run(model=name, settings=config.model_dump(mode="json")).save(tmp_path / "config.toml")
    settings = RunConfig.load(tmp_path / "config.toml").settings
    assert registry.find(name).Config.model_validate(settings) == config


@pytest.mark.parametrize("text", ["model =", 'model = "psad"', "new = 1", None])
def test_a_damaged_configuration_is_refused_with_its_path(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read as a run's configuration"):
        RunConfig.load(path)
