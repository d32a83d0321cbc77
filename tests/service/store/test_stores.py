"""What holds of a store holds of the file and of Redis alike."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from service.errors import SettingsError
from service.store.base import Unavailable
from service.store.choose import open_store
from service.store.record import Change, Event, Row, Stored, Unreadable, changed, history

EVIL = ["42", "ä/ö", "a b", "'; DROP TABLE users; --", "x" * 256, "psad:user:", "\0", "🂡", "*"]


def event(item: str, when: float = 1.0, name: str | None = None) -> Change:
    return Change(events=[Event(item, when, name)])


def test_a_user_nobody_wrote_is_not_known(store: Any) -> None:
    assert store.read("42") is None
    assert store.row("42") is None
    assert store.delete("42") is False


def test_what_is_written_is_read_as_a_request_would_carry_it(store: Any) -> None:
    store.write(
        {"42": Change({"age": 24, "gender": "M"}, [Event("50", 1.0), Event("172", 2.0)])}, 9
    )
    assert store.read("42") == Stored(b'{"age":24,"gender":"M"}', b'["172","50"]')
    assert store.read("43") is None


def test_features_alone_and_events_alone_are_a_user(store: Any) -> None:
    store.write({"1": Change({"age": 24}), "2": event("50")}, 9)
    assert store.read("1") == Stored(b'{"age":24}', None)
    assert store.read("2") == Stored(None, b'["50"]')


def test_every_id_is_its_own_user(store: Any) -> None:
    store.write({user: event(str(place)) for place, user in enumerate(EVIL)}, 9)
    for place, user in enumerate(EVIL):
        assert store.read(user).items == f'["{place}"]'.encode()
    assert store.delete(EVIL[3]) is True
    assert [store.read(user) is None for user in EVIL] == [n == 3 for n in range(len(EVIL))]


def test_how_many_were_new_is_told(store: Any) -> None:
    events = [Event("50", 1.0, "a"), Event("51", 2.0, "b")]
    assert store.write({"42": Change(events=events), "43": event("9")}, 9) == 3
    assert store.write({"42": Change(events=[*events, Event("52", 3.0, "c")])}, 9) == 1
    assert store.read("42").items == b'["52","51","50"]'


def test_those_who_write_at_once_lose_nothing(url: str) -> None:
    async def write(number: int) -> None:
        store = open_store(url, 0)
        for place in range(5):
            await store.write({"42": event(f"{number}-{place}", float(place))}, 99)
        await store.close()

    async def all_of_them() -> bytes | None:
        await asyncio.gather(*(write(number) for number in range(4)))
        store = open_store(url, 0)
        try:
            stored = await store.read("42")
        finally:
            await store.close()
        return stored.items if stored else None

    items = asyncio.run(all_of_them())
    assert (items or b"").count(b",") == 4 * 5 - 1


WRITER = """
import asyncio, sys
from service.store.choose import open_store
from service.store.record import Change, Event

async def main(url, name):
    store = open_store(url, 0)
    for place in range(20):
        await store.write({"42": Change(events=[Event(f"{name}-{place}", place / 1)])}, 999)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_processes_share_it(url: str, store: Any) -> None:
    root = Path(__file__).parents[3]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, name], cwd=root) for name in "ab"
    ]
    assert [one.wait(60) for one in writers] == [0, 0]
    assert len(history(store.row("42"))) == 40


BESIDE = """
import asyncio, sys
from service.store.choose import open_store
from service.store.record import Change, Event

async def main(url):
    store = open_store(url, 0)
    await store.ping()
    await store.write({"1": Change(events=[Event("50", 1.0)])}, 9)  # a second connection
    print("open", flush=True)
    sys.stdin.readline()
    await store.write({"2": Change(events=[Event("51", 1.0)])}, 9)
    print("written", flush=True)
    sys.stdin.readline()

asyncio.run(main(*sys.argv[1:]))
"""


def test_what_was_written_outlives_a_kill_and_others_who_close_the_file(tmp_path: Path) -> None:
    url = f"file:{tmp_path / 'users.db'}"

    async def seen(user: str) -> Stored | None:
        store = open_store(url, 0)
        try:
            return await store.read(user)
        finally:
            await store.close()  # the last one would take the log away

    with subprocess.Popen(
        [sys.executable, "-c", BESIDE, url], cwd=Path(__file__).parents[3], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as service:  # fmt: skip
        assert service.stdin is not None
        assert service.stdout is not None
        assert service.stdout.readline() == "open\n"
        assert asyncio.run(seen("1")) is not None
        service.stdin.write("\n")
        service.stdin.flush()
        assert service.stdout.readline() == "written\n"
        assert asyncio.run(seen("2")) is not None
        service.kill()
    assert asyncio.run(seen("2")) == Stored(None, b'["51"]')


def test_to_be_opened_for_reading_the_file_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        await store.write({"42": event("50")}, 9)
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")  # as a long write of another process does
        again = open_store(f"file:{path}", 0)
        assert (await again.read("42")).items == b'["50"]'  # type: ignore[union-attr]
        db.execute("COMMIT")
        db.close()
        await again.close()
        await store.close()

    asyncio.run(run())


def test_many_who_write_much_and_again_are_all_written(url: str) -> None:
    async def run() -> None:
        store = open_store(url, 0)

        async def write(number: int) -> None:
            for again in range(10):
                change = {f"{number}-{user}": event("50", float(again)) for user in range(100)}
                assert await store.write(change, 9) == 100

        await asyncio.gather(*map(write, range(12)))
        assert await store.read("11-99") == Stored(None, b"[" + b",".join([b'"50"'] * 9) + b"]")
        await store.close()

    asyncio.run(run())


def test_users_expire_after_their_last_change(url: str) -> None:
    async def run() -> None:
        store = open_store(url, 0.2 / 86_400)
        await store.write({"42": event("50", 1.0), "43": event("50", 1.0)}, 9)
        await asyncio.sleep(0.12)
        await store.write({"43": event("51", 2.0)}, 9)
        await asyncio.sleep(0.12)
        assert await store.read("42") is None
        assert (await store.read("43")).items == b'["51","50"]'  # type: ignore[union-attr]
        await store.close()

    asyncio.run(run())


def test_a_write_that_fails_leaves_everything_as_it_was(store: Any) -> None:
    store.write({"1": event("old"), "2": event("old")}, 9)
    with pytest.raises(UnicodeEncodeError):
        store.write({"1": event("new", 2.0), "\ud800": event("new"), "2": event("new", 2.0)}, 9)
    assert [store.read(user).items for user in "12"] == [b'["old"]'] * 2


def test_a_key_of_another_kind_is_unreadable_and_gives_way_to_a_write(
    redis: Any, tmp_path: Path
) -> None:
    async def run() -> None:
        store = open_store(redis.url, 0)
        redis.command("SET", "psad:user:2", "nonsense")
        with pytest.raises(Unreadable):
            await store.read("2")
        added = await store.write({one: event("new", 2.0) for one in "123"}, 9)
        assert added == 3
        for user in "123":
            assert await store.row(user) == Row(None, b'["new"]', b"[[2.0,null]]")
        await store.close()

    asyncio.run(run())


def test_requests_have_their_turns_beside_a_large_write_to_redis(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, seen = 0, []

    def noted(*given: Any) -> tuple[Row, int]:
        seen.append(turns)
        return changed(*given)

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> None:
        store = open_store(redis.url, 0)
        beside = asyncio.create_task(others())
        monkeypatch.setattr("service.store.redis_store.changed", noted)
        assert await store.write({str(user): event("50") for user in range(1_000)}, 9) == 1_000
        beside.cancel()
        await store.close()

    asyncio.run(run())
    assert len(seen) == 1_000
    assert max(seen.count(turn) for turn in set(seen)) <= 20


def test_a_full_redis_refuses_all_of_a_write(redis: Any) -> None:
    async def run() -> None:
        store = open_store(redis.url, 0)
        await store.write({"1": event("old")}, 9)
        redis.command("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(Unavailable):
                await store.write({"1": event("new", 2.0), "2": event("new")}, 9)
        finally:
            redis.command("CONFIG", "SET", "maxmemory", "0")
        assert (await store.read("1")).items == b'["old"]'  # type: ignore[union-attr]
        assert await store.read("2") is None
        await store.close()

    asyncio.run(run())


def test_the_file_is_for_its_owner_alone_and_forgets_what_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        await store.write({"secret-user": event("secret-item")}, 9)
        assert {stat.S_IMODE(os.stat(one).st_mode) for one in tmp_path.iterdir()} == {0o600}
        assert await store.delete("secret-user")
        for one in tmp_path.glob("users.db*"):
            assert b"secret" not in one.read_bytes() or one.name.endswith("-shm")
        await store.close()

    asyncio.run(run())


def test_what_is_deleted_while_somebody_reads_leaves_the_log_with_a_later_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.file_store._EMPTIED", 0.0)
    path = tmp_path / "users.db"

    def logged() -> bool:
        return b"secret" in path.with_name("users.db-wal").read_bytes()

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        await store.write({"1": event("50")}, 9)
        await store.write({"42": event("secret")}, 9)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM users").fetchone()
        assert await store.delete("42")
        assert logged()
        await store.write({"2": event("50")}, 9)
        assert logged()
        reader.execute("COMMIT")
        reader.close()
        await store.write({"3": event("50")}, 9)
        assert not logged()
        await store.close()

    asyncio.run(run())


def test_what_expired_leaves_the_log_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.file_store._CLEANED", 0.0)
    monkeypatch.setattr("service.store.file_store._EMPTIED", 0.0)
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0.05 / 86_400)
        await store.write({"41": event("50")}, 9)
        await store.write({"42": event("secret")}, 9)
        await asyncio.sleep(0.1)
        await store.write({"43": event("50")}, 9)
        for one in (path, path.with_name("users.db-wal")):
            assert b"secret" not in one.read_bytes()
        await store.close()

    asyncio.run(run())


def test_expired_users_leave_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.file_store._CLEANED", 0.0)
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0.05 / 86_400)
        await store.write({"42": event("50"), "44": event("50")}, 9)
        await asyncio.sleep(0.1)
        await store.write({"43": event("50")}, 9)
        await store.close()

    asyncio.run(run())
    db = sqlite3.connect(path)
    assert db.execute("SELECT id FROM users").fetchall() == [("43",)]
    db.close()


@pytest.mark.parametrize("spoil", ["garbage", "format", "folder"])
def test_a_file_that_is_no_store_is_unavailable_until_it_is_mended(
    tmp_path: Path, spoil: str
) -> None:
    path = tmp_path / "users.db"
    if spoil == "garbage":
        path.write_bytes(b"no database" * 1_000)
    elif spoil == "format":
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.close()
    else:
        path.mkdir()

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        for ask in (store.read("42"), store.ping(), store.write({"42": event("50")}, 9)):
            with pytest.raises(Unavailable) as said:
                await ask
            assert str(tmp_path) not in str(said.value)
        path.rmdir() if spoil == "folder" else path.unlink()
        await store.write({"42": event("50")}, 9)
        assert (await store.read("42")).items == b'["50"]'  # type: ignore[union-attr]
        await store.close()

    asyncio.run(run())


def test_numbers_where_json_should_be_are_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        await store.write({"42": event("50")}, 9)
        db = sqlite3.connect(path)
        db.execute("UPDATE users SET items = 3")
        db.commit()
        db.close()
        with pytest.raises(Unreadable):
            await store.read("42")
        await store.write({"42": event("51")}, 9)
        assert (await store.read("42")).items == b'["51"]'  # type: ignore[union-attr]
        await store.close()

    asyncio.run(run())


def test_another_process_that_holds_the_file_delays_a_write_and_no_read(tmp_path: Path) -> None:
    path = tmp_path / "users.db"

    async def run() -> None:
        store = open_store(f"file:{path}", 0)
        await store.write({"42": event("50")}, 9)
        await store.ping()
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        writing = asyncio.create_task(store.write({"42": event("51", 2.0)}, 9))
        await asyncio.sleep(0.05)
        assert (await store.read("42")).items == b'["50"]'  # type: ignore[union-attr]
        assert not writing.done()
        assert time.monotonic() - begun < 1
        db.execute("COMMIT")
        db.close()
        assert await writing == 1
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["users.db", "file:", "http://x:1", "redis://x:port", "memcached://secret@x"]
)
def test_what_names_no_store_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as said:
        open_store(url, 0)
    assert "redis://HOST:PORT/DATABASE" in str(said.value)
    assert "secret" not in str(said.value)
