"""`psad refresh` as it is typed, on the service's toy bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from data.prepare import prepare
from features.bundle import Bundle, resolve
from tests.model.conftest import log_tables, write_log
from tests.service.conftest import write_bundle

SCHEMA = """
split = "last-list"
[user.age]
kind = "numeric"
[user.gender]
kind = "categorical"
[item.price]
kind = "numeric"
[item.brand]
kind = "categorical"
[item.genres]
kind = "bag"
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of items 110 to 159; the toy's catalogue has 100 to 139."""
    folder, tables = tmp_path_factory.mktemp("toy"), log_tables()
    shown, items, users = tables["impressions"], tables["items"], tables["users"]
    shown["item_id"], shown["score"] = shown["item_id"] + 110, shown.pop("price")
    items = {
        "item_id": items["item_id"] + 110, "price": items["weight"],
        "brand": ["x", "z"] * 25, "genres": ["a|b"] * 50,
    }  # fmt: skip
    users["gender"] = users.pop("city")
    log = write_log(folder / "log", SCHEMA, tables | {"items": items})
    prepare(log, folder / "dataset", report=lambda text: None)
    return folder / "dataset"


def psad(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    return done.exit_code, done.output


def test_a_bundle_is_refreshed_and_says_what_came_of_it(tmp_path: Path, dataset: Path) -> None:
    home = write_bundle(tmp_path)
    code, said = psad("refresh", home, dataset)
    assert (code, resolve(home).manifest.version) == (0, "2")
    assert "60 items: 20 new, 30 changed, 0 as before; 10 not in the new log, kept" in said
    assert "brand: 25 items have values that the model has not learned, such as 'z'" in said
    assert f"{home / '2'}, made of 1, is the version in service of {home}" in said


def test_flags_reach_what_they_name(tmp_path: Path, dataset: Path) -> None:
    home = write_bundle(tmp_path)
    words = ("refresh", home / "1", dataset, "--as", "b", "--drop-unseen", "--no-publish")
    code, said = psad(*words)
    assert code == 0
    assert "written, not published" in said
    assert "50 items: 20 new" in said
    assert "10 not in the new log, dropped" in said
    assert Bundle.load(home / "b").manifest.refreshed
    assert resolve(home).manifest.version == "1"


@pytest.mark.parametrize("bundle", ["none", "1"])
def test_what_is_no_bundle_or_no_dataset_is_one_line(tmp_path: Path, bundle: str) -> None:
    home = write_bundle(tmp_path)
    code, said = psad("refresh", home / bundle, home)
    assert code == 2
    assert said.count("\n") == 1
    assert ("holds neither" if bundle == "none" else "is not a prepared dataset") in said
