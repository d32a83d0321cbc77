"""The usual names of what a log needs, and the columns that have them.

A name is read in words joined by _ (sessionId as session_id); a label's without what only says that
it is one: is_opened and click_bool are opened and click.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from data.looks import words

# Usual names, the likelier first.
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
        "clicked", "click", "clicks", "target", "y", "relevance", "relevance_grade", "grade", "rel",
        "opened", "read", "played", "watched", "listened", "liked", "saved", "rating", "engaged",
        "engagement", "shared", "followed", "added_to_cart", "add_to_cart", "converted",
        "conversion", "purchased", "purchase", "bought", "booked", "ordered", "applied", "replied",
        "viewed", "outcome", "response", "feedback",
    ),
    "score": (
        "model_score", "ranker_score", "ranking_score", "relevance_score", "prediction",
        "predicted", "pred", "pctr", "pred_ctr", "retrieval_score",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Role:
    """A column found to be what psad calls `name`, why, and whether somebody must look at it."""

    name: str
    column: str
    why: str
    warning: bool = False
    rivals: tuple[str, ...] = ()  # columns that could be it as well


def spelled(name: str, column: str) -> str:
    """A column's name as USUAL[name] has it."""
    said = words(column)
    return re.sub(r"^(is|was|has|did|user)_|_(bool|flag)$", "", said) if name == "label" else said


def by_name(name: str, columns: Sequence[str], fits: Callable[[str], bool]) -> Role | None:
    """The column of a role's canonical name, else the first usual one whose values fit."""
    if name in columns:
        return Role(name, name, "has the name itself")
    for usual in (name, *USUAL[name]):
        for one in columns:
            if spelled(name, one) == usual and fits(one):
                return Role(name, one, "by its name")
    return None


def doubtful(name: str, columns: Sequence[str]) -> Role | None:
    """A usual name is worth a guess even where the values do not bear it out; a score is not."""
    role = by_name(name, columns, anything) if name != "score" else None
    why = "by its name, though not all its values fit: look at it"
    return role and replace(role, why=why, warning=True)


def anything(_: str) -> bool:
    """Fits every column."""
    return True
