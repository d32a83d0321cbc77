"""What a report found, and its answer in a few sentences.

Better than today or not, by how much, how much of that needs no model, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model.table import METRIC
from report.changes import Changes
from report.cost import Costs
from report.examples import Example
from report.measures import Gain, Slice, signed
from report.plain import Standing, share_of_gain, strongest
from report.sides import TODAY, Sides

SAID = {
    "better": "is better than {before}",
    "level": "is level with {before}",
    "undecided": "cannot be told from {before} by these lists",
    "worse": "is worse than {before}",
}
MUCH = 0.5  # of the gain: an order without a model that has as much belongs into the test
UNSEEN = {
    "test": "that it has never seen",
    "valid": "that it was chosen by, though not trained on, so that it looks a little too good",
    "train": "that it was trained on, which says nothing of others",
}
NEXT = {
    "better": "Worth an online test.",
    "with plain": "Worth an online test, in which that order is an arm of its own.",
    "plain first": "Try that order first: these lists do not show that the model adds to it.",
    "level": "It costs little quality, if any; whether it wins some, these lists do not show.",
    "undecided": "More lists would tell, or an online test; until then nothing is certain.",
    "worse": "Keep what you have; `docs/own-data.md` says what to look at.",
}


@dataclass(frozen=True)
class Report:
    """Everything the page says."""

    sides: Sides
    gains: Sequence[Gain]  # of every measure, NDCG@10 first
    standings: Sequence[Standing]  # beside orders without a model, from best to worst
    slices: Sequence[Slice]
    changes: Changes
    examples: Sequence[Example]
    costs: Costs
    limits: Sequence[str]
    facts: Mapping[str, str]  # what the page was made of and by


def verdict(report: Report) -> str:
    """The answer in a few sentences."""
    sides, first = report.sides, report.gains[0]
    low, high = first.interval
    said = SAID[first.verdict].format(before=sides.before_name)
    plain, then = _without_a_model(report)
    return (
        f"On {first.found.lists:,} lists of {first.found.users:,} users "
        f"{UNSEEN[sides.after.split]}, {sides.after_name} {said}: "
        f"{METRIC.upper()} {first.before:.3f} to {first.after:.3f} "
        f"({signed(first.difference)}, 95% interval {signed(low)} to {signed(high)}). "
        f"{plain} {NEXT[then]}"
    )


def _without_a_model(report: Report) -> tuple[str, str]:
    """What the best order without a model reaches, in a sentence, and what follows from all."""
    sides, first = report.sides, report.gains[0]
    plain = strongest(report.standings)
    named = f"{plain.name[0].upper()}{plain.name[1:]}"
    if sides.other is not None:
        today = next(one.value for one in report.standings if one.name == TODAY)
        beside = "" if plain.name == TODAY else f"; {TODAY} {today:.3f}"
        return f"{named}, which needs no model, has {plain.value:.3f}{beside}.", first.verdict
    if plain.name == TODAY:
        return f"Of the orders that need no model, none is better than {TODAY}.", first.verdict
    share = share_of_gain(plain.value, first.before, first.after)
    if share is None or share >= 1:
        said = (
            f"{named}, which needs no model, reaches {plain.value:.3f}, as much as the model or "
            "more."
        )
    else:
        said = (
            f"{named}, which needs no model, reaches {plain.value:.3f}: {share:.0%} of that gain."
        )
    if first.verdict != "better" or share is None:
        return said, first.verdict
    if plain.gain is None or plain.gain.verdict != "better":
        return said, "plain first"
    return said, "with plain" if share >= MUCH else "better"
