"""Every answer's headers, whoever gave it; the page's and /docs' policies are their own."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from service.page import FILES

DATA = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def carried(answer: Any) -> dict[str, str]:
    names = [name for name, _ in answer.headers.multi_items()]
    assert len(names) == len(set(names))  # none twice
    return {name: answer.headers[name] for name in DATA}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/info", 401), ("/nowhere", 404),
        ("/rerank", 405), ("/openapi.json", 401), ("/docs", 401), ("/admin/models", 401),
    ],
)  # fmt: skip
def test_answers_of_every_kind_may_not_be_framed_guessed_or_kept(
    serve: Any, path: str, status: int
) -> None:
    api = serve(api_key="callers", admin_key="secret").loaded()
    key = {"authorization": "Bearer callers"} if status in (404, 405) else {}
    answer = api.get(path, **key)
    assert answer.status_code == status
    assert carried(answer) == DATA


@pytest.mark.parametrize("body", [b'{"candidates":["100","101"]}', b"{", b'{"candidates":3}'])
def test_lists_and_refusals_carry_them_too(api: Any, body: bytes) -> None:
    assert carried(api.post(body)) == DATA
    assert carried(api.post(b" " * 1_000_001)) == DATA


def test_a_fault_of_ours_carries_them(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    api = serve().loaded()

    async def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("service.rerank.Reranker.answer", fail)
    answer = api.post({"candidates": []})
    assert answer.status_code == 500
    assert carried(answer) == DATA


def test_nothing_says_what_program_serves(api: Any) -> None:
    for answer in (api.get("/livez"), api.post(b"{")):
        assert {"server", "x-powered-by", "strict-transport-security"}.isdisjoint(answer.headers)


def test_the_page_may_do_what_it_needs_and_its_data_is_not_kept(serve: Any) -> None:
    api = serve(page=True).loaded()
    for path in FILES:
        found = carried(api.get(path))
        assert "script-src 'self'" in found["content-security-policy"]
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["cache-control"] == "no-cache"
    assert carried(api.get("/page/samples")) == DATA


@pytest.mark.parametrize("root", ["", "/behind/a/proxy"])
def test_docs_runs_its_own_script_by_hash_and_no_other_inline(api: Any, root: str) -> None:
    transport = api.client._transport
    before, transport.root_path = transport.root_path, root
    try:
        answer = api.get(f"{root}/docs")
    finally:
        transport.root_path = before
    policy = answer.headers["content-security-policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert f"url: '{root}/openapi.json'" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    directives = dict(one.strip().split(" ", 1) for one in policy.split(";"))
    assert directives["script-src"] == f"https://cdn.jsdelivr.net 'sha256-{digest}'"
    assert "frame-ancestors 'none'" in policy
    hosts = set(re.findall(r'(?:src|href)="(https://[^/"]+)', answer.text))
    assert hosts == {"https://cdn.jsdelivr.net"}  # all that the policy lets in
