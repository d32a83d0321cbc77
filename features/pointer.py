"""CURRENT: the file beside the versions of a bundle that says which of them is in service.

Small JSON, changed by an atomic rename alone, so that whoever reads it sees the one or the other.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, ValidationError

from features.errors import BundleError

CURRENT = "CURRENT"


class Version(BaseModel):
    """A version as it was published."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    manifest_sha256: str


class Pointer(Version):
    """The version in service, and what was before it, to go back to."""

    previous: Version | None = None

    def moved(self, version: Version) -> Pointer:
        """To another version, this one being the previous; the same where it is there already."""
        here = Version(version=self.version, manifest_sha256=self.manifest_sha256)
        return self if version == here else Pointer(**version.model_dump(), previous=here)


def read_pointer(home: Path) -> Pointer:
    """Of bundles/NAME. Raises BundleError where there is none, or none that can be read."""
    file = home / CURRENT
    try:
        pointer = Pointer.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        kind = error.errors(include_url=False)[0]["type"]
        said = "is not JSON" if kind == "json_invalid" else "cannot be read"
        raise BundleError(f"{file} {said}: publish a version again") from error
    for one in (pointer, pointer.previous):
        if one is not None:
            safe(one.version)
    return pointer


def write_pointer(home: Path, pointer: Pointer) -> None:
    """Whole or not at all; raises OSError where the folder cannot be written."""
    handle, name = tempfile.mkstemp(prefix=f".{CURRENT}-", dir=home)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(pointer.model_dump(exclude_none=True), file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(home / CURRENT)
    finally:
        Path(name).unlink(missing_ok=True)


def safe(name: str) -> str:
    """A relative path that cannot leave the bundle; raises BundleError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or set(name) & {"\\", "\0"}:
        raise BundleError(f"the path {name[:40]!r} leaves the bundle")
    return name
