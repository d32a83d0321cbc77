"""`make image-check`: build the image, run it, scrape it, and check every file of the deployment.

    python -m deploy.check                      everything that this machine has the tools for
    python -m deploy.check --bundle bundles/psad --cache ~/.cache/psad-image

Without a bundle it makes a small one by `psad prepare`, `train` and `export`. The image needs root
and Debian's buildah, podman, runc, debootstrap and prometheus; the files alone need promtool. pip
inside the build is told of PIP_CONFIG_FILE, and of the certificates of PIP_CERT or SSL_CERT_FILE.
Ends with 1 where something is not as it should be, and says what was not looked at.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.check import files, image
from deploy.check.tools import ROOT, Wrong

NOT_RUN = (
    "Not run: Docker, docker compose, Grafana, a Kubernetes cluster, the published base image (its "
    "stand-in is made by debootstrap), Prometheus of the version that docker-compose.yml names."
)


class Report:
    """What was checked, line by line, printed as it comes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._table = Table("checked", "found", "s", title="psad image check")
        self._table.columns[2].justify = "right"
        self.wrong = False

    def step(self, what: str, work: Callable[[], object]) -> bool:
        """Run one step; whether it was right."""
        self._console.print(f"[dim]{what} …[/dim]")
        begun = time.monotonic()
        try:
            found = work()
        except (Wrong, OSError) as error:
            self.wrong = True
            self._table.add_row(what, f"[red]wrong:[/red] {error}", _since(begun))
            return False
        self._table.add_row(what, str(found), _since(begun))
        return True

    def skip(self, what: str, reason: str) -> None:
        """A step that cannot be run here."""
        self._table.add_row(what, f"[yellow]not checked:[/yellow] {reason}", "")

    def show(self) -> None:
        """The whole table."""
        self._console.print(self._table)
        self._console.print(NOT_RUN)


def main() -> None:
    """Check; exit status 1 where something is wrong."""
    parser = argparse.ArgumentParser(prog="deploy.check", description="Checks the deployment.")
    parser.add_argument("--bundle", type=Path, help="bundles/NAME; made where it is not given")
    parser.add_argument(
        "--cache", type=Path, default=ROOT / "build/image", help="of the base image"
    )
    given = parser.parse_args()
    report = Report(Console(width=None if sys.stdout.isatty() else 140, highlight=False))
    files.check(report)
    with tempfile.TemporaryDirectory(prefix="psad-check-") as folder:
        image.check(report, given.bundle, given.cache, Path(folder))
    report.show()
    sys.exit(report.wrong)


def _since(begun: float) -> str:
    return f"{time.monotonic() - begun:.0f}"


if __name__ == "__main__":
    main()
