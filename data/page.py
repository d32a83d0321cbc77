"""One HTML page in a file: sections of cards, warnings, pictures, tables and text.

    page("My log", [Section("Sizes", [Table(["split", "lists"], [["train", "1,204"]], {1})])])

Self-contained (styles and pictures inside, nothing from other hosts, no scripts), light and dark as
the reader's system asks, readable on a phone. Sentences may name `commands`. Every text is escaped:
an item called `<script>` is shown as that. Only pictures of data/pictures.py stand as they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape


@dataclass(frozen=True)
class Card:
    """One figure that is read at a glance."""

    value: str
    label: str


@dataclass(frozen=True)
class Cards:
    """Figures side by side."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Warnings:
    """Sentences that a reader must not miss."""

    kind: ClassVar = "warnings"
    lines: Sequence[str]


@dataclass(frozen=True)
class Figure:
    """A picture with a title, a legend of (colour, name) and a sentence on how to read it."""

    title: str
    picture: Markup
    caption: str = ""
    legend: Sequence[tuple[str, str]] = ()  # colours as in data/pictures.py: "one", "two" …


@dataclass(frozen=True)
class Figures:
    """Pictures, as many beside each other as there is room for, up to `columns`."""

    kind: ClassVar = "figures"
    figures: Sequence[Figure]
    columns: Literal[2, 3] = 2


@dataclass(frozen=True)
class Bar:
    """A table's cell that shows a share of 0 to 1 as a bar before its text."""

    share: float
    text: str
    low: bool = False  # in another colour, to be noticed


@dataclass(frozen=True)
class Noted:
    """A table's cell of two lines, the second in a quiet voice."""

    text: str
    note: str


@dataclass(frozen=True)
class Span:
    """A table's cell that draws an interval and its middle, on a scale from `start` to `end`."""

    low: float
    high: float
    value: float
    start: float
    end: float

    def at(self, number: float) -> float:
        """Where a number stands on the scale, in percent."""
        return 100 * (number - self.start) / ((self.end - self.start) or 1.0)


@dataclass(frozen=True)
class Table:
    """Rows of texts and bars below a head; the columns in `numbers` stand on the right."""

    kind: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str | Bar | Noted | Span]]
    numbers: Collection[int] = ()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str


@dataclass(frozen=True)
class Listed:
    """An item of an ordered list."""

    text: str
    marked: bool = False
    note: str = ""


@dataclass(frozen=True)
class Lists:
    """Two orders of one list, side by side."""

    kind: ClassVar = "lists"
    title: str
    text: str
    names: tuple[str, str]
    sides: tuple[Sequence[Listed], Sequence[Listed]]
    foot: str = ""


Part = Cards | Warnings | Figures | Table | Text | Lists


@dataclass(frozen=True)
class Section:
    """Parts below a heading; the first section of a page may have none."""

    title: str
    parts: Sequence[Part]
    note: str = ""


def page(title: str, sections: Sequence[Section], *, lead: str = "", foot: str = "") -> str:
    """The whole page as text; the same parts always give the same page."""
    template, style = _template()
    return template.render(title=title, sections=sections, lead=lead, foot=foot, style=style)


@cache
def _template() -> tuple[Template, Markup]:
    loader = PackageLoader("data", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["commands"] = commands
    style = loader.get_source(environment, "page.css")[0]
    return environment.get_template("page.html"), Markup(style)


def commands(text: str) -> Markup:
    """A sentence with what stands between two backticks as <code>; everything is escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def count(number: float) -> str:
    """1234567 as 1,234,567."""
    return f"{number:,.0f}"


def share(part: float) -> str:
    """0.1234 as 12.3%, 0.0004 as 0.04%; nothing that is there is shown as 0%."""
    if part != part:
        return "–"
    if 0 < part < 0.0001:
        return "under 0.01%"
    return f"{100 * part:.2f}%" if 0 < part < 0.01 else f"{100 * part:.1f}%"
