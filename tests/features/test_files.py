"""A file has its old content or its new one under its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.files import whole, write_whole


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_whole(path, "old")
    with whole(path) as beside:
        beside.write_text("né", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"
        assert beside.suffix == path.suffix
    assert path.read_text(encoding="utf-8") == "né"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    write_whole(path, "old")

    def fails() -> None:
        with whole(path) as beside:
            beside.write_text("hal")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
