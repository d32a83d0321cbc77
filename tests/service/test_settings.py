"""Settings from variables and flags; what is wrong is named."""

from __future__ import annotations

import pytest

from service.errors import SettingsError
from service.settings import Settings


def test_every_field_has_its_variable_and_flags_win() -> None:
    environ = {"RERANK_BUNDLE": "b", "RERANK_PORT": "9000", "RERANK_DEADLINE_MS": "20", "HOME": "x"}
    settings = Settings.from_env(environ, port=9001, host=None)
    assert (str(settings.bundle), settings.port, settings.deadline_ms) == ("b", 9001, 20.0)
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "RERANK_BUNDLE"),
        ({"RERANK_BUNDLE": "b", "RERANK_PRT": "1"}, "did you mean RERANK_PORT"),
        ({"RERANK_BUNDLE": "b", "RERANK_PORT": "http"}, "RERANK_PORT"),
        ({"RERANK_BUNDLE": "b", "RERANK_DEADLINE_MS": "nan"}, "RERANK_DEADLINE_MS"),
        ({"RERANK_BUNDLE": "b", "RERANK_DEVICE": "tpu"}, "RERANK_DEVICE"),
        ({"RERANK_BUNDLE": "b", "RERANK_API_KEY": ""}, "RERANK_API_KEY"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environ)


def test_an_unknown_flag_is_named() -> None:
    with pytest.raises(SettingsError, match="Did you mean port"):
        Settings.from_env({"RERANK_BUNDLE": "b"}, prt=1)


def test_a_key_is_never_shown() -> None:
    settings = Settings.from_env({"RERANK_BUNDLE": "b", "RERANK_API_KEY": "hunter2"})
    assert "hunter2" not in repr(settings)


def test_variables_that_kubernetes_makes_are_left_alone() -> None:
    environ = {
        "RERANK_BUNDLE": "b",
        "RERANK_PORT": "tcp://10.0.0.1:8000",
        "RERANK_SERVICE_HOST": "10.0.0.1",
        "RERANK_SERVICE_PORT_HTTP": "8000",
        "RERANK_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert Settings.from_env(environ).port == 8000
