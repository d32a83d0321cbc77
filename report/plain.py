"""Orders that need no model, beside the model's: how much of its gain a plain count has already.

A = NDCG@10 of the order that the report compares with, B = of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.table import METRIC
from report.measures import MEASURES, Gain, gain
from report.sides import INCOMING, TODAY, Sides

ORACLE, CHANCE = "oracle", "random"
NAMES = {
    ORACLE: "the best order in hindsight", CHANCE: "chance", INCOMING: TODAY,
    "order_only": "places by how often they are chosen", "popularity": "most chosen first",
    "click_rate": "highest click rate first",
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """An order on the judged lists, and the model's gain over it."""

    name: str  # as people read it
    value: float  # NDCG@10
    gain: Gain | None  # None for the model itself, and where nothing can be better
    plain: bool  # could be served today, without a model


def standings(sides: Sides) -> list[Standing]:
    """Both sides and every order without a model, from best to worst."""
    found = [
        Standing(NAMES[key], sides.references[key].mean(METRIC), _gain_over(sides, key),
                 key not in (ORACLE, CHANCE))
        for key in NAMES if key in sides.references
    ]  # fmt: skip
    found.append(Standing(sides.after_name, sides.after.mean(METRIC), None, False))
    if sides.other is not None:
        own = Standing(
            sides.before_name, sides.before.mean(METRIC), gain(sides, MEASURES[0]), False
        )
        found.append(own)
    return sorted(found, key=lambda one: -one.value)


def strongest(found: Sequence[Standing]) -> Standing:
    """The best of those that need no model; of equals the order as it came."""
    plain = [one for one in found if one.plain]
    return max(plain, key=lambda one: (one.value, one.name == TODAY))


def share_of_gain(plain: float, before: float, after: float) -> float | None:
    """(plain − A) / (B − A): how much of the model's gain the plain order has; None without one."""
    return (plain - before) / (after - before) if after > before else None


def _gain_over(sides: Sides, key: str) -> Gain | None:
    if key == ORACLE:
        return None
    return gain(replace(sides, before=sides.references[key]), MEASURES[0])
