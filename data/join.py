"""Joins what a service showed with the clicks on it, into a folder that `psad prepare` reads.

    psad join shown clicks.csv --out joined --tables my_logs

SHOWN is what RERANK_SHOWN_LOG wrote (service/shown_rows.py), CLICKS a table of clicks that name the
request's id. Both are read once and put down by list, so that memory does not grow with them; then
some lists are matched at a time (data/matched.py).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from data import matched
from data.columns import renamed
from data.declaration import read_spec
from data.files import SUFFIXES, Files, find, has_table, open_files
from data.lists import Positive, SourceSpec
from data.shelf import Shelf
from data.tables import Table
from data.whole import Whole
from features.errors import DataError

Position = Literal["incoming", "shown"]
SUMMARY = "joined.json"
PART_BYTES = 50_000_000  # of text that is matched at a time
PACKED = 8  # how much larger a packed file is when it is not
OURS = ("list_id", "user_id", "timestamp", "item_id", "position", "rerank_index", "rerank_shown")
CALLED = {
    "list_id": ("list_id", "request_id"),
    "item_id": ("item_id", "item"),
    "timestamp": ("timestamp", "time"),
}
UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def join(
    shown: Path,
    clicks: Path,
    out: Path,
    *,
    tables: Path | None = None,
    within: float = 3_600.0,
    position: Position = "incoming",
    report: Callable[[str], None] = print,
) -> Counter[str]:
    """Write `out`, whole or not at all, and say what was counted; raises DataError.

    `tables` is the folder whose items, users and schema.toml go with it, and whose names the
    impressions' columns get. A click counts for `within` seconds. `position` is the item's place in
    the request, as models find it online, or the place where it was shown.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} is there already. Name a new folder, or remove it yourself.")
    spec = None if tables is None else read_spec(tables / "schema.toml")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as beside:
        scratch, made = Path(beside) / "scratch", Path(beside) / "made"
        counts = _matched(shown, clicks, scratch, made, within, position, spec)
        facts = {"shown": str(shown), "clicks": str(clicks), "within": within, "position": position}
        (made / SUMMARY).write_text(json.dumps({**facts, "counts": counts}, indent=1) + "\n")
        if tables is not None:
            _copy_tables(tables, made)
        if out.exists():
            out.rmdir()
        made.rename(out)
    report(described(out, counts, within))
    return counts


def seconds(text: str) -> float:
    """`"90s"`, `"30m"`, `"1h"`, `"2d"` as seconds; raises DataError."""
    number, unit = text[:-1], text[-1:]
    try:
        found = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise DataError(f"{text!r} is no length of time; write it as 90s, 30m, 1h or 2d.")
    return found


def described(out: Path, counts: Mapping[str, int], within: float) -> str:
    """What was done and what was left out, for people."""
    left = {reason: counts[reason] for reason in REASONS if counts[reason]}
    lines = [
        f"{out / 'impressions'}: {counts['lists']:,} lists of {counts['rows']:,} items shown, "
        f"{counts['positives']:,} of them clicked within {within:,.0f} seconds",
        f"of {counts['clicks']:,} clicks",
        *(["left out:"] if left else []),
        *(f"  {reason}: {count:,}" for reason, count in left.items()),
    ]
    if counts["clicks"] and not counts["positives"]:
        lines.append("no click met a list: are the clicks' ids the request ids of the answers?")
    return "\n".join(lines)


REASONS = (
    matched.AGAIN, matched.TORN, matched.UNKNOWN, matched.ELSEWHERE, matched.EARLY, matched.LATE,
    matched.TWICE,
)  # fmt: skip


def _matched(
    shown: Path, clicks: Path, scratch: Path, made: Path, within: float, position: Position,
    spec: SourceSpec | None,
) -> Counter[str]:  # fmt: skip
    written, acted = _files(shown), _files(clicks)
    parts = 1 + sum(map(_bytes, [*written, *acted])) // PART_BYTES
    lists = Shelf(scratch / "lists", "list_id", parts)
    columns = _put_down_shown(written, lists, scratch / "read")
    found = Shelf(scratch / "found", "list_id", parts)
    _put_down_clicks(clicks, found, scratch / "read", spec)
    counts: Counter[str] = Counter()
    (made / "impressions").mkdir(parents=True)
    for number in range(parts):
        rows = matched.matched(lists.part(number), found.part(number), within, counts)
        if len(rows):
            result = _laid_out(rows, columns, position, spec)
            result.write_parquet(made / "impressions" / f"part-{number:05}.parquet")
    if not counts["rows"]:
        raise DataError(f"{shown} holds no whole list. It is what RERANK_SHOWN_LOG wrote into.")
    return counts


def _put_down_shown(files: Sequence[Path], shelf: Shelf, scratch: Path) -> list[str]:
    """All shown rows as text; the columns of all files, each once."""
    columns: dict[str, None] = {}
    for path in files:
        one = open_files(path.parent, _stem(path), scratch)
        one.require(OURS, "which a service writes of what it showed")
        columns |= dict.fromkeys(one.types)
        for _, frame in one.chunks():
            shelf.add(frame.select(pl.all().cast(pl.String)))
        shutil.rmtree(scratch, ignore_errors=True)
    return list(columns)


def _put_down_clicks(path: Path, shelf: Shelf, scratch: Path, spec: SourceSpec | None) -> None:
    files = open_files(path.parent, _stem(path), scratch)
    has_label = "label" in files.types
    if not has_label and spec is not None and not _counts(spec):
        raise DataError(
            f'a click is not positive by the rule positive = "{spec.positive}" of schema.toml. '
            f"Give {path} a column label that says what each came to."
        )
    files = renamed(files, {name: _called(files, name) for name in CALLED})
    files.exact([*matched.KEYS])
    whole = dict.fromkeys(CALLED, Whole())
    for _, frame in files.chunks(columns=list(CALLED)):
        for name in CALLED:
            whole[name] |= Whole.of(frame[name])
    for start, frame in files.chunks():
        table = Table(files.path, frame, files, start, whole)
        label = table.numbers("label", "Write what the click came to.") if has_label else 1.0
        ids = {key: table.ids(key, longest=None) for key in matched.KEYS}
        read = pl.DataFrame({**ids, "timestamp": table.seconds("timestamp")})
        shelf.add(read.with_columns(label=label if has_label else pl.lit(label)))


def _counts(spec: SourceSpec) -> bool:
    """Whether the label 1 is positive, and 0 is not."""
    labels = pl.DataFrame({"label": [1.0, 0.0]})
    rule = Positive.parse(spec.positive).holds(pl.col("label"))
    return labels.select(rule).to_series().to_list() == [True, False]


def _called(files: Files, name: str) -> str:
    """What the clicks call a column."""
    for written in CALLED[name]:
        if written in files.types:
            return written
    raise DataError(
        f"{files.path} has no column {' or '.join(map(repr, CALLED[name]))}, which every click "
        f"needs. It has: {', '.join(files.types)}."
    )


def _laid_out(
    rows: pl.DataFrame, columns: Sequence[str], position: Position, spec: SourceSpec | None
) -> pl.DataFrame:
    """The columns in one order for all parts, under the names that schema.toml gives them."""
    shown = pl.col("position").alias("rerank_position")
    place = pl.col("rerank_index" if position == "incoming" else "position").alias("position")
    missing = [pl.lit(None, pl.String).alias(name) for name in columns if name not in rows.columns]
    ordered = rows.with_columns(*missing).select(
        "list_id", "user_id", "timestamp", "item_id", place, "label", shown,
        *(name for name in columns if name not in OURS[:5]),
    )  # fmt: skip
    called = spec.columns.get("impressions", {}) if spec else {}
    names: dict[str, str] = {}
    for name in ordered.columns:  # one column may be both the list and the user: the first is it
        names.setdefault(called.get(name, name), name)
    return ordered.select(pl.col(name).alias(written) for written, name in names.items())


def _copy_tables(tables: Path, made: Path) -> None:
    shutil.copyfile(tables / "schema.toml", made / "schema.toml")
    for stem in ("items", "users"):
        if stem == "users" and not has_table(tables, stem):
            continue
        path, _ = find(tables, stem)
        copy: Any = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, made / path.name)


def _files(path: Path) -> list[Path]:
    """The files of a table that was named by its path."""
    if not path.exists():
        raise DataError(f"there is nothing at {path}. Name a file, or a folder of them.")
    return find(path.parent, _stem(path))[1]


def _stem(path: Path) -> str:
    if path.is_dir():
        return path.name
    suffix = next((one for one in SUFFIXES if path.name.endswith(one)), None)
    if suffix is None:
        raise DataError(f"{path} is neither Parquet nor CSV by its name.")
    return path.name.removesuffix(suffix)


def _bytes(path: Path) -> int:
    return path.stat().st_size * (1 if path.suffix == ".csv" else PACKED)
