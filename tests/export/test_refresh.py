"""A version made of another with new logs: the same model, other items and statistics."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import numpy_helper

import export.refresh
from data.dataset import Dataset
from data.merge import Merged, Unknown
from data.prepare import prepare
from export.refresh import next_version, refresh, said
from export.replies import is_steady
from export.runtime import session
from features.bundle import GENERATOR, SCORER, Bundle, Counted, Refreshed, resolve
from features.encode import Encoder
from features.errors import BundleError, SchemaError
from features.publish import publish, roll_back
from model.ranker import Batch
from model.train import load_run
from service.decode import Decoder
from service.engine import Engine
from service.golden import replay
from service.grammar import Limits
from tests.export.conftest import edit_graph
from tests.export.test_bundle import files
from tests.model.conftest import SCHEMA, log_tables, write_log


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A later log: items 10 to 59, and a feature that the model does not read."""
    folder, tables = tmp_path_factory.mktemp("week"), log_tables(1)
    tables["impressions"]["item_id"] = tables["impressions"]["item_id"] + 10
    tables["impressions"]["timestamp"] = tables["impressions"]["timestamp"] + 7 * 86400
    tables["items"]["item_id"] = tables["items"]["item_id"] + 10
    tables["items"]["colour"] = ["red", "blue"] * 25
    schema = SCHEMA + '[item.colour]\nkind = "categorical"\n'
    log = write_log(folder / "log", schema, tables)
    return prepare(log, folder / "dataset", report=lambda text: None)


@pytest.fixture
def home(exported: Any, tmp_path: Path) -> Path:
    """A copy of bundles/psad, to be refreshed."""
    return Path(shutil.copytree(exported.bundle.parent, tmp_path / "psad"))


def replayed(folder: Path) -> Engine:
    engine = Engine(Bundle.load(folder))
    replay(engine, Decoder(engine.schema, Limits(1000, 1000)))
    return engine


def test_the_model_and_its_schema_are_the_same_to_the_byte(home: Path, week: Dataset) -> None:
    before = files(home / "1")
    assert refresh(home, week.folder) == home / "2"
    after = files(home / "2")
    assert after.keys() == before.keys()
    for name in (SCORER, GENERATOR, "schema.json"):
        assert after[name] == before[name]
    for name in ("manifest.json", "golden.json", "catalogue/statistics_click_rate.npy"):
        assert after[name] != before[name]
    assert files(home / "1") == before
    assert resolve(home).manifest.version == "2"
    roll_back(home)
    assert resolve(home).manifest.version == "1"


def test_its_golden_requests_are_lists_of_the_new_log_and_hold(home: Path, week: Dataset) -> None:
    refresh(home, week.folder)
    engine = replayed(home / "2")
    requests = [entry["request"] for entry in engine.bundle.golden()]
    candidates = [one["candidates"] for one in requests]
    items = {item for one in candidates for item in (one if isinstance(one, list) else one["id"])}
    assert items - {f"never-seen-{i}" for i in range(3)} <= set(week.catalogue.ids)
    assert all("colour" not in json.dumps(one) for one in requests)


def test_scores_are_those_of_the_trained_model_with_the_new_numbers(
    exported: Any, home: Path, week: Dataset
) -> None:
    refresh(home, week.folder)
    bundle, (ranker, _) = Bundle.load(home / "2"), load_run(exported.run)
    encoder = Encoder(bundle.schema, bundle.catalogue)
    for index in week.splits["test"][:5].tolist():
        request = week.request(index)
        arrays, _ = encoder.encode_request(request)
        with torch.inference_mode():
            labels = np.zeros(arrays["candidate_mask"].shape, np.float32)
            wanted = ranker.scores(Batch.from_arrays(arrays, labels))[0].numpy()
        found = Engine(bundle).logits(arrays, len(request.candidates.ids))
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_statistics_are_the_new_logs_alone(home: Path, week: Dataset) -> None:
    refresh(home, week.folder)
    catalogue, shown = Bundle.load(home / "2").catalogue, log_tables(1)["impressions"]
    numbers, clicks = np.asarray(shown["item_id"]) + 10, np.asarray(shown["label"])
    for item in (10, 33, 59):
        (row,) = catalogue.rows([str(item)])
        assert catalogue.statistics.showings[row] == (numbers == item).sum()
        assert catalogue.statistics.clicks[row] == clicks[numbers == item].sum()
    gone = catalogue.rows(["0", "9"])
    prior = (clicks.sum() + 1) / (len(clicks) + 10)
    np.testing.assert_allclose(catalogue.statistics.click_rate[gone], prior, rtol=1e-6)
    assert not catalogue.statistics.showings[gone].any()


def test_the_manifest_says_where_it_comes_from(exported: Any, home: Path, week: Dataset) -> None:
    first = Bundle.load(home / "1")
    refresh(home, week.folder)
    manifest = Bundle.load(home / "2").manifest
    origin = manifest.refreshed
    assert origin is not None
    assert (origin.version, origin.manifest_sha256) == ("1", first.digest)
    assert origin.exported == first.manifest.created
    assert (origin.data, origin.fingerprint) == ("shop", week.schema.fingerprint())
    assert (origin.first, origin.last) == ("2023-11-21", "2023-11-22")
    assert origin.items == {"came": 10, "changed": 40, "same": 0, "kept_unseen": 10}
    assert origin.counted.showings == len(log_tables(1)["impressions"]["item_id"])
    assert origin.learned.showings == first.catalogue.statistics.showings.sum()
    kept = ("name", "commit", "fingerprint", "config", "metrics", "generator")
    assert all(getattr(manifest, n) == getattr(first.manifest, n) for n in kept)
    for content in files(home / "2").values():
        assert str(week.folder.parent).encode() not in content


def test_a_refreshed_version_is_refreshed_with_what_the_model_learned_in_mind(
    home: Path, week: Dataset, dataset: Dataset
) -> None:
    refresh(home, week.folder)
    refresh(home, dataset.folder, drop_unseen=True)
    one, two, three = (Bundle.load(home / name) for name in "123")
    assert one.manifest.refreshed is None
    origin = three.manifest.refreshed
    assert origin is not None
    assert two.manifest.refreshed is not None
    assert (origin.version, origin.exported) == ("2", one.manifest.created)
    assert origin.learned == two.manifest.refreshed.learned
    assert origin.items["dropped"] == 10
    assert set(three.catalogue.ids) == set(one.catalogue.ids)
    replayed(home / "3")


def test_one_version_can_be_refreshed_under_a_name_and_not_published(
    home: Path, week: Dataset
) -> None:
    refresh(home, week.folder)
    folder = refresh(home / "1", week.folder, version="spring", current=False)
    assert folder == home / "spring"
    assert resolve(home).manifest.version == "2"
    assert Bundle.load(folder).manifest.refreshed.version == "1"  # type: ignore[union-attr]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Something happens to the bundle while golden requests are answered."""
    answered = export.refresh.golden_replies

    def and_then(*given: Any) -> Any:
        replies = answered(*given)
        monkeypatch.undo()
        act()
        return replies

    monkeypatch.setattr(export.refresh, "golden_replies", and_then)


def test_a_version_that_was_put_in_service_meanwhile_stays_there(
    home: Path, week: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh(home, week.folder, version="newer", current=False)
    meanwhile(monkeypatch, lambda: publish(home / "newer"))
    with pytest.raises(BundleError, match="newer was put in service meanwhile"):
        refresh(home, week.folder)
    assert resolve(home).manifest.version == "newer"
    assert Bundle.load(home / "2").manifest.version == "2"  # kept, and publish finds it
    meanwhile(monkeypatch, lambda: publish(home / "2"))
    refresh(home / "1", week.folder)  # 1 was asked for by its name
    assert resolve(home).manifest.version == "3"


def test_two_at_once_do_not_take_one_name(
    home: Path, week: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: refresh(home, week.folder))
    with pytest.raises(BundleError, match="2 exists and a version is never changed"):
        refresh(home, week.folder)
    assert sorted(path.name for path in home.iterdir()) == ["1", "2", "CURRENT"]
    replayed(home / "2")


@pytest.mark.parametrize("name", ["../2", "a/b", "/2", "..", ".2"])
def test_a_name_that_is_a_path_is_refused(home: Path, week: Dataset, name: str) -> None:
    before = files(home)
    with pytest.raises(BundleError, match=r"no version's name|leaves the bundle"):
        refresh(home, week.folder, version=name)
    assert files(home) == before


def test_names_follow_one_another(tmp_path: Path) -> None:
    for name in ("1", "9", "10", "spring", "spring-r2", "CURRENT"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path, "9") == "11"
    assert next_version(tmp_path, "spring") == next_version(tmp_path, "spring-r2") == "spring-r3"


def test_what_fails_leaves_everything_as_it_was(
    home: Path, week: Dataset, plain: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(home)
    with pytest.raises(SchemaError, match=r"\[user.age\] \(numeric\) is missing"):
        refresh(home, plain.folder)
    with pytest.raises(BundleError, match="exists and a version is never changed"):
        refresh(home, week.folder, version="1")
    monkeypatch.setattr(export.refresh, "golden_replies", lambda *_: [{"scores": [float("nan")]}])
    with pytest.raises(ValueError, match="JSON"):
        refresh(home, week.folder)
    assert files(home) == before
    assert sorted(path.name for path in home.iterdir()) == ["1", "CURRENT"]


def test_a_model_that_gives_no_number_is_not_refreshed(
    home: Path, week: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poison(model: Any) -> None:
        for one in model.graph.initializer:
            if one.data_type == 1:
                values = np.full_like(numpy_helper.to_array(one), np.nan)
                one.CopyFrom(numpy_helper.from_array(values, one.name))

    copy = export.refresh._copy_model

    def copies(source: Bundle, folder: Path) -> None:
        copy(source, folder)
        (folder / GENERATOR).chmod(0o644)
        edit_graph(folder / SCORER, poison)

    monkeypatch.setattr(export.refresh, "_copy_model", copies)
    with pytest.raises(BundleError, match="no finite numbers"):
        refresh(home, week.folder)
    assert not (home / "2").exists()


def test_a_list_that_a_tie_decides_is_no_golden_request(exported: Any, dataset: Dataset) -> None:
    generator = session(exported.bundle / GENERATOR)
    arrays, _ = dataset.encoder.encode_request(dataset.request(int(dataset.splits["valid"][0])))
    assert is_steady(generator, arrays)

    class Tossed:
        def run(self, names: Any, arrays: Any) -> list[Any]:
            return [np.argsort(arrays["candidate_numeric"][0, :, 0])]

    tie = {"candidate_numeric": np.full((1, 9, 1), 0.5, np.float32)}
    assert not is_steady(Tossed(), tie)  # type: ignore[arg-type]


def origin(**changes: Any) -> Refreshed:
    fields: dict[str, Any] = {
        "version": "1", "manifest_sha256": "", "exported": "", "data": "shop", "fingerprint": "",
        "lists": 10, "first": "2026-01-01", "last": "2026-01-08", "items": {},
        "counted": Counted(showings=1000, clicks=100), "learned": Counted(showings=1000, clicks=90),
    }  # fmt: skip
    return Refreshed(**fields | changes)


def merged(**changes: Any) -> Merged:
    class Three(tuple[str, ...]):
        pass

    fields: dict[str, Any] = {
        "catalogue": Three("abc"), "rows": np.arange(4), "came": 1, "changed": 1, "same": 1,
        "unseen": 2, "unknown": {},
    }  # fmt: skip
    return Merged(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "items", "warning"),
    [
        ({"counted": Counted(showings=400, clicks=40)}, {}, "0.4 times the showings"),
        ({"counted": Counted(showings=400, clicks=40)}, {}, "closer to the average"),
        ({"counted": Counted(showings=2100, clicks=210)}, {}, "farther from the average"),
        ({"counted": Counted(showings=1000, clicks=300)}, {}, "30.0% of the showings are clicks"),
        ({}, {"changed": 0, "same": 0}, "not one item of the new log"),
    ],
)
def test_a_log_unlike_the_models_is_worth_a_warning(
    changes: dict[str, Any], items: dict[str, Any], warning: str
) -> None:
    assert not any("WARNING" in line for line in said(origin(), merged(), [], False))
    lines = said(origin(**changes), merged(**items), [], False)
    (found,) = [line for line in lines if "WARNING" in line]
    assert warning in found


def test_what_is_said_names_every_number(home: Path) -> None:
    lines = said(
        origin(), merged(unknown={"brand": Unknown(3, "Acme")}), ["[item.colour]"], drop_unseen=True
    )
    assert lines == [
        "shop, 2026-01-01 to 2026-01-08: 10 lists, 1,000 showings, 100 clicks (10.0%)",
        "  3 items: 1 new, 1 changed, 1 as before; 2 not in the new log, dropped",
        "  brand: 3 items have values that the model has not learned, such as 'Acme': unknown to "
        "it, until it is trained again",
        "  [item.colour]: the model does not read it, until it is trained",
    ]
