"""Reads schema.toml, in which a user declares what the columns of a log are.

data/sources/parquet.py shows one. An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data.columns import CANONICAL, check_columns
from data.lists import RESERVED, FeatureSpec, SourceSpec
from data.tables import suggestion
from features.errors import DataError

LIST_LIMIT = 1000
SIDES = ("user", "item", "context")
SETTINGS = ("name", "positive", "title", "split", "list_size", "max_history", "provenance")
# every row of a log has these; a context feature beside them is a further column
LOGGED = tuple(name for name in CANONICAL["impressions"] if name != "score")
FEATURE_KEYS = tuple(name for name in FeatureSpec.model_fields if name != "name")


def read_spec(path: Path) -> SourceSpec:
    """Read schema.toml; raises DataError naming an unknown key and the nearest known one."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing. It says which columns are features; "
            "README, 'Your own data in five steps', shows one."
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(
            f'{path} cannot be read: {error}. In TOML a text stands in quotes: name = "shop".'
        ) from error
    _known(path, raw, (*SETTINGS, *SIDES, "columns"), "")
    check_columns(path, raw.get("columns", {}))
    sides = {
        side: tuple(_feature(path, side, *one) for one in _tables(path, raw, side))
        for side in SIDES
    }
    settings = {key: value for key, value in raw.items() if key not in SIDES}
    settings.setdefault("name", path.resolve().parent.name)
    try:
        spec = SourceSpec.model_validate({**settings, **sides, "max_list": LIST_LIMIT})
    except ValidationError as error:
        raise _invalid(path, "", error) from error
    if spec.title in {one.name for one in spec.item if one.kind == "bag"}:
        raise DataError(
            f"{path}: title names {spec.title!r}, a bag; name a column of single texts."
        )
    if not (spec.item or spec.context):
        raise DataError(
            f"{path} declares no feature of items. Add at least [item.item_id] with "
            'kind = "categorical".'
        )
    for side, table in zip(SIDES, ("users", "items", "impressions"), strict=True):
        _read_once(path, side, table, {one.name for one in sides[side]}, spec)
    for one in sorted({one.name for one in spec.item} & {one.name for one in spec.context}):
        raise DataError(
            f"{path}: [item.{one}] and [context.{one}] are both read of a candidate, under one "
            f"name. Leave one out, or call its column otherwise, such as {one}_shown."
        )
    return spec


def _tables(path: Path, raw: dict[str, Any], side: str) -> list[tuple[str, Any]]:
    table = raw.get(side, {})
    if not isinstance(table, dict):
        raise DataError(f'{path}: {side} is not a table; write [{side}.NAME] and kind = "numeric".')
    return list(table.items())


def _feature(path: Path, side: str, name: str, fields: Any) -> FeatureSpec:
    if not isinstance(fields, dict):
        raise DataError(f"{path}: {side}.{name} is not a table; write [{side}.{name}] and a kind.")
    _known(path, fields, FEATURE_KEYS, f"[{side}.{name}] ")
    if (side, name) == ("context", "label"):
        raise DataError(f"{path}: [context.label] would show a model what it is to predict.")
    if side == "context" and name in LOGGED:
        raise DataError(f"{path}: [context.{name}] {_logged(name)}")
    if name.startswith(RESERVED):
        raise DataError(f"{path}: [{side}.{name!r}] begins as psad's own columns do; rename it.")
    if name == f"{side}_id" and fields.get("kind", "categorical") != "categorical":
        raise DataError(f'{path}: [{side}.{name}] is an id; write kind = "categorical".')
    try:
        return FeatureSpec(name=name, **fields)
    except ValidationError as error:
        raise _invalid(path, f"[{side}.{name}] ", error) from error


def _read_once(path: Path, side: str, table: str, features: set[str], spec: SourceSpec) -> None:
    """Raise DataError where the column of a feature is read under a name of psad's already."""
    names = spec.columns.get(table, {})
    for name, written in names.items():
        if written in features and written not in names:
            remedy = f"Copy it under another name, such as {written}_logged, or leave one out."
            if name == f"{side}_id":
                remedy = f"Write [{side}.{name}] instead."
            raise DataError(
                f"{path}: the column {written!r} is read as {name}, as [columns.{table}] says, and "
                f"so there is none for [{side}.{written}]. {remedy}"
            )


def _logged(name: str) -> str:
    """What is wrong with a context feature that has the name of what every row has."""
    if name in ("user_id", "item_id"):
        side = name.removesuffix("_id")
        return f"is what names the {side} of a row; write [{side}.{name}] to let a model read it."
    return (
        f"is what psad itself reads the {name} from, and no feature. To let a model read it as it "
        f"stands, copy the column under another name, such as {name}_logged."
    )


def _known(path: Path, found: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise DataError(
                f"{path}: {where}unknown key {key!r}.{suggestion(key, known)} "
                f"Known: {', '.join(known)}."
            )


def _invalid(path: Path, where: str, error: ValidationError) -> DataError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return DataError(f"{path}: {where}{key}: {first['msg']} (found {first['input']!r}).")
