"""A first schema.toml of a folder with a log: `psad prepare my_logs --draft-schema`.

It looks at the tables (data/sample.py), finds which column is which (data/roles.py), guesses what
each other one is worth as a feature (data/guess.py, data/outcomes.py), and writes every guess with
its reason, for somebody who knows the log to mend. Nothing is drawn: the same files give the same
draft.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from data.files import OWN_NAMES, forms
from data.guess import Guess, guess
from data.looks import texts
from data.names import Role
from data.outcomes import counts_them, leak, told
from data.problems import Problems
from data.roles import find_roles, key_of
from data.sample import ROWS, Sample, sample
from data.settings import Settings, guess_settings, positive_rows
from data.sources.parquet import IMPRESSIONS
from data.tables import Table
from data.titles import title_of
from features.errors import DataError

SCHEMA = "schema.toml"


@dataclass(frozen=True)
class Draft:
    """All that was guessed of a folder."""

    folder: Path
    samples: dict[str, Sample]
    roles: dict[str, dict[str, Role]]  # by table
    guesses: dict[str, list[Guess]]  # by table, without the columns that have a role
    settings: Settings
    title: tuple[str, str] | None

    @property
    def missing(self) -> list[str]:
        """What every log needs and was not found in impressions."""
        return [name for name in IMPRESSIONS if name not in self.roles["impressions"]]


def draft_schema(
    folder: Path | str, *, report: Callable[[str], None] = print, rows: int = ROWS
) -> Path:
    """Write a first schema.toml into `folder` and say what to look at; the file's path.

    Looks at about `rows` rows a table. Raises DataError where a table cannot be read or schema.toml
    is there already.
    """
    from data.draft_text import summary, toml

    target = Path(folder) / SCHEMA
    _refuse(target)
    drafted = look(Path(folder), rows)
    _place(target, toml(drafted))
    report(summary(drafted, target))
    return target


def look(folder: Path, rows: int = ROWS) -> Draft:
    """Guess everything of a folder, and write nothing."""
    samples = _samples(folder, rows)
    shown, items = samples["impressions"].table, samples["items"].table
    users = samples["users"].table if "users" in samples else None
    roles = {"impressions": find_roles(shown, items, users)}
    for name, key, table in (("items", "item_id", items), ("users", "user_id", users)):
        if table is not None:
            role = key_of(table, key, shown)
            roles[name] = {} if role is None else {key: role}
    roles["impressions"] = _without_telling_score(shown, roles["impressions"])
    settings = guess_settings(samples["impressions"], roles["impressions"])
    guesses = _guesses(samples, roles)
    free = [one.name for one in guesses["items"] if one.kind != "bag"]
    return Draft(folder, samples, roles, guesses, settings, title_of(items, free))


def _samples(folder: Path, rows: int) -> dict[str, Sample]:
    """A look at each table; a DataError names all that cannot be read."""
    samples: dict[str, Sample] = {}
    problems = Problems(folder)
    for name in ("impressions", "items", "users"):
        with problems.collected():
            found = sample(folder, name, rows)
            if found is not None:
                samples[name] = found
            elif name != "users":
                raise DataError(_not_there(folder, name))
    if len(problems):
        raise DataError("\n".join(str(one) for one in problems))
    return samples


def _guesses(
    samples: dict[str, Sample], roles: dict[str, dict[str, Role]]
) -> dict[str, list[Guess]]:
    """What each column is worth that has no role."""
    guesses: dict[str, list[Guess]] = {}
    for name in ("users", "items", "impressions"):
        if name in samples:
            table = samples[name].table
            taken = {role.column for role in roles[name].values()}
            free = [one for one in table.frame.columns if one not in taken]
            guesses[name] = [_guess(table, one, name != "impressions") for one in free]
    known = {one.name for one in guesses["items"]} | {"item_id"}
    positive = positive_rows(samples["impressions"].table, roles["impressions"])
    label = roles["impressions"].get("label")
    guesses["impressions"] = [
        Guess(one.name, None, "it could be the label: see above")
        if label and one.name in label.rivals
        else _in_context(samples["impressions"].table, one, known, positive)
        for one in guesses["impressions"]
    ]
    if "score" in roles["impressions"]:
        guesses["items"] = [
            Guess(one.name, None, "impressions has a score of the same name")
            if one.name == "score"
            else one
            for one in guesses["items"]
        ]
    return guesses


def _guess(table: Table, name: str, of_side: bool) -> Guess:
    if not name.strip():
        return Guess(name, None, "it has no name")
    if name in OWN_NAMES or name.startswith("psad "):
        return Guess(name, None, "the name means something else to psad: rename it to use it")
    found = guess(table, name)
    if of_side and counts_them(name, found.kind):
        why = f"{found.why}. LOOK AT whether it is from before the log begins"
        return replace(found, why=why, warning=True)
    return found


def _in_context(table: Table, found: Guess, items: set[str], positive: pl.Series | None) -> Guess:
    """A guess about a column of impressions, which may also tell too much."""
    if found.kind is None:
        return found
    if found.name in items:
        return Guess(found.name, None, "items has a column of this name, which is the one used")
    if why := leak(table, found.name, positive):
        return Guess(found.name, None, why, found.settings | {"kind": found.kind}, warning=True)
    return found


def _without_telling_score(shown: Table, roles: dict[str, Role]) -> dict[str, Role]:
    """A score that tells of the labels is not taken for one, or warned of where psad takes it."""
    role, positive = roles.get("score"), positive_rows(shown, roles)
    why = told(shown, role.column, positive) if role and positive is not None else None
    if role is None or why is None:
        return roles
    if role.column != "score":  # declared nowhere, and left out among the features
        return {name: one for name, one in roles.items() if name != "score"}
    why = (
        f"{why}. psad reads a column called score as the earlier stage's own, undeclared: if this "
        "is none, take it out of impressions or call it otherwise, or models will read the outcome"
    )
    return roles | {"score": replace(role, why=why, warning=True)}


def ids_seldom(shown: Sample, roles: dict[str, Role]) -> tuple[int, str]:
    """The `min_count` for item ids and why: an id seen once or twice teaches nothing of itself."""
    text = texts(shown.table, roles["item_id"].column) if "item_id" in roles else None
    if text is None:
        return 2, "how often an item is shown is not known"
    each = shown.rows / max(text.n_unique(), 1)
    least = 5 if each >= 50 else 2
    return least, f"shown {each:,.0f} times on average"


def _refuse(target: Path) -> None:
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is not a folder. Give the folder that holds the tables.")
    if target.exists():
        raise DataError(
            f"{target} is there already and is left alone. To have a new draft, remove it or give "
            "it another name."
        )


def _not_there(folder: Path, name: str) -> str:
    listed = ", ".join(sorted(one.name for one in folder.iterdir())[:10]) or "nothing"
    return f"{folder} holds no {name}; it holds: {listed}. Rename what it is. {forms(name)}"


def _place(target: Path, text: str) -> None:
    """Whole or not at all, and never over a file that came in between."""
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{SCHEMA}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(scratch, 0o644)
        os.link(scratch, target)
    except FileExistsError:
        _refuse(target)
    finally:
        os.unlink(scratch)
