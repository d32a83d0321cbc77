import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.declaration import read_spec
from data.draft import draft_schema
from data.prepare import check, prepare
from data.sources import parquet
from features.errors import DataError
from tests.data.conftest import log_tables, write_folder


def silent(_: str) -> None:
    """Reports nothing."""


def bare(folder: Path, tables: dict[str, pl.DataFrame], suffix: str = "csv") -> Path:
    """A folder of tables without schema.toml."""
    (write_folder(folder, tables, suffix=suffix) / "schema.toml").unlink()
    return folder


def drafted(folder: Path, tables: dict[str, pl.DataFrame], suffix: str = "csv") -> dict:
    """The draft of a folder, as TOML reads it; psad reads it too."""
    path = draft_schema(bare(folder, tables, suffix), report=silent)
    read_spec(path)
    return tomllib.loads(path.read_text(encoding="utf-8"))


def clinic(lists: int = 300, length: int = 6, things: int = 60) -> dict[str, pl.DataFrame]:
    """A stranger's log: names of its own, milliseconds, no users, outcomes beside the label."""
    random = np.random.default_rng(3)
    rows = lists * length
    clicked = (random.random(rows) < 0.3).astype(int)
    things_shown = np.argsort(random.random((lists, things)), 1)[:, :length].ravel()
    times = 1_715_000_000_000 + np.sort(random.integers(0, 10**9, lists))
    numbers = np.arange(things)
    return {
        "impressions": pl.DataFrame({
            "sessionId": np.repeat([f"s{one}" for one in range(lists)], length),
            "uid": np.repeat(random.integers(0, 40, lists), length),
            "ts": np.repeat(times, length),
            "sku": [f"P{one}" for one in things_shown],
            "rank": np.tile(np.arange(1, length + 1), lists),
            "clicked": clicked,
            "stay": clicked * random.lognormal(9, 1, rows).round(),
            "price": random.lognormal(3, 1.2, rows).round(2),
            "shop": "north",
        }),
        "items": pl.DataFrame({
            "sku": [f"P{one}" for one in numbers],
            "product_name": [f"Lamp {one} of oak" for one in numbers],
            "made_of": ["|".join(("oak", "tin", "jute")[: 1 + one % 3]) for one in numbers],
            "brand_code": [f"{one % 7:03d}" for one in numbers],
            "listed_on": [f"2023-0{1 + one % 9}-11" for one in numbers],
            "story": [f"Number {one}, made by hand" for one in numbers],
            "colour": [None if one % 5 == 0 else ("red", "blue")[one % 2] for one in numbers],
        }),
    }  # fmt: skip


def test_a_strangers_folder_is_prepared_from_its_draft_as_it_is(tmp_path):
    declared = drafted(tmp_path / "log", clinic())
    assert declared["columns"]["impressions"] == {
        "list_id": "sessionId", "user_id": "uid", "timestamp": "ts", "item_id": "sku",
        "position": "rank", "label": "clicked",
    }  # fmt: skip
    assert declared["columns"]["items"] == {"item_id": "sku"}
    kinds = {name: one["kind"] for name, one in declared["item"].items()}
    assert kinds == {
        "item_id": "categorical", "made_of": "bag", "brand_code": "categorical",
        "colour": "categorical",
    }  # fmt: skip
    assert declared["item"]["made_of"]["separator"] == "|"
    assert declared["context"] == {"price": {"kind": "numeric", "transform": "log"}}
    assert (declared["title"], declared["split"], declared["list_size"]) == (
        "product_name", "time", 6,
    )  # fmt: skip
    dataset = prepare(tmp_path / "log", tmp_path / "made", report=silent)
    assert dataset.info["lists"] == 300
    assert dataset.catalogue.title("P3") == "Lamp 3 of oak"
    assert dataset.timestamps([0])[0] < 2_000_000_000


def test_columns_are_found_by_their_values_where_no_name_says_so(tmp_path):
    names = {"sessionId": "aa", "uid": "bb", "ts": "cc", "sku": "dd", "rank": "ee", "clicked": "ff"}
    tables = clinic()
    tables["impressions"] = tables["impressions"].rename(names)
    found = drafted(tmp_path, tables)["columns"]["impressions"]
    assert found == {
        "list_id": "aa", "user_id": "bb", "timestamp": "cc", "item_id": "dd",
        "position": "ee", "label": "ff",
    }  # fmt: skip


def test_an_outcome_is_left_out_with_a_warning(tmp_path):
    said = []
    path = draft_schema(bare(tmp_path, clinic()), report=said.append)
    assert "LOOK AT stay: left out, filled and not 0 in 100%" in said[0]
    assert "WARNING, left out: stay" in path.read_text(encoding="utf-8")


def test_a_score_that_tells_the_outcome_is_said_loudly(tmp_path):
    tables = clinic()
    told = tables["impressions"].with_columns(score=pl.col("clicked") * 5)
    said = []
    path = draft_schema(bare(tmp_path / "a", tables | {"impressions": told}), report=said.append)
    assert "LOOK AT score: filled and not 0 in 100% of the positive rows" in said[0]
    assert "# WARNING: filled and not 0" in path.read_text(encoding="utf-8")
    other = told.rename({"score": "model_score"})  # nothing makes psad take this one
    path = draft_schema(bare(tmp_path / "b", tables | {"impressions": other}), report=said.append)
    assert "LOOK AT model_score: left out, filled and not 0" in said[1]
    assert "score" not in tomllib.loads(path.read_text("utf-8"))["columns"]["impressions"]
    noise = np.random.default_rng(0).random(len(told))
    known = told.with_columns(score=pl.col("clicked") * 0.3 + pl.Series(noise))
    draft_schema(bare(tmp_path / "c", tables | {"impressions": known}), report=said.append)
    assert "LOOK AT score" not in said[2]


def test_counts_of_what_people_did_are_to_be_looked_at(tmp_path):
    tables = clinic()
    random = np.random.default_rng(0)
    tables["items"] = tables["items"].with_columns(
        total_clicks=random.integers(0, 900, len(tables["items"]))
    )
    said = []
    path = draft_schema(bare(tmp_path, tables), report=said.append)
    assert "LOOK AT items.total_clicks: counts or traces of what people did" in said[0]
    assert tomllib.loads(path.read_text("utf-8"))["item"]["total_clicks"]["kind"] == "numeric"


def test_one_id_for_many_people_is_to_be_looked_at(tmp_path):
    tables = clinic()
    for number, name in enumerate(("anon", "0")):
        said = []
        uid = pl.col("uid")
        one = pl.when(uid % 3 == 0).then(pl.lit(name)).otherwise(uid.cast(pl.String))
        shown = tables["impressions"].with_columns(uid=one)
        folder = bare(tmp_path / str(number), tables | {"impressions": shown})
        draft_schema(folder, report=said.append)
        assert f"LOOK AT user_id: uid, by its name; '{name}' stands in 3" in said[0]
        assert "write the list's id in all rows of the list" in said[0]


def test_an_empty_user_id_is_to_be_looked_at_and_few_people_are_not(tmp_path):
    tables, said = log_tables(3), []
    del tables["users"]
    draft_schema(bare(tmp_path / "few", tables), report=said.append)
    assert "LOOK AT user_id" not in said[0]
    first = pl.int_range(pl.len()) == 0
    gone = pl.when(first).then(None).otherwise("user_id").alias("user_id")
    tables["impressions"] = tables["impressions"].with_columns(gone)
    draft_schema(bare(tmp_path / "gone", tables), report=said.append)
    assert "LOOK AT user_id: has the name itself; it is empty in 1 row, which" in said[1]


@pytest.mark.parametrize(
    ("blank", "wanted", "not_wanted"),
    [
        (pl.int_range(pl.len()) == 0, "in 1 row, which prepare refuses: where other rows of the "
         "list name the person, write that one", "write the list's id"),
        (pl.col("sessionId") == "s4", "in 6 rows, which prepare refuses: no row of these lists "
         "names anybody: write the list's id in all rows of the list", "other rows"),
        ((pl.col("sessionId") == "s4") | (pl.int_range(pl.len()) == 0), "in 7 rows, which prepare "
         "refuses: in 1, where other rows of the list name the person, write that one; in 6, no "
         "row of the list names anybody: write the list's id", "look at it"),
    ],
)  # fmt: skip
def test_what_to_write_for_a_blank_user_goes_by_the_other_rows_of_the_list(
    tmp_path, blank, wanted, not_wanted
):
    tables, said = clinic(), []
    uid = pl.when(blank).then(None).otherwise("uid").alias("uid")
    tables["impressions"] = tables["impressions"].with_columns(uid)
    draft_schema(bare(tmp_path, tables), report=said.append)
    line = next(one for one in said[0].splitlines() if "LOOK AT user_id" in one)
    assert f"uid, by its name; it is empty {wanted}" in line
    assert not_wanted not in line


def test_a_log_of_a_news_site_has_the_outcome_for_its_label_and_not_the_badge(tmp_path):
    tables = clinic()
    random = np.random.default_rng(0)
    shown = tables["impressions"].rename({"stay": "read_ms"})
    badge = (random.random(len(shown)) < 0.1).astype(int)
    shown = shown.select(pl.lit(pl.Series("is_breaking", badge)), pl.all())
    declared = drafted(
        tmp_path / "a", tables | {"impressions": shown.rename({"clicked": "opened"})}
    )
    assert declared["columns"]["impressions"]["label"] == "opened"
    assert set(declared["context"]) == {"is_breaking", "price"}
    said = []
    unnamed = tables | {"impressions": shown.rename({"clicked": "zz"}).drop("read_ms")}
    path = draft_schema(bare(tmp_path / "b", unnamed), report=said.append)
    assert "LOOK AT label: is_breaking, a guess by its values" in said[0]
    assert "zz could be it as well" in said[0]
    assert set(tomllib.loads(path.read_text("utf-8"))["context"]) == {"price"}  # nor is zz taken


def test_a_day_that_folders_say_is_the_time_where_nothing_else_is(tmp_path):
    tables = clinic()
    shown = tables.pop("impressions").drop("ts", "stay")
    folder = bare(tmp_path / "log", tables | {"users": pl.DataFrame({"uid": range(40)})})
    for number, part in enumerate(shown.iter_slices(600)):
        (day := folder / "impressions" / f"date=2024-05-0{1 + number}").mkdir(parents=True)
        part.write_csv(day / "part.csv")
    path = draft_schema(folder, report=silent)
    declared = tomllib.loads(path.read_text(encoding="utf-8"))
    assert declared["columns"]["impressions"]["timestamp"] == "date"
    assert prepare(folder, tmp_path / "made", report=silent).info["lists"] == 300


def test_what_is_left_out_has_its_reason(tmp_path):
    text = draft_schema(bare(tmp_path, clinic()), report=silent).read_text(encoding="utf-8")
    joined = " ".join(text.replace("#", " ").split())
    for reason in (
        "left out: shop, every value is 'north'",
        "left out: listed_on, 9 different values, a time such as '2023-01-11'",
        "left out: story, 60 different values, nearly one for each row",
    ):
        assert reason in joined


def test_an_existing_schema_is_left_alone(own_folder):
    before = (own_folder / "schema.toml").read_bytes()
    with pytest.raises(DataError, match=r"schema\.toml is there already and is left alone"):
        draft_schema(own_folder, report=silent)
    assert (own_folder / "schema.toml").read_bytes() == before


def test_the_same_files_give_the_same_draft_and_nothing_else_is_left_behind(tmp_path):
    folder = bare(tmp_path, clinic())
    texts = []
    for _ in range(2):
        path = draft_schema(folder, report=silent)
        texts.append(path.read_bytes())
        path.unlink()
    assert texts[0] == texts[1]
    assert {one.name for one in folder.iterdir()} == {"impressions.csv", "items.csv"}


def test_parquet_and_csv_give_the_same_declarations(tmp_path):
    csv = drafted(tmp_path / "log", clinic())
    (tmp_path / "other").mkdir()
    stored = drafted(tmp_path / "other" / "log", clinic(), "parquet")
    assert csv == stored


def test_what_is_not_found_is_named_with_what_it_must_be(tmp_path):
    tables = clinic()
    tables["impressions"] = tables["impressions"].drop("rank", "stay", "price")
    said = []
    path = draft_schema(bare(tmp_path, tables), report=said.append)
    assert "LOOK AT position: not found in impressions. It is the place in the list" in said[0]
    assert '# position = "…"' in path.read_text(encoding="utf-8")
    with pytest.raises(DataError, match="no column 'position'"):
        parquet.read(tmp_path)


@pytest.mark.parametrize("missing", ["impressions", "items"])
def test_a_missing_table_is_named_with_what_the_folder_holds(tmp_path, missing):
    tables = clinic()
    tables["log2024"] = tables.pop(missing)
    with pytest.raises(DataError, match=rf"holds no {missing}; it holds: .*log2024") as caught:
        draft_schema(bare(tmp_path, tables), report=silent)
    assert f"{missing}.csv.gz" in str(caught.value)
    assert f"in several files, as a folder {missing}/ of them" in str(caught.value)


def test_all_tables_that_cannot_be_read_are_named_at_once(tmp_path):
    folder = bare(tmp_path, clinic())
    for name in ("impressions.csv", "items.csv"):
        (folder / name).write_text((folder / name).read_text().replace(",", ";"))
    with pytest.raises(DataError) as caught:
        draft_schema(folder, report=silent)
    assert "impressions.csv cannot be read: its columns are divided by semi" in str(caught.value)
    assert "items.csv cannot be read: its columns are divided by semicolons" in str(caught.value)


def test_a_log_longer_than_the_sample_gives_the_same_declarations(tmp_path):
    tables = clinic(lists=1500)
    whole = drafted(tmp_path / "a" / "log", tables)
    part = draft_schema(bare(tmp_path / "b" / "log", tables), report=silent, rows=4000)
    found = tomllib.loads(part.read_text(encoding="utf-8"))
    assert "4,000 of its 9,000 rows" in " ".join(part.read_text("utf-8").replace("#", "").split())
    assert found.pop("max_history") == 50  # a sample does not show whole histories
    assert {name: whole[name] for name in found} == found


VALUES = {
    "text": st.sampled_from(["red", "blue", "", "a|b", "b|c|a", "007", '"', "\\", "é\n#", "<b>"]),
    "number": st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(float("nan"))),
    "whole": st.integers(-3, 40),
    "flag": st.booleans(),
    "time": st.datetimes(),
    "list": st.lists(st.sampled_from(["x", "y", "z"]), max_size=3),
    "nothing": st.none(),
}
NAMES = st.sampled_from(
    [
        "price",
        "score",
        "clicks",
        "row",
        "positive",
        "a b",
        "opened",
        "ctr",
        'q"',
        "é",
        "category",
        "day",
        "name",
    ]
)


LABELS = {
    "clicks": [0, 1], "marks": ["true", "false"], "ratings": [1, 2, 3, 4, 5],
    "halves": [0.5, 3.0, 5.0],
    "grades": [0, 1, 2], "signs": [-1, 1], "amounts": [0.0, 0.25, 17.3, 1e-7], "one": [1],
    "words": ["yes", "no"], "none": [None],
}  # fmt: skip


def columns(draw, count: int, names: list[str]) -> dict[str, pl.Series]:
    kinds = {name: draw(st.sampled_from(sorted(VALUES))) for name in names}
    types = {
        "text": pl.String,
        "number": pl.Float64,
        "nothing": pl.Null,
        "list": pl.List(pl.String),
    }
    return {
        name: pl.Series(
            name,
            draw(st.lists(VALUES[kind], min_size=count, max_size=count)),
            dtype=types.get(kind),
        )
        for name, kind in kinds.items()
    }


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_draft_is_accepted_or_what_is_wrong_is_said(tmp_path_factory, data):
    """Any columns beside those a log needs, any labels, usual names for some, users or none."""
    draw, folder = data.draw, tmp_path_factory.mktemp("draft")
    tables = log_tables(draw(st.integers(0, 3)))
    for name in ("impressions", "items", "users"):
        some = draw(st.lists(NAMES, max_size=3, unique=True))
        tables[name] = tables[name].with_columns(**columns(draw, len(tables[name]), some))
    random, labels = np.random.default_rng(0), LABELS[draw(st.sampled_from(sorted(LABELS)))]
    picked = [labels[one] for one in random.integers(0, len(labels), len(tables["impressions"]))]
    tables["impressions"] = tables["impressions"].with_columns(pl.Series("label", picked))
    usual = {"list_id": "session_id", "user_id": "uid", "timestamp": "ts", "label": "clicked"}
    chosen = draw(st.lists(st.sampled_from(sorted(usual)), unique=True))
    tables["impressions"] = tables["impressions"].rename({one: usual[one] for one in chosen})
    if draw(st.booleans()):
        del tables["users"]
    declared = drafted(folder / "log", tables, "parquet")
    assert declared["item"]["item_id"]["kind"] == "categorical"
    try:
        dataset = prepare(folder / "log", folder / "made", report=silent)
    except DataError:
        return
    assert len(dataset) > 0


def test_a_log_that_names_nobody_is_prepared_with_each_list_a_person_of_its_own(tmp_path):
    tables = clinic()
    tables["impressions"] = tables["impressions"].drop("uid")
    said = []
    draft_schema(bare(tmp_path / "log", tables), report=said.append)
    assert "LOOK AT user_id: sessionId, no column was found to say who saw the list" in said[0]
    dataset = prepare(tmp_path / "log", tmp_path / "made", report=silent)
    assert dataset.info["users"] == dataset.info["lists"]
    assert not dataset.history_lengths.any()


def test_an_id_that_stands_twice_is_named_and_is_the_id_all_the_same(tmp_path):
    names = {"sku": "part_no"}
    tables = {name: one.rename(names) for name, one in clinic().items()}
    tables["items"] = pl.concat([tables["items"], tables["items"][5:6]])
    said = []
    path = draft_schema(bare(tmp_path, tables), report=said.append)
    assert (
        "LOOK AT item_id: part_no, another value in all but 1 row of items ('P5' stands twice): "
        "keep one row an id, or prepare refuses the table" in said[0]
    )
    found = tomllib.loads(path.read_text(encoding="utf-8"))["columns"]
    assert found["items"] == {"item_id": "part_no"}
    assert (found["impressions"]["item_id"], found["impressions"]["list_id"]) == (
        "part_no", "sessionId",
    )  # fmt: skip


def test_an_id_without_a_usual_name_that_stands_twice_is_known_from_the_log(tmp_path):
    tables = {name: one.rename({"sku": "thing"}) for name, one in clinic().items()}
    twice = pl.concat([tables["items"], tables["items"][5:6]])
    tables["items"] = twice.drop("product_name", "story")
    assert drafted(tmp_path, tables)["columns"]["items"] == {"item_id": "thing"}


def test_the_list_is_found_where_the_item_is_not(tmp_path):
    tables = clinic()
    names = {"sku": "thing", "sessionId": "look"}
    tables["impressions"] = tables["impressions"].rename(names)
    tables["items"] = tables["items"].with_columns(sku=pl.lit("P1"), product_name=pl.lit("Lamp"))
    tables["items"] = tables["items"].drop("story")
    said = []
    path = draft_schema(bare(tmp_path, tables), report=said.append)
    assert "LOOK AT item_id: not found in impressions" in said[0]
    declared = tomllib.loads(path.read_text(encoding="utf-8"))
    assert declared["columns"]["impressions"]["list_id"] == "look"
    assert "look" not in declared.get("context", {})


def test_check_of_an_unfinished_draft_names_the_columns_as_the_file_does(tmp_path):
    tables = clinic()
    tables["impressions"] = tables["impressions"].rename({"sessionId": "look"})
    path = draft_schema(bare(tmp_path, tables), report=silent)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [one for one in lines if not one.startswith(("list_id", "item_id", "title"))]
    path.write_text("".join(kept), encoding="utf-8")
    with pytest.raises(DataError, match="2 things are wrong") as caught:
        check(tmp_path, report=silent)
    message = str(caught.value)
    assert "no column 'list_id' (nor 'item_id'), which every log needs. It has: look, " in message
    assert "uid (read as user_id), ts (read as timestamp), sku, rank (read as position)" in message
    assert "Did you mean 'user_id'" not in message
    assert "say so below [columns.impressions] in schema.toml" in message
    assert "as the title" not in message


def test_a_price_with_one_text_among_its_numbers_is_a_number_to_be_looked_at(tmp_path):
    tables = clinic()
    first = pl.int_range(pl.len()) == 0
    price = pl.when(first).then(pl.lit("n/a")).otherwise(pl.col("price").cast(pl.String))
    tables["impressions"] = tables["impressions"].with_columns(price=price)
    said = []
    path = draft_schema(bare(tmp_path, tables), report=said.append)
    assert "LOOK AT impressions.price: numbers, except 'n/a' in 1 row: write a number" in said[0]
    declared = tomllib.loads(path.read_text(encoding="utf-8"))
    assert declared["context"]["price"] == {"kind": "numeric", "transform": "log"}
    with pytest.raises(DataError, match="line 2: 'n/a' is not a number"):
        check(tmp_path, report=silent)
