"""Which column of a log is which: the list, the person, the time, the item, its place, the label.

A canonical name is taken at its word. Else a usual name is looked for, then values that behave as
they must: places differ within a list, times do not, the items' own ids are known to items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from data.looks import (
    differs,
    has_fractions,
    is_key,
    is_steady,
    is_time,
    numbers,
    texts,
    varies,
    words,
)
from data.tables import Table

# Usual names, the likelier first, in words joined by _ (sessionId is read as session_id).
USUAL = {
    "list_id": (
        "impression_id", "request_id", "slate_id", "query_id", "search_id", "srch_id", "qid",
        "page_view_id", "pageview_id", "session_id", "ranking_id", "recommendation_id", "list",
        "impression", "request", "slate", "search", "query", "session", "basket_id", "visit_id",
    ),
    "user_id": (
        "uid", "user", "customer_id", "visitor_id", "member_id", "account_id", "client_id",
        "profile_id", "person_id", "reader_id", "viewer_id", "listener_id", "player_id",
        "patient_id", "student_id", "cookie_id", "device_id", "customer", "visitor", "member",
        "account", "client", "person", "reader", "viewer", "userid", "user_no", "session_id",
    ),
    "timestamp": (
        "ts", "time", "datetime", "date_time", "shown_at", "event_time", "served_at", "created_at",
        "time_ms", "ts_ms", "timestamp_ms", "epoch", "epoch_ms", "unix_time", "date", "when",
        "request_time", "logged_at", "at",
    ),
    "item_id": (
        "item", "sku", "product_id", "article_id", "movie_id", "film_id", "video_id", "track_id",
        "song_id", "doc_id", "document_id", "asin", "content_id", "listing_id", "prop_id",
        "property_id", "hotel_id", "ad_id", "offer_id", "news_id", "book_id", "recipe_id",
        "course_id", "job_id", "candidate_id", "product", "article", "movie", "iid", "pid", "id",
    ),
    "position": (
        "rank", "pos", "slot", "place", "index", "order", "display_order", "display_position",
        "display_rank", "item_position", "item_rank", "shown_at_position", "row", "nr",
    ),
    "label": (
        "clicked", "click", "is_click", "is_clicked", "click_bool", "clicks", "target", "y",
        "relevance", "relevance_grade", "grade", "rating", "rel", "engaged", "engagement",
        "converted", "purchased", "bought", "booked", "liked", "outcome", "response", "feedback",
    ),
    "score": (
        "model_score", "ranker_score", "ranking_score", "relevance_score", "prediction",
        "predicted", "pred", "pctr", "pred_ctr", "retrieval_score",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Role:
    """A column found to be what psad calls `name`, and why it is thought so."""

    name: str
    column: str
    why: str


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

    item_key, user_key = key_of(items, "item_id"), users and key_of(users, "user_id")
    take("timestamp", lambda one: is_time(shown, one), lambda: _time(shown, rest()))
    take("item_id", _any, lambda: item_key and _joined(shown, rest(), items, item_key, "items"))
    lists = list(rest())
    take(
        "list_id",
        lambda one: _groups(shown, one, column("item_id"), column("timestamp")),
        lambda: _list(shown, lists, column("item_id"), column("timestamp")),
    )
    take("label", lambda one: varies(shown, one), lambda: _label(shown, rest()))
    take(
        "position",
        lambda one: _places(shown, one, column("list_id")),
        lambda: _position(shown, rest(), column("list_id")),
    )
    take(
        "user_id",
        lambda one: is_steady(shown, one, column("list_id")),
        lambda: _user(shown, rest(), column("list_id"), users, user_key or None),
    )
    take("score", lambda one: varies(shown, one), lambda: None)
    return roles


def by_name(name: str, columns: Sequence[str], fits: Callable[[str], bool]) -> Role | None:
    """The column of a role's canonical name, else the first usual one whose values fit."""
    if name in columns:
        return Role(name, name, "has the name itself")
    spelled = {words(one): one for one in reversed(columns)}
    for usual in (name, *USUAL[name]):
        if usual in spelled and fits(spelled[usual]):
            return Role(name, spelled[usual], "by its name")
    return None


def doubtful(name: str, columns: Sequence[str]) -> Role | None:
    """A usual name is worth a guess even where the values do not bear it out; a score is not."""
    role = by_name(name, columns, _any) if name != "score" else None
    return role and replace(role, why="by its name, though not all its values fit: look at it")


def key_of(table: Table, name: str) -> Role | None:
    """The column that names the rows of items or users: each has one, no two the same."""
    distinct = [one for one in table.frame.columns if is_key(table, one)]
    if found := by_name(name, table.frame.columns, lambda one: one in distinct):
        return found
    nouns = [one for one in distinct if words(one).split("_")[-1] in {"id", "key", "code", "no"}]
    for one in [*nouns, *distinct]:
        return Role(name, one, "by its values: every row has another")
    return None


def _any(_: str) -> bool:
    return True


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
    if item is None or time is None:
        return None
    fits = {
        one: text.n_unique()
        for one in columns
        if (text := texts(table, one)) is not None and _groups(table, one, item, time)
    }
    best = max(fits, key=lambda one: fits[one], default=None)
    why = "by its values: rows of one value have one time and different items"
    return None if best is None else Role("list_id", best, why)


def _label(table: Table, columns: Iterable[str]) -> Role | None:
    """A column of zeros and ones, of which fewer are ones."""
    for one in columns:
        found = numbers(table, one)
        if found is not None and set(found.unique()) == {0.0, 1.0} and found.mean() < 0.5:  # type: ignore[operator]
            return Role("label", one, "by its values, which are 0 and 1")
    return None


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
    return Role("user_id", best, "by its values, which are the same throughout a list: a guess")
