"""Where raw data comes from: `$PSAD_DATA`, then the user's cache, then a download.

Every file is checked by sha256, and a download becomes visible only once it is whole. A failure
says each thing that was tried and what a person can do. Nothing fetched is ever committed.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from features.errors import DataError

CONNECT_SECONDS = 10.0
BLOCK = 1 << 20
Layout = Mapping[str, str]  # file name -> sha256


@dataclass(frozen=True)
class Way:
    """One way to get the files: what it is called in a report, and what puts them in a folder."""

    name: str
    into: Callable[[Path], None]


def data_folder() -> Path | None:
    """The folder `$PSAD_DATA` names, None where it is not set."""
    named = os.environ.get("PSAD_DATA")
    return Path(named).expanduser() if named else None


def cache_folder() -> Path:
    """The user's cache: `$XDG_CACHE_HOME/psad`, by default `~/.cache/psad`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "psad"


def obtain(
    names: Sequence[str], layouts: Sequence[Layout], ways: Sequence[Way], remedy: str
) -> Path:
    """The folder that holds all files of one of the layouts, fetched where it must be.

    `names` are the folder names it may go by, the first one used in the cache. Raises DataError
    with everything that was tried and the remedy.
    """
    tried: list[str] = []
    for base in (data_folder(), cache_folder()):
        if base is None:
            tried.append("$PSAD_DATA is not set")
            continue
        for name in names:
            if (problem := problem_of(base / name, layouts)) is None:
                return base / name
            tried.append(problem)
    target = cache_folder() / names[0]
    for way in ways:
        try:
            return _fetch(way, target, layouts)
        except (OSError, DataError, http.client.HTTPException, zipfile.BadZipFile) as error:
            tried.append(f"{way.name}: {error}")
            print(f"not from {way.name}: {error}", file=sys.stderr)
    steps = "\n".join(f"  - {step}" for step in tried)
    raise DataError(f"the data set {names[0]} could not be had. Tried:\n{steps}\n{remedy}")


def problem_of(folder: Path, layouts: Sequence[Layout]) -> str | None:
    """What is wrong with a folder as a copy of the data, None where it is a good one."""
    for layout in layouts:
        if all((folder / name).is_file() for name in layout):
            wrong = [name for name, sha in layout.items() if sha256_of(folder / name) != sha]
            return f"{folder}: {', '.join(wrong)} differs from its sha256" if wrong else None
    return f"{folder}: not there" if not folder.is_dir() else f"{folder}: holds none of the files"


def _fetch(way: Way, target: Path, layouts: Sequence[Layout]) -> Path:
    """Fetch into a hidden folder beside the target, check, then move it into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching {target.name} from {way.name}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        fetched = Path(scratch) / "files"
        fetched.mkdir()
        way.into(fetched)
        if problem := problem_of(fetched, layouts):
            raise DataError(problem.replace(str(fetched), "what came"))
        if target.exists():
            target.rename(Path(scratch) / "damaged")  # an earlier copy that failed its check
        fetched.rename(target)
    return target


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, origin: str) -> None:
    """Raise DataError where a fetched file is not the one that is meant."""
    if (found := sha256_of(path)) != expected:
        raise DataError(f"{origin} gave a file of sha256 {found}, expected {expected}")


def download(url: str, path: Path, sha256: str) -> None:
    """Fetch a url with a progress bar and check it; raises OSError or DataError."""
    request = urllib.request.Request(url, headers={"User-Agent": "psad"})
    with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as answer:
        size = int(answer.headers.get("Content-Length") or 0)
        with (
            path.open("wb") as file,
            tqdm(total=size or None, unit="B", unit_scale=True, desc=path.name) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    check_sha256(path, sha256, url)


def pip_wheel(requirement: str, folder: Path, sha256: str) -> Path:
    """Fetch one wheel with pip, without its dependencies, and check it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
               "--disable-pip-version-check", "--dest", str(folder), requirement]  # fmt: skip
    # pip draws its progress on stdout; ours is for results
    if subprocess.run(command, stdout=2, check=False).returncode:
        raise DataError(f"`{' '.join(command)}` failed; its own message stands above")
    (wheel,) = folder.glob("*.whl")
    check_sha256(wheel, sha256, requirement)
    return wheel


def unpack(archive: Path, members: Mapping[str, str], folder: Path) -> None:
    """Copy members of a zip (member -> file name) into a folder; raises DataError where absent."""
    with zipfile.ZipFile(archive) as zipped:
        for member, name in members.items():
            try:
                source = zipped.open(member)
            except KeyError as error:
                raise DataError(f"{archive.name} holds no {member}") from error
            with source, (folder / name).open("wb") as file:
                shutil.copyfileobj(source, file)
