"""`psad bench` on a small bundle: what it says is measured, and the bundle stays as it was."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from cli import bench, bench_view
from cli.bench import FORMS, BenchError, Caller, bodies, eager
from features.bundle import resolve
from features.draw import random_request
from features.encode import Encoder
from service.decode import Decoder
from service.engine import Engine
from service.grammar import Limits
from tests.service import conftest as shared

bundle = shared.bundle


def tree(folder: Path) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.fixture(scope="module")
def found(bundle: Path) -> dict[str, Any]:
    """One measurement, with the figures beside the version's folder."""
    before = tree(bundle / "1")
    figures = bench.bench(bundle, seconds=0.0)
    assert tree(bundle / "1") == before
    return figures


def test_figures_are_written_beside_the_version(found: dict[str, Any], bundle: Path) -> None:
    assert found["file"] == str(bundle / "1-bench.json")
    kept = json.loads((bundle / "1-bench.json").read_text())
    assert kept == {key: value for key, value in found.items() if key != "file"}
    assert resolve(bundle).manifest.version == "1"  # what lies beside versions is no version


def test_every_form_of_request_has_both_sides_and_its_stages(found: dict[str, Any]) -> None:
    assert tuple(found["service"]) == FORMS
    for one in found["service"].values():
        assert 0 < one["service"]["p50_ms"] <= one["service"]["p99_ms"]
        assert one["service"]["p50_ms"] < one["caller"]["p50_ms"]
        assert one["mean_until_sent_ms"] > 0
        assert one["service"]["calls"] == one["caller"]["calls"]
        assert sum(one["stages_p50_ms"].values()) == pytest.approx(one["service"]["p50_ms"])
    assert found["sgemm_gflops"] > 0


def test_the_floor_is_the_time_of_so_many_operations_at_the_machines_rate() -> None:
    found = bench._floor([8.0, 4.0, 16.0], 13.421772)  # a product of 512 × 512 takes 20 times that
    assert found["sgemm_gflops"] == pytest.approx(2 * 512**3 / 8e6)
    assert found["floor"]["p50_ms"] == pytest.approx(8.0 / 20)


def test_without_a_run_only_the_row_of_pytorch_is_missing(found: dict[str, Any]) -> None:
    assert set(found["scorer"]) == {"onnxruntime"}
    written = io.StringIO()
    bench_view.show(found, Console(width=120, file=written))
    text = written.getvalue()
    assert "PyTorch, eager: needs the run it was exported from: --run RUN" in text
    assert f"Result: {bench_view.result(found)}" in text
    for word in (*FORMS, "ONNX Runtime", "decode", "way to the caller", "1-bench.json"):
        assert word in text


def shown(found: dict[str, Any], width: int = 80) -> str:
    written = io.StringIO()
    bench_view.show(found, Console(width=width, file=written))
    return written.getvalue()


def with_times(found: dict[str, Any]) -> dict[str, Any]:
    """The scorer at 2 ms by p10 and 99 by p50; floor and service likewise far apart."""
    times = {"p10_ms": 2.0, "p50_ms": 99.0, "p99_ms": 999.0, "calls": 5}
    service = {form: one | {"service": times | {"p10_ms": 5.0}, "caller": times | {"p10_ms": 8.0}}
               for form, one in found["service"].items()}  # fmt: skip
    floor = {"p10_ms": 0.5, "p50_ms": 90.0}
    return found | {"scorer": {"onnxruntime": times}, "floor": floor, "service": service}


def test_tables_and_result_are_by_the_same_percentile(found: dict[str, Any]) -> None:
    text = shown(with_times(found))
    lines = [line.split() for line in text.splitlines()]
    assert next(line for line in lines if line[:2] == ["ONNX", "Runtime"])[-1] == "4.00"
    assert next(line for line in lines if line[:1] == ["ids"])[5] == "2.50"
    assert "takes the scorer 2.00 ms, 4.00 times the floor" in text
    assert "as ids takes the service 5.00 ms, 2.50 times the scorer (all p10)" in text


def test_nothing_is_cut_off_in_a_terminal_of_eighty_columns(found: dict[str, Any]) -> None:
    assert "…" not in shown(with_times(found))


@pytest.mark.parametrize(("average", "doubted"), [(2.0, False), (2.1, True)])
def test_figures_of_a_busy_machine_are_doubted(
    found: dict[str, Any], average: float, doubted: bool
) -> None:
    text = shown(found | {"load": average, "cores": 4})
    assert ("Careful: the machine had other work (load 2.1 on 4 cores before)" in text) == doubted


def test_a_bundle_that_reads_a_shorter_history_says_so(found: dict[str, Any]) -> None:
    assert "A history of 20: this bundle reads no more." in shown(found | {"history": 20})
    assert "A history of" not in shown(found | {"history": 50})


@pytest.mark.parametrize("package", ["torch", "accelerate"])
def test_without_torch_the_row_says_what_is_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for name in [one for one in sys.modules if one.startswith(("export.onnx", "model.train"))]:
        monkeypatch.delitem(sys.modules, name)
    call, said = eager(Path("runs/x"), Engine(resolve(bundle)), {})
    assert call is None
    assert said == f"needs {package}, which is not installed here (extra train)"


def test_a_run_that_is_none_is_said_and_stops_nothing(bundle: Path, tmp_path: Path) -> None:
    assert eager(tmp_path, Engine(resolve(bundle)), {}) == (None, f"{tmp_path} is no run.")


def test_figures_never_go_into_the_bundle(bundle: Path) -> None:
    with pytest.raises(BenchError, match="lies in the bundle"):
        bench.bench(bundle, file=bundle / "1" / "figures.json", seconds=0.0)


def test_an_answer_without_scores_is_no_figure() -> None:
    caller = Caller(1, [b"{}"])
    caller._answers = [b'{"fallback": "deadline", "timings_ms": {}}']
    with pytest.raises(BenchError, match="without scores"):
        caller.figures([1.0])


def test_all_forms_say_the_same_list_and_rows_and_columns_the_same_values(bundle: Path) -> None:
    loaded = resolve(bundle)
    schema, random = loaded.schema, np.random.default_rng(0)
    request = random_request(schema, loaded.catalogue, random, history=3, candidates=5)
    decoder, encoder = Decoder(schema, Limits(100, 100)), Encoder(schema, loaded.catalogue)
    raw = {form: decoder.decode(bodies(form, [request])[0]).raw for form in FORMS}
    assert {tuple(one.candidates.ids) for one in raw.values()} == {tuple(request.candidates.ids)}
    assert not raw["ids"].candidates.columns
    arrays = {form: encoder.encode_request(one)[0] for form, one in raw.items()}
    for name, array in arrays["columns"].items():
        np.testing.assert_array_equal(array, arrays["rows"][name])
