"""A draft as text: schema.toml with a reason on every line, and the few words for the terminal."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.columns import CANONICAL
from data.draft import Draft, ids_seldom
from data.guess import Guess
from data.names import Role
from data.settings import Setting

WIDTH = 98
SIDES = {"users": "user", "items": "item", "impressions": "context"}
NEEDED = {
    "list_id": "one value for all items of a shown list",
    "user_id": "whom the list was shown to; write the list's column here if nobody knows",
    "timestamp": "when the list was shown: seconds, milliseconds or ISO",
    "item_id": "the item, by the id it has in items",
    "position": "the place in the list, from 0 or 1; the order of the rows is not taken for it",
    "label": "1 where the item was clicked, 0 where not (any number: see positive)",
}
HEADS = {
    "users": "People.",
    "items": "Items.",
    "impressions": "Context: what describes an item as it stood in that list, such as its price.",
}


def toml(draft: Draft) -> str:
    """The whole schema.toml, which `psad prepare` accepts as it is."""
    parts = [
        "\n".join(_head(draft)),
        "\n".join(_settings(draft)),
        *("\n".join(_columns(draft, name)) for name in draft.roles),
        *("\n".join(_side(draft, name)).strip("\n") for name in SIDES if name in draft.samples),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def summary(draft: Draft, target: Path) -> str:
    """What was written, what to look at, and the next command."""
    lines = [f"{target}: a first schema.toml, every guess with its reason"]
    lines += [f"  looked at {one}" for one in draft.samples.values()]
    if "users" not in draft.samples:
        lines.append("  there is no users table; a log may do without")
    for table, roles in draft.roles.items():
        others = [f"{role.column} is {name}" for name, role in roles.items() if _differs(role)]
        lines += [f"  {table}: {', '.join(others)}"] if others else []
    for table, guesses in draft.guesses.items():
        used = [f"{one.name} ({one.kind})" for one in guesses if one.kind]
        left = [one.name for one in guesses if one.kind is None]
        lines.append(f"  {table}: {', '.join(used) or 'no features'}")
        lines += [f"    left out: {', '.join(left)}"] if left else []
    lines += [f"  LOOK AT {one}" for one in to_look_at(draft)]
    return "\n".join([*lines, f"Read it, mend it, then: psad prepare {draft.folder} DATASET"])


def to_look_at(draft: Draft) -> list[str]:
    """What was not found, or was found and is doubtful enough to ask for."""
    lines = [f"{name}: not found in impressions. It is {NEEDED[name]}" for name in draft.missing]
    for table in draft.samples:
        key = {"items": "item_id", "users": "user_id"}.get(table)
        if key and key not in draft.roles[table]:
            lines.append(f"{key}: no column of {table} has another value in each row")
    lines += [
        f"{role.name}: {role.column + ', ' if _differs(role) else ''}{role.why}"
        for roles in draft.roles.values()
        for role in roles.values()
        if role.warning
    ]
    settings = vars(draft.settings).items()
    lines += [f'{name} = "{one.value}": {one.why}' for name, one in settings if one.warning]
    lines += [
        f"{one.name}: left out, {one.why}"
        for one in draft.guesses["impressions"]
        if one.warning and one.kind is None
    ]
    lines += [
        f"{table}.{one.name}: {one.odd}"
        for table, guesses in draft.guesses.items()
        for one in guesses
        if one.odd
    ]
    if counted := [
        f"{table}.{one.name}"
        for table in ("items", "users")
        for one in draft.guesses.get(table, [])
        if one.warning
    ]:
        lines.append(
            f"{', '.join(counted)}: counts or traces of what people did. They must be from before "
            "the log begins: counted over it, they hold the very outcomes that are to be predicted"
        )
    return lines


def _head(draft: Draft) -> Iterator[str]:
    yield f"# A first draft by `psad prepare {_line(str(draft.folder))} --draft-schema`."
    yield "# Every line is a guess with its reason behind it: read it, mend it, then"
    yield f"#     psad prepare {_line(str(draft.folder))} DATASET"
    yield from _comment("Looked at " + "; ".join(str(one) for one in draft.samples.values()) + ".")
    if found := to_look_at(draft):
        yield "#"
        yield "# LOOK AT"
        for one in found:
            yield from _comment(one, "# - ", "#   ")


def _settings(draft: Draft) -> Iterator[str]:
    name = draft.folder.resolve().name or "log"
    yield f"name = {_quoted(name)}"
    settings = vars(draft.settings)
    yield from _setting("positive", settings["positive"])
    if draft.title is None:
        yield '# title = "…"  # no column of items looks like what people read; the id is shown'
    else:
        yield from _said(f"title = {_quoted(draft.title[0])}", draft.title[1])
    for key in ("split", "list_size", "max_history"):
        yield from _setting(key, settings[key])


def _setting(key: str, setting: Setting) -> Iterator[str]:
    value = _quoted(setting.value) if isinstance(setting.value, str) else str(setting.value)
    yield from _said(f"{key} = {value}", setting.why)


def _columns(draft: Draft, table: str) -> Iterator[str]:
    """Where a column's name is not psad's own; and a place to write what was not found."""
    roles = draft.roles[table]
    named = [role for role in roles.values() if _differs(role)]
    missing = draft.missing if table == "impressions" else []
    if named or missing:
        yield f"[columns.{table}]  # psad's name = the name in the file"
    for role in sorted(named, key=lambda role: CANONICAL[table].index(role.name)):
        yield from _said(f"{role.name} = {_quoted(role.column)}", role.why)
    for name in missing:
        yield from _said(f'# {name} = "…"', f"NOT FOUND: {NEEDED[name]}")


def _side(draft: Draft, table: str) -> Iterator[str]:
    side, guesses = SIDES[table], draft.guesses[table]
    yield f"# {HEADS[table]}"
    yield ""
    if table == "items":
        least, why = ids_seldom(draft.samples["impressions"], draft.roles["impressions"])
        yield from _feature(
            side,
            Guess(
                "item_id", "categorical",
                f"{why}; those shown less than {least} times share one unknown",
                {"min_count": least},
            ),
        )  # fmt: skip
    if table == "users":
        yield from _comment(
            "[user.user_id] is not declared: most people online are new. Declare it as categorical "
            "where they are not."
        )
        yield ""
    for one in guesses:
        yield from _feature(side, one) if one.kind else ()
    title = draft.title[0] if draft.title and table == "items" else None
    for one in guesses:
        if one.kind is None and one.name != title:
            yield from _left_out(one)
    if table == "impressions" and (score := draft.roles[table].get("score")):
        yield "# score, the earlier stage's own, is used without being declared."
        if score.warning:
            yield from _comment(f"WARNING: {score.why}.")


def _feature(side: str, found: Guess) -> Iterator[str]:
    yield from _comment(f"{found.why}. LOOK AT {found.odd}" if found.odd else found.why)
    yield f"[{side}.{_key(found.name)}]"
    yield f'kind = "{found.kind}"'
    for name, value in found.settings.items():
        yield f"{name} = {_quoted(value) if isinstance(value, str) else value}"
    yield ""


def _left_out(found: Guess) -> Iterator[str]:
    warned = "WARNING, " if found.warning else ""
    yield from _comment(f"{warned}left out: {_key(found.name)}, {found.why}.")


def _said(line: str, why: str) -> Iterator[str]:
    """A line with its reason behind it, or above it where both are too long for one line."""
    if len(line) + len(why) + 4 <= WIDTH:
        yield f"{line}  # {_line(why)}"
    else:
        yield from _comment(why)
        yield line


def _comment(text: str, first: str = "# ", then: str = "# ") -> Iterator[str]:
    yield from textwrap.wrap(
        _line(text), WIDTH, initial_indent=first, subsequent_indent=then,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _line(text: str) -> str:
    """Without what would end a comment or cannot stand in one."""
    return re.sub(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]+", " ", text)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _quoted(name)


def _quoted(text: Any) -> str:
    """A TOML basic string: JSON's, but for DEL."""
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007F")


def _differs(role: Role) -> bool:
    return role.name != role.column
