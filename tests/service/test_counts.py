"""What processes counted is the same sum once they are gone, whenever somebody reads."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.parser import text_string_to_metric_families

from service.counts import forget, scrape, unread

Counts = dict[str, int]  # by label
WORKERS = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**40)), max_size=6)


def count(folder: Path, pid: int, counts: Counts) -> None:
    """Leave the files that a process leaves: a counter, a histogram, a gauge of the living."""
    for kind, names in (
        ("counter", ["n_total"]), ("histogram", ["n_sum", "n_bucket"]), ("gauge_livesum", ["n"]),
    ):  # fmt: skip
        file = MmapedDict(str(folder / f"{kind}_{pid}.db"))
        for label, value in counts.items():
            for name in names:
                labels = {"of": label} | ({"le": "+Inf"} if name == "n_bucket" else {})
                key = mmap_key(
                    f"{kind}_n", f"{kind}_{name}", list(labels), list(labels.values()), ""
                )
                file.write_value(key, float(value), 0.0)
        file.close()


def sums(folder: Path, begins: str) -> dict[str, float]:
    families = text_string_to_metric_families(scrape(folder).decode())
    return {
        f"{one.name} {one.labels['of']}": one.value
        for family in families for one in family.samples if one.name.startswith(begins)
    }  # fmt: skip


@given(gone=WORKERS, later=WORKERS, living=WORKERS)
def test_what_the_gone_counted_stays_and_what_only_the_living_count_goes(
    tmp_path_factory: pytest.TempPathFactory, gone: list[Counts], later: list[Counts],
    living: list[Counts],
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("counts")
    stay = range(100, 100 + len(living))
    for pid, counts in zip(stay, living, strict=True):
        count(folder, pid, counts)
    alone = sums(folder, "gauge_")
    for first, some in ((200, gone), (300, later)):
        for pid, counts in enumerate(some, first):
            count(folder, pid, counts)
        before = sums(folder, "counter_"), sums(folder, "histogram_")
        forget(folder, stay)
        assert (sums(folder, "counter_"), sums(folder, "histogram_")) == before
    assert sums(folder, "gauge_") == alone
    assert len(list(folder.glob("*.db"))) <= 3 * len(living) + 2


def test_a_scrape_sees_all_of_one_that_goes_or_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    most, seen, stop = 60, list[float](), threading.Event()
    count(tmp_path, 1, {"a": 5})

    def read() -> None:
        while not stop.is_set():
            seen.append(sums(tmp_path, "counter_")["counter_n_total a"])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for pid in range(2, most):
        with unread():
            count(tmp_path, pid, {"a": 0})
        forget(tmp_path, [1])
    forget(tmp_path, [])
    stop.set()
    for one in readers:
        one.join()
    assert set(seen) == {5.0}


def test_a_process_killed_while_it_made_its_files_stops_no_scrape(tmp_path: Path) -> None:
    count(tmp_path, 1, {"a": 5})
    (tmp_path / "counter_2.db").touch()
    cut = (tmp_path / "counter_1.db").read_bytes()[:4] + bytes(4)
    (tmp_path / "counter_3.db").write_bytes(cut)
    forget(tmp_path, [1])
    assert sums(tmp_path, "counter_") == {"counter_n_total a": 5.0}
    assert {file.name for file in tmp_path.glob("counter_*.db")} == {"counter_0.db", "counter_1.db"}
