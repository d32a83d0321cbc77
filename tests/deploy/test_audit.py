"""The audit fails where something is found, and never calls safe what it could not look at."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.check import audit
from deploy.check.audit import AuditError, Database, databases, everything
from deploy.check.tools import ROOT

BUILD = "deploy/image/build.txt"
SMALL = {BUILD: everything()[BUILD]}


class Osv(BaseHTTPRequestHandler):
    """Answers as OSV does: every version of a package named in `bad` is vulnerable."""

    bad: tuple[str, ...] = ()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name, version = asked["package"]["name"], asked["version"]
        fixed = {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}
        fault = {
            "id": "PYSEC-2026-1", "summary": "s", "details": "d", "aliases": [],
            "published": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z",
            "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [fixed],
                          "versions": [version]}],
        }  # fmt: skip
        content = json.dumps({"vulns": [fault]} if name in self.bad else {}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of our own, which pip-audit really asks."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield databases(f"http://127.0.0.1:{server.server_port}/v1/query")[1]
        server.shutdown()
        thread.join()


def test_what_is_pinned_and_sound_passes(osv: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.audit([osv], SMALL)
    assert capsys.readouterr().out == f"audit: {BUILD}: 1 packages asked of OSV, 0 vulnerable\n"


def test_a_vulnerable_package_fails_and_is_named_with_what_mends_it(
    osv: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Osv, "bad", ("setuptools",))
    assert not audit.audit([osv], SMALL)
    assert re.search(r"setuptools [\d.]+: PYSEC-2026-1, mended in 999\n", capsys.readouterr().out)
    monkeypatch.setattr(audit, "databases", lambda: [osv])
    monkeypatch.setattr(audit, "everything", lambda: SMALL)
    with pytest.raises(SystemExit) as ended:
        audit.main()
    assert ended.value.code
    monkeypatch.setattr(audit, "ACCEPTED", {"PYSEC-2026-1": "a test, since today"})
    assert audit.audit([osv], SMALL)


def test_where_no_database_answers_it_says_so_and_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    nowhere = databases("http://127.0.0.1:9/v1/query")[1]
    assert audit.audit([nowhere], SMALL)
    said = capsys.readouterr().out
    assert said.startswith("audit: NOT DONE: no database of vulnerabilities can be reached")
    assert "vulnerable" not in said


NOWHERE = databases("http://127.0.0.1:9/v1/query")[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--requirement", "none.txt", "--disable-pip"), "invalid requirements input: none.txt"),
        (("--requirement", BUILD, "--no-such-flag"), "unrecognized arguments: --no-such-flag"),
    ],
)
def test_what_pip_audit_refuses_is_no_fault_of_the_network(
    flags: tuple[str, ...], said: str
) -> None:
    with pytest.raises(AuditError, match=said):
        audit.packages(NOWHERE, flags)


def test_a_malformed_lock_is_not_the_networks_fault(tmp_path: Path) -> None:
    lock = tmp_path / "bad.txt"
    lock.write_text("garbage ===\n", encoding="utf-8")
    with pytest.raises(AuditError, match="invalid specifier at line 1"):
        audit.packages(NOWHERE, ("--requirement", str(lock), "--disable-pip"))


@pytest.mark.parametrize(
    "last",
    [
        "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='api.osv.dev', port=443)",
        "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed",
        "pip_audit._service.interface.ServiceError",
    ],
)
def test_a_network_that_fails_is_told_from_the_rest(last: str) -> None:
    audit._unanswered(f"Traceback (most recent call last):\n  …\n{last}\n")
    with pytest.raises(AuditError, match="pip-audit gives no answer: ValueError: x"):
        audit._unanswered("Traceback (most recent call last):\n  …\nValueError: x\n")


def test_without_pip_audit_it_fails_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip-audit is not installed"):
        audit.main()
    monkeypatch.undo()
    monkeypatch.setattr(audit, "everything", lambda: SMALL)
    monkeypatch.setattr(audit, "databases", lambda: [Database("none", ("--no-such-flag",))])
    with pytest.raises(SystemExit, match="unrecognized arguments"):
        audit.main()


UNKNOWN = {"name": "setuptools", "skip_reason": "Dependency not found on PyPI"}
SOUND = {"name": "setuptools", "version": "1", "vulns": []}


def test_a_mirror_that_knows_no_package_is_no_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def packages(database: Database, _: Any) -> Any:
        asked.append(database.name)
        return [UNKNOWN] if database.name == "PyPI" else [SOUND, {"name": "torch", **UNKNOWN}]

    monkeypatch.setattr(audit, "packages", packages)
    assert audit.audit(databases(), SMALL)
    assert asked == ["PyPI", "OSV"]
    assert "NOT DONE" in capsys.readouterr().out
    monkeypatch.setattr(audit, "packages", lambda database, _: [SOUND] if database.name == "OSV"
                        else [UNKNOWN])  # fmt: skip
    assert audit.audit(databases(), SMALL)
    assert "1 packages asked of OSV, 0 vulnerable" in capsys.readouterr().out


def test_the_image_and_the_environment_are_looked_at_by_make_check() -> None:
    assert set(everything()) == {BUILD, "deploy/image/requirements.txt", "this environment"}
    check = (ROOT / "Makefile").read_text(encoding="utf-8").split("\ncheck:")[1].split("\n\n")[0]
    assert "-m deploy.check.audit" in check
