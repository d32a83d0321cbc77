"""`psad publish`, `psad rollback`, `psad try`: which version of a bundle is in service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from features.bundle import MANIFEST, Bundle
from features.errors import BundleError
from features.pointer import PARTS, Part, Pointer, read_pointer
from features.publish import end_trial, roll_back, try_beside
from features.publish import publish as make_current


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
    _verify(bundle)
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


def trial(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE/VERSION", help="What to try; of what is to end, BUNDLE is enough."
        ),
    ],
    split: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="Of the users who are answered by it.")
    ] = None,
    shadow: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Of the requests that it is asked and never answers."),
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="End both.")] = False,
) -> None:
    """Try a version beside the one in service.

    A split answers always the same users. A shadow is asked for requests that the version in
    service answers, and /metrics compares the two orders. Services follow as they do for `publish`.

    \b
    Examples:
      psad try bundles/psad/3 --shadow 20
      psad try bundles/psad/3 --split 10
      psad try bundles/psad --end
    """
    wanted: dict[Part, float | None] = {"split": split, "shadow": shadow}
    asked = {part: percent for part, percent in wanted.items() if percent is not None}
    if end == bool(asked):
        raise BundleError("say --split PERCENT or --shadow PERCENT, or --end.")
    if end:
        home = bundle.parent if (bundle / MANIFEST).exists() else bundle
        for part in PARTS:
            pointer = end_trial(home, part)
    else:
        if odd := [percent for percent in asked.values() if not 0 < percent <= 100]:
            raise BundleError(f"{odd[0]:g} is no share in percent: more than 0, 100 at most.")
        home = bundle.parent
        _verify(bundle)
        for part, percent in asked.items():
            pointer = try_beside(bundle, part, percent)
    _say(home, pointer)


def _verify(bundle: Path) -> None:
    if not (bundle / MANIFEST).exists():
        raise BundleError(f"{bundle} is no version of a bundle. Name one, as in bundles/psad/2.")
    Bundle.load(bundle)


def _say(home: Path, pointer: Pointer) -> None:
    before = f", and {pointer.previous.version} the one before it" if pointer.previous else ""
    Console().print(f"{pointer.version} is the version in service of {home}{before}")
    if pointer.split:
        one = pointer.split
        Console().print(f"{one.version} answers {one.percent:g}% of the users")
    if pointer.shadow:
        one = pointer.shadow
        Console().print(f"{one.version} is asked {one.percent:g}% of the requests, as a shadow")


def add_publish(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(publish)
    app.command()(rollback)
    app.command("try")(trial)
