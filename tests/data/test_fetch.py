import hashlib
import zipfile

import pytest

from data import fetch
from data.fetch import Way, download, obtain
from features.errors import DataError

CONTENT = b"precious rows"
SHA = hashlib.sha256(CONTENT).hexdigest()
LAYOUT = {"log.txt": SHA}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A data folder and a cache of the test's own."""
    monkeypatch.setenv("PSAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def put(folder, content=CONTENT):
    folder.mkdir(parents=True)
    (folder / "log.txt").write_bytes(content)
    return folder


def writing(content):
    return Way("a mirror", lambda folder: (folder / "log.txt").write_bytes(content) and None)


def refuse(folder):
    raise OSError("no network here")


def test_the_data_folder_comes_first_then_the_cache_then_a_download(places):
    ways = [writing(CONTENT)]
    assert obtain(("log",), [LAYOUT], ways, "") == places / "cache" / "psad" / "log"
    assert obtain(("log",), [LAYOUT], [Way("none", refuse)], "") == places / "cache/psad/log"
    mine = put(places / "data" / "log")
    assert obtain(("log",), [LAYOUT], ways, "") == mine


def test_a_failure_says_what_was_tried_and_what_to_do(places):
    put(places / "data" / "log", b"altered")
    ways = [Way("the publisher", refuse), writing(b"half")]
    with pytest.raises(DataError) as caught:
        obtain(("log", "other"), [LAYOUT], ways, "Carry it here by hand.")
    message = str(caught.value)
    assert "log.txt differs from its sha256" in message
    assert "the publisher: no network here" in message
    assert "a mirror: what came: log.txt differs" in message
    assert message.endswith("Carry it here by hand.")
    assert list((places / "cache" / "psad").iterdir()) == []  # nothing half-made stays


def test_a_damaged_copy_in_the_cache_is_replaced(places):
    put(places / "cache" / "psad" / "log", b"altered")
    folder = obtain(("log",), [LAYOUT], [writing(CONTENT)], "")
    assert (folder / "log.txt").read_bytes() == CONTENT


def test_an_unset_data_folder_is_said(monkeypatch):
    monkeypatch.delenv("PSAD_DATA")
    with pytest.raises(DataError, match=r"\$PSAD_DATA is not set"):
        obtain(("log",), [LAYOUT], [], "")


def test_a_download_is_checked(places, capsys):
    source = put(places / "site") / "log.txt"
    download(source.as_uri(), places / "copy", SHA)
    assert (places / "copy").read_bytes() == CONTENT
    with pytest.raises(DataError, match=f"sha256 {SHA}, expected 00"):
        download(source.as_uri(), places / "copy", "00")


def test_a_wheel_that_pip_cannot_find_is_an_error_with_the_command(places, monkeypatch):
    monkeypatch.setattr(fetch.sys, "executable", "/bin/false")
    with pytest.raises(DataError, match=r"-m pip download --no-deps .* nothing==1"):
        fetch.pip_wheel("nothing==1", places, SHA)


def test_unpacking_takes_the_named_members_only(places):
    archive = places / "a.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("deep/log.txt", CONTENT)
        zipped.writestr("deep/other", b"")
    out = places / "out"
    out.mkdir()
    fetch.unpack(archive, {"deep/log.txt": "log.txt"}, out)
    assert [path.name for path in out.iterdir()] == ["log.txt"]
    with pytest.raises(DataError, match="holds no deep/missing"):
        fetch.unpack(archive, {"deep/missing": "x"}, out)
