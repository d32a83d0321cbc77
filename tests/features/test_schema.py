"""What a schema refuses, how it is told from another, and how it travels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from features.errors import SchemaError
from features.schema import Feature, FeatureSchema

NUMBER = Feature(name="n", kind="numeric")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "bag"}, "bag feature 'f' needs max_length of at least 1"),
        ({"kind": "numeric", "max_length": 2}, "only a bag has max_length; 'f' is numeric"),
        ({"kind": "categorical", "max_length": 2}, "only a bag has max_length"),
        ({"kind": "numeric", "vocabulary": ("a",)}, "numeric feature 'f' has a vocabulary"),
        ({"kind": "categorical", "vocabulary": ("a", "b", "a")}, "'f' names a value twice"),
        ({"kind": "numeric", "scale": 0}, "scale\n.*greater than 0"),
        ({"kind": "numeric", "scale": math.inf}, "scale\n.*finite"),
        ({"kind": "numeric", "mean": math.nan}, "mean\n.*finite"),
        ({"kind": "text"}, "kind\n"),
        ({"kind": "numeric", "name": ""}, "name\n"),
        ({"kind": "numeric", "colour": "red"}, "colour\n.*not permitted"),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Feature(**{"name": "f", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": (NUMBER, NUMBER)}, "user features named twice: n"),
        ({"item": (NUMBER,), "context": (NUMBER,)}, "item features named twice: n"),
        ({"derived": (NUMBER, NUMBER)}, "derived features named twice: n"),
        ({"derived": (Feature(name="d", kind="categorical"),)}, "derived features are numeric"),
        ({"user": (NUMBER,)}, "at least one feature of items or their context"),
        ({"item": (NUMBER,), "max_history": -1}, "max_history\n"),
        ({"item": (NUMBER,), "max_candidates": 0}, "max_candidates\n"),
        ({"item": (NUMBER,), "list_size": 0}, "list_size\n"),
        ({"item": (NUMBER,), "format": 2}, "format\n"),
        ({"item": (NUMBER,), "items": ()}, "items\n.*not permitted"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeatureSchema(**{"name": "s", **fields})


def test_user_and_item_may_share_a_name() -> None:
    assert FeatureSchema(name="s", user=(NUMBER,), item=(NUMBER,)).user == (NUMBER,)


FEATURE_CHANGES: dict[str, tuple[Feature, dict[str, Any]]] = {
    "name": (NUMBER, {"name": "m"}),
    "kind": (NUMBER, {"kind": "categorical"}),
    "vocabulary": (Feature(name="c", kind="categorical", vocabulary=("a", "b")),
                   {"vocabulary": ("b", "a")}),
    "max_length": (Feature(name="b", kind="bag", max_length=2), {"max_length": 3}),
    "transform": (NUMBER, {"transform": "log"}),
    "mean": (NUMBER, {"mean": 1e-12}),
    "scale": (NUMBER, {"scale": 1.0000000001}),
}  # fmt: skip
OTHER = Feature(name="o", kind="numeric")
SCHEMA_CHANGES: dict[str, Any] = {
    "name": "t", "user": (OTHER,), "item": (OTHER,), "context": (OTHER,), "derived": (OTHER,),
    "max_history": 49, "max_candidates": 99, "list_size": 9, "positive": ">=2",
}  # fmt: skip


@pytest.mark.parametrize("field", sorted(Feature.model_fields))
@pytest.mark.parametrize("side", ["user", "item", "context", "derived"])
def test_the_fingerprint_changes_with_every_field_of_a_feature(field: str, side: str) -> None:
    feature, change = FEATURE_CHANGES[field]
    if side == "derived" and (feature.kind != "numeric" or "kind" in change):
        return
    changed = Feature(**{**feature.model_dump(), **change})
    first, second = (
        FeatureSchema(**{"name": "s", "item": (OTHER,), side: (one,)}) for one in (feature, changed)
    )
    assert first.fingerprint() != second.fingerprint()


@pytest.mark.parametrize("field", sorted(set(FeatureSchema.model_fields) - {"format"}))
def test_the_fingerprint_changes_with_every_field_of_a_schema(field: str) -> None:
    first = FeatureSchema(name="s", item=(NUMBER,))
    second = FeatureSchema(**{"name": "s", "item": (NUMBER,), field: SCHEMA_CHANGES[field]})
    assert first.fingerprint() != second.fingerprint()


def test_the_fingerprint_changes_with_the_side_and_the_order_of_features() -> None:
    sides = [
        FeatureSchema(name="s", item=(NUMBER, OTHER)),
        FeatureSchema(name="s", item=(OTHER, NUMBER)),
        FeatureSchema(name="s", item=(NUMBER,), context=(OTHER,)),
        FeatureSchema(name="s", item=(NUMBER,), user=(OTHER,)),
        FeatureSchema(name="s", item=(NUMBER,), derived=(OTHER,)),
    ]
    assert len({schema.fingerprint() for schema in sides}) == len(sides)


def test_what_is_saved_loads_equal(schema: FeatureSchema, tmp_path: Path) -> None:
    schema.save(tmp_path / "schema.json")
    loaded = FeatureSchema.load(tmp_path / "schema.json")
    assert loaded == schema
    assert loaded.fingerprint() == schema.fingerprint()


def test_a_schema_edited_by_hand_is_refused(schema: FeatureSchema, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    schema.save(path)
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["item"][0]["vocabulary"].append("i99")
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(SchemaError, match=r"schema\.json: the fingerprint does not match"):
        FeatureSchema.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"3", b'"a"', b"{}", b"\xff\xfe", b'{"name": "s"}']
)
def test_a_file_that_is_no_schema_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"schema\.json cannot be read as a schema"):
        FeatureSchema.load(path)


def test_a_schema_without_its_fingerprint_is_refused(schema: FeatureSchema, tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text(schema.model_dump_json(), encoding="utf-8")
    with pytest.raises(SchemaError, match="fingerprint"):
        FeatureSchema.load(tmp_path / "schema.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"none\.json cannot be read"):
        FeatureSchema.load(tmp_path / "none.json")


def test_arrays_without_columns_are_left_out() -> None:
    schema = FeatureSchema(name="s", context=(NUMBER,))
    assert [spec.name for spec in schema.tensors()] == [
        "history_mask", "candidate_numeric", "candidate_mask",
    ]  # fmt: skip


def test_widths_count_slots_and_missing_flags(schema: FeatureSchema) -> None:
    specs = {spec.name: (spec.dtype, spec.axes) for spec in schema.tensors()}
    width = 2 * 2 + 2 + len(schema.derived)  # year and price, score, statistics
    assert specs == {
        "user_categorical": ("int64", ("batch", 1)),
        "user_bag": ("int64", ("batch", 2)),
        "user_numeric": ("float32", ("batch", 2)),
        "history_categorical": ("int64", ("batch", "history", 2)),
        "history_bag": ("int64", ("batch", "history", 3 + 5)),
        "history_numeric": ("float32", ("batch", "history", 4)),
        "history_mask": ("bool", ("batch", "history")),
        "candidate_categorical": ("int64", ("batch", "candidates", 2 + 1)),
        "candidate_bag": ("int64", ("batch", "candidates", 3 + 5 + 2)),
        "candidate_numeric": ("float32", ("batch", "candidates", width)),
        "candidate_mask": ("bool", ("batch", "candidates")),
    }


def test_a_copy_with_another_vocabulary_has_an_index_of_its_own() -> None:
    feature = Feature(name="f", kind="categorical", vocabulary=("a",))
    assert feature.index == {"a": 2}
    assert feature.model_copy(update={"vocabulary": ("b", "a")}).index == {"b": 2, "a": 3}
    assert feature.index == {"a": 2}


def test_features_compare_by_content_used_or_not() -> None:
    used, fresh = (Feature(name="f", kind="categorical", vocabulary=("a",)) for _ in range(2))
    assert used.index
    assert used == fresh
    assert hash(used) == hash(fresh)
