"""One data set a file; a data set is found by its file's name, the user's own by its folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.lists import RawLog
from data.simulator.tables import facts_beside
from data.tables import suggestion
from features.errors import DataError

if TYPE_CHECKING:
    from data.problems import Problems
    from data.sources.parquet import OwnLog

OWN = "parquet"  # reads a folder; needs no name
SIMULATOR = "simulator"  # draws as many lists as it is asked for


def names() -> tuple[str, ...]:
    """The data sets that can be prepared by name."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name != OWN))


def read(source: str | Path, seed: int = 0, lists: int | None = None) -> RawLog:
    """The log of a data set by name, or of the user's own folder; raises DataError.

    `lists` is how many to draw, for the simulator alone.
    """
    size = {} if lists is None else {"lists": lists}
    if size and str(source) != SIMULATOR:
        raise DataError(f"lists = {lists} is for {SIMULATOR}; {source} has as many as it has.")
    if str(source) in names():
        module = importlib.import_module(f"{__name__}.{source}")
        return module.read(seed, **size)  # type: ignore[no-any-return]
    from data.sources import parquet

    log = parquet.read(_own_folder(source))
    return replace(log, facts=facts_beside(Path(source)))


def is_own(source: str | Path, lists: int | None = None) -> bool:
    """Whether a source is a folder of the user's own, and not a data set by name."""
    return lists is None and str(source) not in names()


@contextmanager
def opened(source: str | Path, scratch: Path, problems: Problems | None = None) -> Iterator[OwnLog]:
    """The log in the user's own folder, whose impressions stay on disk; raises DataError.

    `scratch` holds copies; `problems` collects what is wrong, which else is raised.
    """
    from data.sources import parquet

    with parquet.opened(_own_folder(source), scratch, problems) as log:
        yield replace(log, facts=facts_beside(Path(source)))


def _own_folder(source: str | Path) -> Path:
    if not Path(source).is_dir():
        raise DataError(
            f"{source} is neither a folder nor a known data set ({', '.join(names())})."
            f"{suggestion(str(source), names())}"
        )
    return Path(source)
