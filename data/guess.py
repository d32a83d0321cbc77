"""What a column is as a feature: its kind, or why it had better be left out, each with its reason.

A guess reads a column as `psad prepare` will: what is not a number there is none here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from data.looks import FEW, MOST, has_fractions, is_time, nearly_numbers, numbers, texts, words
from data.tables import Table

SEPARATORS = ("|", ";", ",", "/")
MANY = 100  # categorical values; with more, those seen once share one "unknown"
FREE = 0.5  # as many different texts a row are free text, not categories
NEARLY = 0.9  # of the rows have a text of their own: a title
COUNTED = 50  # rows, from which on one number after another is no accident
DATE_WORDS = {"date", "time", "timestamp", "ts", "at", "datetime", "day"}
CODE_WORDS = {"id", "code", "zip", "postcode", "type", "class", "category", "cat", "group", "no"}


@dataclass(frozen=True)
class Guess:
    """A column, how it is to be declared (not at all where `kind` is None), and why."""

    name: str
    kind: str | None
    why: str
    settings: dict[str, Any] = field(default_factory=dict)
    warning: bool = False
    odd: str = ""  # what prepare will refuse of its values, and what to do


def guess(table: Table, name: str) -> Guess:
    """Guess what a column is worth as a feature."""
    series = table.frame[name]
    if isinstance(series.dtype, pl.List | pl.Array):
        return _of_lists(table, name)
    text = texts(table, name)
    if text is None:
        return Guess(name, None, f"holds {series.dtype}, which no kind of feature reads")
    said = facts(text)
    meant = text.drop_nulls()
    meant = meant.filter(meant.str.strip_chars() != "")
    if meant.is_empty():
        return Guess(name, None, "every value is missing")
    if meant.n_unique() == 1 and len(meant) == len(text):
        return Guess(name, None, f"every value is {shown(meant[0])}")
    if _dated(table, name, meant):
        return Guess(
            name, None, f"{said}, a time such as {shown(meant[0])}: a model sees no calendar; give "
            "it as a number, such as an age in days, if it is known when the list is shown",
        )  # fmt: skip
    found = numbers(table, name)
    if found is not None and not _code(name, meant, found):
        return _of_numbers(name, found, said)
    return _nearly_of_numbers(table, name, said) or _of_text(name, meant, said)


def facts(text: pl.Series) -> str:
    """`1,204 different values, 3% missing`."""
    blank = text.is_null() | (text.str.strip_chars() == "").fill_null(False)
    kinds = text.filter(~blank).n_unique()
    said = f"{kinds:,} different value{'s' if kinds != 1 else ''}"
    return said + (f", {percent(float(blank.mean()))} missing" if blank.any() else "")  # type: ignore[arg-type]


def percent(share: float) -> str:
    """A share as people write it, never 0% for something or 100% for less than all."""
    if 0 < share < 0.005:
        return "under 1%"
    return f"{min(share, 0.99) if share < 1 else 1:.0%}"


def shown(value: object) -> str:
    """A value as it may stand in a comment: one line, not too long."""
    return repr(str(value)[:40])


def number(value: float) -> str:
    """1234567.0 as 1,234,567, 0.12345 as 0.123."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:,.4g}"


def _dated(table: Table, name: str, text: pl.Series) -> bool:
    """Dates by their type or their form; whole numbers only where the name says so too."""
    if table.frame[name].dtype.is_temporal():
        return True
    plain = Table(table.path, pl.DataFrame({"time": text}))
    called = bool(DATE_WORDS & set(words(name).split("_")))
    formed = bool(text.str.contains(r"^\s*\d{4}-\d\d-\d\d").all())
    return formed or (called and is_time(plain, "time"))


def _code(name: str, text: pl.Series, found: pl.Series) -> bool:
    """Numbers that only name something: 007, truth values, or what is called a code or an id."""
    if text.str.contains(r"^\s*[+-]?0\d").any() or not text.str.contains(r"\d").all():
        return True
    whole = bool((found.drop_nulls() == found.drop_nulls().round()).all())
    flag = set(found.drop_nulls().unique()) <= {0.0, 1.0}
    return whole and (flag or bool(CODE_WORDS & set(words(name).split("_")[-1:])))


def _of_numbers(name: str, found: pl.Series, said: str) -> Guess:
    values = found.drop_nulls().to_numpy()
    if len(values) >= FEW and _numbered(values):
        return Guess(name, None, f"{said}, whole numbers like ids: another for each row")
    low, middle, high = (number(one) for one in np.quantile(values, [0, 0.5, 1]))
    if _skewed(values):
        why = f"{said}, skewed: half are at most {middle}, the largest is {high}"
        return Guess(name, "numeric", why, {"transform": "log"})
    return Guess(name, "numeric", f"{said}, numbers from {low} to {high}")


def _nearly_of_numbers(table: Table, name: str, said: str) -> Guess | None:
    """A number that is written otherwise in very few rows; amounts may be so in up to half."""
    if (parted := nearly_numbers(table, name)) is None:
        return None
    fine, odd = parted
    plain = Table(table.path, pl.DataFrame({name: fine}))
    found = numbers(plain, name)
    rows, amounts = len(fine) + len(odd), has_fractions(plain, name)
    few = rows >= FEW and len(odd) <= max(1, (1 - MOST) * rows)
    mixed = amounts and fine.n_unique() > FREE * len(fine) and len(fine) >= FEW
    if found is None or not (few or mixed) or _code(name, fine, found):
        return None
    if not amounts and fine.is_unique().all():
        return None  # ids, of which some have letters
    guessed = _of_numbers(name, found, said)
    if guessed.kind is None:
        return None
    share = f"{len(odd):,} row{'s' if len(odd) != 1 else ''}"
    kinds = odd.n_unique()
    such = shown(_commonest(odd)) + (f" and {kinds - 1:,} others" if kinds > 1 else "")
    why = f"numbers, except {such} in {share}: write a number there (as 1.5) or leave it empty, or "
    why += "prepare refuses it"
    return replace(guessed, odd=why)


def _numbered(values: np.ndarray) -> bool:
    """Whole numbers, long or counted one by one, of which no two are the same."""
    whole = bool((values == values.round()).all()) and len(np.unique(values)) == len(values)
    counted = len(values) >= COUNTED and values.max() - values.min() == len(values) - 1
    return whole and (values.min() >= 1e6 or counted)


def _skewed(values: np.ndarray) -> bool:
    """Whether amounts have a long tail that their logarithm has not."""
    if values.min() < 0 or values.max() <= 10 or len(values) < FEW:
        return False
    plain, logged = _skewness(values), _skewness(np.log1p(values))
    return plain > 1.5 and abs(logged) < plain / 2


def _skewness(values: np.ndarray) -> float:
    apart = values - values.mean()
    return float((apart**3).mean() / max(apart.std() ** 3, 1e-30))


def _of_text(name: str, text: pl.Series, said: str) -> Guess:
    if why := _written(text):
        return Guess(name, None, f"{said}, {why}")
    if separator := separator_of(text):
        parts = _parts(text, separator)
        why = f'{said}, looks like text split at "{separator}": {parts.n_unique():,} different'
        return Guess(name, "bag", f"{why} parts", {"separator": separator} | _rare(parts))
    kinds = text.n_unique()
    if kinds == len(text) or (kinds > FREE * len(text) and len(text) >= FEW):
        return Guess(name, None, f"{said}, nearly one for each row, such as {shown(text[0])}")
    if kinds == 1:
        return Guess(name, "categorical", f"{said}: what tells is whether it is there")
    few = ", ".join(sorted(shown(one) for one in text.unique())) if kinds <= 4 else ""
    why = said + (f": {few}" if few else f", such as {shown(_commonest(text))}")
    return Guess(name, "categorical", why, _rare(text))


def _written(text: pl.Series) -> str | None:
    """Why text that writes lists or objects is no feature as it stands; None for other text."""
    if text.str.contains(r"^\s*\[.*\]\s*$").all():
        return (
            f"lists written as text such as {shown(text[0])}: write them as a|b, and declare "
            'kind = "bag"'
        )
    if text.str.contains(r"^\s*\{.*\}\s*$").all():
        return (
            f"objects written as text such as {shown(text[0])}: give each field that matters a "
            "column of its own"
        )
    return None


def _of_lists(table: Table, name: str) -> Guess:
    inner = table.frame[name].explode()
    text = texts(Table(table.path, pl.DataFrame({"value": inner})), "value")
    if text is None:
        return Guess(name, None, f"holds {table.frame[name].dtype}, which no kind of feature reads")
    parts = text.drop_nulls()
    if parts.is_empty():
        return Guess(name, None, "every list is empty or missing")
    return Guess(name, "bag", f"lists of {parts.n_unique():,} different values", _rare(parts))


def _rare(values: pl.Series) -> dict[str, Any]:
    return {"min_count": 2} if values.n_unique() > MANY else {}


def _commonest(text: pl.Series) -> str:
    counts = text.alias("value").value_counts(name="count")
    return str(counts.sort(["count", "value"], descending=[True, False])["value"][0])


def separator_of(text: pl.Series) -> str | None:
    """What parts a bag written as text: stands in many values, and the parts come again."""
    for separator in SEPARATORS:
        held = text.str.contains(separator, literal=True)
        if held.mean() < 0.1 or held.sum() < 2:  # type: ignore[operator]
            continue
        parts = _parts(text, separator)
        again = parts.n_unique() <= len(parts) / 2 and parts.n_unique() < text.n_unique() * 3
        short = (parts.str.count_matches(r"\s+") <= 3).mean() > 0.95  # type: ignore[operator]
        if len(parts) and again and short and not _composed(text, separator):
            return separator
    return None


def _composed(text: pl.Series, separator: str) -> bool:
    """One text of fields, such as `Oven hose; G62`: nearly each row has its own, of as many parts,
    and no part of one place stands at another, as those of a bag do."""
    if text.n_unique() <= NEARLY * len(text):
        return False
    split = text.str.split(separator)
    width = int(split.list.len().min() or 0)  # type: ignore[arg-type]
    if width < 2 or width != split.list.len().max():
        return False
    places = [split.list.get(place).str.strip_chars().unique() for place in range(width)]
    return pl.concat(places).is_unique().all()


def _parts(text: pl.Series, separator: str) -> pl.Series:
    parts = text.str.split(separator).explode().str.strip_chars()
    return parts.filter(parts != "")
