"""The demo: its generated log, what it reuses and refuses, and all of it without a network."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import demo, demo_data, demo_service, demo_view
from data.dataset import Dataset
from data.prepare import prepare
from features.encode import RawItems, Request
from features.schema import FeatureSchema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The generated log, prepared."""
    folder = tmp_path_factory.mktemp("demo")
    return prepare(demo_data.write(folder / "log"), folder / "dataset", report=lambda _: None)


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of this machine on which something listens."""
    with socket.socket() as listener:
        listener.bind((demo_service.HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_same_seed_generates_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        demo_data.write(tmp_path / str(n), seed) for n, seed in enumerate((0, 0, 1))
    )
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()
    shown = "impressions.csv"
    assert (first / shown).read_bytes() != (other / shown).read_bytes()


def test_the_generated_log_is_a_sound_one(dataset: Dataset) -> None:
    assert len(dataset.splits["test"]) > 200
    assert dataset.catalogue.titles is not None


def test_the_list_shown_is_a_test_list_long_enough_to_look_at(dataset: Dataset) -> None:
    index = demo_view.choose(dataset)
    request = dataset.request(index)
    assert index in dataset.splits["test"]
    assert len(request.candidates.ids) >= demo_view.MANY
    assert len(request.history.ids) >= demo_view.SOME


def test_the_curl_line_is_a_shell_command_with_the_same_candidates(dataset: Dataset) -> None:
    request = dataset.request(demo_view.choose(dataset))
    words = shlex.split(demo_view.curl(request, "http://127.0.0.1:8000"))
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8000/rerank"]
    assert json.loads(words[-1])["candidates"] == list(request.candidates.ids)


def test_the_curl_line_survives_a_quote_in_an_id() -> None:
    request = Request({}, RawItems(["it's"]), RawItems(["a'b", "c"]))
    body = json.loads(shlex.split(demo_view.curl(request, "http://x"))[-1])
    assert (body["history"], body["candidates"]) == (["it's"], ["a'b", "c"])


def test_a_taken_port_is_found_before_anything_is_done(
    taken_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(demo_service.ServiceError, match=rf"PORT={taken_port + 1}"):
        demo.run(once=True, fresh=False, port=taken_port)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_is_not_the_demos_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: Dataset
) -> None:
    monkeypatch.chdir(tmp_path)
    demo.BUNDLE.mkdir(parents=True)
    (demo.BUNDLE / "manifest.json").write_text("{}")
    with pytest.raises(demo.DemoError, match="FRESH=1"):
        demo.exported(dataset.folder, fresh=False)
    assert (demo.BUNDLE / "manifest.json").read_text() == "{}"


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The psad verbs that a demo in a folder of its own asks for, recorded and not run."""
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(demo, "psad", lambda verb, *_: asked.append(verb))
    return asked


def put_bundle(schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something at BUNDLE that loads with this schema."""
    demo.BUNDLE.mkdir(parents=True)
    loaded = SimpleNamespace(schema=schema)
    monkeypatch.setattr(demo, "Bundle", SimpleNamespace(load=lambda _: loaded))


def put_dataset(schema: FeatureSchema, name: str) -> Path:
    """The part of a dataset that the demo compares with a bundle."""
    demo.REAL.mkdir(parents=True)
    schema.model_copy(update={"name": name}).save(demo.REAL / "schema.json")
    return demo.REAL


def test_a_bundle_of_the_generated_log_gives_way_to_real_data(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, dataset: Dataset, capsys: Any
) -> None:
    put_bundle(dataset.schema, monkeypatch)
    demo.exported(put_dataset(dataset.schema, "ml_100k"), fresh=False)
    assert steps == ["train", "export"]
    assert not demo.BUNDLE.exists()
    said = [line for line in capsys.readouterr().out.splitlines() if "generated log" in line]
    assert len(said) == 1


@pytest.mark.parametrize(("made_from", "wanted"), [("shop", "ml_100k"), ("ml_100k", "generated")])
def test_any_other_bundle_is_never_replaced_unasked(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, dataset: Dataset, made_from: str, wanted: str
) -> None:
    put_bundle(dataset.schema.model_copy(update={"name": made_from}), monkeypatch)
    with pytest.raises(demo.DemoError, match="FRESH=1"):
        demo.exported(put_dataset(dataset.schema, wanted), fresh=False)
    assert demo.BUNDLE.exists()
    assert not steps


def test_a_failed_command_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert not demo.psad("prepare", "nowhere", "dataset", refusal_is_answer=True)
    with pytest.raises(demo.DemoError, match="psad prepare nowhere dataset"):
        demo.psad("prepare", "nowhere", "dataset")


def run_demo(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """`make demo`'s command in a folder of its own, where no data and no network can be reached."""
    nowhere = "http://127.0.0.1:9"
    environment: dict[str, Any] = {
        name: value for name, value in os.environ.items() if name not in ("PSAD_DATA", "no_proxy")
    }
    environment |= {
        "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "", "http_proxy": nowhere, "https_proxy": nowhere,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "cli.demo", "--once", "--port",
         str(demo_service.free_port()), *flags],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_demo_without_a_network_says_so_goes_on_and_reuses_its_work(tmp_path: Path) -> None:
    first = run_demo(tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "GENERATED log" in first.stderr
    for said in ("$ psad train", "before: the incoming order", "★", "Timings in ms", "curl -s"):
        assert said in first.stdout
    assert re.search(r'rerank_requests_total\{status="200"\} 1', first.stdout)
    second = run_demo(tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "$ psad train" not in second.stdout
    assert "is used again" in second.stdout
