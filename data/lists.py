"""From logged rows to ranked lists: what a source hands over, and how lists get their histories.

A source (data/sources/) yields a RawLog. `arrange` sorts it into lists, finds the evaluable ones,
assigns splits (data/splits.py) and cuts every list's history, all as whole-column operations.

A list's history is the positive items of the same user's strictly earlier lists, newest list
first, within a list in shown order, at most `max_history`. All earlier lists count, also those too
short or too one-sided to be ranked themselves: what a user did there was known when the list
was shown, and a service would know it too. (`history="evaluable"` counts only the ranked ones.)
"""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.splits import Split, assign
from features.errors import DataError
from features.schema import Kind

History = Literal["all", "evaluable"]
# columns of our own beside a log's: no feature may have a name that begins so
RESERVED = "psad "
ROW = RESERVED + "row"  # the place in the log
POSITIVE, APPEARED = RESERVED + "positive", RESERVED + "appeared"
OPERATORS = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
    ">": operator.gt, "<": operator.lt, "=": operator.eq,
}  # fmt: skip


class Positive(NamedTuple):
    """A rule such as ">=1": which labels count as positive."""

    sign: str
    threshold: float

    @classmethod
    def parse(cls, text: str) -> Positive:
        """Read a rule; raises DataError."""
        parts = re.fullmatch(r"\s*(>=|<=|==|!=|>|<|=)\s*(-?\d+(?:\.\d+)?)\s*", text)
        if parts is None:
            raise DataError(
                f'positive = "{text}" is not a rule; write a comparison with a number, '
                'such as ">=1" or "==5".'
            )
        return cls(parts[1], float(parts[2]))

    def holds(self, label: pl.Expr) -> pl.Expr:
        """True where a label is positive."""
        positive: pl.Expr = OPERATORS[self.sign](label, self.threshold)
        return positive


class FeatureSpec(BaseModel):
    """A feature as its source declares it, before training data give it a vocabulary."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    kind: Kind
    # how many training users (items) must hold a value for it to enter the vocabulary; for the
    # ids themselves and for context features, how many training rows
    min_count: int = Field(default=1, ge=1)
    max_length: int | None = Field(default=None, ge=1)  # bag: ids kept; by default the longest seen
    transform: Literal["identity", "log"] = "identity"  # numeric: log for skewed amounts
    separator: str = Field(default="|", min_length=1)  # bag: where it comes as text


class SourceSpec(BaseModel):
    """What a data set holds and how its lists are meant to be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    user: tuple[FeatureSpec, ...] = ()
    item: tuple[FeatureSpec, ...] = ()
    context: tuple[FeatureSpec, ...] = ()
    positive: str = ">=1"
    title: str | None = None  # the items' column that people read
    columns: dict[str, dict[str, str]] = {}  # table -> psad's name of a column -> the file's
    split: Split = "time"
    list_size: int = Field(default=10, ge=1)  # T, the length of the list that is shown
    max_history: int = Field(default=50, ge=0)
    min_list: int = Field(default=2, ge=2)  # shorter lists are not ranked
    max_list: int = Field(default=1000, ge=2)  # longer lists are not ranked
    provenance: str = ""  # where it came from, its licence, its cautions

    @field_validator("positive")
    @classmethod
    def _readable(cls, text: str) -> str:
        Positive.parse(text)
        return text


class Described(Protocol):
    """What is known of a log beside its impressions; RawLog says what each holds."""

    @property
    def items(self) -> pl.DataFrame: ...
    @property
    def users(self) -> pl.DataFrame: ...
    @property
    def spec(self) -> SourceSpec: ...
    @property
    def dropped(self) -> Counter[str]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def facts(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class RawLog:
    """A log as its source read it.

    impressions: list_id, user_id, item_id (text), timestamp (whole seconds, one a list), position
        (incoming order), label (number), and the context features declared
    items: item_id and item features, titles where there are any; users: user_id and user features
        (text for categorical, lists of text for bag, float for numeric; null where missing)
    """

    impressions: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    spec: SourceSpec
    dropped: Counter[str] = field(default_factory=Counter)  # reason -> how many
    facts: dict[str, Any] = field(default_factory=dict)  # what else info.json is to say, as JSON
    notes: Sequence[str] = ()  # what was kept and is worth a word


@dataclass(frozen=True)
class Arranged:
    """All lists of a log, by user and time.

    lists: list_id, user_id, timestamp, length, positives, evaluable, first (its first row in
        `rows`), history_start and history_length (its slice of `acted`), counted (its
        own items in there), split ("train", "valid",
        "test", "statistics": not ranked but on train's side of the split, null: unused)
    rows: the impressions, list by list in shown order, with POSITIVE
    acted: item ids of positives by user, newest first
    """

    lists: pl.DataFrame
    rows: pl.DataFrame
    acted: pl.Series


def arrange(log: RawLog, split: Split, *, seed: int = 0, history: History = "all") -> Arranged:
    """Sort a log into lists with histories and splits. Lists keep the log's order within a tie."""
    rows = in_order(log.impressions.with_row_index(ROW), log.spec)
    lists = lists_of(rows, log.spec)
    lists = assign(with_history(lists, log.spec.max_history, history), split, seed)
    return Arranged(lists, rows, acted_in(rows, lists, history))


def in_order(impressions: pl.DataFrame, spec: SourceSpec) -> pl.DataFrame:
    """Impressions by user, time, list (in the log's order, which ROW tells) and position."""
    positive = Positive.parse(spec.positive).holds(pl.col("label"))
    numbered = impressions.with_columns(
        positive.alias(POSITIVE), pl.col(ROW).min().over("list_id").alias(APPEARED)
    )
    order = ["user_id", "timestamp", APPEARED, "position", ROW]
    return numbered.sort(order).drop(ROW, APPEARED)


def lists_of(rows: pl.DataFrame, spec: SourceSpec) -> pl.DataFrame:
    """The lists of ordered rows, those of all users or of some."""
    lists = rows.group_by("list_id", maintain_order=True).agg(
        pl.col("user_id", "timestamp").first(),
        pl.len().cast(pl.Int64).alias("length"),
        pl.col(POSITIVE).sum().cast(pl.Int64).alias("positives"),
    )
    length, positives = pl.col("length"), pl.col("positives")
    return lists.with_columns(
        (length.cum_sum() - length).alias("first"),
        (
            length.is_between(spec.min_list, spec.max_list)
            & (positives > 0)
            & (positives < length)
        ).alias("evaluable"),
    )  # fmt: skip


def with_history(lists: pl.DataFrame, longest: int, history: History) -> pl.DataFrame:
    """Each list's slice of `acted`: the user's positives with a strictly earlier time."""
    counted = pl.col("positives") if history == "all" else pl.col("positives") * pl.col("evaluable")
    before = pl.col("through") - pl.col("counted")  # of all users, up to this list
    return (
        lists.with_columns(counted.alias("counted"))
        .with_columns(pl.col("counted").cum_sum().alias("through"))
        .with_columns(
            before.first().over("user_id", "timestamp").alias("earlier"),
            before.first().over("user_id").alias("user_start"),
            pl.col("through").last().over("user_id").alias("user_end"),
        )
        .with_columns(
            (pl.col("user_start") + pl.col("user_end") - pl.col("earlier")).alias("history_start"),
            (pl.col("earlier") - pl.col("user_start"))
            .clip(upper_bound=longest)
            .alias("history_length"),
        )
        .drop("through", "earlier", "user_start", "user_end")
    )


def acted_in(rows: pl.DataFrame, lists: pl.DataFrame, history: History) -> pl.Series:
    """Item ids of positives by user (in the lists' order), newest list first."""
    numbered = lists.select("list_id", "user_id", "evaluable").with_row_index("list")
    numbered = numbered.with_columns(pl.col("list").min().over("user_id").alias("user"))
    kept = rows.select("list_id", "item_id", POSITIVE).with_row_index("row")
    kept = kept.filter(POSITIVE).join(numbered, on="list_id")
    if history == "evaluable":
        kept = kept.filter("evaluable")
    return kept.sort(["user", "list", "row"], descending=[False, True, False])["item_id"]
