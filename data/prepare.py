"""Makes a dataset of a log, or only looks whether it could.

    psad prepare SOURCE DATASET
    psad prepare SOURCE --check

Read the source (data/sources/), arrange its lists with histories and splits (data/lists.py,
data/splits.py), write the arrays (data/write.py) and a page about them (data/summary.py), say what
was done and what was left out. The folder appears only when it is whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data import sources
from data.coded import code
from data.dataset import FORMAT, SPLITS, Dataset, read_info
from data.lists import Described, History, RawLog, arrange
from data.problems import Problems
from data.splits import NOTES, Split
from data.stream import arranged_on_disk
from data.summary import PAGE, write_summary
from data.vocabulary import fit_schema
from data.write import write
from features.errors import DataError

# a user who has more of all rows, and so many, is worth a word
CROWD_SHARE, CROWD_ROWS = 0.05, 1_000


def prepare(
    source: str | Path,
    folder: str | Path,
    *,
    split: Split | None = None,
    seed: int = 0,
    lists: int | None = None,
    derived: bool = True,
    history: History = "all",
    report: Callable[[str], None] = print,
) -> Dataset:
    """Read a data set by name or a folder of the user's own, write the dataset, say what was done.

    `split` is the source's own by default; `seed` shuffles where the source has no display order,
    draws the user split, and a source that is drawn, whose size is `lists`. Raises DataError; the
    target folder is replaced only by a whole dataset, and only where it holds one already (or
    nothing).
    """
    target = Path(folder)
    check_target(target)
    if not sources.is_own(source, lists):
        log = sources.read(source, seed, lists)
        return prepare_log(
            log, folder, source=str(source), split=split, seed=seed, derived=derived,
            history=history, report=report,
        )  # fmt: skip

    def build(made: Path, scratch: Path) -> None:
        with sources.opened(source, scratch) as own:
            chosen = split or own.spec.split
            coded = arranged_on_disk(own, chosen, scratch, seed=seed, history=history)
            facts = {"source": str(source), "split": chosen, "seed": seed, "history": history}
            facts |= own.facts | facts_of(own, coded.lists)
            write(own, coded, made, facts, derived=derived, seed=seed, scratch=scratch)

    return _placed(target, build, report)


def prepare_log(
    log: RawLog,
    folder: str | Path,
    *,
    source: str | None = None,
    split: Split | None = None,
    seed: int = 0,
    derived: bool = True,
    history: History = "all",
    report: Callable[[str], None] = print,
) -> Dataset:
    """The same of a log that was read already; `source` is what info.json calls it."""
    target = Path(folder)
    check_target(target)
    chosen = split or log.spec.split
    arranged = arrange(log, chosen, seed=seed, history=history)
    facts = {"source": source or log.spec.name, "split": chosen, "seed": seed, "history": history}
    facts |= log.facts | facts_of(log, arranged.lists)

    def build(made: Path, scratch: Path) -> None:
        coded = code(log, arranged)
        write(log, coded, made, facts, derived=derived, seed=seed, scratch=scratch)

    return _placed(target, build, report)


def _placed(
    target: Path, build: Callable[[Path, Path], None], report: Callable[[str], None]
) -> Dataset:
    """Build a dataset beside the target, with a scratch folder of its own, and move it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as beside:
        made, scratch = Path(beside) / "dataset", Path(beside) / "scratch"
        scratch.mkdir()
        build(made, scratch)
        write_summary(Dataset.load(made))
        if target.exists():
            target.rename(Path(beside) / "replaced")
        made.rename(target)
    dataset = Dataset.load(target)
    report(describe(dataset))
    return dataset


def check_target(folder: Path) -> None:
    """Raise DataError where writing would destroy something that is not a dataset."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise DataError(f"{folder} is a file. Name a folder for the dataset.")
    if any(folder.iterdir()):
        try:
            read_info(folder)
        except DataError as error:
            raise DataError(
                f"{folder} is not empty and holds no dataset, so it is left alone. Name another "
                "folder, or remove it yourself."
            ) from error


def facts_of(log: Described, lists: pl.DataFrame) -> dict[str, Any]:
    """What the dataset's description says of the log."""
    spec = log.spec
    length, positives = pl.col("length"), pl.col("positives")
    reasons = {
        f"lists of fewer than {spec.min_list} items": length < spec.min_list,
        f"lists of more than {spec.max_list} items": length > spec.max_list,
        "lists without a positive item": positives == 0,
        "lists of positive items only": positives == length,
    }
    dropped, left = dict(log.dropped), lists
    for reason, applies in reasons.items():  # each list under its first reason
        if count := int(left.select(applies.sum()).item()):
            dropped[reason] = count
        left = left.filter(~applies)
    counts = {
        name: {
            "lists": len(part),
            "users": part["user_id"].n_unique(),
            "candidates": int(part["length"].sum()),
            "positives": int(part["positives"].sum()),
            "without_history": int((part["history_length"] == 0).sum()),
        }
        for name in SPLITS
        for part in [lists.filter(pl.col("split") == name)]
    }
    return {
        "format": FORMAT,
        "name": spec.name,
        "provenance": spec.provenance,
        "lists": len(lists),
        "users": lists["user_id"].n_unique(),
        "counts": counts,
        "statistics_only": int((lists["split"] == "statistics").sum()),
        "dropped": {reason: count for reason, count in dropped.items() if count},
        **({"notes": notes} if (notes := [*log.notes, *_notes(lists)]) else {}),
    }


def _notes(lists: pl.DataFrame) -> list[str]:
    """What is no error and yet seldom meant."""
    rows = int(lists["length"].sum())
    people = lists.group_by("user_id").agg(pl.col("length").sum()).sort("length", "user_id")
    user, most = people.row(-1)
    if most < CROWD_ROWS or most <= CROWD_SHARE * rows:
        return []
    return [
        f"the user {user[:40]!r} has {most:,} of {rows:,} rows ({most / rows:.0%}): if that is "
        "everyone who was not signed in, give each visitor an id, such as the session's"
    ]


def check(
    source: str | Path,
    *,
    split: Split | None = None,
    seed: int = 0,
    lists: int | None = None,
    history: History = "all",
    report: Callable[[str], None] = print,
) -> None:
    """Read all of a source as `prepare` would and say what it would do; write nothing.

    Raises DataError that names everything found wrong. Copies that reading takes are made in the
    system's folder for temporary files, and removed.
    """
    problems = Problems()
    with tempfile.TemporaryDirectory(prefix="psad-check-") as scratch:
        try:
            facts, items, rows = _looked_at(
                source, Path(scratch), problems, split, seed, lists, history
            )
        except DataError as error:
            found = list(problems) or [error]
            raise DataError(_numbered(str(source), found)) from error
    head = f"{source} can be prepared: {rows:,} rows were read and checked, nothing was written."
    report("\n".join([head, *summary(facts, items)]))


def _looked_at(
    source: str | Path, scratch: Path, problems: Problems, split: Split | None, seed: int,
    lists: int | None, history: History,
) -> tuple[dict[str, Any], int, int]:  # fmt: skip
    """What info.json would say, how many items and how many rows there are."""
    if not sources.is_own(source, lists):
        log = sources.read(source, seed, lists)
        chosen = split or log.spec.split
        coded = code(log, arrange(log, chosen, seed=seed, history=history))
        fit_schema(log, coded)
        return facts_of(log, coded.lists) | {"split": chosen}, len(coded.items), len(coded.row)
    with sources.opened(source, scratch, problems) as own:
        chosen = split or own.spec.split
        coded = arranged_on_disk(own, chosen, scratch, seed=seed, history=history)
        fit_schema(own, coded)
        return facts_of(own, coded.lists) | {"split": chosen}, len(coded.items), len(coded.row)


def _numbered(source: str, found: list[DataError]) -> str:
    if len(found) == 1:
        return str(found[0])
    lines = [f"  {number}. {error}" for number, error in enumerate(found, start=1)]
    return "\n".join([f"{source} cannot be prepared, {len(found)} things are wrong:", *lines])


def describe(dataset: Dataset) -> str:
    """What was made and what was left out, in a few lines."""
    size = sum(path.stat().st_size for path in dataset.folder.rglob("*") if path.is_file())
    lines = summary(dataset.info, len(dataset.catalogue))
    lines.append(f"  {dataset.folder}: {size / 1e6:.1f} MB")
    if (dataset.folder / PAGE).is_file():
        lines.append(f"  {dataset.folder / PAGE} shows all this, and more, in a browser")
    return "\n".join(lines)


def summary(info: Mapping[str, Any], items: int) -> list[str]:
    """Sizes, what was left out and the split."""
    lines = [f"{info['name']}: {info['lists']:,} lists, {info['users']:,} users, {items:,} items"]
    lines += [f"  left out: {count:,} {reason}" for reason, count in info["dropped"].items()]
    lines += [f"  note: {note}" for note in info.get("notes", [])]
    if info["statistics_only"]:
        lines.append(
            f"  {info['statistics_only']:,} of the lists left out lie on train's side and still "
            "count in the derived statistics"
        )
    for name, part in info["counts"].items():
        lines.append(
            f"  {name:<5} {part['lists']:>7,} lists of {part['users']:,} users, "
            f"{part['candidates']:,} candidates, {part['positives']:,} positive, "
            f"{part['without_history']:,} lists without history"
        )
    return [*lines, f"  split {NOTES[info['split']]}"]
