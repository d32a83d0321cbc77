"""What each verb hands on, and what becomes of errors."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.errors import EXTRAS, USER_ERROR
from cli.main import app, key_values, widths
from features.errors import DataError

runner = CliRunner()
Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces `module.function` by something that records its calls, or raises."""

    def replace(module: str, function: str, error: BaseException | None = None) -> Calls:
        calls: Calls = []

        def recorded(*args: Any, **kwargs: Any) -> None:
            calls.append((args, kwargs))
            if error is not None:
                raise error

        fake = ModuleType(module)
        setattr(fake, function, recorded)
        monkeypatch.setitem(sys.modules, module, fake)
        return calls

    return replace


def test_prepare_hands_on_source_folder_split_and_seed(stand_in: Any) -> None:
    calls = stand_in("data.prepare", "prepare")
    words = ["prepare", "ml_100k", "datasets/x", "--split", "user", "--seed", "3"]
    assert runner.invoke(app, words).exit_code == 0
    assert calls == [(("ml_100k", Path("datasets/x")), {"split": "user", "seed": 3, "lists": None})]


def test_prepare_drafts_or_checks_and_then_writes_no_dataset(stand_in: Any) -> None:
    prepared = stand_in("data.prepare", "prepare")
    drafted = stand_in("data.draft", "draft_schema")
    looks = stand_in("data.prepare", "check")
    assert runner.invoke(app, ["prepare", "my_logs", "--draft-schema"]).exit_code == 0
    assert drafted == [(("my_logs",), {})]
    assert runner.invoke(app, ["prepare", "my_logs", "--check", "--split", "time"]).exit_code == 0
    assert looks == [(("my_logs",), {"split": "time", "seed": 0, "lists": None})]
    for words, message in (
        (["prepare", "my_logs"], "name the folder to write"),
        (["prepare", "my_logs", "x", "--draft-schema"], "--draft-schema writes no dataset"),
        (["prepare", "my_logs", "x", "--check"], "--check writes no dataset"),
    ):
        result = runner.invoke(app, words)
        assert result.exit_code == 2
        assert message in result.output
    assert not prepared
    assert len(drafted) == len(looks) == 1


def test_simulate_hands_on_folder_size_and_seed(stand_in: Any) -> None:
    calls = stand_in("data.simulator.tables", "simulate")
    words = ["simulate", "my_logs", "--lists", "50", "--seed", "3", "--items", "60"]
    assert runner.invoke(app, words).exit_code == 0
    assert calls == [((Path("my_logs"),), {"lists": 50, "seed": 3, "items": 60})]


def test_train_hands_on_overrides_as_text(stand_in: Any) -> None:
    calls = stand_in("model.train", "train")
    words = ["train", "d", "r", "--model", "prm", "--preset", "paper", "epochs=2", "clip=0.5",
             "--config", "c.toml"]  # fmt: skip
    assert runner.invoke(app, words).exit_code == 0
    ((args, kwargs),) = calls
    assert args == (Path("d"), Path("r"))
    assert kwargs == {
        "model": "prm", "preset": "paper", "file": Path("c.toml"), "seed": None,
        "resume": False, "start": None, "overrides": {"epochs": "2", "clip": "0.5"},
    }  # fmt: skip


def test_reproduce_hands_on_the_study_and_its_datasets(stand_in: Any) -> None:
    calls = stand_in("paper.reproduce", "reproduce")
    sys.modules["paper.reproduce"].RESULTS = Path("paper/results")  # type: ignore[attr-defined]
    words = ["reproduce", "ablation", "--data", "a", "--data", "b", "--seeds", "5", "--only", "x"]
    assert runner.invoke(app, words).exit_code == 0
    (((what, data), kwargs),) = calls
    assert (what, data) == ("ablation", [Path("a"), Path("b")])
    assert kwargs == {
        "seeds": 5, "jobs": 1, "runs": Path("runs"), "results": Path("paper/results"),
        "only": ["x"], "quick": False,
    }  # fmt: skip


def test_evaluate_hands_on_all_runs(stand_in: Any) -> None:
    calls = stand_in("model.report", "evaluate_runs")
    words = ["evaluate", "a", "b", "--mode", "generator", "--base", "prm", "--latency"]
    assert runner.invoke(app, words).exit_code == 0
    ((args, kwargs),) = calls
    assert args == ([Path("a"), Path("b")], "test")
    assert kwargs == {"mode": "generator", "base": "prm", "with_latency": True, "beams": ()}


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder bundles/x, empty, where the command line is run."""
    monkeypatch.chdir(tmp_path)
    folder = Path("bundles/x")
    folder.mkdir(parents=True)
    return folder


def test_serve_prefers_a_flag_to_its_variable(
    stand_in: Any, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in("service.__main__", "serve")
    monkeypatch.setenv("RERANK_PORT", "1")
    monkeypatch.setenv("RERANK_MAX_QUEUE", "7")
    assert runner.invoke(app, ["serve", "bundles/x", "--port", "2"]).exit_code == 0
    (((settings,), _),) = calls
    assert (settings.bundle, settings.port, settings.max_queue) == (bundles, 2, 7)


def test_serve_takes_the_bundle_from_its_variable(
    stand_in: Any, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in("service.__main__", "serve")
    monkeypatch.setenv("RERANK_BUNDLE", str(bundles))
    assert runner.invoke(app, ["serve"]).exit_code == 0
    assert calls[0][0][0].bundle == bundles


def test_serving_a_path_that_is_not_there_is_one_line_with_the_remedy(
    stand_in: Any, bundles: Path
) -> None:
    calls = stand_in("service.__main__", "serve")
    result = runner.invoke(app, ["serve", "bundles/typo"])
    assert result.exit_code == USER_ERROR
    assert "bundles/typo" in result.stderr
    assert "psad export" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not calls
    assert (
        runner.invoke(app, ["serve", str(bundles)]).exit_code == 0
    )  # broken, yet it may be mended
    assert len(calls) == 1


def test_a_wrong_setting_is_one_line_that_names_it() -> None:
    result = runner.invoke(app, ["serve", "bundles/x", "--port", "many"])
    assert result.exit_code == USER_ERROR
    assert "RERANK_PORT" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_users_error_is_a_line_on_stderr_and_exit_code_2(stand_in: Any) -> None:
    stand_in("data.prepare", "prepare", DataError("no such column; add it"))
    result = runner.invoke(app, ["prepare", "x", "y"])
    assert result.exit_code == USER_ERROR
    assert result.stderr == "psad: no such column; add it\n"


def test_debug_keeps_the_traceback(stand_in: Any) -> None:
    stand_in("data.prepare", "prepare", DataError("no such column; add it"))
    result = runner.invoke(app, ["--debug", "prepare", "x", "y"])
    assert isinstance(result.exception, DataError)


def test_an_unforeseen_error_is_not_swallowed(stand_in: Any) -> None:
    stand_in("data.prepare", "prepare", ZeroDivisionError())
    assert isinstance(runner.invoke(app, ["prepare", "x", "y"]).exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("package", "extra"), [("torch", "train"), ("onnxruntime", "cpu"), ("lightgbm", "baselines")]
)
def test_a_missing_package_is_answered_with_the_extra(
    stand_in: Any, package: str, extra: str
) -> None:
    missing = ModuleNotFoundError(f"No module named {package!r}", name=f"{package}.part")
    stand_in("data.prepare", "prepare", missing)
    result = runner.invoke(app, ["prepare", "x", "y"])
    assert result.exit_code == USER_ERROR
    assert package in result.stderr
    assert f"'.[{extra}]'" in result.stderr


def test_a_missing_module_of_our_own_is_a_fault_to_report(stand_in: Any) -> None:
    stand_in("data.prepare", "prepare", ModuleNotFoundError("No module", name="data.gone"))
    assert isinstance(runner.invoke(app, ["prepare", "x", "y"]).exception, ModuleNotFoundError)


def test_the_extras_named_are_those_of_pyproject() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for package, extra in EXTRAS.items():
        listed = [one.replace("-", "_") for one in project["optional-dependencies"][extra]]
        assert any(one.startswith(package) for one in listed), (package, extra)


def test_key_values_keep_what_follows_the_first_equals_sign() -> None:
    assert key_values(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("words", [["epochs"], ["=1"], ["a=1", "a=2"]])
def test_key_values_refuse_what_is_no_pair(words: list[str]) -> None:
    with pytest.raises(typer.BadParameter):
        key_values(words)


def test_widths_are_different_whole_numbers_of_at_least_1() -> None:
    assert widths(None) == ()
    assert widths("1,2, 8") == (1, 2, 8)
    for wrong in ("", "0", "1,,2", "-1", "x", "1.5", "2,2"):
        with pytest.raises(typer.BadParameter, match="--beam"):
            widths(wrong)
