"""What a log cannot tell about a model, in sentences that are true of this log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.splits import NOTES
from report.measures import FEWEST, FEWEST_USERS, MEASURES, Slice, first_chosen, needed_for_a_test
from report.sides import Sides
from report.slices import cold_items

NDCG = MEASURES[0].key
PLACE_MATTERS = 0.02  # NDCG@10 that the place alone must win over chance to be said to matter


def limits(sides: Sides, parts: Sequence[Slice]) -> list[str]:
    """One sentence or two each."""
    return [*_place(sides), *_left_out(sides), *_split(sides), *_cold(sides), *_few(parts),
            *_online(sides)]  # fmt: skip


def _place(sides: Sides) -> Iterator[str]:
    """How far choices follow the place an item was shown at."""
    alone, chance = (sides.references[name].mean(NDCG) for name in ("order_only", "random"))
    figures = (
        f"ordering by how often each place is chosen has NDCG@10 {alone:.3f}, chance {chance:.3f}"
    )
    yield (
        "People chose from the list as it was shown to them. What stood high was seen more, and "
        "what was never shown could not be chosen. The figures above say how high an order puts "
        "what people did choose: it gets no credit for an item that they would have chosen, had "
        "they seen it."
    )
    if alone - chance > PLACE_MATTERS:
        yield (
            f"In this log the place alone tells much: {figures}. Part of any order's figure is "
            "that it keeps what stood high, so that the gain over "
            f"{sides.before_name} may be larger or smaller than it looks; an online test decides."
        )
    else:
        yield f"In this log the place alone tells little: {figures}."


def _left_out(sides: Sides) -> Iterator[str]:
    dropped = {reason: count for reason, count in sides.dataset.info["dropped"].items()
               if reason.startswith("lists ")}  # fmt: skip
    if dropped:
        said = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
        yield (
            f"Of {sides.dataset.info['lists']:,} lists in the whole log these could judge no order "
            f"and are in no figure: {said}. What the model does on such lists is not known."
        )


def _split(sides: Sides) -> Iterator[str]:
    yield f"How the lists were split: {NOTES[sides.dataset.info['split']]}"


def _cold(sides: Sides) -> Iterator[str]:
    share = cold_items(sides).sum() / sides.lengths.sum()
    if share > 0:
        yield (
            f"{share:.1%} of the candidates were in no training list. How the model ranks them "
            "rests on their features alone; a catalogue that turns over faster than this log will "
            "see more of it."
        )


def _few(parts: Sequence[Slice]) -> Iterator[str]:
    few = [f"{one.family}: {one.title} ({one.lists})" for one in parts if one.gain is None]
    if few:
        yield (
            f"Too few to say anything (fewer than {FEWEST} lists or {FEWEST_USERS} users): "
            f"{'; '.join(few)}."
        )


def _online(sides: Sides) -> Iterator[str]:
    """The size of a test against the order that the page compares with."""
    rate = float(np.nanmean(first_chosen(sides.before, sides.labels)))
    if 0 < rate < 1:
        yield (
            "What it wins online is not in a log. On these lists, which all have a choice, "
            f"{sides.before_name} has an item first that was chosen in {rate:.1%}. To see that "
            f"rise by a twentieth of itself, a test against {sides.before_name} needs about "
            f"{needed_for_a_test(rate):,} such lists in each arm, more where lists of one user "
            "are much alike."
        )
