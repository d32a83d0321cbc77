"""A bundle that is not what it says never serves, and says why without naming folders."""

from __future__ import annotations

import gc
import json
import time
import weakref
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.engine import Engine
from service.settings import Settings
from tests.service.conftest import Api

BODY = {"candidates": ["100", "109"]}


def refused(api: Any, home: Path) -> str:
    """The reason for a refusal, after checking that everything else behaves."""
    api.loaded()
    assert api.get("/livez").status_code == 200
    assert api.get("/readyz").status_code == 503
    assert api.post(BODY).json()["fallback"] == "no_model"
    assert api.metric("model_reload_total", result="failure") == 1
    info = api.get("/info")
    assert (info.json()["state"], info.json()["model"]) == ("failed", None)
    assert str(home.parent.parent) not in info.text
    return info.json()["reason"]


def test_a_version_folder_serves_as_well_as_the_pointer(serve: Any, bundle: Path) -> None:
    assert serve(bundle=bundle / "1").loaded().get("/readyz").status_code == 200


def test_a_missing_bundle(serve: Any, tmp_path: Path) -> None:
    assert "manifest.json" in refused(serve(bundle=tmp_path / "none"), tmp_path / "x" / "y")


def test_an_altered_file(serve: Any, toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path)
    with (home / "1" / "scorer.onnx").open("ab") as file:
        file.write(b"x")
    assert (
        refused(serve(bundle=home), home)
        == "scorer.onnx was altered since export: export it again."
    )


def test_a_scorer_without_one_of_the_inputs(serve: Any, toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path, toy.scorer(without="user_numeric"))
    assert "user_numeric" in refused(serve(bundle=home), home)


def test_a_scorer_that_is_no_network(serve: Any, toy: Any, tmp_path: Path) -> None:
    class Junk:
        def SerializeToString(self) -> bytes:
            return b"junk"

    home = toy.write(tmp_path)
    version = home / "1"
    (version / "scorer.onnx").write_bytes(b"junk")
    manifest = json.loads((version / "manifest.json").read_text())
    import hashlib

    manifest["files"]["scorer.onnx"] = hashlib.sha256(b"junk").hexdigest()
    manifest["seal"] = None  # as of a bundle from before there was one
    (version / "manifest.json").write_text(json.dumps(manifest))
    assert refused(serve(bundle=version), home)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores": [1.0, 2.0, 3.0]}, "scores"),
        ({"scores": [1.0]}, "scores"),
        ({"order": [0, 1, 2]}, "order"),
        ({"arrays": {"candidate_mask": [[True, True, False]]}}, "candidate_mask"),
        ({"arrays": {"nothing": []}}, "nothing"),
        ({"request": {"candidates": "?"}}, "candidates"),
    ],
)
def test_golden_requests_must_give_what_export_saw(
    serve: Any, toy: Any, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    good = toy.write(tmp_path / "good")
    entries = json.loads((good / "1" / "golden.json").read_text())["requests"]
    entries[0] |= change
    home = toy.write(tmp_path / "bad", entries=entries)
    reason = refused(serve(bundle=home), home)
    assert said in reason
    assert "golden request 0" in reason


def test_limits_on_callers_do_not_hold_golden_requests(serve: Any) -> None:
    api = serve(max_candidates=2, max_history=0).loaded()
    assert api.get("/readyz").status_code == 200


def test_order_may_differ_between_ties(serve: Any, toy: Any, tmp_path: Path) -> None:
    good = toy.write(tmp_path / "good")
    entries = json.loads((good / "1" / "golden.json").read_text())["requests"]
    entries[0]["order"] = [1, 2, 0]  # 100 and 130 have the same price
    home = toy.write(tmp_path / "tied", entries=entries)
    assert serve(bundle=home).loaded().get("/readyz").status_code == 200


def test_a_bundle_must_bring_golden_requests(serve: Any, toy: Any, tmp_path: Path) -> None:
    home = toy.write(tmp_path, entries=[])
    assert "golden" in refused(serve(bundle=home), home)


def test_weights_that_are_not_numbers_are_found_before_serving(
    serve: Any, toy: Any, tmp_path: Path
) -> None:
    home = toy.write(tmp_path, toy.scorer(extra=float("nan")))
    assert "3 predictions are no finite numbers" in refused(serve(bundle=home), home)


def test_the_time_of_a_run_is_learnt_without_the_time_it_waited(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rerank = Engine.rerank

    def interrupted(*given: Any) -> Any:
        time.sleep(0.2)
        return rerank(*given)

    monkeypatch.setattr(Engine, "rerank", interrupted)
    seconds = serve().loaded().service.models.current.seconds
    assert 0.0 < seconds["scorer"] < 0.1


def test_a_service_that_ended_lets_its_models_go(bundle: Path) -> None:
    with ExitStack() as stack:
        engine = weakref.ref(Api(Settings(bundle=bundle), stack).loaded().engine)
        assert engine() is not None
    gc.collect()
    assert engine() is None
