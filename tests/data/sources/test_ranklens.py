import gzip
import json

import pytest

from data.fetch import data_folder
from data.lists import arrange
from data.sources import ranklens


def event_file(tmp_path, events):
    path = tmp_path / ranklens.FILE
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return path


def ranking(name, user, items, milliseconds="1636993834000"):
    shown = [{"id": item, "fields": [{"name": "relevancy", "value": 0.0}]} for item in items]
    return {"event": "ranking", "id": name, "user": user, "items": shown, "timestamp": milliseconds}


def click(name, user, item):
    return {"event": "interaction", "type": "click", "ranking": name, "user": user, "item": item}


def film(item, **fields):
    listed = [{"name": name, "value": value} for name, value in fields.items()]
    return {"event": "item", "item": item, "fields": listed}


def test_lists_are_as_logged_and_clicks_join_by_ranking(tmp_path):
    log = ranklens.read_file(event_file(tmp_path, [
        film("1", title="A", genres=["x"], budget=0.0, popularity=2.5),
        ranking("r1", "u", ["3", "1", "2"]), ranking("r2", "u", ["1", "2"], "1636993835999"),
        ranking("r3", "idle", ["1", "2"]), click("r2", "u", "1"), click("r2", "u", "1"),
    ]))  # fmt: skip
    assert log.impressions["item_id"].to_list() == ["3", "1", "2", "1", "2"]
    assert log.impressions["position"].to_list() == [0, 1, 2, 0, 1]
    assert log.impressions["label"].to_list() == [0, 0, 0, 1, 0]
    assert log.impressions["timestamp"].to_list()[-1] == 1636993835
    assert log.dropped["people without a click"] == 1
    assert log.items["budget"].to_list() == [None]
    assert log.items["genres"].to_list() == [["x"]]
    assert log.items["tags"].to_list() == [None]


def test_the_published_counts_of_the_real_log():
    folder = data_folder()
    path = folder / "ranklens" / ranklens.FILE if folder else None
    if path is None or not path.is_file():
        pytest.skip(f"PSAD_DATA is {folder}; ranklens/{ranklens.FILE} is needed there")
    log = ranklens.read_file(path)
    lists = arrange(log, "last-list").lists
    assert len(lists) + log.dropped["lists of people without a click"] == 9800
    assert lists["user_id"].n_unique() + log.dropped["people without a click"] == 2145
    assert lists["length"].unique().to_list() == [24]
    assert log.impressions["label"].sum() == 46125
    counts = dict(lists["split"].value_counts().iter_rows())
    assert (counts["train"], counts["valid"], counts["test"]) == (4601, 1963, 2098)
