"""Bytes of a published bundle are altered, one at a time; what the service does is looked at.

    python -m tests.chaos.byte_flips --count 500

A version that serves stays; the altered one is published beside it, as an export would. Each flip
must end in one of two ways:

refused   the version is not loaded and `/info` names it. Every file of a version ends so: its
          sha256 stands in the manifest, and the manifest's in CURRENT.
harmless  only of CURRENT itself: it still names the same version, every byte of which is the
          published one, so that its answers are the same. (A byte in the name of the version
          before, for example.)

Either way the service answers throughout, by the old version or by the very one published.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from features.pointer import CURRENT
from features.publish import publish
from service.settings import Settings
from tests.service.conftest import Api, generator, write_bundle

BODY = {"candidates": ["100", "109", "104"]}
OUTCOMES = ("refused", "harmless", "served", "unnoticed")


def run(count: int, seed: int = 0) -> dict[str, Any]:
    """Flip `count` bytes spread over all files; `{"files": {name: Counter}, outcome: number, …}`.

    "served" must be 0: an altered bundle that took over. So must "unnoticed", where nothing took
    over and `/info` names no refused version, and "unanswered", requests that got no scores of a
    version that is whole.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = write_bundle(folder, generates=generator())
        write_bundle(folder, generates=generator(), name="2", published=False)
        settings = Settings(bundle=home, watch_seconds=0, deadline_ms=10_000)
        api = Api(settings, stack).loaded()
        return _flip_all(api, home, count, random.Random(seed))


def _flip_all(api: Api, home: Path, count: int, chance: random.Random) -> dict[str, Any]:
    good, old = (home / CURRENT).read_bytes(), api.service.models.current
    publish(home / "2")
    whole = _digests(home / "2")
    published = (home / CURRENT).read_bytes()
    files = [home / CURRENT, *sorted(p for p in (home / "2").rglob("*") if p.is_file())]
    found: dict[str, Counter[str]] = {p.relative_to(home).as_posix(): Counter() for p in files}
    unanswered = 0
    for path, place, mask in _flips(files, count, chance):
        (home / CURRENT).write_bytes(published)
        api.service.models.current, api.service.models.previous = old, None
        api.service.models.refused = None  # what the flip before left must not pass for this one's
        content = path.read_bytes()
        path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        try:
            found[path.relative_to(home).as_posix()][_outcome(api, path, home / "2", whole)] += 1
            unanswered += not _answers(api, {"1", "2"})
        finally:
            path.write_bytes(content)
    (home / CURRENT).write_bytes(good)
    total = sum(found.values(), Counter[str]())
    return {"files": found, "unanswered": unanswered, **{one: total[one] for one in OUTCOMES}}


def _flips(files: list[Path], count: int, chance: random.Random) -> Iterator[tuple[Path, int, int]]:
    """Every file in turn; the first and the last byte of each, then any."""
    for number in range(count):
        path, turn = files[number % len(files)], number // len(files)
        size = path.stat().st_size
        place = {0: 0, 1: size - 1}.get(turn, chance.randrange(size))
        yield path, place, chance.randrange(1, 256)


def _outcome(api: Api, path: Path, folder: Path, whole: dict[str, str]) -> str:
    """Let the service look at its bundles once, and say what came of it."""
    models = api.service.models
    before = models.current
    api.runner.run(models.load())
    if models.current is before:
        refused = api.get("/info").json()["refused"]
        named = refused and (path.name == CURRENT or refused["version"] == folder.name)
        return "refused" if named else "unnoticed"  # an altered CURRENT may name any version
    same = models.current.engine.bundle.folder == folder and _digests(folder) == whole
    return "harmless" if same else "served"


def _digests(folder: Path) -> dict[str, str]:
    """The proof, apart from what the service itself compares: every byte as it was published."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _answers(api: Api, versions: set[str]) -> bool:
    answer = api.post(BODY)
    body = answer.json()
    ordered = [one["id"] for one in body.get("results", ())] == ["109", "104", "100"]
    return ordered and body["fallback"] is None and body["model"]["version"] in versions


def main() -> None:
    """Print a table; exits with 1 where an altered bundle was served or not noticed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = run(given.count, given.seed)
    print(f"{'file':44}" + "".join(f"{one:>10}" for one in OUTCOMES))
    for name, counts in report["files"].items():
        print(f"{name:44}" + "".join(f"{counts[one]:10}" for one in OUTCOMES))
    print(f"{'all':44}" + "".join(f"{report[one]:10}" for one in OUTCOMES))
    print(f"requests that no whole version answered: {report['unanswered']}")
    raise SystemExit(bool(report["served"] or report["unnoticed"] or report["unanswered"]))


if __name__ == "__main__":
    main()
