"""A log gives the same files however it is cut: in memory, one file, parts, small pieces."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from data import coded, files, prepare, statistics, stream, write
from data.sources import parquet
from features.errors import DataError
from tests.data.conftest import SCHEMA, Tables, log_tables, write_folder
from tests.data.test_prepare import silent


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The small log with a bag in the context, gaps, ties in time, and rows in no order at all."""
    tables = log_tables(seed=3)
    shown = tables["impressions"].sample(fraction=1, shuffle=True, seed=1)
    row = pl.int_range(pl.len())
    tables["impressions"] = shown.with_columns(
        timestamp=pl.col("timestamp") // 180 * 180,
        price=pl.when(row % 11 > 0).then("price"),
        badge=pl.when(row % 7 > 0).then("badge"),
        shelf=pl.when(row % 5 > 0).then(pl.format("s{}|s{}", row % 3, row % 4)),
    )
    return tables


CONTEXT = SCHEMA + '[context.shelf]\nkind = "bag"\n'


def content(folder: Path) -> dict[str, object]:
    """What a dataset's files hold; info.json and the page without the source's name."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = path.read_bytes()
        if name == "info.json":
            found[name] = [line for line in path.read_text().splitlines() if '"source"' not in line]
        if name == "summary.html":
            found[name] = path.read_text(encoding="utf-8").split("<footer>")[0]
    return found


def assert_same(one: Path, other: Path) -> None:
    left, right = content(one), content(other)
    assert left.keys() == right.keys()
    for name, values in left.items():
        assert values == right[name], name


def cut_small(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(files, "CHUNK_ROWS", rows)
    monkeypatch.setattr(stream, "RANGE_ROWS", rows)
    monkeypatch.setattr(stream, "GROUP_ROWS", max(1, rows // 3))
    monkeypatch.setattr(coded, "PIECE_ROWS", rows)
    monkeypatch.setattr(parquet, "MERGED", 2)


@pytest.mark.parametrize(
    ("split", "rows"), [("last-list", 7), ("last-list", 100), ("time", 7), ("user", 7)]
)
def test_small_pieces_give_the_files_that_memory_gives(tmp_path, tables, monkeypatch, split, rows):
    folder = write_folder(tmp_path / "log", tables, CONTEXT)
    log = parquet.read(folder)
    prepare.prepare_log(log, tmp_path / "memory", split=split, report=silent)
    cut_small(monkeypatch, rows)
    prepare.prepare(folder, tmp_path / "pieces", split=split, report=silent)
    assert_same(tmp_path / "memory", tmp_path / "pieces")


def test_a_history_of_ranked_lists_only_is_the_same_too(tmp_path, tables, monkeypatch):
    folder = write_folder(tmp_path / "log", tables, CONTEXT)
    asked = {"history": "evaluable", "report": silent}
    prepare.prepare_log(parquet.read(folder), tmp_path / "memory", **asked)
    cut_small(monkeypatch, 50)
    prepare.prepare(folder, tmp_path / "pieces", **asked)
    assert_same(tmp_path / "memory", tmp_path / "pieces")


def in_parts(folder: Path, tables: Tables, suffix: str, sizes: tuple[int, ...]) -> Path:
    """The log with impressions as a folder of part files of these sizes, and the rest."""
    write_folder(folder, {name: tables[name] for name in ("items", "users")}, CONTEXT)
    start = 0
    for number, size in enumerate((*sizes, len(tables["impressions"]) - sum(sizes))):
        part = tables["impressions"][start : start + size]
        path = folder / "impressions" / f"day={number}" / f"part-0{suffix}"
        path.parent.mkdir(parents=True)
        if suffix == ".parquet":
            part.write_parquet(path)
        else:
            part.write_csv(path, compression="gzip" if suffix == ".csv.gz" else "uncompressed")
        start += size
    return folder


@pytest.mark.parametrize(("suffix", "rows"), [(".csv", 40), (".csv.gz", 250_000), (".parquet", 40)])
def test_part_files_give_the_files_of_one(tmp_path, tables, monkeypatch, suffix, rows):
    one = write_folder(tmp_path / "one", tables, CONTEXT, suffix="csv")
    prepare.prepare(one, tmp_path / "whole", report=silent)
    cut_small(monkeypatch, rows)
    parts = in_parts(tmp_path / "parts", tables, suffix, (1, 100, 13))
    prepare.prepare(parts, tmp_path / "joined", report=silent)
    left, right = content(tmp_path / "whole"), content(tmp_path / "joined")
    for one in (left, right):  # the folders' `day` is a column that nobody declared
        info = json.loads("\n".join(one["info.json"]))
        info["dropped"] = {why: n for why, n in info["dropped"].items() if "columns of" not in why}
        one["info.json"] = info
        del one["summary.html"]  # which shows it as well
    assert left == right


def test_one_user_is_never_divided_and_one_with_all_rows_is_no_trouble(
    tmp_path, tables, monkeypatch
):
    single = tables | {"impressions": tables["impressions"].with_columns(user_id=3)}
    folder = write_folder(tmp_path / "log", single, CONTEXT)
    log = parquet.read(folder)
    prepare.prepare_log(log, tmp_path / "memory", split="time", report=silent)
    cut_small(monkeypatch, 10)
    prepare.prepare(folder, tmp_path / "pieces", split="time", report=silent)
    assert_same(tmp_path / "memory", tmp_path / "pieces")


@pytest.mark.parametrize("rows", [3, 1000])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("user_id", "5", r"'user_id', line 3: one list has two values of user_id"),
        ("timestamp", "5", r"'timestamp', line 3: one list has two values of timestamp"),
        ("price", "cheap", r"'price', line 3: 'cheap' is not a number \(2 rows are like this\)"),
    ],
)
def test_a_problem_is_found_across_pieces_and_counted(
    tmp_path, monkeypatch, rows, column, value, message
):
    tables = log_tables()
    shown = tables["impressions"].with_columns(pl.col(column).cast(pl.String))
    new = [shown[column][0], value, *shown[column][2:]]
    if column == "price":
        new[200] = value
    tables["impressions"] = shown.with_columns(pl.Series(column, new))
    folder = write_folder(tmp_path / "log", tables)
    cut_small(monkeypatch, rows)
    with pytest.raises(DataError, match=message):
        prepare.prepare(folder, tmp_path / "d", report=silent)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


# what psad calls columns of its own, here and there
TAKEN = ("code", "item", "range", "row", "positive", "appeared", "user", "list", "count", "length")


def test_a_column_may_have_any_name_that_is_none_of_the_logs_own(tmp_path, tables, monkeypatch):
    shown = tables["impressions"].with_columns(pl.col("badge").alias(name) for name in TAKEN)
    schema = CONTEXT + "".join(f'[context.{name}]\nkind = "categorical"\n' for name in TAKEN)
    folder = write_folder(tmp_path / "log", tables | {"impressions": shown}, schema)
    blank = (folder / "impressions.csv").read_bytes().replace(b"\n", b"\n\n", 1)
    (folder / "impressions.csv").write_bytes(blank)
    prepare.prepare_log(parquet.read(folder), tmp_path / "memory", report=silent)
    cut_small(monkeypatch, 50)
    dataset = prepare.prepare(folder, tmp_path / "pieces", report=silent)
    assert_same(tmp_path / "memory", tmp_path / "pieces")
    features = {one.name: one for one in dataset.schema.context}
    assert len(features["badge"].vocabulary) == 2
    for name in TAKEN:
        assert features[name].vocabulary == features["badge"].vocabulary, name
    raw = pl.read_parquet(tmp_path / "pieces" / "context.parquet")
    assert all(raw[name].equals(raw["badge"]) for name in TAKEN)


def test_folds_are_what_all_did_less_the_fold(tmp_path, tables, monkeypatch):
    """The statistics that a fold's lists get, counted anew without its people."""
    folder = write_folder(tmp_path / "log", tables, CONTEXT)
    seen = {}

    def remembered(counts, bag, schema, place, tick):
        found = statistics.fit_folds(counts, bag, schema, place, tick=tick)
        seen["folds"] = [{k: v.copy() for k, v in vars(one).items()} for one in found]
        return found

    monkeypatch.setattr(write, "fit_folds", remembered)
    dataset = prepare.prepare(folder, tmp_path / "d", report=silent)
    log = parquet.read(folder)
    arranged = coded.code(log, prepare.arrange(log, "last-list"))
    fold = statistics.fold_of_users(len(arranged.users), write.FOLDS, 0)
    of_list = fold[arranged.lists["user"].to_numpy()]
    train_side = arranged.chosen("train", "statistics")
    for number in range(write.FOLDS):
        others = arranged.impressions(train_side & (of_list != number))
        rows = len(dataset.catalogue) + 1
        anew = statistics.fit_statistics(others, rows, dataset.catalogue.bag, dataset.schema)
        for name, values in vars(anew).items():
            assert (values == seen["folds"][number][name]).all(), (number, name)


@pytest.mark.parametrize("rows", [1, 5, 36, 1000])
def test_pieces_of_impressions_hold_whole_users_and_every_row_once(
    tmp_path, tables, monkeypatch, rows
):
    monkeypatch.setattr(coded, "PIECE_ROWS", rows)
    log = parquet.read(write_folder(tmp_path / "log", tables, CONTEXT))
    arranged = coded.code(log, prepare.arrange(log, "last-list"))
    chosen = arranged.chosen("train")
    pieces = list(arranged.impressions(chosen))
    people = [set(piece.user.tolist()) for piece in pieces]
    assert sum(map(len, people)) == len(set().union(*people))
    assert sum(piece.lists for piece in pieces) == chosen.sum()
    together = [row for piece in pieces for row in piece.row.tolist()]
    assert together == arranged.row[arranged.of_rows(chosen)].tolist()
    assert rows < 1000 or len(pieces) == 1
