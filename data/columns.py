"""A log with column names of its own: `[columns.TABLE]` of schema.toml says which is which.

    [columns.impressions]
    list_id = "session_id"           # the log's session_id is what psad calls list_id
    label = "clicked"
    [columns.items]
    item_id = "sku"

`renamed` gives a table its canonical names right after it was read, so that nothing behind it knows
of others. One column may serve twice: with `user_id = "session_id"` beside the above, every list is
a person of its own. A column that has a canonical name already makes room for the one declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.files import Files
from data.tables import suggestion
from features.errors import DataError

CANONICAL = {
    "impressions": (
        "list_id", "user_id", "timestamp", "item_id", "position", "label", "score",
    ),
    "items": ("item_id",),
    "users": ("user_id",),
}  # fmt: skip


def check_columns(path: Path, columns: Any) -> None:
    """Raise DataError, naming schema.toml's `path`, for what `[columns.TABLE]` cannot say."""
    known = ", ".join(f"[columns.{table}]" for table in CANONICAL)
    if not isinstance(columns, dict):
        raise DataError(f"{path}: columns is not a table; write {known}.")
    for table, names in columns.items():
        if table not in CANONICAL or not isinstance(names, dict):
            raise DataError(
                f'{path}: columns.{table} is none of {known}; write list_id = "session_id" '
                f"below [columns.impressions].{suggestion(table, list(CANONICAL))}"
            )
        for name, written in names.items():
            if name not in CANONICAL[table]:
                raise DataError(
                    f"{path}: [columns.{table}] unknown key {name!r}."
                    f"{suggestion(name, CANONICAL[table])} Known: {', '.join(CANONICAL[table])}. "
                    "The key is psad's name, the value the file's."
                )
            if not isinstance(written, str):
                raise DataError(
                    f"{path}: [columns.{table}] {name} = {written!r} is no column's name."
                )


def renamed(files: Files, names: Mapping[str, str]) -> Files:
    """The table with psad's names for its columns; `names` says what the file calls them."""
    for name, written in names.items():
        files.require([written], f"which schema.toml reads as {name}")
    own = {name: files.types[written] for name, written in names.items()}
    kept = files.types.keys() - {*names, *names.values()}
    types = own | {name: kind for name, kind in files.types.items() if name in kept}
    return replace(
        files, parts=tuple(replace(one, called=names) for one in files.parts), types=types
    )
