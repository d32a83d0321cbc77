"""One data set a file; a data set is found by its file's name, the user's own by its folder."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from data.lists import RawLog
from data.tables import suggestion
from features.errors import DataError

OWN = "parquet"  # reads a folder; needs no name


def names() -> tuple[str, ...]:
    """The data sets that can be prepared by name."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name != OWN))


def read(source: str | Path, seed: int = 0) -> RawLog:
    """The log of a data set by name, or of the user's own folder; raises DataError."""
    if str(source) in names():
        module = importlib.import_module(f"{__name__}.{source}")
        return module.read(seed)  # type: ignore[no-any-return]
    if not Path(source).is_dir():
        raise DataError(
            f"{source} is neither a folder nor a known data set ({', '.join(names())})."
            f"{suggestion(str(source), names())}"
        )
    from data.sources import parquet

    return parquet.read(Path(source))
