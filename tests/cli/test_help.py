"""What a newcomer reads: every verb has help with an example that this command line accepts."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from cli.main import app
from cli.serve import HELP
from model.psad import PRESETS
from model.registry import names
from service.settings import PREFIX, Settings

WAY = ("prepare", "train", "evaluate", "export", "serve")
VERBS = (
    "prepare", "train", "evaluate", "report", "export", "serve", "publish", "rollback", "try",
    "join", "refresh", "bench", "simulate", "reproduce", "store",
)  # fmt: skip
runner = CliRunner()


def help_of(verb: str) -> str:
    """The verb's help, on a terminal wide enough not to fold."""
    result = runner.invoke(app, [verb, "--help"], terminal_width=200)
    assert result.exit_code == 0, result.output
    return result.output


def examples_of(verb: str) -> list[str]:
    """The command lines shown in the verb's help."""
    return re.findall(r"^ +(?:[A-Z_]+=\S+ )*(psad .*)$", help_of(verb), re.MULTILINE)


def test_no_arguments_show_the_way_from_a_log_to_a_service() -> None:
    output = runner.invoke(app, []).output
    assert [output.index(f"  psad {verb} ") for verb in WAY] == sorted(
        output.index(f"  psad {verb} ") for verb in WAY
    )


def test_the_verbs_are_exactly_these() -> None:
    assert tuple(get_command(app).commands) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_each_summary_fits_its_line_in_the_list_of_verbs(verb: str) -> None:
    (line,) = re.findall(rf"^  {verb}  +(.*)$", runner.invoke(app, ["--help"]).output, re.MULTILINE)
    assert line.endswith(".")
    assert not line.endswith("...")


@pytest.mark.parametrize("verb", VERBS)
def test_each_example_is_read_without_complaint(verb: str) -> None:
    examples = examples_of(verb)
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["psad", verb]
        command = get_command(app).commands[verb]
        command.make_context(verb, words[2:] or ["bundles/psad"])  # parses, does not run


def test_every_setting_of_the_service_is_a_flag_with_its_variable_and_default() -> None:
    text = " ".join(help_of("serve").split())
    assert set(HELP) == set(Settings.model_fields) - {"bundle"}
    for name, field in Settings.model_fields.items():
        assert f"{PREFIX}{name.upper()}" in text
        if name != "bundle":
            assert f"--{name.replace('_', '-')} " in text
        if field.default is not None and not field.is_required():
            assert f"{PREFIX}{name.upper()}, by default {field.default}]" in text


def test_a_wrong_verb_is_answered_with_the_nearest_one() -> None:
    result = runner.invoke(app, ["trian"])
    assert result.exit_code == 2
    assert "Did you mean 'train'?" in result.output


def test_a_missing_argument_is_named() -> None:
    result = runner.invoke(app, ["export", "runs/first"])
    assert result.exit_code == 2
    assert "BUNDLE" in result.output


def test_models_and_presets_are_named_in_the_help_of_training() -> None:
    text = help_of("train")
    for name in (*names(), *PRESETS):
        assert re.search(rf"\b{name}\b", text), name
