"""What a study is: variants of one model, each a file of paper/configs/, beside one of them.

A *cell* is one variant on one data set with one seed. Studies lie in paper/studies/, one a file.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from data.tables import suggestion
from features.errors import PsadError

HERE = Path(__file__).parent
CONFIGS, RESULTS = HERE / "configs", HERE / "results"
QUICK = Path("build/quick")
# what a quick version cuts, where the model has it: enough to see that all of it works, no more
QUICK_SETTINGS = {"epochs": "2", "patience": "2", "trees": "30"}


TWINS = "two of the datasets have one name, and their results one place."


class StudyError(PsadError):
    """A study that cannot be made as asked."""


@dataclass(frozen=True)
class Study:
    """Which variants, and on which lists they are judged."""

    name: str
    title: str
    about: str  # a sentence or two above the tables
    variants: tuple[str, ...]  # files of paper/configs/, in the tables' order; the base is one
    quick: tuple[str, ...]  # those of the quick version
    base: str = "full"  # what each is compared with
    # a screening reads validation lists; `train` judges nothing
    split: Literal["valid", "test", "train"] = "test"
    modes: tuple[str, ...] = ("generator", "scorer")  # in the tables' order
    # figure 3: a setting -> the variants that differ by it
    factors: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What `psad reproduce` was asked for."""

    datasets: tuple[Path, ...] = ()  # none: the tables are made anew of the results that are there
    seeds: int = 1
    jobs: int = 1
    runs: Path = Path("runs")
    results: Path = RESULTS
    only: tuple[str, ...] = ()
    quick: bool = False

    def cut(self) -> Asked:
        """The quick version: one seed, and away from the results that are kept."""
        if not self.quick:
            return self
        return replace(self, seeds=1, runs=QUICK / "runs", results=QUICK / "results")

    @property
    def settings(self) -> dict[str, str]:
        """What goes before the configuration files."""
        return dict(QUICK_SETTINGS) if self.quick else {}

    def variants(self, study: Study) -> tuple[str, ...]:
        """The study's, or those asked for and the base. Raises StudyError for an unknown name."""
        for name in self.only:
            if name not in study.variants:
                raise StudyError(
                    f"{study.name} has no variant {name!r}.{suggestion(name, study.variants)} "
                    f"It has: {', '.join(study.variants)}."
                )
        chosen = {*self.only, study.base} if self.only else set(study.variants)
        if self.quick and not self.only:
            chosen = {*study.quick, study.base}
        return tuple(name for name in study.variants if name in chosen)

    def command(self, study: Study) -> str:
        """The command line that asks for this."""
        words = ["psad", "reproduce", study.name]
        for folder in self.datasets:
            words += ["--data", str(folder)]
        words += ["--quick"] if self.quick else ["--seeds", str(self.seeds)]
        for name in self.only:
            words += ["--only", name]
        return shlex.join(words)
