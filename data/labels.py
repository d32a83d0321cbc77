"""Which column of impressions says what came of an item: by its name, else by its values.

What came of an item differs from list to list of the item, and within a list: a mark such as
`is_new` that an item always has, or all of a list, is none. Values alone cannot tell a click from
a badge, so such a guess is always one to look at, and names the columns that it passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from data.looks import differs, numbers, texts, varies
from data.names import Role, anything, by_name, doubtful, spelled
from data.outcomes import sounds_like_one
from data.tables import Table

CLEAR = ("label", "clicked", "click", "clicks", "target", "y", "relevance", "relevance_grade")
GRADES = 11  # of a rating, 0 to 10
GROUPS = 5  # items or lists of several rows, from which on it can be told
MIXED = 0.02  # of those that hold the rarer values: with fewer that hold others too, it is steady


def find_label(
    table: Table, columns: Sequence[str], item: str | None, within: str | None
) -> Role | None:
    """The label among `columns`; None where nothing is like one."""
    if "label" in columns:
        return Role("label", "label", "has the name itself")
    free = [
        one for one in columns if not any(steady(table, one, by) for by in (item, within) if by)
    ]
    if named := by_name("label", free, lambda one: varies(table, one)):
        return _compared(table, named, free)
    if named := by_name("label", free, lambda one: _several(table, one)):
        return replace(named, why="by its name, though its values are no numbers")
    flags = sorted(
        (one for one in free if _is_flag(table, one)), key=lambda one: _often(table, one)
    )
    if flags:
        graded = [one for one in free if _is_graded(table, one, within)]
        sounding = [one for one in columns if sounds_like_one(one) and one != flags[0]]
        return _guessed(flags[0], list(dict.fromkeys([*flags[1:], *graded, *sounding])))
    return doubtful("label", columns)


def steady(table: Table, column: str, by: str) -> bool:
    """Whether each item, or list, always has the same value, as far as can be told.

    Only groups of several rows that hold another value than the commonest count: most have no
    click at all.
    """
    text, groups = texts(table, column), texts(table, by)
    if text is None or groups is None:
        return False
    value = text.fill_null("")
    rare = value != value.mode().sort()[0]
    found = (
        pl.DataFrame({"value": value, "rare": rare, "group": groups})
        .group_by("group")
        .agg(pl.len(), pl.col("rare").any(), kinds=pl.col("value").n_unique())
        .filter(pl.col("len") > 1, "rare")
    )
    return len(found) >= GROUPS and float((found["kinds"] > 1).mean() or 0) < MIXED  # type: ignore[arg-type]


def _compared(table: Table, named: Role, free: Sequence[str]) -> Role:
    """A label by its name, to be looked at where others could be it, unless the name is clear."""
    rivals = tuple(
        one for one in free
        if one != named.column and by_name("label", [one], anything) and varies(table, one)
    )  # fmt: skip
    flags = [one for one in free if one != named.column and _is_flag(table, one)]
    others = list(dict.fromkeys([*rivals, *flags]))
    if not others or spelled("label", named.column) in CLEAR:
        return named
    why = f"by its name; {_listed(others)} could be it as well: name the one that counts"
    return replace(named, why=why, warning=True, rivals=rivals)


def _guessed(column: str, rivals: Sequence[str]) -> Role:
    others = f"{_listed(rivals)} could be it as well" if rivals else "no other column is like one"
    why = (
        f"a guess by its values, which are 0 and 1; {others}. Look at it: with a wrong label all "
        "that follows is wrong"
    )
    return Role("label", column, why, warning=True, rivals=tuple(rivals))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _several(table: Table, column: str) -> bool:
    text = texts(table, column)
    return text is not None and text.drop_nulls().n_unique() > 1


def _is_flag(table: Table, column: str) -> bool:
    found = numbers(table, column)
    return found is not None and set(found.unique()) == {0.0, 1.0}


def _is_graded(table: Table, column: str, within: str | None) -> bool:
    """Few whole numbers, as ratings are, that come again in a list, as places do not."""
    found = numbers(table, column)
    values = set() if found is None else set(found.drop_nulls().unique())
    few = 2 < len(values) <= GRADES and values <= set(range(GRADES))
    return few and not (within and differs(table, column, within))


def _often(table: Table, column: str) -> bool:
    """Whether ones are the rule: a label's seldom are."""
    found = numbers(table, column)
    assert found is not None
    return float(found.mean() or 0) >= 0.5  # type: ignore[arg-type]
