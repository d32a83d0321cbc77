"""What was shown: it is all there, in shown order, and nothing that goes wrong costs a request."""

from __future__ import annotations

import csv
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import shown, shown_files
from service.shown_files import ShownFiles
from service.shown_rows import COLUMNS, end_of_whole_lists


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "shown"


@pytest.fixture
def logged(serve: Any, log: Path) -> Callable[..., Any]:
    """A service that writes what it showed; settings as keywords."""
    return lambda **settings: serve(shown_log=log, **settings).loaded()


def rows(log: Path, pattern: str = "*.csv") -> list[dict[str, str]]:
    """All rows of the whole files."""
    found = []
    for path in sorted(one for one in log.glob(pattern) if one.name[0] != "."):
        with path.open(encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def written(api: Any, lists: int) -> bool:
    return bool(api.wait_for(lambda: api.metric("shown_written_total") >= lists))


def ended(api: Any) -> None:
    api.service.shown.stop()


REQUEST = {
    "request_id": "r-1", "user": {"id": "u,7", "features": {"age": 24, "gender": "M"}},
    "candidates": [{"id": "101", "score": 0.5}, "109", {"id": 'a "b"', "score": 0.25}, "103"],
    "top_k": 3,
}  # fmt: skip


SCORES = {"101": "0.5", "109": "", 'a "b"': "0.25", "103": ""}


def test_the_shown_items_stand_in_shown_order_and_no_others(logged: Any, log: Path) -> None:
    api = logged()
    before = time.time() * 1000
    answer = api.post(REQUEST).json()
    ended(api)
    found = rows(log)
    assert [one["item_id"] for one in found] == [one["id"] for one in answer["results"]]
    assert len(found) == 3  # of four candidates: what top_k cut off was not shown
    for place, (row, result) in enumerate(zip(found, answer["results"], strict=True), 1):
        assert before - 1 <= int(row.pop("timestamp")) <= time.time() * 1000
        assert float(row.pop("rerank_score")) == pytest.approx(result["score"])
        assert row == {
            "list_id": "r-1", "user_id": "u,7", "item_id": result["id"], "position": str(place),
            "rerank_index": str(result["index"]), "rerank_shown": "3", "rerank_candidates": "4",
            "rerank_model": "toy-s", "rerank_version": "1", "rerank_mode": "scorer",
            "rerank_fallback": "", "score": SCORES[result["id"]],
        }  # fmt: skip
    assert api.metric("shown_written_total") == 1


def test_nothing_of_a_user_but_the_id_unless_asked(logged: Any, log: Path) -> None:
    api = logged(shown_log_features=True)
    api.post(REQUEST)
    api.post({"candidates": ["100", "101"], "request_id": "nobody's"})
    ended(api)
    first, *_, last = rows(log)
    assert (first["rerank_user_age"], first["rerank_user_gender"]) == ("24.0", "M")
    assert last["rerank_user_age"] == ""
    assert last["user_id"] == "nobody's"  # a list of nobody is a person of its own


def test_fallbacks_were_shown_too_and_say_so_but_errors_and_empty_lists_were_not(
    logged: Any, log: Path
) -> None:
    api = logged()

    def fails(raw: Any, mode: Any) -> Any:
        raise RuntimeError

    api.engine.rerank = fails
    api.post({"candidates": ["100", "109"], "request_id": "a"})
    api.post({"candidates": ["100", "109"], "request_id": "b", "on_failure": "error"})
    api.post({"candidates": [], "request_id": "c"})
    api.post({"candidates": ["100"], "request_id": "d"})
    ended(api)
    said = [(one["list_id"], one["item_id"], one["rerank_fallback"]) for one in rows(log)]
    assert said == [("a", "100", "model_error"), ("a", "109", "model_error"), ("d", "100", "")]


def test_a_batch_is_written_list_by_list(logged: Any, log: Path) -> None:
    api = logged()
    api.post({"requests": [{"candidates": ["100", "101"]}] * 3}, "/rerank/batch", X_Request_ID="p")
    ended(api)
    assert [one["list_id"] for one in rows(log)] == ["p#0", "p#0", "p#1", "p#1", "p#2", "p#2"]


def test_without_a_model_lists_are_written_under_a_header_of_their_own(
    logged: Any, log: Path, tmp_path: Path
) -> None:
    api = logged(bundle=tmp_path / "none")
    api.post({"candidates": ["1", "2"], "request_id": "a"})
    ended(api)
    (first, second) = rows(log)
    assert tuple(first) == COLUMNS
    assert (first["rerank_fallback"], first["rerank_model"]) == ("no_model", "")
    assert second["item_id"] == "2"


def test_a_share_of_the_users_is_written_whole(logged: Any, log: Path) -> None:
    api = logged(shown_log_percent=30)
    for turn in range(2):
        for user in range(100):
            sent = {"candidates": ["1"], "user": {"id": user}, "request_id": f"{user}-{turn}"}
            api.post(sent)
    ended(api)
    times: dict[str, int] = {}
    for one in rows(log):
        times[one["user_id"]] = times.get(one["user_id"], 0) + 1
    assert set(times.values()) == {2}
    assert 15 <= len(times) <= 45


def test_an_id_with_a_line_break_is_counted_and_left_out(logged: Any, log: Path) -> None:
    api = logged()
    for odd in ("a\nb", "a\rb", "a\0b"):
        assert api.post({"candidates": [odd, "100"]}).status_code == 200
    api.post({"candidates": ["a,\u2028b", "100"], "request_id": "fine"})
    ended(api)
    assert api.metric("shown_dropped_total", reason="unfit") == 3
    assert {one["list_id"] for one in rows(log)} == {"fine"}


def test_a_file_is_whole_under_its_name_and_hidden_before(logged: Any, log: Path) -> None:
    api = logged()
    api.post(REQUEST)
    assert written(api, 1)
    (begun,) = log.iterdir()
    assert begun.name.startswith(".shown-")
    assert begun.stat().st_mode & 0o007 == 0
    ended(api)
    (whole,) = log.iterdir()
    assert whole.name == begun.name[1:]


def test_a_file_ends_at_its_age(logged: Any, log: Path) -> None:
    api = logged(shown_log_file_seconds=0.01)
    api.post(REQUEST)
    assert api.wait_for(lambda: len(rows(log)) == 3)


def test_a_service_that_showed_nothing_leaves_no_file(logged: Any, log: Path) -> None:
    ended(logged())
    assert not log.exists()


# what goes wrong


def test_an_unwritable_folder_is_counted_and_costs_no_answer(logged: Any, log: Path) -> None:
    log.write_text("a file stands in the way")
    api = logged()
    assert api.post(REQUEST).json()["fallback"] is None
    assert api.wait_for(lambda: api.metric("shown_dropped_total", reason="disk") == 1)
    assert api.metric("requests_total", status="200") == 1


def test_a_full_disk_leaves_whole_lists_and_is_written_to_again(
    logged: Any, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_PAUSE", 0.0)
    api = logged()
    api.post({**REQUEST, "request_id": "before"})
    assert written(api, 1)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return real(descriptor, data[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shown_files.os, "write", full)
        api.post({**REQUEST, "request_id": "lost"})
        assert api.wait_for(lambda: api.metric("shown_dropped_total", reason="disk") == 1)
    api.post({**REQUEST, "request_id": "after"})
    assert written(api, 2)
    ended(api)
    assert [one["list_id"] for one in rows(log)] == ["before"] * 3 + ["after"] * 3


def test_what_waits_at_the_end_and_the_disk_refuses_is_counted_whole(
    logged: Any, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_BLOCK", 1)  # each list by itself
    log.write_text("a file stands in the way")
    api = logged()
    api.service.shown._retry_at = float("inf")  # the thread comes back at the end alone
    for _ in range(5):
        api.post(REQUEST)
    ended(api)
    assert api.metric("shown_dropped_total", reason="disk") == 5


def test_what_a_slow_disk_cannot_take_is_dropped_and_no_request_waits(
    logged: Any, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "_ROWS", 7)  # two lists of three
    api = logged()
    api.service.shown._retry_at = float("inf")  # the thread does not come back
    for _ in range(5):
        assert api.post(REQUEST).json()["fallback"] is None
    assert api.metric("shown_dropped_total", reason="queue") == 3
    ended(api)
    assert len(rows(log)) == 6


def test_a_fault_of_the_record_is_none_of_the_answer(
    logged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = logged()
    monkeypatch.setattr(shown.Layout, "take", lambda *given: 1 / 0)
    assert api.post(REQUEST).status_code == 200
    assert api.metric("shown_dropped_total", reason="failed") == 1


def test_a_folder_that_is_removed_meanwhile_is_made_again(logged: Any, log: Path) -> None:
    api = logged()
    api.post({**REQUEST, "request_id": "lost"})
    assert written(api, 1)
    for path in log.iterdir():
        path.unlink()
    log.rmdir()
    api.post({**REQUEST, "request_id": "kept"})
    assert written(api, 2)
    ended(api)
    assert {one["list_id"] for one in rows(log)} == {"kept"}


# files


HEADER = ",".join(COLUMNS) + "\n"


def one_list(name: str, count: int = 3) -> str:
    return "".join(
        f"{name},u,1,i{place},{place},0,0.5,{count},9,m,1,scorer,\n"
        for place in range(1, count + 1)
    )


def files(log: Path, **more: Any) -> ShownFiles:
    removed: list[int] = more.pop("removed", [])
    usual = {"file_bytes": 1_000_000, "seconds": 60.0, "max_bytes": 10_000_000}
    return ShownFiles(log, **{**usual, **more}, removed=lambda: removed.append(1))


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_file_cut_anywhere_keeps_its_whole_lists(cut: int) -> None:
    text = (HEADER + one_list("a", 1) + one_list("b") + one_list("c")).encode()
    ends = [len(HEADER + one_list("a", 1) + rest) for rest in ("", one_list("b"))]
    left = len(text) - cut
    wanted = len(text) if cut == 0 else max((end for end in ends if end <= left), default=0)
    assert end_of_whole_lists(text[:left]) == wanted
    assert end_of_whole_lists(text[:left] + b"\0" * 64) == wanted  # as a crash of the machine may


ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.service.test_shown import HEADER, files, one_list
writer = files(Path(sys.argv[1]))
writer.write(HEADER, one_list("killed").encode())
writer.write(HEADER, one_list("torn").encode()[:60])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_recovered_and_a_living_ones_is_not(log: Path) -> None:
    living = files(log)
    living.write(HEADER, one_list("living").encode())
    done = subprocess.run([sys.executable, "-c", KILLED, str(log)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(log.glob(".shown-*"))) == 2
    assert files(log).recover() == 1
    assert [one["list_id"] for one in rows(log)] == ["killed"] * 3
    living.write(HEADER, one_list("on").encode())
    living.close()
    assert {one["list_id"] for one in rows(log)} == {"killed", "living", "on"}
    assert not list(log.glob(".shown-*"))


def test_a_leftover_without_a_list_goes(log: Path) -> None:
    log.mkdir()
    (log / ".shown-1-a-00001.csv").write_text(HEADER)
    (log / ".shown-1-a-00002.csv").write_text("")
    assert files(log).recover() == 0
    assert list(log.iterdir()) == []


def test_a_file_ends_before_it_is_too_large_and_lists_stay_whole(log: Path) -> None:
    size = len(HEADER) + 2 * len(one_list("0"))
    writer = files(log, file_bytes=size)
    for number in range(5):
        writer.write(HEADER, one_list(str(number)).encode())
    writer.close()
    counts = [len(path.read_text().splitlines()) - 1 for path in sorted(log.iterdir())]
    assert counts == [6, 6, 3]
    assert max(path.stat().st_size for path in log.iterdir()) <= size


def test_the_oldest_files_go_before_the_folder_is_over_its_bound(log: Path) -> None:
    removed: list[int] = []
    bound = 4 * (len(HEADER) + 2 * len(one_list("00")))
    log.mkdir()
    (log / "mine.csv").write_text("not of this log" * 1000)
    writer = files(log, max_bytes=bound, removed=removed)
    for number in range(40):
        writer.write(HEADER, one_list(f"{number:02}").encode())
        assert sum(path.stat().st_size for path in log.glob("*shown-*")) <= bound
    writer.close()
    found = sorted(one["list_id"] for one in rows(log, "shown-*"))
    assert found[-1] == "39"
    assert found == sorted(f"{n:02}" for n in range(int(found[0]), 40) for _ in range(3))
    assert len(removed) >= 15
    assert (log / "mine.csv").exists()


def test_many_writers_leave_room_for_whole_files(log: Path) -> None:
    writers = [files(log, file_bytes=1_000, max_bytes=4_000) for _ in range(4)]
    for _ in range(12):
        for one in writers:
            one.write("h\n", b"x" * 399 + b"\n")
    whole = [path.stat().st_size for path in log.glob("shown-*.csv")]
    assert 1_000 <= sum(whole) <= 2_000


def test_a_leftover_that_cannot_be_opened_does_not_keep_others_from_being_recovered(
    log: Path,
) -> None:
    (log / ".shown-0-folder.csv").mkdir(parents=True)
    (log / ".shown-1-dead.csv").write_text("list_id,position\n")
    assert files(log).recover() == 0
    assert [path.name for path in log.iterdir()] == [".shown-0-folder.csv"]


def test_a_file_that_could_not_be_ended_is_ended_later(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    writer = files(log)
    writer.write(HEADER, one_list("first").encode())
    monkeypatch.setattr("service.shown_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        writer.close()
    monkeypatch.undo()
    writer.rotate()
    assert {one["list_id"] for one in rows(log)} == {"first"}
    assert not list(log.glob(".shown-*"))


def test_two_writers_in_one_folder_do_not_meet(log: Path) -> None:
    writers = [files(log, file_bytes=2_000) for _ in range(3)]
    for number in range(30):
        writers[number % 3].write(HEADER, one_list(str(number)).encode())
    for one in writers:
        one.close()
    assert sorted({int(one["list_id"]) for one in rows(log)}) == list(range(30))
    assert len(rows(log)) == 90
