"""The answer: its figures, its words, and what an order without a model makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from report.answer import Report, verdict
from report.page import render
from report.plain import Standing
from report.sides import TODAY
from tests.data.pages import Page


def test_the_first_sentence_is_the_answer(made: Report) -> None:
    first = made.gains[0]
    said = verdict(made)
    assert f"{len(made.sides.lists)} lists" in said
    assert f"{first.before:.3f} to {first.after:.3f}" in said
    assert {"better": "is better than", "worse": "is worse than", "level": "is level with",
            "undecided": "cannot be told from"}[first.verdict] in said  # fmt: skip
    assert said in Page(render(made)).texts


def with_plain(made: Report, value: float, low: float) -> Report:
    """The report as it would be if the model went from 0.5 to 0.7 and click rate had `value`."""
    first = made.gains[0]
    better = replace(first, before=0.5, after=0.7, found=replace(first.found, low=0.1, high=0.3))
    rate = next(one for one in made.standings if one.name == "highest click rate first")
    assert rate.gain is not None
    found = replace(rate.gain.found, difference=0.7 - value, low=low, high=0.2, users=99)
    today = Standing(TODAY, 0.5, better, plain=True)
    plain = replace(rate, value=value, gain=replace(rate.gain, found=found))
    sides = replace(made.sides, before_name=TODAY)
    return replace(made, sides=sides, gains=[better, *made.gains[1:]], standings=[plain, today])


@pytest.mark.parametrize(
    ("value", "low", "said"),
    [
        (0.66, 0.01, "reaches 0.660: 80% of that gain. Worth an online test, in which that order"),
        (0.66, -0.02, "reaches 0.660: 80% of that gain. Try that order first"),
        (0.54, 0.01, "reaches 0.540: 20% of that gain. Worth an online test."),
        (0.75, -0.20, "reaches 0.750, as much as the model or more. Try that order first"),
        (0.45, 0.01, f"none is better than {TODAY}. Worth an online test."),
    ],
)
def test_the_answer_says_what_needs_no_model(
    made: Report, value: float, low: float, said: str
) -> None:
    assert said in verdict(with_plain(made, value, low))
