"""Wrong files of every kind: one message that a tired person can act on, or handled and counted.

Every case bends a valid folder. REFUSED ones give the file, the column and a row where there are
any, and what to do; HANDLED ones are prepared, and the case says what becomes of them.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from data.prepare import check
from features.errors import DataError
from tests.data.conftest import SCHEMA, log_tables, write_folder

Bend = Callable[[Path], object]


def cells(table: str, column: str, **rows: object) -> Bend:
    """Put values into rows of a CSV; `line_3` is the third line of the file."""

    def bend(folder: Path) -> None:
        path = folder / f"{table}.csv"
        frame = pl.read_csv(path, infer_schema=False)
        values = frame[column].to_list()
        for line, value in rows.items():
            values[int(line.removeprefix("line_")) - 2] = value
        frame.with_columns(pl.Series(column, values)).write_csv(path)

    return bend


def column(table: str, **columns: pl.Expr) -> Bend:
    """Replace columns of a CSV by expressions of it."""

    def bend(folder: Path) -> None:
        path = folder / f"{table}.csv"
        pl.read_csv(path, infer_schema=False).with_columns(**columns).write_csv(path)

    return bend


def parquet(table: str, **columns: pl.Expr) -> Bend:
    """The same, written as Parquet in place of the CSV."""

    def bend(folder: Path) -> None:
        path = folder / f"{table}.csv"
        frame = pl.read_csv(path)
        frame.with_columns(**columns).write_parquet(path.with_suffix(".parquet"))
        path.unlink()

    return bend


def content(name: str, change: Callable[[bytes], bytes]) -> Bend:
    """Change a file's bytes."""
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def line(name: str, number: int, change: Callable[[bytes], bytes]) -> Bend:
    """Change one line of a file."""

    def changed(whole: bytes) -> bytes:
        lines = whole.splitlines(keepends=True)
        lines[number - 1] = change(lines[number - 1])
        return b"".join(lines)

    return content(name, changed)


def moved(name: str, to: str) -> Bend:
    return lambda folder: (folder / name).rename(folder / to)


def schema(change: Callable[[str], str]) -> Bend:
    return content("schema.toml", lambda whole: change(whole.decode()).encode())


def parts(*bends: Callable[[pl.DataFrame], pl.DataFrame], suffix: str = "csv") -> Bend:
    """Impressions as a folder of two parts or more, each bent by its own function."""

    def bend(folder: Path) -> None:
        path = folder / "impressions.csv"
        frame = pl.read_csv(path, infer_schema=suffix != "csv")
        path.unlink()
        (folder / "impressions").mkdir()
        size = len(frame) // len(bends)
        for number, change in enumerate(bends):
            part = change(frame[number * size : (number + 1) * size])
            to = folder / "impressions" / f"part-{number}.{suffix}"
            part.write_csv(to) if suffix == "csv" else part.write_parquet(to)

    return bend


def same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def both(*bends: Bend) -> Bend:
    return lambda folder: [bend(folder) for bend in bends]


def long_list(folder: Path) -> None:
    path, rows = folder / "impressions.csv", 1001
    head = pl.read_csv(path, infer_schema=False)
    extra = pl.concat([head[:1]] * rows).with_columns(
        list_id=pl.lit("long"), item_id=pl.int_range(rows).cast(pl.String)
    )
    pl.concat([head, extra]).write_csv(path)


IMPRESSIONS, CSV = "impressions.csv", "impressions.csv, column"
OF_TIME = "Give seconds since 1970 or ISO text"

REFUSED: dict[str, tuple[Bend, list[str]]] = {
    "missing column": (
        line(IMPRESSIONS, 1, lambda old: old.replace(b"label", b"lable")),
        ["impressions.csv has no column 'label'", "Did you mean 'lable'?"],
    ),
    "column names with spaces around them": (
        line(IMPRESSIONS, 1, lambda old: old.replace(b",", b", ")),
        ["impressions.csv has no column 'user_id' (nor 'timestamp', 'item_id', 'position', "
         "'label'), which every log needs", "Did you mean ' user_id'?"],
    ),
    "a line counted behind empty ones": (
        both(cells("impressions", "price", line_9="cheap"),
             line(IMPRESSIONS, 3, lambda old: old + b"\n\n")),
        [f"{CSV} 'price', line 11: 'cheap' is not a number"],
    ),
    "text in a number": (
        cells("impressions", "price", line_9="cheap"),
        [f"{CSV} 'price', line 9: 'cheap' is not a number", "price='cheap'", "leave it empty"],
    ),
    "number with a comma and a currency": (
        cells("impressions", "price", line_2="1.299,00 €"),
        [f"{CSV} 'price', line 2: '1.299,00 €' is not a number"],
    ),
    "label that positive cannot read": (
        cells("impressions", "label", line_2="yes", line_4="no"),
        [f"{CSV} 'label', line 2: 'yes' is not a number (2 rows", "write 1 for yes, 0 for no"],
    ),
    "label left empty": (
        cells("impressions", "label", line_5=None),
        [f"{CSV} 'label', line 5: there is no number", "write 1 for yes"],
    ),
    "item twice in a list": (
        column("impressions", item_id=pl.when(pl.int_range(pl.len()) == 1)
               .then(pl.col("item_id").first()).otherwise("item_id")),
        [f"{CSV} 'item_id', line 3: an item is twice in one list", "list_id='l0'",
         "Keep one row an item and list"],
    ),
    "empty file": (
        content(IMPRESSIONS, lambda _: b""), ["impressions.csv is empty", "Write it again"],
    ),
    "header only": (
        content(IMPRESSIONS, lambda whole: whole.splitlines(keepends=True)[0]),
        ["impressions.csv holds no rows", "check the export"],
    ),
    "list over the limit": (
        long_list,
        [f"{CSV} 'list_id', line 362: a list is longer than 1000 items (1,001 rows",
         "Keep the candidates that reach the reranker"],
    ),
    "an id that is a list": (
        parquet("impressions", item_id=pl.concat_list("item_id")),
        ["impressions.parquet, column 'item_id', row 0: expected text or a number: it holds List"],
    ),
    "infinite numbers as categories": (
        parquet("impressions", badge=pl.lit(float("inf"))),
        ["column 'badge', row 0: expected text or a number: found a value of type float"],
    ),
    "infinite prices": (
        cells("impressions", "price", line_3="inf"),
        [f"{CSV} 'price', line 3: the number is beyond 1e30, or infinite", "leave it empty"],
    ),
    "ids left empty": (
        cells("impressions", "list_id", line_2=None),
        [f"{CSV} 'list_id', line 2: the id is empty", "Give every row an id"],
    ),
    "users left empty": (
        cells("impressions", "user_id", line_3=None),
        [f"{CSV} 'user_id', line 3: the id is empty", "whom other rows of the list name",
         "the list's id in all of its rows"],
    ),
    "users that nobody knew": (
        cells("impressions", "user_id", **{f"line_{line}": "NULL" for line in range(7, 12)}),
        [f"{CSV} 'user_id', line 7: the id says that there is none", "(5 rows",
         "give each visitor an id", "whom other rows of the list name"],
    ),
    "duplicate users": (
        cells("users", "user_id", line_4="0"),
        ["users.csv, column 'user_id', line 4: the id stands in two rows", "Keep one row an id"],
    ),
    "duplicate items": (
        cells("items", "item_id", line_3="0"),
        ["items.csv, column 'item_id', line 3: the id stands in two rows", "name='item 1'"],
    ),
    "truncated Parquet": (
        both(parquet("impressions"), content("impressions.parquet", lambda whole: whole[:-100])),
        ["impressions.parquet cannot be read: it begins as Parquet and breaks off", "Copy"],
    ),
    "Parquet with a damaged middle": (
        both(parquet("impressions"), content(
            "impressions.parquet", lambda old: old[:4] + b"\xff" * (len(old) - 12) + old[-8:])),
        ["impressions.parquet cannot be read: it is damaged", "Copy or write it again"],
    ),
    "Parquet that is a CSV": (
        moved(IMPRESSIONS, "impressions.parquet"),
        ["impressions.parquet cannot be read: it is text, such as CSV", "impressions.csv"],
    ),
    "CSV that is Parquet": (
        both(parquet("impressions"), moved("impressions.parquet", IMPRESSIONS)),
        ["impressions.csv cannot be read: it is Parquet", "Rename it to impressions.parquet"],
    ),
    "CSV with semicolons": (
        content(IMPRESSIONS, lambda whole: whole.replace(b",", b";")),
        ["impressions.csv cannot be read: its columns are divided by semicolons", "with commas"],
    ),
    "parts with semicolons": (
        both(parts(same, same, same), *(
            content(f"impressions/part-{number}.csv", lambda whole: whole.replace(b",", b";"))
            for number in (1, 2))),
        ["part-1.csv cannot be read: its columns are divided by semicolons",
         "(1 more file of", "impressions/*.csv"],
    ),
    "CSV with tabs": (
        content("items.csv", lambda whole: whole.replace(b",", b"\t")),
        ["items.csv cannot be read: its columns are divided by tabs", "with commas"],
    ),
    "CSV in latin-1": (
        line("items.csv", 7, lambda _: "5,Käse,c1,t1\n".encode("latin-1")),
        ["items.csv cannot be read: line 7 is not UTF-8", "iconv -f WINDOWS-1252 -t UTF-8"],
    ),
    "CSV in UTF-16": (
        content("items.csv", lambda whole: whole.decode().encode("utf-16")),
        ["items.csv cannot be read: it is not UTF-8 but UTF-16", "iconv -f UTF-16 -t UTF-8"],
    ),
    "CSV row with a value too many": (
        line(IMPRESSIONS, 6, lambda old: old.rstrip() + b",extra\n"),
        ["impressions.csv cannot be read: line 6 has 9 values and the header 8", "double quotes"],
    ),
    "CSV with an unclosed quote": (
        line("items.csv", 4, lambda old: old.replace(b"item 2", b'"item 2')),
        ["items.csv cannot be read: the row that begins in line 4 has a double quote too many",
         "Close each quote"],
    ),
    "gzip without .gz": (
        content(IMPRESSIONS, lambda whole: gzip.compress(whole)),
        ["impressions.csv cannot be read: it is compressed", "Rename it to impressions.csv.gz"],
    ),
    "gzip cut short": (
        both(content(IMPRESSIONS, lambda whole: gzip.compress(whole)[:-30]),
             moved(IMPRESSIONS, "impressions.csv.gz")),
        ["impressions.csv.gz cannot be read", "Copy or write it again"],
    ),
    "column named twice": (
        line(IMPRESSIONS, 1, lambda old: old.replace(b"badge", b"price")),
        ["impressions.csv: the header names the column 'price' twice", "Rename one"],
    ),
    "times of which some have a zone": (
        column("impressions", timestamp=pl.when(pl.col("list_id") == "l2")
               .then(pl.lit("2024-05-01T12:00:00")).otherwise(pl.lit("2024-05-01T12:00:00+02:00"))),
        [f"{CSV} 'timestamp', line 12: the time has no zone, and others in this column have one",
         "Write the zone in every row"],
    ),
    "times in different units": (
        column("impressions", timestamp=pl.when(pl.col("list_id") == "l1")
               .then(pl.col("timestamp")).otherwise(pl.col("timestamp") + "000")),
        [f"{CSV} 'timestamp', line 7: the time is too small for milliseconds", "in one unit"],
    ),
    "a time thousands of years off": (
        column("impressions", timestamp=pl.when(pl.col("list_id") == "l3")
               .then(pl.lit("9999-12-31")).otherwise(pl.lit("2024-05-01"))),
        [f"{CSV} 'timestamp', line 17: the time lies thousands of years from now", "placeholder"],
    ),
    "no time at all": (
        cells("impressions", "timestamp", line_2="yesterday"),
        [f"{CSV} 'timestamp', line 2: 'yesterday' is not a time", OF_TIME],
    ),
    "day before month": (
        column("impressions", timestamp=pl.lit("31/12/2024 10:00")),
        [f"{CSV} 'timestamp', line 2: '31/12/2024 10:00' is not a time (360 rows", OF_TIME],
    ),
    "list with two users": (
        cells("impressions", "user_id", line_4="7"),
        [f"{CSV} 'user_id', line 4: one list has two values of user_id",
         "write the same in all its rows", "make list_id unique"],
    ),
    "list with two times": (
        cells("impressions", "timestamp", line_4="1700000000"),
        [f"{CSV} 'timestamp', line 4: one list has two values of timestamp",
         "the time at which the list was shown"],
    ),
    "no items table": (
        lambda folder: (folder / "items.csv").unlink(),
        ["needs one of items.parquet and items.csv, but it holds impressions.csv, schema.toml"],
    ),
    "both a CSV and a Parquet": (
        lambda folder: pl.read_csv(folder / "items.csv").write_parquet(folder / "items.parquet"),
        ["needs one of items.parquet and items.csv, but both are there"],
    ),
    "ids that match nowhere": (
        column("items", item_id=pl.format("art-{}", "item_id")),
        ["no item_id of impressions (such as '0') has a row in items (such as 'art-0')",
         "write the ids alike in both"],
    ),
    "users that match nobody": (
        column("users", user_id=pl.format("u-{}", "user_id")),
        ["no user_id of impressions (such as '0') has a row in users (such as 'u-0')",
         "write the ids alike in both"],
    ),
    "schema.toml broken": (
        schema(lambda old: old.replace('name = "shop"', "name = shop")),
        ["schema.toml cannot be read", "line 2"],
    ),
    "schema.toml missing": (
        lambda folder: (folder / "schema.toml").unlink(), ["schema.toml is missing"],
    ),
    "unknown key in schema.toml": (
        schema(lambda old: old.replace("max_history", "maxhistory")),
        ["schema.toml: unknown key 'maxhistory'. Did you mean 'max_history'?"],
    ),
    "a context feature that is the order of the log": (
        schema(lambda old: old + '[context.position]\nkind = "numeric"\n'),
        ["schema.toml: [context.position] is what psad itself reads the position from",
         "position_logged"],
    ),
    "a context feature that names the user": (
        schema(lambda old: old + '[context.user_id]\nkind = "categorical"\n'),
        ["schema.toml: [context.user_id] is what names the user of a row; write [user.user_id]"],
    ),
    "an item's feature and a context feature of one name": (
        schema(lambda old: old + '[item.badge]\nkind = "categorical"\n'),
        ["schema.toml: [item.badge] and [context.badge] are both read of a candidate",
         "badge_shown"],
    ),
    "an item's score beside a logged one": (
        both(column("impressions", score=pl.col("position")),
             column("items", score=pl.col("item_id")),
             schema(lambda old: old + '[item.score]\nkind = "numeric"\n')),
        ["schema.toml: [item.score] has the name under which models read the column 'score' of",
         "item_score"],
    ),
    "a context feature whose column is read as another": (
        both(line(IMPRESSIONS, 1, lambda old: old.replace(b"position", b"rank")),
             schema(lambda old: old + '[context.rank]\nkind = "numeric"\n'
                                      '[columns.impressions]\nposition = "rank"\n')),
        ["schema.toml: the column 'rank' is read as position, as [columns.impressions] says",
         "none for [context.rank]", "such as rank_logged"],
    ),
    "an id that is a feature under the file's name": (
        both(line("items.csv", 1, lambda old: old.replace(b"item_id", b"sku")),
             schema(lambda old: old + '[item.sku]\nkind = "categorical"\n'
                                      '[columns.items]\nitem_id = "sku"\n')),
        ["schema.toml: the column 'sku' is read as item_id, as [columns.items] says",
         "Write [item.item_id] instead"],
    ),
    "a feature called as psad's own columns are": (
        schema(lambda old: old + '[item."psad row"]\nkind = "categorical"\n'),
        ["schema.toml: [item.'psad row'] begins as psad's own columns do; rename it"],
    ),
    "unknown kind in schema.toml": (
        schema(lambda old: old.replace('"bag"', '"tags"')),
        ["schema.toml: [item.tags] kind", "found 'tags'", "'categorical', 'bag' or 'numeric'"],
    ),
    "an id declared a number": (
        schema(lambda old: old.replace('[item.item_id]\nkind = "categorical"\nmin_count = 2',
                                       '[item.item_id]\nkind = "numeric"')),
        ["schema.toml: [item.item_id] is an id", 'write kind = "categorical"'],
    ),
    "all labels positive": (
        column("impressions", label=pl.lit("3")),
        [f"{CSV} 'label', line 2: all 360 labels are positive by the rule positive = \">=1\"",
         "A list needs both kinds"],
    ),
    "all labels negative": (
        column("impressions", label=pl.lit("0")),
        [f"{CSV} 'label', line 2: all 360 labels are negative by the rule", "what people acted on"],
    ),
    "user features without a users table": (
        lambda folder: (folder / "users.csv").unlink(),
        ["schema.toml declares the user features age, city, but there is no users.parquet",
         "Add it, or remove them"],
    ),
    "nested column where a number is wanted": (
        parquet("impressions", price=pl.concat_list("price")),
        ["impressions.parquet, column 'price', row 0: a list is not a number (360 rows"],
    ),
    "nested column where one text is wanted": (
        parquet("impressions", badge=pl.concat_list("badge")),
        ["impressions.parquet, column 'badge', row 0: expected text or a number",
         "a list is a bag"],
    ),
    "part files with different columns": (
        parts(same, lambda part: part.drop("badge")),
        ["part-1.csv has no column 'badge', which", "part-0.csv has", "the same columns"],
    ),
    "part files with another column more": (
        parts(same, lambda part: part.with_columns(extra=1)),
        ["part-0.csv has no column 'extra', which", "part-1.csv has"],
    ),
    "part files whose column is text in one and a number in the other": (
        parts(same, lambda part: part.with_columns(pl.col("price").cast(pl.String)),
              suffix="parquet"),
        ["column 'price' holds String in", "part-1.parquet and Float64 in",
         "Write all parts alike"],
    ),
    "a wrong cell in the second part": (
        parts(same, lambda part: part.with_columns(price=pl.lit("cheap"))),
        ["part-1.csv, column 'price', line 2: 'cheap' is not a number (180 rows"],
    ),
    "a file among the parts that is no table": (
        both(parts(same, same), lambda folder: (folder / "impressions/notes.txt").write_text("")),
        ["notes.txt is neither Parquet nor CSV by its name", "move"],
    ),
    "an empty folder of parts": (
        both(lambda folder: (folder / IMPRESSIONS).unlink(),
             lambda folder: (folder / "impressions").mkdir()),
        ["impressions is an empty folder"],
    ),
}  # fmt: skip

HANDLED: dict[str, tuple[Bend, list[str]]] = {
    "empty lines are left out and counted": (
        both(content(IMPRESSIONS, lambda whole: whole + b"\n\n"),
             line(IMPRESSIONS, 6, lambda old: old + b"\n")),
        ["left out: 3 empty lines of impressions"],
    ),
    "NaN prices are missing ones": (cells("impressions", "price", line_3="NaN", line_4="NA"), []),
    "NaN prices of a Parquet too": (
        parquet("impressions", price=pl.lit(float("nan"))), ["72 lists"],
    ),
    "ids as numbers are their decimals": (
        parquet("impressions", item_id=pl.col("item_id").cast(pl.Int16)), ["30 items"],
    ),
    "ids as floats, as pandas writes them, are whole numbers": (
        both(parquet("impressions", item_id=pl.col("item_id").cast(pl.Float64)),
             column("items", item_id=pl.col("item_id") + ".0")),
        ["30 items", "note: 1 shown item has no row in items, such as '29': it is kept"],
    ),
    "a byte order mark is left out": (
        content(IMPRESSIONS, lambda whole: b"\xef\xbb\xbf" + whole), ["72 lists"],
    ),
    "Windows' line ends are line ends": (
        content(IMPRESSIONS, lambda whole: whole.replace(b"\n", b"\r\n")), ["72 lists"],
    ),
    "a CSV row with a value too few lacks its last": (
        line(IMPRESSIONS, 6, lambda old: old.rpartition(b",")[0] + b"\n"), ["72 lists"],
    ),
    "negative positions only order": (
        column("impressions", position=(pl.lit("-") + pl.col("position"))), ["72 lists"],
    ),
    "times of different zones are moments": (
        column("impressions", timestamp=pl.when(pl.col("user_id") == "1")
               .then(pl.lit("2024-05-01T12:00:00+02:00")).otherwise(pl.lit("2024-05-01T10:00:00Z"))),
        ["72 lists"],
    ),
    "users without a row in users have missing features": (
        content("users.csv", lambda whole: b"".join(whole.splitlines(keepends=True)[:4])),
        ["12 users", "note: 9 users have no row in users, such as '10': they are kept, without "
         "features"],
    ),
    "columns that nobody declared are counted": (
        column("items", colour=pl.lit("red")),
        ["1 columns of items that schema.toml does not declare (colour)"],
    ),
    "a list without a positive item is counted": (
        column("impressions", label=pl.when(pl.col("list_id") == "l0").then(pl.lit("0"))
               .otherwise("label")),
        ["left out: 1 lists without a positive item"],
    ),
    "part files whose numbers are of different types": (
        parts(same, lambda part: part.with_columns(pl.col("user_id").cast(pl.Float64)),
              suffix="parquet"),
        ["72 lists, 12 users"],
    ),
    "labels that are truth values in one part and numbers in the other": (
        parts(same, lambda part: part.with_columns(pl.col("label") == 1), suffix="parquet"),
        ["72 lists"],
    ),
    "parts with the columns in another order": (
        parts(same, lambda part: part.select(sorted(part.columns))), ["72 lists"],
    ),
    "what a tool leaves among its parts": (
        both(parts(same, same), lambda folder: (folder / "impressions/_SUCCESS").write_text("")),
        ["72 lists"],
    ),
}  # fmt: skip


def folder_of(tmp_path: Path, bend: Bend) -> Path:
    folder = write_folder(tmp_path / "shop", log_tables(), SCHEMA)
    bend(folder)
    return folder


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_file_is_refused_in_one_message_that_helps(tmp_path: Path, case: str) -> None:
    bend, wanted = REFUSED[case]
    with pytest.raises(DataError) as caught:
        check(folder_of(tmp_path, bend), report=lambda _: None)
    message = str(caught.value)
    print(message)
    for one in wanted:
        assert one in message
    assert case.startswith("column names") or "things are wrong" not in message
    assert len(message.replace(str(tmp_path), "")) < 600
    assert str(tmp_path) in message or "needs one of" in message


@pytest.mark.parametrize("case", HANDLED)
def test_an_odd_file_is_handled_and_counted(tmp_path: Path, case: str) -> None:
    bend, wanted = HANDLED[case]
    said: list[str] = []
    check(folder_of(tmp_path, bend), report=said.append)
    assert re.search(r"can be prepared: 360 rows", said[0])
    for one in wanted:
        assert one in said[0]


def test_check_names_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    bends = [REFUSED[case][0] for case in (
        "text in a number", "label that positive cannot read", "item twice in a list",
        "duplicate users", "duplicate items", "list with two times",
    )]  # fmt: skip
    with pytest.raises(DataError, match="6 things are wrong") as caught:
        check(folder_of(tmp_path, both(*bends)), report=lambda _: None)
    for number in range(1, 7):
        assert f"\n  {number}. " in str(caught.value)
    for one in ("'price'", "'label'", "twice in one list", "users.csv", "items.csv", "two values"):
        assert one in str(caught.value)


def test_check_keeps_the_same_problem_of_two_tables_apart(tmp_path: Path) -> None:
    bend = both(cells("items", "item_id", line_5=""), cells("impressions", "item_id", line_9=""))
    with pytest.raises(DataError, match="2 things are wrong") as caught:
        check(folder_of(tmp_path, bend), report=lambda _: None)
    assert "items.csv, column 'item_id', line 5: the id is empty." in str(caught.value)
    assert "impressions.csv, column 'item_id', line 9: the id is empty." in str(caught.value)


def test_check_writes_nothing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, lambda _: None)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    check(folder, report=lambda _: None)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


@pytest.mark.parametrize("sign", [";", "\t", "|"])
def test_the_command_that_the_message_gives_mends_a_csv_with_another_delimiter(
    tmp_path: Path, sign: str
) -> None:
    bend = parts(same, same)

    def divided(folder: Path) -> None:
        bend(folder)
        for path in (folder / "impressions").iterdir():
            pl.read_csv(path, infer_schema=False).write_csv(path, separator=sign)

    folder = folder_of(tmp_path, divided)
    with pytest.raises(DataError, match="1 more file of") as caught:
        check(folder, report=lambda _: None)
    command = str(caught.value).partition("(keep a copy): python ")[2]
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True)
    check(folder, report=(said := []).append)
    assert "360 rows were read" in said[0]
