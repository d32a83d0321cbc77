"""The catalogue in memory and on disk."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.catalogue import FILES, KINDS, Catalogue, pack_features
from features.derived import Statistics
from features.errors import BundleError, ValueRefused
from features.schema import Feature, FeatureSchema
from features.values import encode_column


def test_row_zero_is_the_unknown_item(catalogue: Catalogue) -> None:
    assert catalogue.categorical[0].tolist() == [1, 1]
    assert catalogue.bag[0].tolist() == [0] * 8
    assert catalogue.numeric[0].tolist() == [0, 0, 1, 1]


def test_items_stand_in_the_rows_after_it(catalogue: Catalogue) -> None:
    assert catalogue.rows(["i0", "i13", "i14", "", "i3", "i3"]).tolist() == [1, 14, 0, 0, 4, 4]
    assert catalogue.rows([]).dtype == np.int64
    assert len(catalogue) == 14


def test_a_row_holds_its_items_encoded_features_kind_by_kind(
    catalogue: Catalogue, schema: FeatureSchema, columns: dict[str, list[Any]]
) -> None:
    by_name = {f.name: encode_column(f, columns[f.name]) for f in schema.item}
    assert catalogue.categorical[1:, 0].tolist() == by_name["item_id"].tolist()
    assert catalogue.categorical[1:, 1].tolist() == by_name["maker"].tolist()
    assert catalogue.bag[1:, :3].tolist() == by_name["genres"].tolist()
    assert catalogue.bag[1:, 3:].tolist() == by_name["tags"].tolist()
    for place, name in enumerate(("year", "price")):
        assert catalogue.numeric[1:, place].tolist() == by_name[name][:, 0].tolist()
        assert catalogue.numeric[1:, 2 + place].tolist() == by_name[name][:, 1].tolist()


def test_titles_are_for_known_items(catalogue: Catalogue) -> None:
    assert catalogue.title("i3") == "The 3th"
    assert catalogue.title("new") == "new"


def test_a_feature_without_a_column_is_absent(schema: FeatureSchema) -> None:
    bare = Catalogue.build(["a"], {}, schema, Statistics.empty(2))
    for kind in KINDS:
        array = getattr(bare, kind)
        assert array[1].tolist() == array[0].tolist()


def test_a_refused_value_is_named_by_feature_and_row(schema: FeatureSchema) -> None:
    with pytest.raises(ValueRefused, match=r"^year\[1\]: expected a number, found text"):
        Catalogue.build(["a", "b"], {"year": [1.0, "new"]}, schema, Statistics.empty(3))


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_and_no_features_keep_their_shape(schema: FeatureSchema, kind: str) -> None:
    features = [feature for feature in schema.item if feature.kind == kind]
    width = sum(feature.width for feature in features)
    assert pack_features(features, kind, {}, 0).shape == (0, width)
    empty = pack_features([], kind, {}, 3)
    assert empty.shape == (3, 0)
    assert empty.dtype == (np.float32 if kind == "numeric" else np.int32)


def test_what_is_saved_loads_equal_and_mapped(
    catalogue: Catalogue, schema: FeatureSchema, tmp_path: Path
) -> None:
    catalogue.save(tmp_path)
    loaded = Catalogue.load(tmp_path, schema)
    assert (loaded.ids, loaded.titles) == (catalogue.ids, catalogue.titles)
    assert loaded.rows(["i5"]) == catalogue.rows(["i5"])
    for kind in KINDS:
        np.testing.assert_array_equal(getattr(loaded, kind), getattr(catalogue, kind))
        assert isinstance(getattr(loaded, kind).base, np.memmap)
    for field in dataclasses.fields(Statistics):
        left, right = (getattr(one.statistics, field.name) for one in (loaded, catalogue))
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype


def _arrays(catalogue: Catalogue) -> dict[str, Any]:
    fields = {f.name: getattr(catalogue.statistics, f.name) for f in dataclasses.fields(Statistics)}
    return {kind: getattr(catalogue, kind) for kind in KINDS} | fields


def test_up_to_a_size_nothing_is_mapped_and_writing_to_the_files_changes_nothing(
    catalogue: Catalogue, schema: FeatureSchema, tmp_path: Path
) -> None:
    catalogue.save(tmp_path)
    size = sum((tmp_path / name).stat().st_size for name in FILES)
    assert isinstance(Catalogue.load(tmp_path, schema, size - 1).numeric.base, np.memmap)
    loaded = Catalogue.load(tmp_path, schema, size)
    for file in tmp_path.glob("*.npy"):
        with file.open("r+b") as opened:
            opened.write(b"\xff" * file.stat().st_size)
    for name, array in _arrays(catalogue).items():
        found = _arrays(loaded)[name]
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


@pytest.mark.parametrize("in_memory", [0, 1e9])
def test_loaded_arrays_cannot_be_written_to(
    catalogue: Catalogue, schema: FeatureSchema, tmp_path: Path, in_memory: float
) -> None:
    catalogue.save(tmp_path)
    loaded = Catalogue.load(tmp_path, schema, in_memory)
    for array in _arrays(loaded).values():
        assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        loaded.numeric[0, 0] = 1


def test_a_catalogue_without_bags_or_items_travels_too(tmp_path: Path) -> None:
    schema = FeatureSchema(name="s", item=(Feature(name="n", kind="numeric"),))
    Catalogue.build([], {}, schema, Statistics.empty(1)).save(tmp_path)
    loaded = Catalogue.load(tmp_path, schema)
    assert loaded.rows(["a"]).tolist() == [0]
    assert loaded.titles is None


def test_the_files_listed_are_the_files_written(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def _shorten(folder: Path, name: str) -> None:
    np.save(folder / name, np.load(folder / name)[:-1])


def _change_names(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    names = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    change(names)
    (folder / "items.json").write_text(json.dumps(names), encoding="utf-8")


MISFITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a row short": (lambda f: _shorten(f, "numeric.npy"), "numeric has 14 rows for 14 items"),
    "a column more": (lambda f: np.save(f / "bag.npy", np.zeros((15, 9), np.int32)), "bag.npy is"),
    "another type": (lambda f: np.save(f / "bag.npy", np.zeros((15, 8))), "bag.npy is float64"),
    "one axis": (lambda f: np.save(f / "bag.npy", np.zeros(15, np.int32)), "bag.npy is int32"),
    "a statistic short": (lambda f: _shorten(f, "statistics_clicks.npy"), "statistics_clicks has"),
    "a pair short": (lambda f: _shorten(f, "statistics_neighbour_lift.npy"), "neighbour_lift has"),
    "an offset short": (
        lambda f: _shorten(f, "statistics_neighbour_offsets.npy"), "neighbour_offsets has",
    ),
    "offsets that end early": (
        lambda f: np.save(f / "statistics_neighbour_offsets.npy", np.zeros(16, np.int64)),
        "the offsets end at 0 of",
    ),
    "an id short": (lambda f: _change_names(f, lambda n: n["ids"].pop()), "15 rows for 13"),
    "an id twice": (lambda f: _change_names(f, lambda n: n["ids"].__setitem__(1, "i0")), "same id"),
    "a title short": (lambda f: _change_names(f, lambda n: n["titles"].pop()), "13 titles"),
    "no titles key": (lambda f: _change_names(f, lambda n: n.pop("titles")), "titles"),
    "no ids": (lambda f: _change_names(f, lambda n: n.update(ids=None)), "NoneType"),
    "not JSON": (lambda f: (f / "items.json").write_text("{"), "cannot be read"),
    "not an object": (lambda f: (f / "items.json").write_text("3"), "cannot be read"),
    "an empty array file": (lambda f: (f / "bag.npy").write_bytes(b""), "cannot be read"),
    "an array cut short": (
        lambda f: os.truncate(f / "numeric.npy", (f / "numeric.npy").stat().st_size - 4), "cannot",
    ),
    "no array file": (lambda f: (f / "bag.npy").write_bytes(b"PK\3\4"), "cannot be read"),
    "a pickle": (
        lambda f: np.save(f / "bag.npy", np.array([{}], object), allow_pickle=True), "cannot be",
    ),
}  # fmt: skip


@pytest.mark.parametrize("in_memory", [0, 1e9])
@pytest.mark.parametrize("name", MISFITS)
def test_arrays_that_do_not_fit_are_refused(
    name: str, in_memory: float, catalogue: Catalogue, schema: FeatureSchema, tmp_path: Path
) -> None:
    catalogue.save(tmp_path / "catalogue")
    change, message = MISFITS[name]
    change(tmp_path / "catalogue")
    with pytest.raises(BundleError, match=r"the catalogue in .*catalogue cannot be read") as error:
        Catalogue.load(tmp_path / "catalogue", schema, in_memory)
    assert message in str(error.value)
    assert "export again" in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(
    name: str, catalogue: Catalogue, schema: FeatureSchema, tmp_path: Path
) -> None:
    catalogue.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match=name):
        Catalogue.load(tmp_path, schema)


def test_a_missing_folder_is_refused(schema: FeatureSchema, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    with pytest.raises(BundleError, match="cannot be read"):
        Catalogue.load(tmp_path / "none", schema)
