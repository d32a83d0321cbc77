"""Bearer keys: several, compared alike, rotated without a restart, and never shown."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.errors import PsadError
from service import keys as module
from service.app import create_app
from service.errors import StartRefused
from service.keys import KeysRefused, read_keys
from service.settings import Settings

BODY = {"candidates": ["100", "109"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two keys, one with a comment of its own."""
    file = tmp_path / "keys"
    file.write_text("# who calls\n\nfirst-key\n  second-key   # the search page\n")
    return file


@pytest.fixture
def rotating(serve: Any, file: Path) -> Any:
    """A service that looks at the file all the time."""
    return serve(api_keys_file=file, watch_seconds=0.01).loaded()


def status(api: Any, key: str, path: str = "/rerank") -> int:
    header = {"authorization": f"Bearer {key}"}
    answer = api.post(BODY, **header) if path == "/rerank" else api.get(path, **header)
    return int(answer.status_code)


def replace(file: Path, text: str) -> None:
    """As a rotation does: written beside it, then renamed."""
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


def knows(api: Any, count: int) -> bool:
    return bool(api.wait_for(lambda: api.metric("keys", keys="api") == count))


def is_stale(api: Any) -> bool:
    return bool(api.wait_for(lambda: api.metric("keys_stale", keys="api") == 1))


def test_each_key_of_file_and_setting_opens_and_no_other(serve: Any, file: Path) -> None:
    api = serve(api_keys_file=file, api_key="third-key").loaded()
    assert {status(api, key) for key in ("first-key", "second-key", "third-key")} == {200}
    for wrong in ("", "first-ke", "first-keyy", "FIRST-KEY", "# who calls", "#", "first-key # x"):
        assert status(api, wrong) == 401
    assert api.post(BODY).status_code == 401
    assert api.post(BODY, authorization="first-key").status_code == 401
    assert api.metric("keys", keys="api") == 3
    assert api.metric("keys", keys="admin") == 0


def test_every_key_is_compared_whichever_is_given(
    serve: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = serve(api_keys_file=file, api_key="third-key").loaded()
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", counting)
    for key in ("first-key", "second-key", "third-key", "x", "x" * 5000):
        status(api, key)
        assert compared == [(32, 32)] * 3  # of one length, so that none returns early
        compared.clear()


def test_a_key_is_rotated_without_a_restart(rotating: Any, file: Path) -> None:
    replace(file, "first-key\nsecond-key\nfresh-key\n")  # add the new one
    assert knows(rotating, 3)
    assert (status(rotating, "first-key"), status(rotating, "fresh-key")) == (200, 200)
    replace(file, "fresh-key\n")  # then take the old ones away
    assert knows(rotating, 1)
    assert (status(rotating, "first-key"), status(rotating, "fresh-key")) == (401, 200)


@pytest.mark.parametrize("fault", ["empty", "comments", "gone", "folder", "spaces", "binary"])
def test_a_file_that_cannot_be_used_leaves_the_keys_as_they_were(
    rotating: Any, file: Path, fault: str
) -> None:
    texts = {"empty": "", "comments": "# none\n", "spaces": "sec ret-word\n", "binary": "\x00\x01"}
    if fault in texts:
        replace(file, texts[fault])
    else:
        file.unlink()
        if fault == "folder":
            file.mkdir()
    assert is_stale(rotating)
    assert (status(rotating, "first-key"), status(rotating, "second-key")) == (200, 200)
    assert status(rotating, "") == 401
    assert rotating.metric("keys", keys="api") == 2
    if fault == "folder":
        file.rmdir()
    replace(file, "fresh-key\n")
    assert knows(rotating, 1)
    assert rotating.metric("keys_stale", keys="api") == 0
    assert (status(rotating, "first-key"), status(rotating, "fresh-key")) == (401, 200)


def test_a_fault_is_said_once_and_without_what_stands_in_the_file(
    rotating: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(module.logs, "event", lambda name, *_, **more: said.append((name, more)))
    replace(file, "fresh-key\nsec ret-word\n")
    assert is_stale(rotating)
    for _ in range(5):
        rotating.service.keys.look()
    reason = "line 2 is no key: plain ASCII without spaces"
    assert said == [("keys_refused", {"keys": "api", "reason": reason})]
    replace(file, "fresh-key\n")
    assert knows(rotating, 1)
    assert said[1:] == [("keys_read", {"keys": "api", "count": 1})]


def test_admin_keys_of_a_file_open_admin_and_nothing_else(
    serve: Any, file: Path, tmp_path: Path, home: Path
) -> None:
    admin = tmp_path / "admin"
    admin.write_text("root-one\nroot-two\n")
    api = serve(bundle=home, api_keys_file=file, admin_keys_file=admin).loaded()
    for key, opens in (("root-one", True), ("root-two", True), ("first-key", False)):
        assert status(api, key, "/admin/models") == (200 if opens else 401)
        assert status(api, key) == (401 if opens else 200)


def test_a_key_may_not_become_one_of_both_kinds(serve: Any, file: Path, tmp_path: Path) -> None:
    admin = tmp_path / "admin"
    admin.write_text("root-one\n")
    with pytest.raises(StartRefused, match="both a caller's and one of /admin"):
        create_app(Settings(bundle=tmp_path, api_key="root-one", admin_keys_file=admin))
    api = serve(api_keys_file=file, admin_keys_file=admin, watch_seconds=0.01).loaded()
    replace(file, "first-key\nroot-one\n")
    assert is_stale(api)
    assert status(api, "root-one") == 401
    replace(admin, "first-key\n")
    assert api.wait_for(lambda: api.metric("keys_stale", keys="admin") == 1)
    assert status(api, "first-key", "/admin/models") == 401


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("", "holds no key"),
        ("# only words\n", "holds no key"),
        ("good\nnot good\n", "line 2 is no key"),
        ("schlüssel\n", "line 1 is no key"),
        ("x\n" * 40_000, "over 65536 bytes"),
    ],
)
def test_a_file_without_keys_stops_the_start(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    for kind in ("api", "admin"):
        name = f"RERANK_{kind.upper()}_KEYS_FILE"
        with pytest.raises(PsadError, match=f"{name}: .*{said}") as caught:
            create_app(Settings.from_env({"RERANK_BUNDLE": str(tmp_path), name: str(file)}))
        assert "not good" not in str(caught.value)


def test_keys_are_read_as_written(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"a#b\r\n\tc \t# d # e\r\n#f\n g==\n")
    assert read_keys(file) == [b"a#b", b"c", b"g=="]
    file.write_bytes(b"a\x00b\n")
    with pytest.raises(KeysRefused, match="line 1"):
        read_keys(file)


def test_the_scheme_may_be_written_as_one_likes_and_the_key_not(serve: Any) -> None:
    api = serve(api_key="first-key").loaded()
    for header in ("bearer first-key", "BEARER first-key", "Bearer first-key"):
        assert api.post(BODY, authorization=header).status_code == 200
    for header in ("bearer FIRST-KEY", "bearer  first-key", "bearerfirst-key", "basic first-key"):
        assert api.post(BODY, authorization=header).status_code == 401


def test_what_stops_one_look_does_not_stop_the_next(
    rotating: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(file: Path) -> Any:
        raise MemoryError

    monkeypatch.setattr(module, "read_keys", no_memory)
    replace(file, "third-key\n")
    assert is_stale(rotating)
    assert status(rotating, "first-key") == 200
    monkeypatch.undo()
    assert rotating.wait_for(lambda: rotating.metric("keys_stale", keys="api") == 0)
    assert status(rotating, "first-key") == 401
    assert status(rotating, "third-key") == 200


def asked_below(api: Any, root: str, path: str, method: str = "GET", key: str = "") -> int:
    """The status, from an application that is served below a path."""
    transport = httpx.ASGITransport(api.app, root_path=root)
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.request(method, root + path, headers=headers, json=BODY)
            return answer.status_code

    return int(api.runner.run(ask()))


@pytest.mark.parametrize("root", ["", "/rank", "/admin"])
def test_a_service_below_a_path_asks_for_the_same_keys(serve: Any, root: str) -> None:
    api = serve(api_key="callers", admin_key="admins").loaded()
    for path, method in (("/admin/models", "GET"), ("/admin/rollback", "POST")):
        assert asked_below(api, root, path, method) == 401
        assert asked_below(api, root, path, method, "callers") == 401
        assert asked_below(api, root, path, method, "admins") in (200, 409)
    assert asked_below(api, root, "/livez") == 200
    before = counted(api)
    assert asked_below(api, root, "/rerank", "POST", "callers") == 200
    assert counted(api) == before + 1


def counted(api: Any) -> float:
    return float(api.metric("requests_total", status="200"))
