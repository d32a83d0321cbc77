"""Tables: each cell against hand computation, and rows that cannot stand together."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from model.compare import compare, holm
from model.evaluate import Evaluation
from model.latency import Latency
from model.metrics import METRICS
from model.references import NAMES, SAID
from model.table import Row, TableError, compare_rows, markdown, show, tables, words

LISTS = 60


def evaluation(level: float, seed: int, lists: int = LISTS) -> Evaluation:
    values = np.clip(np.random.default_rng(seed).normal(level, 0.1, lists), 0, 1)
    users = np.arange(lists).astype(str)
    nothing = np.zeros((lists, 0), int)
    return Evaluation("test", np.arange(lists), users, dict.fromkeys(METRICS, values), nothing)


@pytest.fixture
def rows() -> list[Row]:
    return [
        Row("click_rate", (evaluation(0.5, 0),)),
        Row("oracle", (evaluation(1.0, 1),)),
        Row(
            "prm",
            (evaluation(0.7, 2), evaluation(0.7, 3)),
            parameters=12345,
            train_seconds=(10.0, 20.0),
            latency=(Latency(1, 200, 0.5, 1.25),),
        ),
        Row("worse", (evaluation(0.3, 4),)),
    ]


def test_a_score_is_the_mean_over_seeds_with_their_deviation(rows: list[Row]) -> None:
    means = [one.mean("ndcg@10") for one in rows[2].evaluations]
    quality = tables(rows, "click_rate")[0]
    cell = quality.rows[2][quality.columns.index("NDCG@10")]
    assert cell == f"{np.mean(means):.4f} ± {np.std(means, ddof=1):.4f}"
    assert quality.rows[0][2] == f"{rows[0].evaluations[0].mean('ndcg@5'):.4f}"
    assert [row[1] for row in quality.rows] == ["1", "1", "2", "1"]


def test_rows_are_compared_on_lists_averaged_over_seeds_and_corrected_together(
    rows: list[Row],
) -> None:
    found = compare_rows(rows, "click_rate")
    assert list(found) == ["prm", "worse"]  # neither the base nor the ceiling
    base, users = rows[0].over_seeds("ndcg@10"), rows[0].evaluations[0].users
    averaged = np.mean([one.values["ndcg@10"] for one in rows[2].evaluations], axis=0)
    alone = [compare(values, base, users) for values in (averaged, rows[3].over_seeds("ndcg@10"))]
    assert found["prm"].difference == alone[0].difference
    assert [one.p_value for one in found.values()] == holm([one.p_value for one in alone]).tolist()
    assert [one.verdict for one in found.values()] == ["better", "worse"]


def test_a_subject_is_compared_with_every_row_the_other_way_round(rows: list[Row]) -> None:
    table = tables(rows, "click_rate", subjects=["prm"])[2]
    assert table.title == "NDCG@10 of prm against each row"
    assert [cells[0] for cells in table.rows] == ["click_rate", "worse"]
    assert [cells[-1] for cells in table.rows] == ["better", "better"]
    one, other = (compare_rows(rows, "prm", turned=turned)["worse"] for turned in (True, False))
    assert (one.difference, one.effect) == (-other.difference, -other.effect)


def test_cost_is_told_where_it_is_known(rows: list[Row]) -> None:
    cost = tables(rows, "click_rate")[2]
    assert cost.columns == ("ranker", "parameters", "training", "tuning", "batch 1")
    assert cost.rows == (
        ("prm", "12,345", "15.0 s", "–", "0.50 / 1.25"),
        ("worse", "–", "–", "–", "–"),
    )


def test_markdown_and_terminal_hold_every_cell(rows: list[Row]) -> None:
    made, header = tables(rows, "click_rate"), {"data": "shop [test]"}
    text, stream = markdown(header, made), io.StringIO()
    show(header, made, Console(file=stream, width=250))
    assert "- **data**: shop [test]" in text
    assert "shop [test]" in stream.getvalue()
    for table in made:
        for cells in table.rows:
            assert f"| {' | '.join(cells)} |" in text
            assert all(cell in stream.getvalue() for cell in cells)


def test_names_are_explained_where_they_stand_and_only_there(rows: list[Row]) -> None:
    made, stream = tables(rows, "click_rate"), io.StringIO()
    found = words(made)
    assert list(found) == ["click_rate", "oracle", "paper MAP@5, @10", "verdict"]
    assert list(words([made[-1]])) == []  # the cost of models alone
    show({}, made, Console(file=stream, width=500))
    for name, said in found.items():
        assert f"{name}  {said}" in stream.getvalue()


def test_every_reference_row_is_explained() -> None:
    assert tuple(SAID) == NAMES


def test_an_unknown_base_and_other_lists_are_refused(rows: list[Row]) -> None:
    with pytest.raises(TableError, match="no row 'prn' to compare with; rows: click_rate"):
        compare_rows(rows, "prn")
    with pytest.raises(TableError, match="odd was evaluated on other lists than click_rate"):
        compare_rows([*rows, Row("odd", (evaluation(0.5, 0, 50),))], "click_rate")
