"""`psad store`: filled, looked at, emptied; run again it changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from data.prepare import prepare
from service.store.choose import open_store
from service.store.record import Change, Event
from tests.data.conftest import USERS, log_tables, write_folder

runner = CliRunner()


def psad(*words: object) -> Result:
    return runner.invoke(app, ["store", *map(str, words)])


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "logs", log_tables())


@pytest.fixture
def dataset(logs: Path, tmp_path: Path) -> Path:
    prepare(logs, tmp_path / "dataset", report=lambda _: None)
    return tmp_path / "dataset"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'users.db'}"


def shown(url: str, user: str) -> dict[str, object]:
    result = psad("show", url, user)
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def send(url: str, user: str, event: Event) -> None:
    async def write() -> None:
        store = open_store(url, 0)
        await store.write({user: Change(events=[event])}, 10)
        await store.close()

    asyncio.run(write())


def items(url: str, user: str) -> list[str]:
    return [one["item_id"] for one in shown(url, user)["history"]]  # type: ignore[attr-defined, index]


def test_a_dataset_fills_a_store_and_again_changes_nothing(url: str, dataset: Path) -> None:
    result = psad("load", url, dataset)
    assert result.exit_code == 0, result.output
    assert f"{USERS} users" in result.stdout
    first = [shown(url, str(user)) for user in range(USERS)]
    assert first[1]["features"] == {"age": 20.0, "city": "Lima"}
    assert all(one["history"] for one in first)
    psad("load", url, dataset)
    assert [shown(url, str(user)) for user in range(USERS)] == first


def test_events_that_were_sent_stay_and_count_once(url: str, dataset: Path) -> None:
    psad("load", url, dataset)
    logged = items(url, "3")
    send(url, "3", Event("live", 2e9))
    psad("load", url, dataset)
    assert items(url, "3") == ["live", *logged]
    psad("load", url, dataset, "--replace")
    assert items(url, "3") == logged


def test_a_table_of_users_sets_features_and_leaves_histories(url: str, logs: Path) -> None:
    send(url, "1", Event("live", 2e9))
    result = psad("load", url, logs / "users.csv")
    assert f"{USERS} users" in result.stdout
    assert shown(url, "1")["features"] == {"age": 20.0, "city": "Lima"}
    assert items(url, "1") == ["live"]


def test_a_user_is_forgotten(url: str, dataset: Path) -> None:
    psad("load", url, dataset)
    assert "forgotten" in psad("delete", url, "3").stdout
    assert "nothing" in psad("delete", url, "3").stdout
    gone = psad("show", url, "3")
    assert gone.exit_code == 2
    assert "nothing is kept" in gone.output


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("redis://127.0.0.1:1/0", "does not answer"),
        ("file:nowhere/users.db", "does not answer"),
        ("users.db", "redis://HOST:PORT/DATABASE"),
    ],
)
def test_a_store_that_is_none_or_away_is_said_in_a_sentence(store: str, said: str) -> None:
    result = psad("show", store, "1")
    assert result.exit_code == 2
    assert said in result.output
