"""Which column of a log is which: the list, the person, the time, the item, its place, the label.

A canonical name is taken at its word. Else a usual name is looked for, then values that behave as
they must: places differ within a list, times do not, the items' own ids are known to items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import polars as pl

from data.guess import percent
from data.guess import shown as shown_as
from data.labels import find_label
from data.looks import (
    differs,
    has_fractions,
    is_key,
    is_nearly_key,
    is_steady,
    is_time,
    numbers,
    texts,
    unlike_key,
    varies,
    words,
)
from data.names import Role, anything, by_name, doubtful
from data.tables import Table

NO_ID = {
    "", "anon", "anonymous", "guest", "na", "n/a", "nan", "nil", "none", "null", "(null)",
    "unknown", "undefined", "not set", "(not set)", "default",
}  # fmt: skip
KEYS = {"item_id": "items", "user_id": "users"}  # of which table each is the key
SHARED = 0.05  # of the rows: with more, an id that stands out may be that of many people
OTHERS = "where other rows of the list name the person, write that one"
ITS_OWN = (
    "write the list's id in all rows of the list, and each such list is a person of its own, "
    "without a history"
)
NOBODY = (
    "no column was found to say who saw the list, so each list is taken for a person of its own, "
    "without a history: look at it"
)


def find_roles(shown: Table, items: Table, users: Table | None) -> dict[str, Role]:
    """The roles that were found in impressions; those that were not are left out."""
    roles: dict[str, Role] = {}

    def take(name: str, fits: Callable[[str], bool], by_values: Callable[[], Role | None]) -> None:
        taken = {role.column for role in roles.values()}
        free = [one for one in shown.frame.columns if one not in taken]
        role = by_name(name, free, fits) or by_values() or doubtful(name, free)
        if role is not None and role.column not in taken:
            roles[name] = role

    def column(name: str) -> str | None:
        return roles[name].column if name in roles else None

    def rest() -> list[str]:
        taken = {role.column for role in roles.values()}
        return [one for one in shown.frame.columns if one not in taken]

    item_key = key_of(items, "item_id", shown)
    user_key = users and key_of(users, "user_id", shown)
    take("timestamp", lambda one: is_time(shown, one), lambda: _time(shown, rest()))
    take("item_id", anything, lambda: item_key and _joined(shown, rest(), items, item_key, "items"))
    lists = list(rest())
    take(
        "list_id",
        lambda one: _groups(shown, one, column("item_id"), column("timestamp")),
        lambda: _list(shown, lists, column("item_id"), column("timestamp")),
    )
    if label := find_label(shown, rest(), column("item_id"), column("list_id")):
        roles["label"] = label
    take(
        "position",
        lambda one: _places(shown, one, column("list_id")),
        lambda: _position(shown, rest(), column("list_id")),
    )
    take(
        "user_id",
        lambda one: is_steady(shown, one, column("list_id"), may_miss=True),
        lambda: _user(shown, rest(), column("list_id"), users, user_key or None),
    )
    take("score", lambda one: varies(shown, one), lambda: None)
    if "user_id" not in roles and "list_id" in roles:
        roles["user_id"] = replace(roles["list_id"], name="user_id", why=NOBODY, warning=True)
    elif "user_id" in roles:
        roles["user_id"] = _shared(shown, roles["user_id"], column("list_id"))
    return roles


def key_of(table: Table, name: str, shown: Table) -> Role | None:
    """The column that names the rows of items or users: each has one, no two the same.

    One that would be it but for very few rows is it too: prepare refuses these, and they are named.
    """
    columns, log = table.frame.columns, shown.frame.columns
    distinct = [one for one in columns if is_key(table, one)]
    nearly = [one for one in columns if is_nearly_key(table, one)]
    found = _named_key(name, columns, distinct) or _named_key(name, columns, nearly, log)
    if found is None and distinct:
        return Role(name, distinct[0], "by its values: every row has another")
    return found and _repeated(table, found)


def _named_key(
    name: str, columns: Sequence[str], fits: Sequence[str], log: Sequence[str] = ()
) -> Role | None:
    """Of the columns that fit, the one whose name says that it is an id, or that the log has."""
    if found := by_name(name, columns, lambda one: one in fits):
        return found
    nouns = [one for one in fits if words(one).split("_")[-1] in {"id", "key", "code", "no"}]
    for one in [*nouns, *(one for one in fits if one in log)]:
        return Role(name, one, "by its values: every row has another")
    return None


def _repeated(table: Table, role: Role) -> Role:
    """A key, with a warning that names the rows that keep it from being one."""
    text, wrong = texts(table, role.column), unlike_key(table, role.column)
    if text is None or not wrong:
        return role
    blank = (text.str.strip_chars() == "").fill_null(True)
    counts = text.filter(~blank).alias("id").value_counts(name="count").filter(pl.col("count") > 1)
    found = [f"it is empty in {_rows(int(blank.sum()))}"] if blank.any() else []
    if len(counts):
        most, rows = counts.sort(["count", "id"], descending=[True, False]).row(0)
        more = f", and {len(counts) - 1:,} others too" if len(counts) > 1 else ""
        found.append(f"{shown_as(most)} stands {'twice' if rows == 2 else f'{rows} times'}{more}")
    why = (
        f"another value in all but {_rows(wrong)} of {KEYS[role.name]} ({'; '.join(found)}): keep "
        "one row an id, or prepare refuses the table"
    )
    return replace(role, why=why, warning=True)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _groups(table: Table, column: str, item: str | None, time: str | None) -> bool:
    """Rows of one value could be a list: several items, each once, shown at one time."""
    text = texts(table, column)
    if text is None or text.null_count() or text.n_unique() * 1.5 > len(text):
        return False
    apart = item is None or texts(table, item) is None or differs(table, item, column)
    return apart and (time is None or is_steady(table, time, column))


def _places(table: Table, column: str, within: str | None) -> bool:
    found = numbers(table, column)
    if found is None or found.null_count() or within is None:
        return found is not None and not found.null_count()
    return differs(table, column, within)


def _time(table: Table, columns: Iterable[str]) -> Role | None:
    for one in columns:
        if is_time(table, one):
            return Role("timestamp", one, "by its values, which read as times")
    return None


def _joined(
    table: Table, columns: Iterable[str], other: Table, key: Role, name: str
) -> Role | None:
    """The column most of whose values are keys of another table."""
    known = texts(other, key.column)
    assert known is not None
    shares = {
        one: text.drop_nulls().unique().is_in(known.implode()).mean() or 0.0
        for one in columns
        if (text := texts(table, one)) is not None and text.n_unique() > 2
    }
    best = max(shares, key=lambda one: float(shares[one]), default=None)  # type: ignore[arg-type]
    if best is None or float(shares[best]) < 0.5:  # type: ignore[arg-type]
        return None
    role = "item_id" if name == "items" else "user_id"
    return Role(role, best, f"by its values, which {name}.{key.column} knows")


def _list(table: Table, columns: Iterable[str], item: str | None, time: str | None) -> Role | None:
    """Of the columns whose values group rows into lists, the one that makes most of them."""
    if time is None:
        return None
    fits = {
        one: text.n_unique()
        for one in columns
        if (text := texts(table, one)) is not None and _groups(table, one, item, time)
    }
    best = max(fits, key=lambda one: fits[one], default=None)
    why = "by its values: rows of one value have one time"
    why += " and different items" if item is not None else ""
    return None if best is None else Role("list_id", best, why)


def _position(table: Table, columns: Iterable[str], within: str | None) -> Role | None:
    """Whole numbers from 0 or 1 that differ within a list and start alike in each."""
    for one in columns if within is not None else ():
        found = numbers(table, one)
        if found is None or found.null_count() or (found != found.round()).any():
            continue
        frame = pl.DataFrame({"value": found, "list": texts(table, within or "")})
        first = frame.group_by("list").agg(pl.col("value").min())["value"]
        if first.is_in([0.0, 1.0]).mean() > 0.9 and differs(table, one, within or ""):  # type: ignore[operator]
            return Role("position", one, "by its values, which count from the top of each list")
    return None


def _user(
    table: Table, columns: Sequence[str], within: str | None, users: Table | None, key: Role | None
) -> Role | None:
    """What users knows; without users, the finest of what stays the same throughout a list."""
    if users is not None and key is not None:
        return _joined(table, columns, users, key, "users")
    steady = {
        one: texts(table, one).n_unique()  # type: ignore[union-attr]
        for one in columns
        if within is not None and not has_fractions(table, one) and is_steady(table, one, within)
    }
    lists = texts(table, within).n_unique() if within else 0  # type: ignore[union-attr]
    best = max(steady, key=lambda one: steady[one], default=None)
    if best is None or steady[best] < max(3, lists / 20):
        return None
    why = "by its values, which are the same throughout a list: a guess"
    return Role("user_id", best, why, warning=True)


def _shared(table: Table, role: Role, within: str | None) -> Role:
    """The person's column, with a warning where one id, or none, stands for many people."""
    text = texts(table, role.column)
    if text is None:
        return role
    if blank := _unnamed(table, role.column, within):
        return replace(role, why=f"{role.why}; {blank}", warning=True)
    counts = text.alias("id").value_counts(name="count")
    most, rows = counts.sort(["count", "id"], descending=[True, False]).row(0)
    others = float(counts["count"].median() or 0.0)  # type: ignore[arg-type]
    alone = rows > 5 * others or most.strip().lower() in NO_ID
    if not alone or rows <= SHARED * len(text):
        return role
    found = (
        f"{shown_as(most)} stands in {percent(rows / len(text))} of its rows. If these are many "
        f"people, each is given the history of all: {ITS_OWN}"
    )
    return replace(role, why=f"{role.why}; {found}", warning=True)


def _unnamed(table: Table, column: str, within: str | None) -> str | None:
    """How many rows name nobody, and what to write there; None where all name somebody."""
    text = texts(table, column)
    assert text is not None
    blank = (text.str.strip_chars() == "").fill_null(True)
    if not blank.any():
        return None
    found = f"it is empty in {_rows(int(blank.sum()))}, which prepare refuses: "
    lists = None if within is None else texts(table, within)
    if lists is None:
        return f"{found}{OTHERS}, else the list's id in all of its rows"
    frame = pl.DataFrame({"list": lists, "blank": blank}).group_by("list").agg(pl.col("blank"))
    some = pl.col("blank").list.sum()
    parted = frame.filter(some > 0).with_columns(whole=some == pl.col("blank").list.len())
    whole = int(parted.filter("whole")["blank"].list.len().sum())
    partly = int(blank.sum()) - whole
    if not whole:
        return f"{found}{OTHERS}"
    if not partly:
        return f"{found}no row of these lists names anybody: {ITS_OWN}"
    return (
        f"{found}in {partly:,}, {OTHERS}; in {whole:,}, no row of the list names anybody: {ITS_OWN}"
    )
