"""The OpenAPI document and the service say the same: schemathesis sends what the one allows, and
what it forbids, to the other.

Examples are drawn by a fixed seed, so that a failure comes again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.app import create_app
from service.settings import Settings

OPTIONS: dict[str, Any] = {
    "api_key": "ours", "admin_key": "theirs", "deadline_ms": 10_000, "max_candidates": 20,
    "max_history": 10, "max_batch": 5,
}  # fmt: skip
QUICK = settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
ADMINS = ("/admin/", "/users/")
ASKED_FOR = (429, 503, 504)  # by on_failure


class Behind:
    """An ASGI application that is another one, from when that is there."""

    app: Any = None

    async def __call__(self, *given: Any) -> None:
        await self.app(*given)


def described() -> dict[str, Any]:
    """The document, which needs neither bundle nor store."""
    settings = Settings(bundle=Path("/nowhere"), store="file:/nowhere", **OPTIONS)
    return create_app(settings).openapi()


BEHIND = Behind()
DOCUMENT = schemathesis.openapi.from_dict(described())
DOCUMENT.app = BEHIND


@pytest.fixture
def behind(toy: Any, tmp_path: Path) -> Iterator[Any]:
    """A ready service behind the document; schemathesis ends it after each test."""
    home = toy.write(tmp_path, generates=toy.generator())
    toy.write(tmp_path, name="2", published=False)
    store = f"file:{tmp_path / 'users.db'}"
    BEHIND.app = create_app(Settings(bundle=home, store=store, **OPTIONS))
    with asgi.get_client(BEHIND) as client:
        end = time.monotonic() + 20
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield client


def excused(case: schemathesis.Case, response: schemathesis.Response) -> list[Any]:
    """Checks that do not hold for this answer, each for a reason."""
    if case.operation.path.startswith((*ADMINS, "/metrics")):
        return []
    answer = json.loads(response.content)
    if any("error" in one for one in answer.get("responses", ())):
        return [negative_data_rejection]  # a wrong one of a batch has an error of its own
    body = case.body if isinstance(case.body, dict) else {}
    if response.status_code in ASKED_FOR and body.get("on_failure") == "error":
        return [not_a_server_error]  # the caller would rather have it than a fallback
    error = answer.get("error", {})
    if response.status_code == 422 and _beyond_schema(error):
        return [positive_data_acceptance]
    return []


def _beyond_schema(error: dict[str, Any]) -> bool:
    """JSON Schema has no word for columns of one length, or for ids that are the same whether they
    come as text, as a number or in an object; 7.0 is an integer to it, and here it is none. What
    kind a feature has is the bundle's to say, and which times lie ahead the clock's.
    """
    place = error["param"] or ""
    if error["type"] in ("ragged_columns", "duplicate_id") or "whole number" in error["message"]:
        return True
    return ".features." in place or place.endswith("].timestamp")


@DOCUMENT.parametrize()
@QUICK
def test_every_answer_is_as_documented(case: schemathesis.Case, behind: Any) -> None:
    key = "theirs" if case.operation.path.startswith(ADMINS) else "ours"
    response = case.call(headers={"Authorization": f"Bearer {key}"})
    case.validate_response(response, excluded_checks=excused(case, response))


def test_the_lists_are_as_long_as_the_settings_allow() -> None:
    schemas = described()["components"]["schemas"]
    request, columns = schemas["RerankRequest"]["properties"], schemas["Columns"]["properties"]
    assert request["candidates"]["anyOf"][0]["maxItems"] == columns["id"]["maxItems"] == 20
    assert columns["score"]["anyOf"][0]["maxItems"] == 20
    assert request["history"]["anyOf"][0]["maxItems"] == 10
    assert schemas["BatchRequest"]["properties"]["requests"]["maxItems"] == 5


def test_a_key_is_documented_where_one_is_needed() -> None:
    keyed = described()
    open_ = create_app(Settings(bundle=Path("/nowhere"))).openapi()
    for path, operations in keyed["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == ("401" in operation["responses"])
            needs = path.startswith((*ADMINS, "/rerank", "/v1/rerank", "/info", "/events"))
            assert ("security" in operation) == needs
    assert "security" not in str(open_["paths"])
    assert not [path for path in open_["paths"] if path.startswith(ADMINS)]
