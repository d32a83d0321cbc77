"""The page says what was measured, and nothing of the data becomes markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.dataset import Dataset
from model.machine import Load
from report import collect, report_run
from report.answer import Report
from report.cost import Cost, Costs
from report.page import render
from report.sides import ReportError, Sides, load
from tests.data.pages import Page

EVIL = '<script>alert("1")</script>'


def test_the_tables_hold_the_figures(made: Report) -> None:
    overall, beside, for_whom, cost = Page(render(made)).tables
    for row, one in zip(overall[1:], made.gains, strict=True):
        assert row[:3] == [one.measure.title, one.measure.show(one.before),
                           one.measure.show(one.after)]  # fmt: skip
        assert row[-1] == one.verdict
    for row, other in zip(beside[1:], made.standings, strict=True):
        assert row[:2] == [other.name, f"{other.value:.3f}"]
        assert row[-1] == (other.gain.verdict if other.gain else "")
    named = [f"{one.family}: {one.title}" for one in made.slices]
    assert [row[0] for row in for_whom[1:]] == named
    for row, one in zip(for_whom[1:], made.slices, strict=True):
        assert row[1] == f"{one.lists:,}"
        assert row[-1] == (one.gain.verdict if one.gain else "too few")
    assert [row[0] for row in cost[1:]] == [one.step for one in made.costs.steps]


def test_each_example_stands_on_both_sides_with_its_marks_and_moves(made: Report) -> None:
    texts = Page(render(made)).texts
    for one in made.examples:
        start = next(i for i, text in enumerate(texts) if text.startswith(f"List {one.list_id}:"))
        before = texts.index(made.sides.before_name, start)
        lines = [line.title for line in one.before]
        assert texts[before + 1 : before + 1 + len(lines)] == lines
        after = before + 1 + len(lines)
        assert texts[after] == made.sides.after_name
        place, line = next((place, line) for place, line in enumerate(one.after, start=1)
                           if line.was != place)  # fmt: skip
        arrow = f"▲ {line.was - place}" if line.was > place else f"▼ {place - line.was}"
        assert arrow in texts[texts.index(line.title, after) :]


def test_a_worse_slice_is_said_at_the_top(made: Report) -> None:
    some = next(one for one in made.slices if one.gain is not None)
    assert some.gain is not None
    found = replace(some.gain.found, difference=-0.1, low=-0.2, high=-0.05)
    worse = replace(some, gain=replace(some.gain, found=found))
    texts = Page(render(replace(made, slices=[worse]))).texts
    assert f"It is worse for {some.family}: {some.title}." in texts
    better = replace(some, gain=replace(some.gain, found=replace(found, low=0.1, high=0.2)))
    texts = Page(render(replace(made, slices=[better]))).texts
    assert not [text for text in texts if text.startswith("It is worse for")]


@pytest.mark.parametrize("average", [0.9, 1.1])
def test_times_are_shown_with_the_machines_load_and_doubted_where_it_was_busy(
    made: Report, average: float
) -> None:
    steps = [Cost("trees", 1.0, 2.0, 9.0, "before"), Cost("network", 4.0, 5.0, 9.0, "after")]
    costs = Costs(steps, Load(average, 2))
    texts = Page(render(replace(made, costs=costs))).texts
    said = f"machine's load {average} on 2 cores"
    assert texts[texts.index("2.00 → 5.00 ms") + 1] == f"a list (median): trees → network; {said}"
    ratio = "By p10, which other work touches least, network takes 4.0 times as long as trees."
    assert ratio in texts
    doubted = any(text.startswith("The machine had other work") for text in texts)
    assert doubted == (average > 1)
    in_pytorch = Page(render(replace(made, costs=replace(costs, unexported=True)))).texts
    assert any(text.startswith("A service runs the exported model") for text in in_pytorch)
    assert not any(text.startswith("A service runs the exported model") for text in texts)


def test_titles_never_become_markup_and_nothing_comes_from_elsewhere(made: Report) -> None:
    one = made.examples[0]
    evil = replace(one, list_id=EVIL, history=(EVIL,), before=(replace(one.before[0], title=EVIL),))
    text = render(replace(made, examples=[evil], facts={EVIL: EVIL}, limits=[EVIL]))
    page = Page(text)
    assert "script" not in page.tags
    assert sum(EVIL in text for text in page.texts) == 5
    assert not [link for link in page.links if not link.startswith("#")]


def test_the_page_is_written_where_it_was_asked_for(
    run: Path, trees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = report_run(run, beside=trees, split="valid", mode="generator",
                      file=tmp_path / "new" / "page.html")  # fmt: skip
    assert [path.name for path in file.parent.iterdir()] == ["page.html"]
    page = Page(file.read_text(encoding="utf-8"))
    assert page.texts[0] == "psad-s/generator beside lambdamart on shop"
    assert f"run: {run} · beside: {trees}" in page.texts[-1]
    assert page.tables[0][0][1:3] == ["lambdamart", "psad-s/generator"]
    assert str(file) in capsys.readouterr().out


def test_a_split_that_says_nothing_is_refused(run: Path, both: Sides) -> None:
    values = {name: np.full_like(found, np.nan) for name, found in both.after.values.items()}
    nothing = replace(
        both, labels=np.zeros_like(both.labels), after=replace(both.after, values=values)
    )
    with pytest.raises(ReportError, match="nothing can be judged"):
        collect(load(run), nothing)


def test_a_report_stands_beside_its_run(run: Path, dataset: Dataset) -> None:
    assert report_run(run, dataset=dataset.folder) == run / "report.html"
    (run / "report.html").unlink()
