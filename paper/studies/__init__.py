"""Studies of `psad reproduce`, found by their file's name: a new one is one more file.

A study's module has `run(asked) -> list[Path]`: make what is missing, write its pages, and name
them. Those made of cells leave all of it to paper/reproduce.py and say what they are in `STUDY`.
"""

from __future__ import annotations

import pkgutil


def names() -> tuple[str, ...]:
    """Every study, sorted; imports none."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
