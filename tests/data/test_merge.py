"""A catalogue brought up to date by raw values: the new dataset's own indices mean nothing."""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.dataset import Dataset
from data.merge import ignored_features, merge, refuse_other_features
from data.prepare import prepare
from features.catalogue import Catalogue
from features.errors import DataError, SchemaError
from features.schema import UNKNOWN
from tests.model.conftest import ITEMS, SCHEMA, log_tables, write_log

Tables = dict[str, dict[str, Any]]


def later(tables: Tables) -> Tables:
    """Items 10 to 59 in place of 0 to 49; categories c3 (most) to c7; weights in other units."""
    tables["impressions"]["item_id"] = tables["impressions"]["item_id"] + 10
    items = tables["items"]
    numbers = items["item_id"] + 10
    items["item_id"], items["name"] = numbers, [f"new {one}" for one in numbers]
    items["category"] = [f"c{max(3, one % 8)}" for one in numbers]
    items["weight"] = [None if w is None else 1000 * w for w in items["weight"]]
    return tables


def prepared(folder: Path, tables: Tables, schema: str = SCHEMA) -> Dataset:
    log = write_log(folder / "log", schema, tables)
    return prepare(log, folder / "dataset", report=lambda text: None)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(tmp_path_factory.mktemp("old"), log_tables())


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepared(tmp_path_factory.mktemp("new"), later(log_tables(1)))


def values(catalogue: Catalogue, data: Dataset, item: str) -> tuple[Any, ...]:
    """category, tags and weight of an item, read back with the schema of `data`."""
    schema = {feature.name: feature for feature in data.schema.item}
    (row,) = catalogue.rows([item])
    category = schema["category"].vocabulary[catalogue.categorical[row, 1] - 2]
    tags = {schema["tags"].vocabulary[i - 2] for i in catalogue.bag[row] if i}
    weight, missing = catalogue.numeric[row]
    weight = weight * schema["weight"].scale + schema["weight"].mean
    return category, tags, None if missing else weight


def test_values_and_not_indices_are_taken_over(old: Dataset, new: Dataset) -> None:
    merged, tables = merge(old.catalogue, old.schema, new), later(log_tables(1))["items"]
    ours, theirs = ({f.name: f for f in d.schema.item}["category"] for d in (old, new))
    assert ours.index["c3"] != theirs.index["c3"]  # else this proves nothing
    for place, item in enumerate(tables["item_id"].tolist()):
        if tables["category"][place] != "c3":
            continue
        category, tags, weight = values(merged.catalogue, old, str(item))
        assert category == "c3"
        assert tags == set(tables["tags"][place].split("|"))
        expected = tables["weight"][place]
        if weight is not None and abs(merged.catalogue.numeric[int(item) + 1, 0]) < 10:
            assert weight == pytest.approx(expected, rel=1e-4)


def test_it_is_what_the_service_would_make_of_the_same_values(old: Dataset, new: Dataset) -> None:
    merged, tables = merge(old.catalogue, old.schema, new), later(log_tables(1))["items"]
    ids = [str(one) for one in tables["item_id"]]
    columns = {"item_id": ids, "category": tables["category"], "weight": tables["weight"],
               "tags": [one.split("|") for one in tables["tags"]]}  # fmt: skip
    alone = Catalogue.build(ids, columns, old.schema, old.catalogue.statistics)
    for kind in ("categorical", "bag", "numeric"):
        found = getattr(merged.catalogue, kind)[merged.catalogue.rows(ids)]
        np.testing.assert_array_equal(found, getattr(alone, kind)[1:])


def test_items_come_change_stay_and_are_kept(old: Dataset, new: Dataset) -> None:
    merged = merge(old.catalogue, old.schema, new)
    assert (merged.came, merged.changed + merged.same, merged.unseen) == (10, 40, 10)
    assert merged.changed == 40  # all weigh a thousand times as much, or 10 more of another kind
    assert merged.catalogue.ids == (*old.catalogue.ids, *(str(i) for i in range(50, 60)))
    for item in ("0", "9"):  # not in the new log: as before
        assert values(merged.catalogue, old, item) == values(old.catalogue, old, item)
    assert merged.catalogue.title("9") == "item 9"
    assert merged.catalogue.title("10") == "new 10"
    assert list(merged.rows) == [0, *merged.catalogue.rows(new.catalogue.ids)]


def test_unseen_items_are_dropped_where_that_is_asked(old: Dataset, new: Dataset) -> None:
    merged = merge(old.catalogue, old.schema, new, drop_unseen=True)
    assert merged.unseen == 10
    assert merged.catalogue.ids == tuple(str(one) for one in range(10, 60))


def test_the_same_log_changes_nothing(old: Dataset) -> None:
    merged = merge(old.catalogue, old.schema, old)
    assert (merged.came, merged.changed, merged.same, merged.unseen) == (0, 0, ITEMS, 0)
    for kind in ("categorical", "bag", "numeric"):
        same = getattr(merged.catalogue, kind), getattr(old.catalogue, kind)
        np.testing.assert_array_equal(*same)
    assert merged.unknown == {}


def test_values_that_the_model_has_not_learned_are_counted(old: Dataset, new: Dataset) -> None:
    merged, tables = merge(old.catalogue, old.schema, new), later(log_tables(1))["items"]
    odd = [one for one in tables["category"] if one not in ("c0", "c1", "c2", "c3")]
    assert merged.unknown["category"] == (len(odd), odd[0])
    assert merged.unknown["item_id"].items == 10
    assert set(merged.unknown) == {"category", "item_id"}
    row = merged.catalogue.rows(["54"])[0]
    assert list(merged.catalogue.categorical[row]) == [UNKNOWN, UNKNOWN]


def test_an_item_that_is_shown_and_not_described_keeps_what_was_known(
    old: Dataset, tmp_path: Path
) -> None:
    tables = later(log_tables(1))
    few = {name: list(column)[-10:] for name, column in tables["items"].items()}  # 50 to 59
    part = prepared(tmp_path, tables | {"items": few})
    merged = merge(old.catalogue, old.schema, part)
    assert (merged.came, merged.changed, merged.same) == (10, 0, 40)
    assert values(merged.catalogue, old, "20") == values(old.catalogue, old, "20")
    assert merged.catalogue.title("20") == "item 20"


def test_features_that_are_missing_or_of_another_kind_are_named(
    old: Dataset, tmp_path: Path
) -> None:
    schema = SCHEMA.replace('[item.weight]\nkind = "numeric"\n', "")
    schema = schema.replace('[user.age]\nkind = "numeric"', '[user.age]\nkind = "categorical"')
    schema += '[item.name]\nkind = "categorical"\n'
    other = prepared(tmp_path, log_tables(1), schema)
    with pytest.raises(SchemaError) as refused:
        refuse_other_features(old.schema, other)
    said = str(refused.value)
    assert "[item.weight] (numeric) is missing" in said
    assert "[user.age] is categorical, not numeric" in said
    assert "train a model on it" in said
    assert ignored_features(old.schema, other) == ["[item.name]"]


def test_another_rule_for_what_is_positive_is_refused(old: Dataset, tmp_path: Path) -> None:
    tables = log_tables(1)
    tables["impressions"]["label"] = tables["impressions"]["label"] * 4
    refuse_other_features(
        old.schema, prepared(tmp_path / "a", log_tables(), 'positive = ">= 1"\n' + SCHEMA)
    )
    other = prepared(tmp_path / "b", tables, 'positive = ">=4"\n' + SCHEMA)
    with pytest.raises(SchemaError, match='counts labels of ">=4" as positive'):
        refuse_other_features(old.schema, other)


def test_a_dataset_of_before_says_to_prepare_it_again(new: Dataset, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(new.folder, tmp_path / "old"))
    (folder / "items.parquet").unlink()
    with pytest.raises(DataError, match="prepare it again"):
        Dataset.load(folder).items  # noqa: B018


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_titles_stay_where_the_new_log_has_none(old: Dataset, known: bool, told: bool) -> None:
    catalogue, new = copy(old.catalogue), copy(old)
    catalogue.titles = tuple(f"old {one}" for one in catalogue.ids) if known else None
    new.catalogue = copy(new.catalogue)
    new.catalogue.titles = tuple(f"new {one}" for one in catalogue.ids) if told else None
    found = merge(catalogue, old.schema, new).catalogue
    first = catalogue.ids[0]
    expected = f"new {first}" if told else f"old {first}" if known else first
    assert found.title(first) == expected
    assert (found.titles is None) == (not known and not told)
