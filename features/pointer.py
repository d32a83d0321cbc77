"""CURRENT: the file beside the versions of a bundle that says which of them are in service.

One answers; another may answer a share of the users (split), or be asked beside it and never
answer (shadow). Small JSON, changed by an atomic rename alone, so that whoever reads it sees the
one or the other.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import BundleError

CURRENT = "CURRENT"


class Version(BaseModel):
    """A version as it was published."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    manifest_sha256: str


class Trial(Version):
    """A version beside the one in service."""

    percent: float = Field(gt=0, le=100)  # of the users, or for a shadow of the requests

    @property
    def named(self) -> Version:
        """The version itself."""
        return Version(version=self.version, manifest_sha256=self.manifest_sha256)


Part = Literal["split", "shadow"]
PARTS: tuple[Part, ...] = ("split", "shadow")


class Pointer(Version):
    """The version in service, what was before it, to go back to, and what is tried beside it."""

    previous: Version | None = None
    split: Trial | None = None
    shadow: Trial | None = None

    @property
    def named(self) -> Version:
        """The version in service."""
        return Version(version=self.version, manifest_sha256=self.manifest_sha256)

    def moved(self, version: Version) -> Pointer:
        """To another version, this one being the previous; the same where it is there already.

        A trial of the version that takes over has ended.
        """
        if version == self.named:
            return self
        split, shadow = (
            None if one and one.named == version else one for one in (self.split, self.shadow)
        )
        return Pointer(**version.model_dump(), previous=self.named, split=split, shadow=shadow)

    def trying(self, part: Part, trial: Trial | None) -> Pointer:
        """With another trial, or none."""
        return self.model_copy(update={part: trial})


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
    for one in (pointer, pointer.previous, pointer.split, pointer.shadow):
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
