"""Order and scores, the session's settings, and the runtimes that are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.bundle import resolve
from features.encode import RawItems, Request
from service import engine as module
from service.engine import Engine, best_first, completed, kendall_tau, refuse_two_runtimes, sigmoid
from service.errors import StartRefused


def test_sigmoid_is_right_and_silent_at_both_ends() -> None:
    logits = np.array([-1e4, -1.0, 0.0, 1.0, 1e4])
    expected = [0.0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1.0]
    np.testing.assert_allclose(sigmoid(logits), expected, atol=1e-15)


def test_ties_keep_their_incoming_order() -> None:
    assert best_first(np.array([1.0, 2.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]


def test_kendall_tau_counts_pairs() -> None:
    assert kendall_tau(np.array([0, 1, 2])) == 1.0
    assert kendall_tau(np.array([2, 1, 0])) == -1.0
    assert kendall_tau(np.array([1, 0, 2])) == pytest.approx(1 / 3)
    assert kendall_tau(np.arange(1000)[::-1]) == -1.0


def test_padding_and_history_length_change_no_score(bundle: Any) -> None:
    engine = Engine(resolve(bundle))
    items = RawItems(["100", "101", "102"])
    long = RawItems([str(number) for number in range(100, 120)])
    alone = engine.rerank(Request({}, RawItems([]), items))
    with_history = engine.rerank(Request({}, long, items))
    np.testing.assert_array_equal(alone.chances, with_history.chances)
    assert with_history.counts.history_cut == 17


def test_sessions_run_on_one_thread_and_do_not_spin(both: Any) -> None:
    engine = Engine(resolve(both))
    for session in (engine._session, engine._generator):
        options = session.get_session_options()
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_generated_list_is_followed_by_what_it_leaves_out() -> None:
    assert completed(np.array([3, 1]), 5).tolist() == [3, 1, 0, 2, 4]
    assert completed(np.array([1, 0]), 2).tolist() == [1, 0]
    for wrong in ([1, 1], [0, -1], [5]):
        with pytest.raises((ValueError, IndexError)):
            completed(np.array(wrong), 5)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in __import__("onnxruntime").get_available_providers(),
    reason="here is a runtime that has CUDA",
)
def test_a_device_that_is_not_there_stops_the_start(bundle: Any, serve: Any) -> None:
    with pytest.raises(StartRefused, match="device cuda"):
        Engine(resolve(bundle), "cuda")
    with pytest.raises(StartRefused, match="device cuda"):
        serve(device="cuda")


def test_a_provider_lost_at_session_creation_stops_the_start(
    bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setitem(module._PROVIDERS, "cuda", ["CUDAExecutionProvider"])

    class WithoutDriver(onnxruntime.InferenceSession):
        def __init__(self, path: str, options: Any, providers: Any, **_: Any) -> None:
            super().__init__(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", WithoutDriver)
    with pytest.raises(StartRefused, match="offers CPUExecutionProvider"):
        Engine(resolve(bundle), "cuda")


def test_two_runtimes_in_one_environment_are_refused() -> None:
    def only(*names: str) -> Any:
        def version(name: str) -> str:
            if name not in names:
                raise metadata.PackageNotFoundError(name)
            return "1"

        return version

    refuse_two_runtimes(only("onnxruntime"))
    refuse_two_runtimes(only("onnxruntime-gpu"))
    refuse_two_runtimes(only())
    with pytest.raises(StartRefused, match="both installed"):
        refuse_two_runtimes(only("onnxruntime", "onnxruntime-gpu"))


def test_importing_the_application_loads_no_torch_and_starts_nothing() -> None:
    code = (
        "import sys, threading, service.app, service.__main__\n"
        "assert not {'torch', 'polars', 'model', 'data', 'export', 'onnx'} & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
    )
    environ = {k: v for k, v in os.environ.items() if not k.startswith("RERANK_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ, timeout=60)


def test_the_runtime_writes_nothing_home_and_reports_to_nobody(tmp_path: Path) -> None:
    code = "from service.engine import check_runtime; print(check_runtime('cpu').__version__)"
    environ = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environ |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
    assert list(tmp_path.iterdir()) == []
