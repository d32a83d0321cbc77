"""Every variant is one switch, in a file that `psad train` takes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from model.config import ConfigError, read_config, resolve
from paper import studies
from paper.cells import TEACHER
from paper.study import CONFIGS, Study

NAMES = sorted(path.stem for path in CONFIGS.glob("*.toml"))
STUDIES: dict[str, Study] = {
    name: importlib.import_module(f"paper.studies.{name}").STUDY for name in studies.names()
}


def values(name: str) -> dict[str, Any]:
    """Everything that a file's run would be."""
    found = resolve(None, None, CONFIGS / f"{name}.toml", {})
    return {"model": found.model, **found.settings.model_dump(), **found.training.model_dump()}


def changed(name: str, base: str = "full") -> dict[str, Any]:
    """What a file changes of another."""
    theirs = values(base)
    return {key: value for key, value in values(name).items() if theirs[key] != value}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_a_configuration_and_names_model_and_preset(name: str) -> None:
    found = read_config(CONFIGS / f"{name}.toml")
    assert found.model is not None
    assert found.preset is not None


def test_every_variant_has_a_file_and_every_file_is_a_variant() -> None:
    used = {variant for study in STUDIES.values() for variant in study.variants}
    assert used == set(NAMES)
    for study in STUDIES.values():
        assert study.base in study.variants
        assert set(study.quick) <= set(study.variants)
        assert len(set(study.variants)) == len(study.variants)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("wo-ce", "refine", 0),
        ("wo-ppe", "personal_position", False),
        ("wo-pg", "gate", False),
        ("ar-online", "block_size", 1),
        ("psad-g", "student", False),
        ("psad-alone", "teacher", False),
        ("distillation-printed", "distillation", "printed"),
        ("context-exposure", "context", "exposure"),
        ("interaction-late", "interaction", "late"),
    ],
)
def test_a_variant_is_the_full_model_with_one_switch_turned(
    name: str, setting: str, value: object
) -> None:
    assert changed(name) == {setting: value}


def test_the_printed_student_alone_is_the_printed_model_without_its_teacher() -> None:
    assert changed("paper-alone", "paper") == {"teacher": False}


def test_one_block_is_longer_than_any_list() -> None:
    for name in ("wo-sa", "nar-online", "block-all"):
        ((setting, value),) = changed(name).items()
        assert (setting, value >= 1000) == ("block_size", True)
    assert changed("wo-sace").keys() == {"block_size", "refine"}


@pytest.mark.parametrize("name", ["prm-like", "prm-like-history"])
def test_the_prm_that_is_timed_is_as_wide_and_deep_as_the_encoder(name: str) -> None:
    sizes = ("embedding_width", "width", "layers", "heads")
    ours, theirs = values("full"), values(name)
    assert {key: ours[key] for key in sizes} == {key: theirs[key] for key in sizes}
    assert theirs["reads_history"] == name.endswith("history")


@pytest.mark.parametrize("kind", ["ar", "nar", "sar"])
def test_an_offline_teacher_is_the_online_one_without_its_student(kind: str) -> None:
    offline = changed(f"{kind}-offline")
    assert offline.keys() == {"teacher", TEACHER}
    generator = Path(offline[TEACHER]).name
    assert changed(generator, f"{kind}-online") == {"student": False}


@pytest.mark.parametrize("study", [one for one in STUDIES.values() if one.factors], ids=str)
def test_the_values_of_a_factor_differ_in_nothing_else(study: Study) -> None:
    for setting, names in study.factors.items():
        found = [values(name) for name in names]
        assert len({str(one[setting]) for one in found}) == len(names)
        others = [{key: one[key] for key in one if key != setting} for one in found]
        assert all(one == others[0] for one in others)
        assert values("full")[setting] in [one[setting] for one in found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocksize = 1", r"x\.toml: psad has no setting 'blocksize'\. Did you mean block_size\?"),
        ('modle = "psad"', r"x\.toml: .*'modle'\. Did you mean model\?"),
        ('model = "pasd"', r"x\.toml: there is no model 'pasd'.*'psad'"),
        ("preset = 3", r"x\.toml: preset is 3, not a name"),
        ("refine = -1", r"x\.toml: refine=-1: "),
        ("refine =", r"x\.toml cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text + "\n")
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_the_command_line_goes_before_the_file_and_the_file_before_the_preset(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.toml"
    path.write_text('preset = "paper"\nrefine = 3\nepochs = 4\nposition = "relative"\n')
    found = resolve(None, None, path, {"refine": "2", "seed": "5"})
    assert (found.preset, found.file) == ("paper", str(path))
    assert (found.settings.refine, found.settings.position) == (2, "relative")
    assert found.settings.attn_bias == "post"  # the preset's
    assert (found.training.epochs, found.training.seed) == (4, 5)
    assert resolve(None, "robust", path, {}).settings.attn_bias == "logit"
