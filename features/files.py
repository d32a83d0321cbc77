"""Files that are whole or not there: written beside, then renamed.

Whoever kills a process, a file has its old content or its new one under its name, never a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which becomes it in one rename when the block ends well."""
    beside = path.with_name(f".{path.name}")  # a hidden name keeps the ending, which writers read
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with whole(path) as beside:
        beside.write_text(text, encoding="utf-8")
