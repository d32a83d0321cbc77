"""Which column of items people read: pages and reports show it in place of an id."""

from __future__ import annotations

from collections.abc import Sequence

from data.guess import guess
from data.looks import numbers, texts, words
from data.tables import Table


def title_of(items: Table, columns: Sequence[str]) -> tuple[str, str] | None:
    """The items' column that people read, and why: by its name, else the shortest free text."""
    spelled = {words(one): one for one in reversed(columns)}
    for usual in ("title", "name", "label", "headline", "caption"):
        ends = [spelled[one] for one in spelled if one.split("_")[-1] == usual]
        for one in ([spelled[usual]] if usual in spelled else []) + ends:
            if _readable(items, one):
                return one, "by its name"
    free = [
        one
        for one in columns
        if _readable(items, one) and guess(items, one).kind is None and not _plain(items, one)
    ]
    lengths = {one: float(texts(items, one).str.len_chars().mean() or 0) for one in free}  # type: ignore[union-attr, arg-type]
    fits = {one: length for one, length in lengths.items() if 3 <= length <= 100}
    best = min(fits, key=lambda one: fits[one], default=None)
    return None if best is None else (best, "the shortest text that nearly every item has its own")


def _readable(items: Table, name: str) -> bool:
    text = texts(items, name)
    return text is not None and text.drop_nulls().n_unique() > 1


def _plain(items: Table, name: str) -> bool:
    """A number or a time, or one word throughout, as ids are."""
    text = texts(items, name)
    assert text is not None
    words_in = text.drop_nulls().str.contains(r"\S\s+\S").mean()
    return numbers(items, name) is not None or float(words_in or 0) < 0.3  # type: ignore[arg-type]
