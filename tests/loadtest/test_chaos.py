"""`make chaos` in short, against real services; and that it says so where a promise is not kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from features.bundle import resolve
from features.pointer import read_pointer
from loadtest.answers import Payload
from loadtest.chaos import __main__ as command
from loadtest.chaos import scenes, stage
from loadtest.chaos.judged import uncounted
from loadtest.chaos.load import Loaded, half_of_capacity
from loadtest.chaos.scenes import Row, Scene
from loadtest.chaos.soak import soak
from loadtest.errors import LoadError
from loadtest.tally import Limits
from tests.service.conftest import ITEMS, write_bundle

LOUD = 1e9  # milliseconds: no p99 here is more than twice as much


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("chaos"))


class Patient(Scene):
    """Its services wait for a busy machine, so that what falls back does so for another reason."""

    def serve(self, stack: ExitStack, bundle: Path | None = None, **settings: object) -> Any:
        return super().serve(stack, bundle, **{"deadline_ms": 5_000, **settings})


@pytest.fixture
def scene(home: Path, tmp_path: Path) -> Scene:
    """A little load on the toy bundle."""
    bodies = [{"candidates": ITEMS[n : n + 9], "top_k": 9} for n in range(20)]
    payloads = [Payload(json.dumps(one).encode(), tuple(one["candidates"])) for one in bodies]
    return Patient(resolve(home), tmp_path, payloads, 8.0, 20.0, LOUD)


def test_a_version_that_is_copied_is_another_with_the_same_model(
    scene: Scene, tmp_path: Path
) -> None:
    made = stage.versions(scene.bundle, tmp_path, 3)
    found = [resolve(made / str(number)) for number in (1, 2, 3)]
    assert [one.manifest.version for one in found] == ["1", "2", "3"]
    assert len({one.digest for one in found}) == 3
    assert all(one.golden() == scene.bundle.golden() for one in found)
    assert read_pointer(made).version == "1"


def test_versions_taken_over_under_load(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "TIMES", 4)
    for row in (scenes.reload(scene), scenes.rollback(scene)):
        assert row.kept is not False, row.seen  # None where others keep the machine busy
        assert len(row.figures["times"]) == 4
        assert row.figures["taken_over"] == 4
        assert row.figures["requests"] > 100


def test_a_killed_worker_under_load(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "KILLS", 1)
    row = scenes.killed(scene)
    assert row.kept is not False, (row.seen, row.figures["failures"])
    assert row.figures["sent"] > row.figures["requests"]  # the warm-up's too
    assert uncounted(row.figures["sent"], len(row.figures["failures"]),
                     row.figures["counted_by_the_service"]) == 0  # fmt: skip


def test_workers_replaced_under_load(scene: Scene) -> None:
    row = scenes.rolled(scene)
    assert row.kept is not False, row.seen


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_a_replica_takes_over_behind_a_balancer(scene: Scene) -> None:
    row = scenes.replaced(scene)
    assert not row.figures["failed"], row.figures["outcomes"]
    assert row.figures["times"]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
def test_a_replica_that_does_not_drain_loses_requests(scene: Scene) -> None:
    often = replace(scene, seconds=3.0, rate=100.0)
    row = scenes.replaced(often, drain_seconds=0.0)
    assert row.figures["failed"], row.figures["outcomes"]
    assert row.kept is False


class Idle:
    """A service that takes no time, whether it is there or not."""

    def __init__(self, alive: bool, cpu: Iterator[float]) -> None:
        self.ready, self.cpu_seconds = lambda: alive, lambda: next(cpu)


@pytest.mark.parametrize(
    ("alive", "used", "kept"), [(True, 0.07, True), (True, 0.09, False), (False, 0.0, False)]
)
def test_a_service_that_ended_is_not_at_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, alive: bool, used: float, kept: bool
) -> None:
    monkeypatch.setattr(scenes.time, "sleep", lambda seconds: None)
    service = Idle(alive, iter([1.0, 1.0 + used]))  # of eight seconds
    monkeypatch.setattr(Patient, "serve", lambda *_: service)
    row = scenes.idle(scene)
    assert row.kept is kept
    assert ("GONE" in row.seen) is not alive


def test_memory_is_looked_at_while_requests_of_many_sizes_are_sent(scene: Scene) -> None:
    heard: list[int] = []
    row = soak(scene, 1_000, heard.append)
    assert (row.figures["failed"], row.figures["fallbacks"]) == (0, 0), row.figures["outcomes"]
    assert len(row.figures["memory_mib"]) == 100
    assert heard[-1] == 1_000


class Late(Scene):
    """Its services answer everything, and nothing in time."""

    def serve(self, stack: ExitStack, bundle: Path | None = None, **settings: object) -> Any:
        return super().serve(stack, bundle, **{**settings, "deadline_ms": 0.001})


def test_a_service_that_scores_nothing_keeps_no_promise(scene: Scene) -> None:
    late = Late(*(getattr(scene, one.name) for one in fields(scene)))
    row = soak(late, 1_000, lambda done: None)
    assert row.figures["failed"] == 0
    assert row.figures["fallbacks"] > 500
    assert row.kept is False


class Fake:
    """A service that holds up to a rate."""

    def __init__(self, holds: float, by: str) -> None:
        self.holds, self.by = holds, by

    def run(self, rate: float, seconds: float) -> Loaded:
        bad = 0 if rate <= self.holds or self.by == "p99" else 50
        p99 = 10.0 if rate <= self.holds or self.by == "share" else 90.0
        found = {"requests": 1_000, "fallbacks": bad, "failed": 0, "latency_ms": {"p99": p99}}
        return Loaded(found, [], [], 1_000)


@pytest.mark.parametrize("by", ["p99", "share"])
@pytest.mark.parametrize("holds", [20.0, 90.0, 430.0])
def test_half_of_what_a_service_holds_is_found(holds: float, by: str) -> None:
    found = half_of_capacity(Fake(holds, by), Limits())  # type: ignore[arg-type]
    assert 0.8 * holds / 2 <= found <= holds / 2


@pytest.mark.parametrize("by", ["p99", "share"])
def test_a_service_that_holds_nothing_is_refused_and_not_searched_for_ever(by: str) -> None:
    with pytest.raises(LoadError, match=r"does not hold even 3\.1 requests a second"):
        half_of_capacity(Fake(0.0, by), Limits())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("overload", "distrust"), [("p99 is 80.0 ms", None), (None, "requests left 9.0 ms late")]
)
def test_what_is_not_held_or_not_seen_well_is_no_calm(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, overload: str | None, distrust: str | None
) -> None:
    seen = {"overload": overload, "distrust": distrust}
    service = SimpleNamespace(url="http://here")
    asker = SimpleNamespace(run=lambda rate, seconds: Loaded(seen, [], [], 0))
    monkeypatch.setattr(Patient, "serve", lambda *_: service)
    monkeypatch.setattr(Patient, "load", lambda *_: asker)
    with pytest.raises(
        LoadError, match=f"80 requests a second are not calm: {overload or distrust}"
    ):
        scenes.calm(scene, 80.0, Limits())


def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row], home: Path) -> Any:
    """Run scenes that are only said to have been seen."""
    quiet = Loaded({"latency_ms": {"p99": 5.0}}, [], [], 0)
    monkeypatch.setattr(scenes, "calm", lambda scene, rate, limits: (80.0, quiet))
    monkeypatch.setattr(command, "_payloads", lambda console, dataset: [])
    left = iter(rows)
    fakes = {name: lambda scene: next(left) for name in scenes.SCENES}
    monkeypatch.setattr(scenes, "SCENES", fakes)
    names = list(scenes.SCENES)[: len(rows)]
    return command.run(
        Console(quiet=True), home, Path("d"), names, 10.0, None, 1_000, tmp_path / "out"
    )


def test_scenes_that_were_run_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    first = Row("reload ×20", "p", "s", kept=True)
    report(tmp_path, monkeypatch, [first], home)
    found = report(tmp_path, monkeypatch, [Row("rollback ×20", "p", "s", kept=False)] * 2, home)
    assert [row["name"] for row in found["rows"].values()] == ["reload ×20", "rollback ×20"]
    page = (tmp_path / "out" / "chaos.md").read_text()
    assert "| reload ×20 | p | s | yes |" in page
    assert "| rollback ×20 | p | s | NO |" in page


def test_what_other_code_did_is_not_shown_nor_what_could_not_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    unknown, kept, broken = (Row("r", "p", "s", kept=kept) for kept in (None, True, False))
    assert report(tmp_path, monkeypatch, [unknown], home)["rows"]["reload"]["kept"] is None
    again = report(tmp_path, monkeypatch, [kept], home)["rows"]["reload"]
    assert again["kept"] is True
    found = report(tmp_path, monkeypatch, [broken], home)["rows"]["reload"]
    assert found == again
    assert f"Seen from {again['made']}" in (tmp_path / "out" / "chaos.md").read_text()
    monkeypatch.setattr(command, "_sources", lambda: "other")
    assert report(tmp_path, monkeypatch, [broken], home)["rows"]["reload"]["kept"] is False


@pytest.mark.parametrize("folder", ["service", "features", "loadtest"])
def test_other_code_has_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    root = Path(command.__file__).parents[2]
    for name in command.SOURCES:
        shutil.copytree(root / name, tmp_path / name)
    before = command._sources()
    monkeypatch.setattr(command, "__file__", str(tmp_path / "loadtest" / "chaos" / "__main__.py"))
    assert command._sources() == before
    with next((tmp_path / folder).glob("*.py")).open("a") as file:
        file.write("\n")
    assert command._sources() != before


@pytest.mark.parametrize(
    ("kept", "code"), [((True, True), 0), ((None, True), 3), ((None, False), 1)]
)
def test_the_exit_code_tells_a_promise_that_was_broken_from_one_not_judged(
    monkeypatch: pytest.MonkeyPatch, kept: tuple[bool | None, ...], code: int
) -> None:
    names = ("reload", "kill")
    rows = {name: asdict(Row(name, "p", "s", one)) for name, one in zip(names, kept, strict=True)}
    monkeypatch.setattr(command, "run", lambda *_: {"rows": rows})
    assert CliRunner().invoke(command.app, ["--only", ",".join(names)]).exit_code == code


def test_another_scene_is_refused_with_those_there_are() -> None:
    with pytest.raises(LoadError, match="flood: scenes are reload, rollback"):
        command._chosen("reload,flood")


def test_without_a_bundle_it_ends_with_one_sentence(tmp_path: Path) -> None:
    words = ["--bundle", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.chaos", *words], capture_output=True, text=True,
        check=False, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "chaos: " in done.stderr
