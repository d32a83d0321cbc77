import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2

from data.dataset import Dataset
from data.page import share
from data.prepare import prepare
from data.summary import PAGE, _length, notes, summary
from data.summary_pictures import histogram, position_note
from data.tally import tally
from tests.data.conftest import write_folder
from tests.data.pages import Page


def silent(_: str) -> None:
    """Reports nothing."""


@pytest.fixture
def dataset(own_folder, tmp_path) -> Dataset:
    return prepare(own_folder, tmp_path / "made", report=silent)


def files_of(dataset: Dataset) -> dict[str, bytes]:
    files = [path for path in dataset.folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(dataset.folder)): path.read_bytes() for path in files}


def table(dataset: Dataset, first: str) -> list[list[str]]:
    """The rows of the page's table whose head begins so."""
    (found,) = [one for one in Page(summary(dataset)).tables if one[0][0] == first]
    return found[1:]


def test_prepare_writes_the_page_and_says_where(own_folder, tmp_path):
    said = []
    made = prepare(own_folder, tmp_path / "made", report=said.append)
    assert (made.folder / PAGE).read_text(encoding="utf-8") == summary(made)
    assert str(made.folder / PAGE) in said[0]


def test_sizes_by_split_are_those_of_the_lists(dataset):
    rows = {row[0]: row[1:] for row in table(dataset, "")}
    for name, indexes in dataset.splits.items():
        clicks = dataset.labels(indexes).sum()
        assert rows[name] == [
            f"{len(indexes):,}", f"{len(set(dataset.user_ids(indexes)))}", f"{5 * len(indexes):,}",
            share(clicks / (5 * len(indexes))),
            share((dataset.history_lengths[indexes] == 0).mean()),
        ]  # fmt: skip


def test_what_was_left_out_is_told_as_prepare_told_it(tmp_path, tables):
    shown = tables["impressions"].with_columns(
        label=pl.when(pl.col("list_id") == "l7").then(0).otherwise(pl.col("label")), extra=1
    )
    made = prepare(
        write_folder(tmp_path / "log", tables | {"impressions": shown}), tmp_path / "made",
        report=silent,
    )  # fmt: skip
    rows = table(made, "what")
    for reason, number in made.info["dropped"].items():
        assert [reason, f"{number:,}"] in rows
    assert ["lists without a positive item", "1"] in rows
    page = summary(made)
    assert "71</" in page
    assert "lists to learn from and to judge by, of 72 in the log" in page
    assert "people who saw them, of" not in page  # all of them did
    assert "1 shown item has no row in items, such as &#39;29&#39;: it is kept" in page


def test_the_items_shown_most_come_first_with_their_titles(dataset):
    every = np.arange(len(dataset))
    rows = dataset.lists(every).candidate_rows
    shown = np.bincount(rows)
    best = int(shown.argmax())
    labels = dataset.labels(every).ravel()  # every list has five items: no padding
    clicks = labels[rows == best].sum()
    first = table(dataset, "item")[0]
    assert first[0] == dataset.catalogue.title(dataset.catalogue.ids[best - 1])
    assert first[1] == str(shown[best])
    assert first[2].startswith(share(clicks / shown[best]))


def test_a_title_with_markup_is_shown_as_it_is(tmp_path, tables):
    tables["items"] = tables["items"].with_columns(name=pl.lit("<script>alert(1)</script>"))
    made = prepare(write_folder(tmp_path / "log", tables), tmp_path / "made", report=silent)
    page = Page(summary(made))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.texts


def test_the_page_changes_neither_the_description_nor_what_load_reads(dataset):
    assert json.loads((dataset.folder / "info.json").read_text())["fingerprint"] == (
        dataset.schema.fingerprint()
    )
    before = {
        path: path.read_bytes()
        for path in dataset.folder.rglob("*")
        if path.is_file() and path.name != PAGE
    }
    (dataset.folder / PAGE).unlink()
    again = Dataset.load(dataset.folder)
    assert again.schema == dataset.schema
    assert (again.folder / PAGE).exists() is False
    assert before == {
        path: path.read_bytes() for path in dataset.folder.rglob("*") if path.is_file()
    }


def test_the_first_and_last_day_are_those_of_the_log(tmp_path, tables):
    """Parts of the time begin at round weeks, before the log does."""
    began = 1_725_231_600 + 300  # 2024-09-01 23:05:00 UTC
    names = tables["impressions"]["list_id"].unique(maintain_order=True).to_list()
    times = np.linspace(began, began + 80 * 86_400 + 7, len(names)).astype(int).tolist()
    tables["impressions"] = tables["impressions"].with_columns(
        timestamp=pl.col("list_id").replace_strict(dict(zip(names, times, strict=True)))
    )
    made = prepare(write_folder(tmp_path / "log", tables), tmp_path / "made", report=silent)
    stamps = made._arrays["timestamp"]
    first, last = (str(np.datetime64(int(one), "s"))[:10] for one in (stamps.min(), stamps.max()))
    text = summary(made)
    assert f"From {first} to {last} (UTC), in parts of 7 days" in text
    drawn = Page(text).texts
    for day in (first, last):
        assert drawn.count(day) == 3  # below each picture over time
    assert tally(made).edges[0] < stamps.min()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 second"), (900, "15 minutes"), (3600, "1 hour"), (7 * 86_400, "7 days"),
     (90, "90 seconds")],
)  # fmt: skip
def test_the_length_of_a_part_is_said_in_whole_units(seconds, said):
    assert _length(seconds) == said


def test_the_same_dataset_gives_the_same_page(dataset):
    assert summary(dataset) == summary(Dataset.load(dataset.folder))


def test_doubts_are_said_where_they_are_due(own_folder, tmp_path):
    made = prepare(own_folder, tmp_path / "made", split="last-list", report=silent)
    said = list(notes(made, tally(made)))
    assert any(one.startswith("The split last-list is not a split in time") for one in said)
    assert any("Test has 12 lists" in one for one in said)
    by_time = prepare(own_folder, tmp_path / "other", split="time", report=silent)
    assert not any("last-list" in one for one in notes(by_time, tally(by_time)))


def test_a_log_of_one_moment_and_a_log_without_features_of_users_have_a_page(tmp_path, tables):
    tables["impressions"] = tables["impressions"].with_columns(timestamp=pl.lit(5))
    folder = write_folder(tmp_path / "log", tables)
    made = prepare(folder, tmp_path / "made", split="user", report=silent)
    page = Page(summary(made))
    assert page.tags.count("figure") == 8
    assert any("All lists lie within 1 minutes" in one for one in page.texts)


def test_places_differ_only_where_chance_does_not_explain_it():
    shown = np.full(10, 1000)
    rates = np.random.default_rng(0).binomial(1000, 0.2, 10)
    assert "do not differ" in position_note(rates, shown)
    assert "Places differ" in position_note(rates + np.arange(10) * 20, shown)
    assert "do not differ" in position_note(np.array([3]), np.array([5]))


@pytest.mark.parametrize("places", [2, 5, 20, 100])
def test_the_test_of_places_is_chi_squared(places):
    """Rates that rise from place to place: the verdict turns where scipy's p does."""
    shown = np.full(places, 10_000)
    for step in np.linspace(0, 200, 81):
        clicks = 2000 + step * np.arange(places) * 10 / places
        rate = clicks.sum() / shown.sum()
        apart = ((clicks - shown * rate) ** 2 / (shown * rate * (1 - rate))).sum()
        p = chi2.sf(apart, places - 1)
        if not 0.0008 < p < 0.0013:  # the approximation's own width
            assert ("Places differ" in position_note(clicks, shown)) == (p < 0.001), (step, p)


@pytest.mark.parametrize("numbers", [[0, 7], [1, 0, 0, 4], [3], [1] * 500])
def test_a_histogram_draws_any_counts(numbers):
    assert "<svg" in histogram(np.array(numbers), "counts", "items")
