"""Rows of evaluated rankers as the tables of RESULTS.md, and the same in a terminal.

Three tables: quality (mean ± standard deviation over seeds), the comparison with a base row (paired
statistics of model/compare.py), and cost. What the table was made on stands above them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.errors import PsadError
from model.compare import LEVEL_MARGIN, RESAMPLES, Comparison, compare, correct, over_seeds
from model.evaluate import Evaluation
from model.latency import Latency
from model.references import NAMES as REFERENCE_NAMES
from model.references import SAID as REFERENCES_SAID
from model.truth import CEILING_KNOWS, CEILING_SEES, VALUE
from model.truth import NAMES as TRUE_NAMES

if TYPE_CHECKING:
    from rich.console import Console

METRIC = "ndcg@10"  # what rows are compared by
CEILINGS = ("oracle", CEILING_SEES, CEILING_KNOWS)  # not compared: nothing can be better
FLOOR = "incoming"
TITLES = {
    "ndcg@5": "NDCG@5", "ndcg@10": "NDCG@10", "map@5": "MAP@5", "map@10": "MAP@10", "auc": "AUC",
    "map_paper@5": "paper MAP@5", "map_paper@10": "paper MAP@10",
}  # fmt: skip
PAPER_MAP = (TITLES["map_paper@5"], TITLES["map_paper@10"])
TRUE_TITLES = {VALUE: "true value"}  # where the truth is known
NOTE = (
    "Mean ± standard deviation over seeds. *paper MAP* divides by the hits in K, not by "
    "min(K, positives). AUC of a generator takes −rank as its score."
)


class TableError(PsadError):
    """Rows that cannot stand in one table."""


@dataclass(frozen=True)
class Row:
    """One line of the tables: a ranker, evaluated once for each seed it was trained with."""

    name: str
    evaluations: tuple[Evaluation, ...]
    parameters: int | None = None  # of trees their leaves
    train_seconds: tuple[float, ...] = ()
    latency: tuple[Latency, ...] = ()
    tuning: str = ""  # trials and budget

    def over_seeds(self, metric: str) -> np.ndarray:
        """Each list's value averaged over seeds (L,)."""
        return over_seeds([evaluation.values[metric] for evaluation in self.evaluations])

    def mean_and_deviation(self, metric: str) -> tuple[float, float | None]:
        """Over seeds; no deviation where there is only one."""
        means = [evaluation.mean(metric) for evaluation in self.evaluations]
        deviation = float(np.std(means, ddof=1)) if len(means) > 1 else None
        return float(np.mean(means)), deviation


class Table(NamedTuple):
    """Cells as text; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def compare_rows(
    rows: Sequence[Row], base: str, *, metric: str = METRIC, turned: bool = False
) -> dict[str, Comparison]:
    """Every row but the base and the ceilings against the base, Holm-corrected as one family.

    `turned` compares the base with each of them instead: is it better than they are?
    """
    by_name = {row.name: row for row in rows}
    if base not in by_name:
        raise TableError(f"there is no row {base!r} to compare with; rows: {', '.join(by_name)}.")
    _same_lists(rows)
    fixed, users = by_name[base].over_seeds(metric), rows[0].evaluations[0].users
    others = [row for row in rows if row.name not in (base, *CEILINGS)]
    pairs = [(row.over_seeds(metric), fixed) for row in others]
    found = [compare(*(pair[::-1] if turned else pair), users) for pair in pairs]
    return {row.name: one for row, one in zip(others, correct(found), strict=True)}


def tables(
    rows: Sequence[Row], base: str, *, metric: str = METRIC, subjects: Sequence[str] = ()
) -> tuple[Table, ...]:
    """Quality, all rows against the base, each subject against all rows, and cost."""
    of = (TITLES | TRUE_TITLES)[metric]
    made = [
        _quality(rows),
        comparison_table(compare_rows(rows, base, metric=metric), f"{of} against {base}", "ranker"),
    ]
    for subject in subjects:
        found = compare_rows(rows, subject, metric=metric, turned=True)
        made.append(comparison_table(found, f"{of} of {subject} against each row", "against"))
    models = [row for row in rows if row.name not in (*REFERENCE_NAMES, *TRUE_NAMES)]
    return (*made, _cost(models)) if models else tuple(made)


def markdown(header: Mapping[str, str], made: Sequence[Table]) -> str:
    """Header and tables as Markdown."""
    lines = [f"- **{name}**: {value}" for name, value in header.items()]
    for table in made:
        rule = ("---", *("---:" for _ in table.columns[1:]))
        lines += ["", f"### {table.title}", ""]
        lines += [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *table.rows)]
        lines += ["", table.note] if table.note else []
    return "\n".join(lines) + "\n"


def show(header: Mapping[str, str], made: Sequence[Table], console: Console) -> None:
    """Header and tables in a terminal."""
    from rich.markup import escape  # only the terminal needs it
    from rich.table import Table as Drawn

    for name, value in header.items():
        console.print(f"[bold]{escape(name)}[/bold]  {escape(value)}", highlight=False)
    for whole in made:
        table = _fitting(whole, console.width)
        drawn = Drawn(title=table.title, title_justify="left", caption=table.note.replace("*", ""))
        for place, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if place else "left", no_wrap=True)
        for cells in table.rows:
            drawn.add_row(*map(escape, cells))
        console.print(drawn)
    for name, said in words(made).items():
        console.print(f"[bold]{name}[/bold]  {said}", highlight=False)


def words(made: Sequence[Table]) -> dict[str, str]:
    """What the names in the tables mean, of those that stand there."""
    rows = {cells[0] for table in made for cells in table.rows}
    columns = {name for table in made for name in table.columns}
    found = {name: said for name, said in REFERENCES_SAID.items() if name in rows}
    if columns & set(PAPER_MAP):
        found["paper MAP@5, @10"] = "divides by the hits in K, MAP by min(K, positives)"
    if "verdict" in columns:
        found["verdict"] = (
            "goes by the interval alone. p (Holm) is another test, of ranks, and is raised for the "
            "number of rows; a row can be better or worse though its p is above 0.05. Such a one "
            "is less certain: more seeds or lists would tell."
        )
    return found


# what a narrow terminal goes without, the first of these first
EXPENDABLE = ("paper MAP@5", "paper MAP@10", "effect", "tuning", "MAP@5", "NDCG@5", "seeds", "AUC",
              "p (Holm)", "MAP@10", "difference")  # fmt: skip


def _fitting(table: Table, width: int) -> Table:
    """The table with as many columns as fit; a note says how many do not."""
    kept = list(range(len(table.columns)))
    for name in EXPENDABLE:
        cells = [max(len(row[i]) for row in (table.columns, *table.rows)) + 3 for i in kept]
        if sum(cells) + 1 <= width:
            break
        kept = [i for i in kept if table.columns[i] != name]
    left_out = len(table.columns) - len(kept)
    note = f" ({left_out} more columns fit a wider terminal)" if left_out else ""
    return Table(
        table.title,
        tuple(table.columns[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in table.rows),
        table.note + note,
    )


def _quality(rows: Sequence[Row]) -> Table:
    known = all(VALUE in one.values for row in rows for one in row.evaluations)
    titles = (TRUE_TITLES if known else {}) | TITLES
    body = [
        (row.name, str(len(row.evaluations)), *(_score(row, metric) for metric in titles))
        for row in rows
    ]
    columns = ("ranker", "seeds", *titles.values())
    if known:
        columns = (*columns[:3], "way", *columns[3:])
        body = [(*line[:3], way, *line[3:]) for line, way in zip(body, _ways(rows), strict=True)]
    return Table("Quality", columns, tuple(body), NOTE)


def _ways(rows: Sequence[Row]) -> list[str]:
    """How far each row gets from the incoming order to the best that can be seen to be best."""
    means = {row.name: row.mean_and_deviation(VALUE)[0] for row in rows}
    if FLOOR not in means or CEILING_SEES not in means:
        return ["–"] * len(rows)
    low, high = means[FLOOR], means[CEILING_SEES]
    return [f"{(means[row.name] - low) / (high - low):.1%}" for row in rows]


def _score(row: Row, metric: str) -> str:
    mean, deviation = row.mean_and_deviation(metric)
    return f"{mean:.4f}" if deviation is None else f"{mean:.4f} ± {deviation:.4f}"


def comparison_table(found: Mapping[str, Comparison], title: str, first: str) -> Table:
    """Differences with interval, test and verdict; `first` heads the column of names."""
    columns = (first, "difference", "95% interval", "p (Holm)", "effect", "verdict")
    body = [
        (
            name,
            f"{one.difference:+.4f}",
            f"[{one.low:+.4f}, {one.high:+.4f}]",
            f"{one.p_value:.2g}" if one.p_value >= 1e-4 else "< 0.0001",
            f"{one.effect:+.2f}",
            one.verdict,
        )
        for name, one in found.items()
    ]
    return Table(title, columns, tuple(body), _comparison_note(found))


def _comparison_note(found: Mapping[str, Comparison]) -> str:
    some = next(iter(found.values()), None)
    counts = f"{some.lists:,} lists of {some.users:,} users. " if some else ""
    return (
        f"{counts}Lists averaged over seeds, then a paired bootstrap over users ({RESAMPLES:,} "
        f"resamples) and Wilcoxon's signed-rank test (Pratt), Holm-corrected over {len(found)} "
        "rows; effect is the matched-pairs rank biserial. Better: the interval lies above 0; "
        f"level: its lower end is above −{LEVEL_MARGIN}; undecided: it reaches from below that to "
        "above 0."
    )


def _cost(rows: Sequence[Row]) -> Table:
    sizes = sorted({one.batch_size for row in rows for one in row.latency})
    columns = ("ranker", "parameters", "training", "tuning", *(f"batch {size}" for size in sizes))
    body = [
        (
            row.name,
            "–" if row.parameters is None else f"{row.parameters:,}",
            f"{np.mean(row.train_seconds):.1f} s" if row.train_seconds else "–",
            row.tuning or "–",
            *(_times(row, size) for size in sizes),
        )
        for row in rows
    ]
    note = "Latency is p50 / p99 in ms of one call of the model, encoding not counted."
    return Table("Cost", columns, tuple(body), note if sizes else "")


def _times(row: Row, size: int) -> str:
    found = [f"{one.p50:.2f} / {one.p99:.2f}" for one in row.latency if one.batch_size == size]
    return found[0] if found else "–"


def _same_lists(rows: Sequence[Row]) -> None:
    first = rows[0].evaluations[0]
    for row in rows:
        for one in row.evaluations:
            if one.split != first.split or not np.array_equal(one.lists, first.lists):
                raise TableError(
                    f"{row.name} was evaluated on other lists than {rows[0].name}; evaluate both "
                    "on the same split of the same dataset."
                )
