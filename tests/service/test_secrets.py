"""Keys stand in no log line, answer, setting's repr or message, whatever goes wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.errors import PsadError
from service.app import create_app
from service.settings import Settings
from tests.service.process import BODY, PATIENCE, serving

KEYS = ("caller-hunter2", "admin-hunter2", "filed-hunter2", "admin-filed-hunter2")
DEEP = b"[" * 100_000


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """All four places that a key can come from."""
    for name, key in (("api", KEYS[2]), ("admin", KEYS[3])):
        (tmp_path / name).write_text(f"{key}\n")
    return {
        "RERANK_API_KEY": KEYS[0], "RERANK_ADMIN_KEY": KEYS[1],
        "RERANK_API_KEYS_FILE": str(tmp_path / "api"),
        "RERANK_ADMIN_KEYS_FILE": str(tmp_path / "admin"),
    }  # fmt: skip


def test_no_answer_and_no_log_line_holds_a_key(
    bundle: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    texts = []
    with serving(bundle, **environ, RERANK_WATCH_SECONDS="0.01") as served:
        with httpx.Client(base_url=served.url, trust_env=False) as client:
            for key in (*KEYS, *(f"{key}x" for key in KEYS)):
                header = {"authorization": f"Bearer {key}", "x-key": key}
                for path in ("/info", "/openapi.json", "/metrics", "/docs", "/admin/models",
                             "/nowhere", f"/{key}x"):  # fmt: skip
                    texts.append(client.get(path, headers=header))
                for path in ("/rerank", "/admin/split", "/admin/models/none/load"):
                    for body in (BODY, b"{", b" " * 1_000_001):
                        texts.append(client.post(path, headers=header, content=body))
        for content in ("", f"{KEYS[1]}\n", f"{KEYS[2]} spaced\n"):
            (tmp_path / "api").write_text(content)
            _until(served, 'keys_stale{keys="api"}', 1)
            (tmp_path / "api").write_text(f"{KEYS[2]}\n")
            _until(served, 'keys_stale{keys="api"}', 0)
        served.process.terminate()
        _, log = served.process.communicate(timeout=PATIENCE)
    statuses = {answer.status_code for answer in texts}
    assert statuses >= {200, 400, 401, 404, 413, 422}
    assert b"keys_refused" in log
    for key in KEYS:
        assert key.encode() not in log
        for answer in texts:
            assert key not in answer.text
            assert key not in json.dumps(dict(answer.headers))


def _until(served: Any, sample: str, value: float) -> None:
    end = time.monotonic() + PATIENCE
    while served.metric(sample) != value:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_repr_or_dump_shows_a_key(bundle: Path, environ: dict[str, str]) -> None:
    settings = Settings.from_env({"RERANK_BUNDLE": str(bundle), **environ})
    service = create_app(settings).state.service
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.model_dump())]
    shown += [repr(vars(one)) for one in (service, service.keys, service.keys.api)]
    for key in KEYS:
        assert not [text for text in shown if key in text]


@pytest.mark.parametrize("wrong", ["RERANK_PORT", "RERANK_API_KYE", "RERANK_ADMIN_KEYS_FILE"])
def test_a_start_that_is_refused_shows_no_key(
    bundle: Path, environ: dict[str, str], wrong: str
) -> None:
    given = {"RERANK_BUNDLE": str(bundle), **environ, wrong: KEYS[0]}
    with pytest.raises(PsadError) as caught:
        create_app(Settings.from_env(given))
    said = str(caught.value)
    assert not [key for key in KEYS if key in said]
    assert wrong in said


@pytest.mark.parametrize("path", ["/rerank", "/admin/split", "/admin/shadow", "/page/titles"])
def test_json_of_any_depth_is_refused_wherever_json_is_read(served: Any, path: str) -> None:
    key = {"authorization": "Bearer secret"}
    for body in (DEEP, DEEP + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000):
        answer = served.post(body, path, **key)
        assert 400 <= answer.status_code < 500
        assert len(answer.content) < 500
