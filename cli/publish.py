"""`psad publish` and `psad rollback`: which version of a bundle is in service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.bundle import MANIFEST, Bundle
from features.errors import BundleError
from features.pointer import Pointer, read_pointer
from features.publish import publish as make_current
from features.publish import roll_back


def publish(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE/VERSION", help="What `export` wrote.")],
) -> None:
    """Put a version in service.

    Its files are verified first. Services that serve the folder follow within a few seconds, each
    once the version has passed its golden requests there.

    \b
    Examples:
      psad publish bundles/psad/2
    """
    if not (bundle / MANIFEST).exists():
        raise BundleError(f"{bundle} is no version of a bundle. Name one, as in bundles/psad/2.")
    Bundle.load(bundle)
    _say(bundle.parent, make_current(bundle))


def rollback(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="The folder that holds the versions.")
    ],
) -> None:
    """Put the version before this one in service again.

    Once more, and the newer one is back.

    \b
    Examples:
      psad rollback bundles/psad
    """
    previous = read_pointer(bundle).previous
    if previous is not None:
        Bundle.load(bundle / previous.version, previous.manifest_sha256)
    _say(bundle, roll_back(bundle))


def _say(home: Path, pointer: Pointer) -> None:
    before = f", and {pointer.previous.version} the one before it" if pointer.previous else ""
    Console().print(f"{pointer.version} is the version in service of {home}{before}")


def add_publish(app: typer.Typer) -> None:
    """Register both verbs."""
    app.command()(publish)
    app.command()(rollback)
