"""The Markdown page of a study, made of its results alone.

In the form of PSAD's Tables 4 and 5: a row a variant, the metrics of every data set beside one
another; then, for each data set, the paired comparison with the base (model/compare.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from features.files import write_whole
from model.compare import Comparison, compare, correct
from model.table import METRIC, TITLES, Table, comparison_table, markdown
from paper.records import Group, Record, Results, SettingsOf, read_results
from paper.study import Asked, Study

COLUMNS = ("map@5", "map@10", "ndcg@5", "ndcg@10")
NAMES = {"generator": "the generator (PSAD-G)", "scorer": "the scoring network (PSAD-S)"}
NOTHING = "–"
CHOSEN_BY = {"ndcg": "NDCG@10", "loss": "loss"}
Draw = Callable[[Results, Path], Sequence[Path]]


def write_page(
    asked: Asked,
    study: Study,
    settings: SettingsOf,
    *,
    draw: Draw | None = None,
    more: Callable[[Results], Sequence[Table]] | None = None,
) -> list[Path]:
    """RESULTS/STUDY.md of all results that are there, and its figures; returns what was written.

    `draw` draws into files beginning with the path it is given; `more` makes further tables.
    """
    results = read_results(asked, study, settings)
    page = asked.results / f"{study.name}.md"
    if not results.groups:
        return []
    pictures = list(draw(results, page.with_suffix(""))) if draw else []
    shown = [f"![{study.title}]({one.name})\n" for one in pictures if one.suffix == ".svg"]
    made = [*tables(results), *(more(results) if more else ())]
    body = markdown(header(results), made)
    write_whole(page, "\n".join([f"# {study.title}\n", f"{study.about}\n", *shown, body]))
    return [page, *pictures]


def header(results: Results) -> dict[str, str]:
    """What the tables were made on and by; several of a kind are all named."""
    records, study = results.records, results.study
    lines = {}
    for name, found in results.groups.items():
        about = next(iter(found.values())).first.content["about"][study.split]
        lines |= {f"{name}, {key}": text for key, text in about.items()}
    lines |= {
        "judged on": f"the {study.split} lists"
        + (
            ", as a screening; this page reads no figure of the test lists"
            if _screens(study)
            else ""
        ),
        "configurations": "paper/configs/NAME.toml, NAME as the rows say, with what configs/data/ "
        f"has for the data set; {_budgets(results)}",
        "command": _distinct(records, "reproduced_by"),
        "commit": _distinct(records, "commit"),
        "machine": _distinct(records, "machine"),
        "date": _distinct(records, "date"),
    }
    bare = [one.path for one in records if one.lists is None]
    if bare:
        lines["without intervals"] = (
            f"{len(bare)} results whose values list by list are not here, and rows that need them: "
            f"{', '.join(f'{path.parent.name}/{path.stem}' for path in bare[:8])}"
        )
    if results.left_out:
        lines["left out"] = (
            f"{len(results.left_out)} results of settings or data that are no longer these: "
            f"{', '.join(results.left_out[:8])}"
        )
    return lines


def tables(results: Results) -> list[Table]:
    """Quality by each mode, and each data set's comparison with the base."""
    made = []
    for mode in results.study.modes:
        rows = _quality(results, mode)
        if rows.rows:
            made.append(rows)
            for name in results.groups:
                made += _comparisons(results, name, mode)
    return made


def differs(results: Results, variant: str) -> str:
    """What sets a variant apart from the base, in settings; by data set where it is not the same.

    A data set has settings of its own, some for a variant (paper/configs/data/).
    """
    base = results.study.base
    where: dict[str, list[str]] = {}
    for name, groups in results.groups.items():
        if variant in groups and base in groups:
            own, theirs = (groups[one].first.content["configuration"] for one in (variant, base))
            where.setdefault(_difference(own, theirs), []).append(name)
    if len(where) < 2:
        return next(iter(where), "")
    return "; ".join(f"{', '.join(names)}: {text or 'nothing'}" for text, names in where.items())


def metrics_of(results: Results, dataset: str) -> list[str]:
    """The columns of one data set: the true value too, where it is known."""
    groups = results.groups[dataset].values()
    extras = {metric for group in groups for metric in group.first.extras}
    return [*COLUMNS, *sorted(extras)]


def title_of(metric: str) -> str:
    """How a metric is headed."""
    return TITLES.get(metric, metric)


def cell(group: Group | None, mode: str, metric: str) -> str:
    """Mean ± standard deviation over seeds."""
    found = group.mean_and_deviation(mode, metric) if group else None
    if found is None:
        return NOTHING
    mean, deviation = found
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def _quality(results: Results, mode: str) -> Table:
    wanted = [(name, metric) for name in results.groups for metric in metrics_of(results, name)]
    body = []
    for variant in results.study.variants:
        found = [groups.get(variant) for groups in results.groups.values()]
        cells = [cell(results.groups[name].get(variant), mode, metric) for name, metric in wanted]
        if any(text != NOTHING for text in cells):
            body.append((variant, differs(results, variant), _seeds(found), *cells))
    columns = ("variant", "differs by", "seeds", *(f"{n} {title_of(m)}" for n, m in wanted))
    note = (
        f"Mean ± standard deviation over seeds; {results.study.split} lists. A variant is compared "
        "with the base over the seeds that both have."
    )
    return Table(f"Quality of {NAMES[mode]}", columns, tuple(body), note)


def _seeds(found: Sequence[Group | None]) -> str:
    """How many; of each data set where they are not the same."""
    counts = [len(group.records) if group else 0 for group in found]
    several = {one for one in counts if one}
    return str(*several) if len(several) == 1 else " / ".join(str(one or NOTHING) for one in counts)


def _comparisons(results: Results, dataset: str, mode: str) -> list[Table]:
    groups, base = results.groups[dataset], results.study.base
    made = []
    for metric in (METRIC, *groups[next(iter(groups))].first.extras):
        found = _against(groups, base, mode, metric)
        if found:
            title = f"{dataset}: {title_of(metric)} of {NAMES[mode]} against {base}"
            made.append(comparison_table(found, title, "variant"))
    return made


def _against(
    groups: Mapping[str, Group], base: str, mode: str, metric: str
) -> dict[str, Comparison]:
    """Every variant against the base over the seeds that both have, as far as values are at hand.

    A variant with the base's own settings is the base, and no comparison.
    """
    if base not in groups:
        return {}
    settings = groups[base].first.content["settings"]
    found = {}
    for name, group in groups.items():
        seeds = group.seeds & groups[base].seeds
        if group.first.content["settings"] == settings or not seeds:
            continue
        ours, theirs = group.of(seeds), groups[base].of(seeds)
        own, fixed = (one.by_list(mode, metric) for one in (ours, theirs))
        if own is not None and fixed is not None:
            users = (theirs.first.lists or {})["users"]
            found[name] = compare(own, fixed, users)
    return dict(zip(found, correct(list(found.values())), strict=True))


def _difference(own: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    if own["model"] != base["model"]:
        return f"model {own['model']}"
    if own["preset"] != base["preset"]:
        return f"preset {own['preset']}"
    ours, theirs = (one["settings"] | one["training"] for one in (own, base))
    changed = {key: value for key, value in ours.items() if theirs.get(key) != value}
    changed.pop("seed", None)
    if changed.get("offline_from"):
        changed["offline_from"] = "a generator trained before"
    return ", ".join(f"{key}={value}" for key, value in changed.items())


def _distinct(records: Sequence[Record], key: str) -> str:
    values = {str(one.content[key] or "unknown") for one in records}
    return "; ".join(sorted(values))


def _budgets(results: Results) -> str:
    """At most how many epochs, and by what the best of them was chosen, on each data set."""
    found = {}
    for name, groups in results.groups.items():
        trainings = [group.first.content["configuration"]["training"] for group in groups.values()]
        kinds = {(one["epochs"], one.get("select", "ndcg")) for one in trainings}
        found[name] = " or ".join(
            f"at most {epochs} epochs, the best by validation {CHOSEN_BY[select]}"
            for epochs, select in sorted(kinds)
        )
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return "; ".join(f"{name}: {text}" for name, text in found.items())


def _screens(study: Study) -> bool:
    return study.split == "valid"
