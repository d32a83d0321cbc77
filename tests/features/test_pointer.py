"""CURRENT: one version in service, and the one before it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from features.errors import BundleError
from features.pointer import Pointer, Version, read_pointer, write_pointer

ONE, TWO, THREE = (Version(version=name, manifest_sha256=name * 2) for name in "abc")


def test_a_pointer_is_read_as_it_was_written(tmp_path: Path) -> None:
    pointer = Pointer(version="a", manifest_sha256="aa").moved(TWO)
    write_pointer(tmp_path, pointer)
    assert read_pointer(tmp_path) == pointer
    assert [one.name for one in tmp_path.iterdir()] == ["CURRENT"]


def test_what_earlier_programs_wrote_has_no_version_before(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text(json.dumps(ONE.model_dump()))
    assert read_pointer(tmp_path) == Pointer(**ONE.model_dump())


def test_moving_remembers_one_version(tmp_path: Path) -> None:
    first = Pointer(**ONE.model_dump())
    second = first.moved(TWO)
    assert (second.version, second.previous) == ("b", ONE)
    assert second.moved(THREE).previous == TWO
    assert second.moved(ONE) == Pointer(**ONE.model_dump(), previous=TWO)  # and back


def test_moving_to_where_it_is_forgets_nothing() -> None:
    second = Pointer(**ONE.model_dump()).moved(TWO)
    assert second.moved(TWO) is second


@pytest.mark.parametrize("name", ["../up", "/etc", "a\\b", ""])
def test_neither_version_may_leave_the_folder(tmp_path: Path, name: str) -> None:
    content = ONE.model_dump() | {"previous": {"version": name, "manifest_sha256": ""}}
    (tmp_path / "CURRENT").write_text(json.dumps(content))
    with pytest.raises(BundleError, match="leaves the bundle"):
        read_pointer(tmp_path)


def test_a_folder_that_cannot_be_written_keeps_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_pointer(tmp_path / "none", Pointer(**ONE.model_dump()))
