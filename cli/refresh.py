"""`psad refresh`: a bundle's catalogue and statistics from new logs, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def refresh(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="bundles/NAME, for the version in service, or one version."
        ),
    ],
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET", help="What `prepare` wrote of the new logs.")
    ],
    version: Annotated[
        str | None,
        typer.Option("--as", metavar="VERSION", help="Its name.", show_default="the next number"),
    ] = None,
    drop_unseen: Annotated[
        bool,
        typer.Option("--drop-unseen", help="Leave out items that the new logs do not name."),
    ] = False,
    publish: Annotated[
        bool, typer.Option(help="Put it in service, or leave that to `psad publish`.")
    ] = True,
) -> None:
    """Renew a bundle's items and statistics.

    Writes a new version with the same model: new items join the catalogue, changed ones change,
    and click statistics are counted anew in the whole of the new logs, in place of the old ones.
    So give it logs of about the length that the model learned from, the newest at the end. The
    dataset needs the features that the model reads, of the same kinds; values that the model has
    not learned stay unknown to it until it is trained (`psad train --from`).

    \b
    Examples:
      psad refresh bundles/mine datasets/this_week
      psad refresh bundles/mine/3 datasets/this_week --as 4 --drop-unseen --no-publish
    """
    from export.refresh import refresh as renew

    renew(bundle, dataset, version=version, drop_unseen=drop_unseen, current=publish)


def add_refresh(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(refresh)
