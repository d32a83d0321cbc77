"""The short form of byte_flips: every file of a bundle, three bytes of each."""

from __future__ import annotations

import pytest

from features import bundle
from service.models import Models
from tests.chaos.byte_flips import run

FILES = 21  # of a version with a generator, and CURRENT


def test_an_altered_byte_is_refused_or_harmless_and_the_old_version_serves_on() -> None:
    report = run(3 * FILES)
    assert len(report["files"]) == FILES
    assert (report["served"], report["unnoticed"], report["unanswered"]) == (0, 0, 0)
    for name, counts in report["files"].items():
        assert counts["refused"] + (counts["harmless"] if name == "CURRENT" else 0) == 3
    assert report["refused"] >= 3 * (FILES - 1)


def test_checksums_that_are_not_compared_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "_verify", lambda *_: None)
    assert run(2 * FILES)["served"] > 0


def test_a_service_that_stops_looking_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = Models.load, 0

    async def load(self: Models) -> None:
        nonlocal looks
        looks += 1
        if looks <= 2:  # the start, and one refusal
            await real(self)

    monkeypatch.setattr(Models, "load", load)
    found = run(FILES)
    assert (found["refused"], found["unnoticed"]) == (1, FILES - 1)
