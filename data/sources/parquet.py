"""The user's own log: a folder with impressions, items, users (Parquet or CSV) and schema.toml.

    impressions   list_id, user_id, timestamp, item_id, position, label, optionally score, and the
                  context features; one row for each item shown, the same time throughout a list
    items         item_id and the item features, one row an item
    users         user_id and the user features, one row a user; may be left out
    schema.toml   which columns are features, for example

        name = "groceries"
        positive = ">=1"                 # which labels count as positive
        title = "name"                   # the items' column that people read
        split = "time"                   # or "last-list", "user"
        list_size = 10                   # how many items are shown in the end
        max_history = 50
        [columns.impressions]            # where a column has another name than above
        list_id = "session_id"
        [user.age]
        kind = "numeric"                 # transform = "log" for skewed amounts
        [item.item_id]
        kind = "categorical"
        min_count = 2                    # rarer values share one "unknown" bucket
        [item.tags]
        kind = "bag"
        separator = "|"                  # where the bag comes as text
        [context.price]
        kind = "numeric"

Each table is one file (impressions.parquet, .csv or .csv.gz) or a folder of part files with the
same columns (impressions/date=2024-05-01/part-0.parquet), read in the order of their names; what
such a folder says, key=value, is a column.
Impressions are read in pieces and may be larger than the memory; items and users may not.

A column that schema.toml does not declare is not used, except `score`, the earlier stage's own
score, which becomes a numeric context feature wherever it is logged.

CSV columns of nothing but true/false or numbers become the text that the service makes of them in
JSON ("true", and "1" for 1.0), unless one begins with a 0 or +, as codes do: those stay, as ids do.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from data.columns import renamed
from data.declaration import LIST_LIMIT, read_spec
from data.files import SUFFIXES, Files, has_table, open_files
from data.lists import ROW, FeatureSpec, RawLog, SourceSpec
from data.problems import Problems
from data.progress import bar
from data.tables import Table
from data.whole import Whole
from features.errors import DataError

IDS = ("list_id", "user_id", "item_id")
IMPRESSIONS = ("list_id", "user_id", "timestamp", "item_id", "position", "label")
LABEL = "Labels are numbers, which `positive` in schema.toml compares: write 1 for yes, 0 for no."
POSITION = "Number the items of a list from the top, 0, 1, 2 and so on."
ONE_USER = (
    "A list belongs to one user: write the same in all its rows, or, where lists of two people "
    "share an id, make list_id unique."
)
ONE_TIME = "Give all rows of a list the time at which the list was shown."
TYPES: dict[str, pl.DataType] = {
    "categorical": pl.String(), "bag": pl.List(pl.String()), "numeric": pl.Float64(),
}  # fmt: skip
COUNTED = ("user_id", "item_id")
MERGED = 16  # pieces whose counts are kept apart
SCORE = FeatureSpec(name="score", kind="numeric")


@dataclass(frozen=True)
class OwnLog:
    """A user's log whose impressions stay on disk. The rest is as in RawLog."""

    shown: Files
    whole: Mapping[str, Whole]  # what holds of the columns of impressions
    items: pl.DataFrame
    users: pl.DataFrame
    spec: SourceSpec
    problems: Problems
    values: Mapping[str, pl.DataFrame]  # COUNTED columns: each value as logged, and its `count`
    dropped: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def chunks(self) -> Iterator[pl.DataFrame]:
        """Impressions as in RawLog, with ROW, their place in the log, a piece at a time.

        Problems are collected; a piece whose ids have one is left out.
        """
        for start, frame in self.shown.chunks():
            table = Table(self.shown.path, frame, self.shown, start, self.whole)
            if (read := _impressions(table, self.spec, self.problems)) is not None:
                yield read.with_row_index(ROW, offset=start).cast({ROW: pl.Int64})

    def distinct(self, column: str) -> pl.DataFrame:
        """The ids of a column, in their order, and the `count` of their rows."""
        table = Table(self.shown.path, self.values[column], None, 0, self.whole)
        try:
            ids = table.frame.with_columns(table.identifiers(column).alias(column))
        except DataError:  # reading the pieces will say where
            return pl.DataFrame(schema={column: pl.String, "count": pl.UInt32})
        known = ids.drop_nulls(column).group_by(column).agg(pl.col("count").sum())
        return known.sort(column)


def read(folder: Path) -> RawLog:
    """Read and check a user's folder, all in memory; raises DataError that names what to mend."""
    with opened(folder) as log:
        pieces = [piece.drop(ROW) for piece in log.chunks()]
        log.problems.raise_any()
        impressions = pl.concat(pieces, rechunk=True)
        check_lists(log.shown, impressions.with_row_index(ROW), log.problems)
        log.problems.raise_any()
        return RawLog(impressions, log.items, log.users, log.spec, log.dropped, notes=log.notes)


def read_users(path: Path) -> tuple[pl.DataFrame, SourceSpec]:
    """A table of users alone, by the schema.toml beside it: user_id and the user features.

    Raises DataError that names what to mend.
    """
    folder, problems = path.parent, Problems(path)
    spec = read_spec(folder / "schema.toml")
    stem = next((path.name.removesuffix(s) for s in SUFFIXES if path.name.endswith(s)), path.name)
    with tempfile.TemporaryDirectory() as scratch:
        files = renamed(open_files(folder, stem, Path(scratch)), spec.columns.get("users", {}))
        people = _side(files, "user_id", spec.user, None, problems)
        problems.raise_any()
    assert people is not None, "what is wrong was raised"
    return people, spec


@contextmanager
def opened(
    folder: Path, scratch: Path | None = None, problems: Problems | None = None
) -> Iterator[OwnLog]:
    """Open a user's folder; where `problems` are to be collected, only what bars the way is raised.

    `scratch` is a folder for copies that are larger than memory.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as copies:
        found = Problems(folder) if problems is None else problems
        log = _open(folder, Path(copies), found)
        if problems is None or log is None:
            found.raise_any()
        assert log is not None, "what bars the way was raised"
        yield log


def _open(folder: Path, scratch: Path, problems: Problems) -> OwnLog | None:
    """The log of a folder; None where so much is wrong that it cannot be read further."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Give the folder that holds schema.toml.")
    spec: SourceSpec | None = None
    tables: dict[str, Files] = {}
    with problems.collected():
        spec = read_spec(folder / "schema.toml")
    for stem in ("impressions", "items", "users"):
        if stem != "users" or has_table(folder, stem):
            with problems.collected():
                files = open_files(folder, stem, scratch)
                tables[stem] = renamed(files, spec.columns.get(stem, {}) if spec else {})
    if spec is None:
        return None
    if "users" not in tables and not has_table(folder, "users"):
        with problems.collected():
            _no_users(folder, spec)
    shown = tables.get("impressions")
    if shown and "score" in shown.types and all(one.name != "score" for one in spec.context):
        spec = spec.model_copy(update={"context": (*spec.context, SCORE)})
        if any(one.name == "score" for one in spec.item):
            with problems.collected():
                raise DataError(
                    f"{folder / 'schema.toml'}: [item.score] has the name under which models read "
                    f"the column 'score' of {shown.path}, the earlier stage's own score. Call the "
                    "items' column otherwise, such as item_score."
                )
    items = people = None
    if "items" in tables:
        items = _side(tables["items"], "item_id", spec.item, spec.title, problems)
    if "users" in tables:
        people = _side(tables["users"], "user_id", spec.user, None, problems)
    if shown is None or not _has_columns(shown, spec, problems):
        return None
    whole, values = _looked_at(shown, spec)
    nobody = pl.DataFrame({"user_id": pl.Series([], dtype=pl.String)})
    nothing = pl.DataFrame({"item_id": pl.Series([], dtype=pl.String)})
    log = OwnLog(
        shown, whole, nothing if items is None else items, nobody if people is None else people,
        spec, problems, values, _unused(tables, spec) + _empty_lines(tables),
    )  # fmt: skip
    if items is not None:
        with problems.collected():
            log.notes.extend(_undescribed(log.distinct("item_id"), items, shown.path))
    if people is not None and any(one.name != "user_id" for one in spec.user):
        with problems.collected():
            log.notes.extend(_undescribed(log.distinct("user_id"), people, shown.path))
    return log


def _looked_at(shown: Files, spec: SourceSpec) -> tuple[dict[str, Whole], dict[str, pl.DataFrame]]:
    """What holds of whole columns, and how often each user and item is there."""
    texts = {one.name: one.separator if one.kind == "bag" else None
             for one in spec.context if one.kind != "numeric"}  # fmt: skip
    wanted = {"list_id": None, "timestamp": None, **dict.fromkeys(COUNTED), **texts}
    whole: dict[str, Whole] = dict.fromkeys(wanted, Whole())
    held: dict[str, list[pl.DataFrame]] = {name: [] for name in COUNTED}
    with bar("counting", shown.rows, "row", rows=shown.rows) as progress:
        for _, frame in shown.chunks(columns=list(wanted)):
            for name, separator in wanted.items():
                if name not in COUNTED:
                    whole[name] |= Whole.of(frame[name], separator)
            for name in COUNTED:
                held[name].append(frame.group_by(name).agg(count=pl.len()))
                if len(held[name]) > MERGED:
                    held[name] = [_merged(held[name])]
            progress.update(len(frame))
    values = {name: _merged(parts) for name, parts in held.items()}
    return whole | {name: Whole.of(values[name][name]) for name in COUNTED}, values


def _merged(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by(pl.exclude("count")).agg(pl.col("count").sum())


def _has_columns(shown: Files, spec: SourceSpec, problems: Problems) -> bool:
    before = len(problems)
    with problems.collected():
        shown.require(IMPRESSIONS, "which every log needs", _named_in("impressions"))
    with problems.collected():
        shown.require([one.name for one in spec.context], "which schema.toml declares")
    if len(problems) == before:
        with problems.collected():
            shown.exact([*IDS, *(one.name for one in spec.context if one.kind == "categorical")])
    return len(problems) == before


def _undescribed(shown: pl.DataFrame, described: pl.DataFrame, path: Path) -> list[str]:
    """A note of the log's items (or users) without a row; a DataError where that is all of them."""
    key = described.columns[0]
    table, found = {"item_id": ("items", "shown item"), "user_id": ("users", "user")}[key]
    missing = shown.join(described, on=key, how="anti", maintain_order="left")[key]
    if missing.is_empty():
        return []
    example = missing[0][:40]
    if len(missing) == len(shown):
        known = described[key][0][:40] if len(described) else "nothing"
        raise DataError(
            f"{path}, column {key!r}: no {key} of impressions (such as {example!r}) "
            f"has a row in {table} (such as {known!r}): write the ids alike in both."
        )
    many = len(missing) > 1
    return [
        f"{len(missing):,} {found}{'s have' if many else ' has'} no row in {table}, such as "
        f"{example!r}: {'they are' if many else 'it is'} kept, without features"
    ]


def _impressions(table: Table, spec: SourceSpec, problems: Problems) -> pl.DataFrame | None:
    """A piece of impressions, null where a column has a problem; None where an id has one."""
    readers: dict[str, Callable[[], pl.Series]] = {
        "list_id": lambda: table.ids("list_id", longest=None),
        "user_id": lambda: table.people("user_id"),
        "timestamp": lambda: table.seconds("timestamp"),
        "item_id": lambda: table.ids("item_id"),
        "position": lambda: table.numbers("position", POSITION),
        "label": lambda: table.numbers("label", LABEL),
        **{one.name: partial(_column, table, one) for one in spec.context},
    }
    columns = _read_columns(readers, problems)
    if any(name not in columns for name in IDS):
        return None
    types = {"timestamp": pl.Int64(), "position": pl.Float64(), "label": pl.Float64()}
    types |= {one.name: TYPES[one.kind] for one in spec.context}
    nothing = {name: pl.lit(None, types[name]) for name in readers if name not in columns}
    return pl.DataFrame(columns).with_columns(**nothing).select(list(readers))


def _read_columns(
    readers: Mapping[str, Callable[[], pl.Series]], problems: Problems
) -> dict[str, pl.Series]:
    columns = {}
    for name, read_column in readers.items():
        with problems.collected():
            columns[name] = read_column()
    return columns


def check_lists(shown: Files, frame: pl.DataFrame, problems: Problems) -> None:
    """Collect what is wrong with lists; `frame` holds whole ones of one order with ROW."""
    ordered = frame.sort(ROW)
    _collect(
        shown, problems, "item_id", ordered,
        ~ordered.select(pl.struct("list_id", "item_id").is_first_distinct()).to_series(),
        "an item is twice in one list",
        "Keep one row an item and list: the one that was seen first.",
    )  # fmt: skip
    for column, remedy in (("user_id", ONE_USER), ("timestamp", ONE_TIME)):
        first = pl.col(column).first().over("list_id")
        other = ordered.select(pl.col(column) != first).to_series()
        found = f"one list has two values of {column}"
        _collect(shown, problems, column, ordered, other, found, remedy)
    long = ordered.select(pl.len().over("list_id") > LIST_LIMIT).to_series()
    _collect(
        shown, problems, "list_id", ordered, long, f"a list is longer than {LIST_LIMIT} items",
        "Keep the candidates that reach the reranker, at most so many.",
    )  # fmt: skip


def _collect(
    shown: Files, problems: Problems, column: str, frame: pl.DataFrame, bad: pl.Series, found: str,
    remedy: str,
) -> None:  # fmt: skip
    if bad.any():
        row = int(frame[ROW].filter(bad).min())  # type: ignore[arg-type]
        problems.add(shown.fail(column, row, found, remedy, int(bad.sum())))


def _named_in(table: str) -> str:
    return f"Where it has another name, say so below [columns.{table}] in schema.toml."


def _side(
    files: Files, key: str, features: tuple[FeatureSpec, ...], title: str | None, problems: Problems
) -> pl.DataFrame | None:
    """The table of items or users, in memory; None where it has a problem."""
    before = len(problems)
    wanted = [one for one in features if one.name != key]
    for names, reason, remedy in (
        ([key], "which names each row", _named_in("items" if key == "item_id" else "users")),
        ([one.name for one in wanted], "which schema.toml declares", ""),
        ([title] if title else [], "which schema.toml names as the title", ""),
    ):
        with problems.collected():
            files.require(names, reason, remedy)
    if len(problems) == before:
        with problems.collected():
            files.exact([key, *(one.name for one in wanted if one.kind == "categorical")])
    if len(problems) > before:
        return None
    table = Table(files.path, files.lazy().collect(), files)
    readers: dict[str, Callable[[], pl.Series]] = {key: lambda: table.ids(key)}
    readers |= {one.name: partial(_column, table, one) for one in wanted}
    if title is not None and title not in readers:
        readers[title] = lambda: table.written(title)
    columns = _read_columns(readers, problems)
    if key in columns and (again := ~columns[key].is_first_distinct()).any():
        problems.add(table.fail(key, again, "the id stands in two rows", "Keep one row an id."))
    return pl.DataFrame(columns) if len(problems) == before else None


def _column(table: Table, feature: FeatureSpec) -> pl.Series:
    if feature.kind == "numeric":
        return table.numbers(feature.name)
    if feature.kind == "bag":
        return table.bags(feature.name, feature.separator)
    return table.identifiers(feature.name) if feature.name in IDS else table.text(feature.name)


def _no_users(folder: Path, spec: SourceSpec) -> None:
    if declared := [one.name for one in spec.user if one.name != "user_id"]:
        raise DataError(
            f"{folder / 'schema.toml'} declares the user features {', '.join(declared)}, but there "
            f"is no users.parquet or users.csv in {folder}. Add it, or remove them."
        )


def _empty_lines(tables: dict[str, Files]) -> Counter[str]:
    return Counter({f"empty lines of {name}": files.blank for name, files in tables.items()})


def _unused(tables: dict[str, Files], spec: SourceSpec) -> Counter[str]:
    """Columns that are there and not declared: worth a line, no more."""
    used = {*IMPRESSIONS, spec.title, *(one.name for one in (*spec.item, *spec.context))}
    return Counter({
        f"columns of {name} that schema.toml does not declare ({', '.join(extra)})": len(extra)
        for name in ("impressions", "items")
        if name in tables and (extra := [one for one in tables[name].types if one not in used])
    })  # fmt: skip
