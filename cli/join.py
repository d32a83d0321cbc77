"""`psad join`: what a service showed and what was clicked of it, as a log of your own."""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Position(StrEnum):
    """Which place of an item is its position."""

    incoming = "incoming"
    shown = "shown"


def join(
    shown: Annotated[
        Path, typer.Argument(metavar="SHOWN", help="The folder that --shown-log named.")
    ],
    clicks: Annotated[
        Path,
        typer.Argument(
            metavar="CLICKS",
            help="A table, CSV or Parquet: request_id, item_id, timestamp and, where a click is "
            "not just a click, label.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to write.")],
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="LOGS",
            help="The folder whose items, users and schema.toml go with it.",
            show_default="impressions alone",
        ),
    ] = None,
    within: Annotated[
        str, typer.Option(metavar="TIME", help="How long after it was shown a click counts.")
    ] = "1h",
    position: Annotated[
        Position,
        typer.Option(
            help="The item's place in the request, or, for --preset shown, where it was shown."
        ),
    ] = Position.incoming,
) -> None:
    """Join what was shown with the clicks on it.

    FOLDER is then a log as `psad prepare` reads it. SHOWN and CLICKS may be larger than the memory.
    Clicks that have no impression, came again or too late are counted and left out.

    \b
    Examples:
      psad join shown clicks.csv --out joined --tables my_logs
      psad join shown clicks --out joined --tables my_logs --within 30m --position shown
    """
    # so that a stop from outside removes scratch files too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from data.join import join as go
    from data.join import seconds

    go(shown, clicks, out, tables=tables, within=seconds(within), position=position.value)


def add_join(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(join)
