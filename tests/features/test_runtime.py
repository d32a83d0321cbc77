"""ONNX Runtime is told to send nothing before anything imports it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from features.runtime import refuse_telemetry


def test_it_is_refused_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    refuse_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    refuse_telemetry()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"


def test_every_verb_begins_with_it_and_the_command_line_imports_no_runtime() -> None:
    code = (
        "import os, sys\nfrom typer.testing import CliRunner\nfrom cli.main import app\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "CliRunner().invoke(app, ['evaluate', 'nowhere'])\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environ = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "1"
