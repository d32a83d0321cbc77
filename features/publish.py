"""Which version is in service, which is tried beside it, and back: changes of CURRENT."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from features.bundle import MANIFEST
from features.errors import BundleError
from features.pointer import CURRENT, Part, Pointer, Trial, Version, read_pointer, write_pointer


def publish(folder: Path, instead_of: Version | None = None) -> Pointer:
    """Make `bundles/NAME/VERSION` the version in service; what was there is the previous one.

    Raises BundleError where the folder holds no version, and where another than `instead_of`, if
    that is given, is in service.
    """
    home, version = folder.parent, named(folder)
    with _alone(home):
        try:
            before = read_pointer(home)
            pointer = before.moved(version)
        except BundleError:  # none as yet, or none that can be gone back to
            pointer = Pointer(**version.model_dump())
        else:
            if instead_of is not None and before.named != instead_of:
                raise BundleError(
                    f"{before.version} was put in service meanwhile, in place of "
                    f"{instead_of.version}: {folder} is kept and not published. "
                    f"`psad publish {folder}` does it all the same."
                )
        write_pointer(home, pointer)
    return pointer


def try_beside(folder: Path, part: Part, percent: float) -> Pointer:
    """Try `bundles/NAME/VERSION` beside the version in service, as its split or its shadow.

    Raises BundleError where the folder holds no version, where none is in service, and for the
    version in service itself.
    """
    home, version = folder.parent, named(folder)
    trial = Trial(**version.model_dump(), percent=percent)
    with _alone(home):
        pointer = read_pointer(home)
        if version == pointer.named:
            raise BundleError(f"{folder.name} is the version in service: try another beside it.")
        pointer = pointer.trying(part, trial)
        write_pointer(home, pointer)
    return pointer


def end_trial(home: Path, part: Part) -> Pointer:
    """No split, or no shadow, any more."""
    with _alone(home):
        pointer = read_pointer(home).trying(part, None)
        write_pointer(home, pointer)
    return pointer


def roll_back(home: Path) -> Pointer:
    """Put the previous version of `bundles/NAME` in service again; what was there is previous now.

    Raises BundleError where there is none, or where its manifest is not the published one.
    """
    with _alone(home):
        pointer = read_pointer(home)
        if pointer.previous is None:
            raise BundleError(f"{home / CURRENT} names no version before {pointer.version}.")
        back = pointer.moved(pointer.previous)
        if named(home / back.version) != back.named:
            file = home / back.version / MANIFEST
            raise BundleError(f"{file} is not the manifest that was published")
        write_pointer(home, back)
    return back


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """No other process changes CURRENT meanwhile, where folders can be locked (POSIX)."""
    try:
        import fcntl

        descriptor = os.open(home, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def named(folder: Path) -> Version:
    """A version by its folder and the sha256 of its manifest; raises BundleError where none is."""
    file = folder / MANIFEST
    try:
        text = file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from error
    return Version(version=folder.name, manifest_sha256=hashlib.sha256(text).hexdigest())
