"""From a run to a version in service, or to nothing at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic_core import to_json

import export.bundle
import export.golden
from data.dataset import Dataset
from export.bundle import export_run
from export.onnx import Generator, Scorer
from export.parity import ParityError
from features.body import rerank_body
from features.bundle import GENERATOR, SCORER, Bundle, GeneratorFacts, resolve
from features.errors import BundleError
from model.evaluate import load_batch
from model.train import METRICS, RunError, load_run, train
from service.decode import Decoder
from service.engine import Engine
from service.golden import replay
from service.grammar import Limits

TINY = {"epochs": "1", "batch_size": "128", "width": "8", "heads": "2", "embedding_width": "4"}


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture
def ready_graph(exported: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exporter replaced by a copy of the graph it made before; `edit` may change the copy."""

    class Ready:
        edit: Any = staticmethod(lambda path: None)

    def copier(name: str, network: Any) -> Any:
        def copies(ranker: torch.nn.Module, schema: Any, path: Path) -> Any:
            shutil.copy(exported.bundle / name, path)
            Ready.edit(path)
            return network(ranker, tuple(spec.name for spec in schema.tensors())).eval()

        return copies

    monkeypatch.setattr(export.bundle, "export_scorer", copier(SCORER, Scorer))
    monkeypatch.setattr(export.bundle, "export_generator", copier(GENERATOR, Generator))
    return Ready


def test_a_bundle_is_found_verified_and_says_what_it_is(exported: Any, dataset: Dataset) -> None:
    bundle = resolve(exported.bundle.parent)
    manifest, metrics = bundle.manifest, json.loads((exported.run / METRICS).read_text())
    assert bundle.folder == exported.bundle
    assert (manifest.name, manifest.version) == ("psad-s", "1")
    assert manifest.fingerprint == dataset.schema.fingerprint() == bundle.schema.fingerprint()
    assert manifest.config["model"] == "psad"
    assert manifest.config["settings"]["width"] == 8
    assert manifest.metrics["valid"] == metrics["valid"]
    assert "lists, scores at most" in manifest.metrics["parity"]
    assert "generated lists, worth and chances" in manifest.metrics["generator_parity"]
    assert int(manifest.metrics["generator_parity"].split()[0]) >= 2000
    settings = manifest.config["settings"]
    facts = GeneratorFacts(
        list_size=dataset.schema.list_size, block_size=settings["block_size"], beam=settings["beam"]
    )
    assert manifest.generator == facts
    assert bundle.generator == exported.bundle / GENERATOR
    assert bundle.catalogue.ids == dataset.catalogue.ids
    assert resolve(exported.bundle).manifest == manifest


def test_a_bundle_tells_nothing_of_the_machine_it_was_made_on(exported: Any) -> None:
    for name, content in files(exported.bundle).items():
        assert str(exported.run.parent).encode() not in content, name
        assert str(Path(__file__).parents[2]).encode() not in content, name


def test_the_service_accepts_the_golden_requests(exported: Any) -> None:
    engine = Engine(resolve(exported.bundle.parent))
    seconds = replay(engine, Decoder(engine.schema, Limits(1000, 1000)))
    assert set(seconds) == {"scorer", "generator"}
    assert min(seconds.values()) > 0


def test_golden_requests_hold_known_lists_cold_items_and_nobody(exported: Any) -> None:
    entries = Bundle.load(exported.bundle).golden()
    requests = [entry["request"] for entry in entries]
    assert len(requests) == export.golden.GOLDEN_REQUESTS + 2
    assert any("user" not in one and not one["history"] for one in requests)
    cold = [str(one["candidates"]) for one in requests if "never-seen" in str(one["candidates"])]
    assert len(cold) == 1
    for entry in entries:
        order, scores = entry["order"], np.array(entry["scores"])
        assert sorted(order) == list(range(len(scores)))
        assert (np.diff(scores[order]) <= 0).all()


@pytest.mark.parametrize("field", ["scores", "order", "arrays"])
def test_a_golden_request_that_lies_is_noticed(exported: Any, tmp_path: Path, field: str) -> None:
    engine = Engine(Bundle.load(exported.bundle))
    entries = engine.bundle.golden()
    if field == "arrays":
        entries[0]["arrays"]["candidate_categorical"][0][0][0] += 1
    elif field == "scores":
        entries[0]["scores"][0] += 1e-3
    else:
        entries[0]["order"].reverse()
    engine.bundle.golden = lambda: entries
    with pytest.raises(BundleError, match="golden request 0"):
        replay(engine, Decoder(engine.schema, Limits(1000, 1000)))


def test_a_list_posted_to_the_service_scores_as_in_training(
    exported: Any, dataset: Dataset
) -> None:
    engine, (ranker, _) = Engine(resolve(exported.bundle.parent)), load_run(exported.run)
    decoder = Decoder(engine.schema, Limits(1000, 1000))
    for index in dataset.splits["test"][:10].tolist():
        asked = decoder.decode(to_json(rerank_body(dataset.request(index))))
        with torch.inference_mode():
            expected = ranker.scores(load_batch(dataset, np.array([index])))[0].numpy()
        arrays, _ = engine.encode(asked.raw)
        np.testing.assert_allclose(engine.logits(arrays, len(asked.ids)), expected, atol=1e-4)


def test_a_list_is_generated_by_the_service_as_in_training(exported: Any, dataset: Dataset) -> None:
    engine, (ranker, _) = Engine(resolve(exported.bundle.parent)), load_run(exported.run)
    decoder = Decoder(engine.schema, Limits(1000, 1000))
    ranker.eval()
    for index in dataset.splits["test"][:10].tolist():
        asked = decoder.decode(to_json(rerank_body(dataset.request(index))))
        with torch.inference_mode():
            found = ranker.generated(load_batch(dataset, np.array([index])).tensors)
        wanted = [place for place in found.chosen[0].tolist() if place >= 0]
        scored = engine.rerank(asked.raw, "generator")
        assert scored.order[: len(wanted)].tolist() == wanted
        assert sorted(scored.order.tolist()) == list(range(len(asked.ids)))
        chances = found.chances[0, : len(wanted)].numpy()
        np.testing.assert_allclose(scored.chances, chances, atol=1e-4)


def test_the_beam_may_be_another_than_the_runs(
    exported: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def stops(ranker: Any, schema: Any, path: Path) -> Any:
        asked.append(ranker.beam)
        raise BundleError("far enough")

    monkeypatch.setattr(export.bundle, "export_generator", stops)
    for beam in (None, 7):
        with pytest.raises(BundleError, match="far enough"):
            export_run(exported.run, tmp_path / "psad" / "1", beam=beam)
    assert asked == [3, 7]


def test_a_run_without_a_generator_makes_a_bundle_without_one(
    dataset: Dataset, tmp_path: Path
) -> None:
    train(dataset.folder, tmp_path / "run", overrides=TINY | {"teacher": "false"})
    with pytest.raises(BundleError, match="no generator whose beam could be 2"):
        export_run(tmp_path / "run", tmp_path / "psad" / "1", beam=2)
    bundle = Bundle.load(export_run(tmp_path / "run", tmp_path / "psad" / "1"))
    assert (bundle.generator, bundle.manifest.generator) == (None, None)
    assert Engine(bundle).modes == ("scorer",)
    assert all("generated" not in entry for entry in bundle.golden())


def test_a_second_version_comes_beside_the_first_and_into_service(
    exported: Any, ready_graph: Any, tmp_path: Path
) -> None:
    home = tmp_path / "psad"
    for version in ("1", "2"):
        assert export_run(exported.run, home / version) == home / version
        assert resolve(home).manifest.version == version
    names = "manifest.json", "golden.json"  # the one has a date; the other is the same
    one, two = (files(home / version) for version in ("1", "2"))
    assert {k: v for k, v in one.items() if k != names[0]} == {
        k: v for k, v in two.items() if k != names[0]
    }
    assert sorted(path.name for path in home.iterdir()) == ["1", "2", "CURRENT"]


def test_a_version_that_exists_is_never_changed(exported: Any, ready_graph: Any) -> None:
    before = files(exported.bundle.parent)
    with pytest.raises(BundleError, match="exists and a version is never changed"):
        export_run(exported.run, exported.bundle)
    assert files(exported.bundle.parent) == before


@pytest.mark.parametrize("served", [False, True])
def test_a_graph_that_is_not_the_model_is_refused_and_leaves_nothing(
    exported: Any, ready_graph: Any, tamper: Any, tmp_path: Path, served: bool
) -> None:
    home = tmp_path / "psad"
    if served:
        shutil.copytree(exported.bundle.parent, home)
    before = files(tmp_path)
    ready_graph.edit = staticmethod(tamper)
    with pytest.raises(ParityError, match="Nothing was exported"):
        export_run(exported.run, home / "2")
    assert files(tmp_path) == before
    assert [path.name for path in home.iterdir() if path.name.startswith((".", "2"))] == []
    if served:
        assert resolve(home).manifest.version == "1"


def test_a_dataset_may_have_moved_but_must_be_the_runs_own(
    exported: Any, ready_graph: Any, dataset: Dataset, plain: Dataset, tmp_path: Path
) -> None:
    moved = shutil.copytree(dataset.folder, tmp_path / "moved")
    assert export_run(exported.run, tmp_path / "psad" / "1", dataset=moved).exists()
    with pytest.raises(BundleError, match=r"is not the dataset that .* was trained on"):
        export_run(exported.run, tmp_path / "psad" / "2", dataset=plain.folder)
    assert not (tmp_path / "psad" / "2").exists()


def test_an_unfinished_run_is_not_exported(exported: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    (run / METRICS).unlink()
    with pytest.raises(RunError, match="has not finished"):
        export_run(run, tmp_path / "psad" / "1")


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("lambdamart", {"trees": "3", "threads": "1"}, "lambdamart has no scoring network"),
        ("psad", TINY | {"student": "false"}, "trained a generator alone"),
    ],
)
def test_what_has_no_scoring_network_is_refused_in_a_sentence(
    dataset: Dataset, tmp_path: Path, model: str, overrides: dict[str, str], message: str
) -> None:
    train(dataset.folder, tmp_path / "run", model=model, overrides=overrides)
    with pytest.raises(BundleError, match=message):
        export_run(tmp_path / "run", tmp_path / "psad" / "1")
    assert not (tmp_path / "psad").exists()
