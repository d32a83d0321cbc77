"""The user's own log: a folder with impressions, items, users (Parquet or CSV) and schema.toml.

    impressions   list_id, user_id, timestamp, item_id, position, label, optionally score, and the
                  context features; one row for each item shown, the same time throughout a list
    items         item_id and the item features, one row an item
    users         user_id and the user features, one row a user; may be left out
    schema.toml   which columns are features, for example

        name = "groceries"
        positive = ">=1"                 # which labels count as positive
        title = "name"                   # the items' column that people read
        split = "time"                   # or "last-list", "user"
        list_size = 10                   # how many items are shown in the end
        max_history = 50
        [columns.impressions]            # where a column has another name than above
        list_id = "session_id"
        [user.age]
        kind = "numeric"                 # transform = "log" for skewed amounts
        [item.item_id]
        kind = "categorical"
        min_count = 2                    # rarer values share one "unknown" bucket
        [item.tags]
        kind = "bag"
        separator = "|"                  # where the bag comes as text
        [context.price]
        kind = "numeric"

A column that schema.toml does not declare is not used, except `score`, the earlier stage's own
score, which becomes a numeric context feature wherever it is logged.

CSV columns of nothing but true/false or numbers become the text that the service makes of them in
JSON ("true", and "1" for 1.0), unless one begins with a 0 or +, as codes do: those stay, as ids do.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from data.columns import check_columns, renamed
from data.lists import FeatureSpec, RawLog, SourceSpec
from data.tables import Table, has_table, read_table, suggestion
from features.errors import DataError

LIST_LIMIT = 1000
SIDES = ("user", "item", "context")
SETTINGS = ("name", "positive", "title", "split", "list_size", "max_history", "provenance")
FEATURE_KEYS = tuple(name for name in FeatureSpec.model_fields if name != "name")
IDS = ("list_id", "user_id", "item_id")
IMPRESSIONS = ("list_id", "user_id", "timestamp", "item_id", "position", "label")
SCORE = FeatureSpec(name="score", kind="numeric")


def read(folder: Path) -> RawLog:
    """Read and check a user's folder; raises DataError that names what to mend."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give the folder that holds schema.toml.")
    spec = read_spec(folder / "schema.toml")
    shown, items = _table(folder, "impressions", spec), _table(folder, "items", spec)
    if "score" in shown.frame.columns and all(one.name != "score" for one in spec.context):
        spec = spec.model_copy(update={"context": (*spec.context, SCORE)})
    impressions = _impressions(shown, spec)
    described = _side(items, "item_id", spec.item, spec.title)
    if has_table(folder, "users"):
        people = _side(_table(folder, "users", spec), "user_id", spec.user, None)
    else:
        people = _no_users(folder, spec)
    unused = _unused({"impressions": shown, "items": items}, spec)
    return RawLog(
        impressions, described, people, spec, unused + _undescribed(impressions, described)
    )


def _table(folder: Path, name: str, spec: SourceSpec) -> Table:
    return renamed(read_table(folder, name), spec.columns.get(name, {}))


def _undescribed(impressions: pl.DataFrame, items: pl.DataFrame) -> Counter[str]:
    """How many shown items have no row in items; a DataError where that is every one of them."""
    shown = impressions.select(pl.col("item_id").unique().sort())
    missing = shown.join(items, on="item_id", how="anti")["item_id"]
    if missing.is_empty():
        return Counter()
    example = missing[0][:40]
    if len(missing) == len(shown):
        known = items["item_id"][0][:40] if len(items) else "nothing"
        raise DataError(
            f"no item_id of impressions (such as {example!r}) has a row in items (such as "
            f"{known!r}): write the ids alike in both."
        )
    return Counter({f"rows of items: shown items without one, such as {example!r}": len(missing)})


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
        raise DataError(f"{path} cannot be read: {error}") from error
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
    try:
        return FeatureSpec(name=name, **fields)
    except ValidationError as error:
        raise _invalid(path, f"[{side}.{name}] ", error) from error


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


def _impressions(table: Table, spec: SourceSpec) -> pl.DataFrame:
    table.require(IMPRESSIONS, "which every log needs")
    table.require((one.name for one in spec.context), "which schema.toml declares")
    frame = pl.DataFrame({
        "list_id": table.ids("list_id", longest=None),
        "user_id": table.ids("user_id"),
        "timestamp": table.seconds("timestamp"),
        "item_id": table.ids("item_id"),
        "position": table.numbers("position", required=True),
        "label": table.numbers("label", required=True),
        **{one.name: _column(table, one) for one in spec.context},
    })  # fmt: skip
    _check_lists(table, frame)
    return frame


def _check_lists(table: Table, frame: pl.DataFrame) -> None:
    again = frame.select(~pl.struct("list_id", "item_id").is_first_distinct()).to_series()
    if again.any():
        raise table.fail(
            "item_id", again, "an item is twice in one list",
            "Keep one row an item and list: the one that was seen first.",
        )  # fmt: skip
    for column, remedy in (
        ("user_id", "A list belongs to one user: make list_id unique."),
        ("timestamp", "Give all rows of a list the time at which the list was shown."),
    ):
        first = pl.col(column).first().over("list_id")
        if (other := frame.select(pl.col(column) != first).to_series()).any():
            raise table.fail(column, other, f"one list has two values of {column}", remedy)
    long = frame.select(pl.len().over("list_id") > LIST_LIMIT).to_series()
    if long.any():
        raise table.fail(
            "list_id", long, f"a list is longer than {LIST_LIMIT} items",
            "Keep the candidates that reach the reranker, at most so many.",
        )  # fmt: skip


def _side(
    table: Table, key: str, features: tuple[FeatureSpec, ...], title: str | None
) -> pl.DataFrame:
    wanted = [one for one in features if one.name != key]
    table.require([key], "which names each row")
    table.require((one.name for one in wanted), "which schema.toml declares")
    columns = {key: table.ids(key)} | {one.name: _column(table, one) for one in wanted}
    if title is not None and title != key and title not in columns:
        table.require([title], "which schema.toml names as the title")
        columns[title] = table.written(title)
    if (again := ~columns[key].is_first_distinct()).any():
        raise table.fail(key, again, "the id stands in two rows", "Keep one row an id.")
    return pl.DataFrame(columns)


def _column(table: Table, feature: FeatureSpec) -> pl.Series:
    if feature.kind == "numeric":
        return table.numbers(feature.name)
    if feature.kind == "bag":
        return table.bags(feature.name, feature.separator)
    return table.written(feature.name) if feature.name in IDS else table.text(feature.name)


def _no_users(folder: Path, spec: SourceSpec) -> pl.DataFrame:
    if declared := [one.name for one in spec.user if one.name != "user_id"]:
        raise DataError(
            f"{folder / 'schema.toml'} declares the user features {', '.join(declared)}, but there "
            f"is no users.parquet or users.csv in {folder}. Add it, or remove them."
        )
    return pl.DataFrame({"user_id": pl.Series([], dtype=pl.String)})


def _unused(tables: dict[str, Table], spec: SourceSpec) -> Counter[str]:
    """Columns that are there and not declared: worth a line, no more."""
    used = {*IMPRESSIONS, spec.title, *(one.name for one in (*spec.item, *spec.context))}
    return Counter({
        f"columns of {name} that schema.toml does not declare ({', '.join(extra)})": len(extra)
        for name, table in tables.items()
        if (extra := [column for column in table.frame.columns if column not in used])
    })  # fmt: skip
