"""`psad refresh`: a bundle's catalogue and statistics from new logs, its model as it is.

    psad refresh bundles/mine datasets/this_week

Writes a new version with the same graphs and the same schema, byte for byte. Items are read again
by their raw values (data/merge.py), statistics counted anew in the whole new log (data/recount.py),
in place of the old ones: they are rates of a window, and a model learned what they are worth from
one window. Golden requests are lists of the new log, answered by ONNX Runtime. No torch is needed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from data.dataset import Dataset
from data.merge import Merged, ignored_features, merge, refuse_other_features
from data.recount import recount
from export.replies import golden_replies
from features.bundle import (
    GOLDEN,
    Bundle,
    Counted,
    Refreshed,
    resolve,
    seal,
    writing,
)
from features.catalogue import Catalogue
from features.derived import Statistics
from features.errors import BundleError
from features.pointer import safe
from features.publish import named, publish

MOST = 2.0  # times as many showings, or as high a click rate, before it is worth a word


def refresh(
    bundle: Path | str,
    dataset: Path | str,
    *,
    version: str | None = None,
    drop_unseen: bool = False,
    current: bool = True,
) -> Path:
    """Write bundles/NAME/VERSION, and where `current`, put it in service; returns its folder.

    `bundle` is bundles/NAME, whose version in service is refreshed, or a version's folder.
    Raises SchemaError where the dataset is not described as the model's data were, BundleError
    where the version exists or a score is no number; nothing is left behind then. Where another
    version was put in service meanwhile, the new one is kept, and BundleError says so.
    """
    source, data, console = resolve(Path(bundle)), Dataset.load(dataset), Console()
    refuse_other_features(source.schema, data)
    home = source.folder.parent
    folder = home / _one_name(version or next_version(home, source.folder.name))
    merged = merge(source.catalogue, source.schema, data, drop_unseen=drop_unseen)
    statistics = recount(data, merged.rows, merged.catalogue, source.schema)
    catalogue = _with(merged.catalogue, statistics)
    origin = _origin(source, data, statistics, merged, drop_unseen)
    with writing(folder) as temporary:
        _copy_model(source, temporary)
        catalogue.save(temporary / "catalogue")
        replies = golden_replies(temporary, source, catalogue, data)
        text = json.dumps({"requests": replies}, allow_nan=False)
        (temporary / GOLDEN).write_text(text, encoding="utf-8")
        fields = dict(source.manifest)
        del fields["files"]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seal(temporary, **fields | {"version": folder.name, "created": now, "refreshed": origin})
        Bundle.load(temporary)
    for line in said(origin, merged, ignored_features(source.schema, data), drop_unseen):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if current:
        by_name = source.folder == Path(bundle)  # and not whichever was in service
        publish(folder, None if by_name else named(source.folder))
    where = f"the version in service of {home}" if current else "written, not published"
    console.print(f"{folder}, made of {source.folder.name}, is {where}", soft_wrap=True)
    return folder


def _one_name(version: str) -> str:
    if safe(version) != Path(version).name or version.startswith("."):
        raise BundleError(f"{version!r} is no version's name: give one as in --as 4.")
    return version


def next_version(home: Path, name: str) -> str:
    """A name that is free: the next number where `name` is one, else NAME-r2, NAME-r3 …"""
    taken = {path.name for path in home.iterdir()}
    if name.isdecimal():
        return str(max(int(one) for one in taken if one.isdecimal()) + 1)
    stem, number = re.sub(r"-r\d+$", "", name), 2
    while f"{stem}-r{number}" in taken:
        number += 1
    return f"{stem}-r{number}"


def _with(blank: Catalogue, statistics: Statistics) -> Catalogue:
    return Catalogue(
        blank.ids, blank.categorical, blank.bag, blank.numeric, statistics, blank.titles
    )


def _copy_model(source: Bundle, folder: Path) -> None:
    """All but what is made anew; bundles hold their files themselves, so nothing is linked."""
    for name in source.manifest.files:
        if name != GOLDEN and not name.startswith("catalogue/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / name, folder / name)


def _origin(
    source: Bundle, data: Dataset, statistics: Statistics, merged: Merged, drop_unseen: bool
) -> Refreshed:
    before = source.manifest.refreshed
    times = data.timestamps(range(len(data)))
    return Refreshed(
        version=source.folder.name,
        manifest_sha256=source.digest,
        exported=before.exported if before else source.manifest.created,
        data=data.schema.name,
        fingerprint=data.schema.fingerprint(),
        lists=len(data.every_list()[0]),
        first=_day(int(times.min())),
        last=_day(int(times.max())),
        counted=_counted(statistics),
        learned=before.learned if before else _counted(source.catalogue.statistics),
        items={
            "came": merged.came, "changed": merged.changed, "same": merged.same,
            "dropped" if drop_unseen else "kept_unseen": merged.unseen,
        },
    )  # fmt: skip


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _counted(statistics: Statistics) -> Counted:
    return Counted(
        showings=int(statistics.showings.sum(dtype=float)),
        clicks=int(statistics.clicks.sum(dtype=float)),
    )


def said(origin: Refreshed, merged: Merged, ignored: Sequence[str], drop_unseen: bool) -> list[str]:
    """What was done, and what about it is worth a look."""
    counted = origin.counted
    unseen = "dropped" if drop_unseen else "kept"
    lines = [
        f"{origin.data}, {origin.first} to {origin.last}: {origin.lists:,} lists, "
        f"{counted.showings:,} showings, {counted.clicks:,} clicks "
        f"({_rate(counted):.1%})",
        f"  {len(merged.catalogue):,} items: {merged.came:,} new, {merged.changed:,} changed, "
        f"{merged.same:,} as before; {merged.unseen:,} not in the new log, {unseen}",
    ]
    for name, (items, example) in merged.unknown.items():
        lines.append(
            f"  {name}: {items:,} items have values that the model has not learned, such as "
            f"{example!r}: unknown to it, until it is trained again"
        )
    if ignored:
        lines.append(f"  {', '.join(ignored)}: the model does not read it, until it is trained")
    return lines + [f"  WARNING: {one}" for one in _warnings(origin, merged)]


def _rate(counted: Counted) -> float:
    return counted.clicks / max(counted.showings, 1)


def _warnings(origin: Refreshed, merged: Merged) -> list[str]:
    counted, learned, found = origin.counted, origin.learned, []
    if not merged.changed + merged.same:
        found.append(
            "not one item of the new log is in the bundle's catalogue: are its ids written "
            "otherwise?"
        )
    share = counted.showings / max(learned.showings, 1)
    if not 1 / MOST <= share <= MOST:
        how = "closer to the average" if share < 1 else "farther from the average"
        found.append(
            f"the new log has {share:.2g} times the showings that the model learned with "
            f"({counted.showings:,}, not {learned.showings:,}): rates lie {how} than it is used "
            "to. Prepare a log of about the same length, or train on this one."
        )
    ratio = _rate(counted) / _rate(learned) if learned.clicks else 1.0
    if not 1 / MOST <= ratio <= MOST:
        found.append(
            f"{_rate(counted):.1%} of the showings are clicks, and were {_rate(learned):.1%} when "
            "the model learned: are the labels the same?"
        )
    return found
