"""The pages in docs/: their commands are run, their figures and names are those of the program."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.main import get_command

from cli import demo_data
from cli.demo_service import free_port
from cli.main import app as psad
from features.bundle import Bundle
from service.app import create_app
from service.errors import REASONS, failure
from service.schemas import (
    ErrorResponse,
    EventsRequest,
    EventsResponse,
    RerankRequest,
    RerankResponse,
)
from service.settings import PREFIX, Settings
from tests.shell import commands, run, server

DOCS = Path(__file__).parents[1] / "docs"
OWN, OPERATIONS, API = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("own-data", "operations", "api")
)
BRIEF = {"psad train ": " epochs=1", "psad bench ": " --seconds 0.2"}  # cut short, else as written
THEIRS = {"list_id": "session", "timestamp": "shown_ms", "item_id": "sku", "label": "clicked"}


def test_every_command_of_the_pages_is_one_that_is_run() -> None:
    assert commands(OPERATIONS) == [line for line in commands(OWN) if " bench " in line]
    verbs = {line.split()[1] for line in commands(OWN) if line.startswith("psad ")}
    assert verbs <= {one.name or one.callback.__name__ for one in psad.registered_commands}  # type: ignore[union-attr]
    assert {"prepare", "train", "report", "export", "serve", "bench", "refresh"} <= verbs


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A stranger's folder: CSV, names of its own, milliseconds, no users, no schema.toml."""
    logs = tmp_path / "my_logs"
    demo_data.write(logs)
    (logs / "schema.toml").unlink()
    (logs / "users.csv").unlink()
    shown = pl.read_csv(logs / "impressions.csv", infer_schema=False)
    times = shown["timestamp"].cast(pl.Int64) * 1000
    shown.with_columns(timestamp=times).rename(THEIRS).write_csv(logs / "impressions.csv")
    items = pl.read_csv(logs / "items.csv", infer_schema=False)
    items.rename({"item_id": "sku"}).write_csv(logs / "items.csv")
    return tmp_path


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
@pytest.mark.timeout(900)
def test_a_strangers_folder_becomes_a_served_model_by_the_page_alone(workplace: Path) -> None:
    port = free_port()
    lines = [line for line in commands(OWN) if not line.startswith(". ")]
    serve = next(line for line in lines if line.startswith("psad serve "))
    asked = [line for line in lines if line.startswith("curl ")]
    before, after = lines[: lines.index(serve)], lines[lines.index(serve) + 1 :]

    def follow(steps: list[str]) -> None:
        for line in steps:
            short = next((more for verb, more in BRIEF.items() if line.startswith(verb)), "")
            run(line + ("" if "lambdamart" in line else short), workplace, port)

    follow(before)
    assert asked
    with server(serve, workplace, port):
        for line in asked:
            answer = json.loads(run(line.replace(":8000/", f":{port}/"), workplace, port))
            assert answer["fallback"] is None
    follow([line for line in after if line not in asked])
    for file in ("datasets/mine/summary.html", "runs/mine/curves.svg", "runs/mine/report.html"):
        assert file in OWN
        assert (workplace / file).stat().st_size > 1000
    assert (workplace / "build/beside-trees.html").exists()
    one, two, three = (Bundle.load(workplace / "bundles/mine" / name).manifest for name in "123")
    assert (one.refreshed, three.refreshed) == (None, None)
    assert two.refreshed is not None
    assert two.refreshed.version == "1"
    assert len(three.config["ancestors"]) == 1


def test_the_settings_and_their_defaults_are_those_of_the_service() -> None:
    rows = re.findall(r"^\| (`RERANK_.*?) \| (.*?) \|", OPERATIONS, re.MULTILINE)
    said = {
        name: default.strip()
        for names, defaults in rows
        for name, default in zip(
            re.findall(r"`RERANK_(\w+)`", names), defaults.split(","), strict=True
        )
    }
    assert set(said) == {f.upper() for f in Settings.model_fields}, PREFIX
    shown = {"–": None, "none": None, "off": False, "1 MB": 1_000_000}
    for name, default in said.items():
        field = Settings.model_fields[name.lower()]
        if not field.is_required():
            assert shown.get(default, default) == field.default or (
                float(default) == field.default
            ), name


GIVEN = {
    "bundle": "bundles/none",
    "admin_key": "secret",
    "store": "file:users.db",
}  # everything that can be turned on


def api() -> dict[str, Any]:
    found: dict[str, Any] = create_app(Settings.model_validate(GIVEN)).openapi()
    return found


def test_the_api_page_names_every_path_status_and_field() -> None:
    found = api()
    described = set(re.findall(r"`?(?:GET|POST|DELETE) (/[\w/{}]*)", API))
    assert described == set(found["paths"])
    for path in found["paths"].values():
        for method in path.values():
            assert set(method["responses"]) - {"200"} <= set(re.findall(r"\b[45]\d\d\b", API))
    named = set(re.findall(r"^\| `(\w+)` \|", API, re.MULTILINE))
    assert named >= set(RerankRequest.model_fields)
    assert named <= {*RerankRequest.model_fields, *REASONS, "fallback"}
    assert named >= set(REASONS)
    for reason in REASONS:
        assert str(failure(reason).status) in API


def examples() -> Iterator[dict[str, Any]]:
    for text in re.findall(r"^```json\n(.*?)^```", API, re.MULTILINE | re.DOTALL):
        yield json.loads(text)


def test_the_examples_are_requests_answers_and_errors() -> None:
    first, columns, answer, error, events, added = examples()
    assert set(first) == set(RerankRequest.model_fields)
    for request in (first, columns):
        RerankRequest.model_validate(request)
    RerankResponse.model_validate(answer)
    ErrorResponse.model_validate(error)
    EventsRequest.model_validate(events)
    EventsResponse.model_validate(added)


def test_the_store_commands_of_the_page_are_read_without_complaint() -> None:
    lines = re.findall(r"^psad (store .*?)(?: +#.*)?$", OPERATIONS, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        group = get_command(psad)
        for word in line.split()[:2]:
            group = group.commands[word]  # type: ignore[attr-defined]
        group.make_context("psad", line.split()[2:])  # parses, does not run


def test_every_link_of_the_pages_leads_to_a_file() -> None:
    for text in (OWN, OPERATIONS, API):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (DOCS / target).exists(), target
