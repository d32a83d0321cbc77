"""What was shown and what was clicked become a log: every label is recomputed by hand."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data import join as joining
from data import matched
from data.join import join, seconds
from data.sources.parquet import read
from features.errors import DataError

HEADER = (
    "list_id", "user_id", "timestamp", "item_id", "position", "rerank_index", "rerank_score",
    "rerank_shown", "rerank_candidates", "rerank_version",
)  # fmt: skip
AT = 1_700_000_000  # seconds
Row = tuple[Any, ...]


def shown_list(name: str, items: Sequence[str], user: str = "u", at: float = AT) -> list[Row]:
    """As the service writes one: the items in shown order, which came in the opposite one."""
    count = len(items)
    return [
        (name, user, int(1000 * at), item, place, count - place, 0.5, count, 9, "1")
        for place, item in enumerate(items, 1)
    ]


def table(path: Path, header: Sequence[str], rows: Iterable[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def joined(
    folder: Path, shown: Iterable[Row], clicks: Iterable[Row], **options: Any
) -> tuple[pl.DataFrame, Counter[str]]:
    """Write both tables, join them, read what came."""
    table(folder / "shown" / "shown-1.csv", HEADER, shown)
    table(folder / "clicks.csv", ("request_id", "item_id", "timestamp"), clicks)
    counts = join(
        folder / "shown", folder / "clicks.csv", folder / "out", report=lambda _: None, **options
    )
    return pl.read_parquet(folder / "out" / "impressions" / "*.parquet"), counts


def labels(frame: pl.DataFrame) -> dict[tuple[str, str], float]:
    return {(one["list_id"], one["item_id"]): one["label"] for one in frame.to_dicts()}


def test_an_item_is_positive_where_it_was_clicked_in_that_list(tmp_path: Path) -> None:
    shown = [*shown_list("a", ["x", "y", "z"]), *shown_list("b", ["y", "x"])]
    frame, counts = joined(tmp_path, shown, [("a", "y", AT + 5)])
    assert labels(frame) == {
        ("a", "x"): 0, ("a", "y"): 1, ("a", "z"): 0, ("b", "y"): 0, ("b", "x"): 0,
    }  # fmt: skip
    assert (counts["lists"], counts["rows"], counts["positives"]) == (2, 5, 1)
    facts = json.loads((tmp_path / "out" / "joined.json").read_text())
    assert facts["counts"]["positives"] == 1


@pytest.mark.parametrize(("position", "places"), [("incoming", [2, 1, 0]), ("shown", [1, 2, 3])])
def test_position_is_the_one_that_was_asked_for(
    tmp_path: Path, position: Any, places: list[int]
) -> None:
    frame, _ = joined(
        tmp_path, shown_list("a", ["x", "y", "z"]), [("a", "x", AT)], position=position
    )
    assert frame["position"].to_list() == places
    assert frame["rerank_position"].to_list() == [1, 2, 3]
    assert frame["rerank_index"].to_list() == [2, 1, 0]


def test_clicks_count_from_the_second_of_showing_for_so_long_and_once(tmp_path: Path) -> None:
    shown = shown_list("a", list("vwxyz"), at=AT + 0.9)
    clicks = [
        ("a", "v", AT - 1), ("a", "w", AT), ("a", "x", AT + 60), ("a", "y", AT + 61),
        ("a", "w", AT + 3), ("a", "w", AT + 99),
    ]  # fmt: skip
    frame, counts = joined(tmp_path, shown, clicks, within=60.0)
    assert [item for (_, item), label in labels(frame).items() if label] == ["w", "x"]
    assert counts[matched.EARLY] == 1
    assert counts[matched.LATE] == 2
    assert counts[matched.TWICE] == 1
    assert counts["clicks"] == 6


def test_clicks_without_an_impression_are_counted(tmp_path: Path) -> None:
    clicks = [("b", "x", AT), ("a", "x", AT), ("a", "q", AT), ("a", "x ", AT)]
    frame, counts = joined(tmp_path, shown_list("a", ["x", "y"]), clicks)
    assert counts[matched.UNKNOWN] == 1
    assert counts[matched.ELSEWHERE] == 2
    assert sum(frame["label"]) == 1


def test_a_list_with_a_row_missing_is_left_out_and_so_are_its_clicks(tmp_path: Path) -> None:
    whole = shown_list("a", ["x", "y", "z"])
    torn = [
        shown_list("b", ["x", "y", "z"])[:2],
        shown_list("c", ["x", "y", "z"])[1:],
        [*shown_list("d", ["x", "y"]), *shown_list("d", ["x", "y"])],
        [*shown_list("e", ["x"], "one"), *shown_list("e", ["y"], "two")],
        [("f", "u", "never", "x", 1, 0, 0.5, 1, 9, "1")],
    ]
    shown = [*whole, *(row for rows in torn for row in rows)]
    frame, counts = joined(tmp_path, shown, [("b", "x", AT)])
    assert set(frame["list_id"]) == {"a"}
    assert counts[matched.TORN] == 5
    assert counts[matched.UNKNOWN] == 1


def test_of_two_lists_with_one_id_the_last_is_kept(tmp_path: Path) -> None:
    shown = [*shown_list("a", ["p", "q"], at=AT + 9), *shown_list("a", ["x", "y", "z"])]
    frame, counts = joined(tmp_path, shown, [("a", "p", AT + 10)])
    assert labels(frame) == {("a", "p"): 1, ("a", "q"): 0}
    assert counts[matched.AGAIN] == 1


def test_lists_of_nobody_are_people_of_their_own(tmp_path: Path) -> None:
    shown = [*shown_list("a", ["x", "y"], "null"), *shown_list("b", ["x", "y"], " ")]
    frame, _ = joined(tmp_path, shown, [("a", "x", AT)])
    assert frame["user_id"].to_list() == ["a", "a", "b", "b"]


def test_a_label_of_the_clicks_is_the_items_and_the_highest_counts(tmp_path: Path) -> None:
    table(tmp_path / "shown" / "s.csv", HEADER, shown_list("a", ["x", "y"]))
    rows = [("a", "x", AT, 1), ("a", "x", AT + 1, 3), ("a", "y", AT, 2)]
    table(tmp_path / "clicks.csv", ("list_id", "item", "time", "label"), rows)
    join(tmp_path / "shown", tmp_path / "clicks.csv", tmp_path / "out", report=lambda _: None)
    frame = pl.read_parquet(tmp_path / "out" / "impressions" / "*.parquet")
    assert labels(frame) == {("a", "x"): 3, ("a", "y"): 2}


def test_however_many_parts_the_rows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    items = [f"i{number}" for number in range(30)]
    shown: list[Row] = []
    clicks: list[Row] = []
    for number in range(400):
        chosen = random.choice(items, 5, replace=False).tolist()
        shown += shown_list(f"l{number}", chosen, f"u{number % 20}", AT + number)
        clicks += [(f"l{number}", random.choice(items), AT + number + 3)]
    one, counts = joined(tmp_path / "one", shown, clicks)
    monkeypatch.setattr(joining, "PART_BYTES", 5_000)
    many, counts_of_many = joined(tmp_path / "many", shown, clicks)
    assert len(list((tmp_path / "many" / "out" / "impressions").iterdir())) > 5
    assert len(list((tmp_path / "one" / "out" / "impressions").iterdir())) == 1
    order = ["list_id", "rerank_position"]
    assert one.sort(order).equals(many.sort(order))
    assert counts == counts_of_many
    wanted = {(r[0], r[3]) for r in shown} & {c[:2] for c in clicks}
    assert {key for key, label in labels(one).items() if label} == wanted


def test_files_of_versions_with_other_features_are_one_table(tmp_path: Path) -> None:
    old = [(*row, "9.5") for row in shown_list("a", ["x", "y"])]
    table(tmp_path / "shown" / "1.csv", (*HEADER, "price"), old)
    table(tmp_path / "shown" / "2.csv", HEADER, shown_list("b", ["x", "y"]))
    packed = tmp_path / "shown" / "3.csv.gz"
    table(tmp_path / "plain.csv", HEADER, shown_list("c", ["x", "y"]))
    packed.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    (tmp_path / "shown" / ".shown-4.csv").write_text("still being written")
    table(tmp_path / "clicks.csv", ("request_id", "item_id", "timestamp"), [("a", "x", AT)])
    join(tmp_path / "shown", tmp_path / "clicks.csv", tmp_path / "out", report=lambda _: None)
    frame = pl.read_parquet(tmp_path / "out" / "impressions" / "*.parquet")
    assert dict(frame.select("list_id", "price").iter_rows()) == {"a": "9.5", "b": None, "c": None}


SCHEMA = """\
positive = ">=1"
split = "time"
[columns.impressions]
list_id = "session"
label = "clicked"
[item.colour]
kind = "categorical"
[context.price]
kind = "numeric"
"""


def logs(folder: Path, schema: str = SCHEMA) -> Path:
    table(folder / "items.csv", ("item_id", "colour"), [("x", "red"), ("y", "blue")])
    (folder / "schema.toml").write_text(schema)
    return folder


def test_with_the_tables_of_a_log_it_is_one_that_prepare_reads_under_its_names(
    tmp_path: Path,
) -> None:
    rows = [(*row, 3.5) for name in "ab" for row in shown_list(name, ["x", "y"])]
    table(tmp_path / "shown" / "1.csv", (*HEADER, "price"), rows)
    table(tmp_path / "clicks.csv", ("request_id", "item_id", "timestamp"), [("a", "x", AT)])
    tables, out = logs(tmp_path / "logs"), tmp_path / "out"
    join(tmp_path / "shown", tmp_path / "clicks.csv", out, tables=tables, report=lambda _: None)
    assert (out / "schema.toml").read_text() == SCHEMA
    log = read(out)
    assert log.impressions["price"].to_list() == [3.5] * 4
    assert log.impressions.filter(pl.col("label") == 1).select("list_id", "item_id").rows() == [
        ("a", "x")
    ]
    assert log.impressions["timestamp"].unique().to_list() == [AT]


def test_a_rule_that_no_click_meets_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    tables = logs(tmp_path / "logs", SCHEMA.replace(">=1", ">=4"))
    with pytest.raises(DataError, match="not positive by the rule"):
        joined(tmp_path, shown_list("a", ["x", "y"]), [("a", "x", AT)], tables=tables)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "logs", "shown"]


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        (("id", "item_id", "timestamp"), ("a", "x", AT), "'list_id' or 'request_id'"),
        (("request_id", "item_id", "timestamp"), ("a", "x", "soon"), "is not a time"),
        (("request_id", "item_id", "timestamp"), ("", "x", AT), "the id is empty"),
    ],
)
def test_clicks_that_cannot_be_read_are_named(
    tmp_path: Path, header: Sequence[str], row: Row, said: str
) -> None:
    table(tmp_path / "shown" / "1.csv", HEADER, shown_list("a", ["x"]))
    table(tmp_path / "clicks.csv", header, [row])
    with pytest.raises(DataError, match=said):
        join(tmp_path / "shown", tmp_path / "clicks.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_that_is_there_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(DataError, match="there already"):
        joined(tmp_path, shown_list("a", ["x"]), [("a", "x", AT)])


def test_a_folder_without_a_list_or_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole list"):
        joined(tmp_path, shown_list("a", ["x", "y"])[:1], [("a", "x", AT)])
    with pytest.raises(DataError, match="nothing at"):
        join(tmp_path / "nowhere", tmp_path / "clicks.csv", tmp_path / "out")


def test_times_are_written_with_their_unit() -> None:
    assert [seconds(text) for text in ("90s", "30m", "1h", "1.5d")] == [90, 1800, 3600, 129_600]
    for odd in ("1", "h", "-1h", "1y", "nanh", ""):
        with pytest.raises(DataError, match="90s"):
            seconds(odd)
