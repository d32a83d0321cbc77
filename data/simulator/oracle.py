"""How far each way of ordering gets by the law alone, no model trained: docs/simulator.md's table.

python -m data.simulator.oracle --lists 2000 --seed 0
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from data.simulator.generate import World, drawn_again
from data.simulator.law import Int64
from data.simulator.search import best, greedy
from data.simulator.tables import ITEMS, LISTS_BY_DEFAULT
from data.simulator.truth import Truth


def orders_of(truth: Truth, seed: int = 0) -> dict[str, Int64]:
    """Each way of ordering: name -> orders."""
    random = np.random.default_rng(seed).random(truth.mask.shape)
    return {
        "incoming": truth.by(np.zeros(truth.mask.shape)),
        "random": truth.by(random),
        "isolated (sees)": truth.by(truth.isolated(sees=True)),
        "isolated (knows)": truth.by(truth.isolated()),
        "greedy (sees)": greedy(truth, sees=True),
        "greedy (knows)": greedy(truth, sees=False),
        "ceiling (sees)": best(truth, sees=True),
        "ceiling (knows)": best(truth, sees=False),
    }


def ways(truth: Truth, orders: dict[str, Int64]) -> dict[str, tuple[float, float, float]]:
    """Mean true value, and the way from incoming to the ceiling that sees, and that knows."""
    value = {name: float(truth.value(order).mean()) for name, order in orders.items()}
    low, sees, knows = (value[n] for n in ("incoming", "ceiling (sees)", "ceiling (knows)"))
    return {
        name: (one, (one - low) / (sees - low), (one - low) / (knows - low))
        for name, one in value.items()
    }


def sample(lists: int, seed: int) -> Truth:
    """The truth about some lists of the default size's log, drawn evenly from it."""
    world = World(seed, ITEMS)
    return Truth.of(world, drawn_again(world, np.arange(lists) * LISTS_BY_DEFAULT // lists))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m data.simulator.oracle", description=__doc__)
    parser.add_argument("--lists", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    truth = sample(asked.lists, asked.seed)
    print("| order | true value | way to ceiling (sees) | way to ceiling (knows) |")
    print("|---|---:|---:|---:|")
    for name, (value, sees, knows) in ways(truth, orders_of(truth)).items():
        print(f"| {name} | {value:.4f} | {sees:.1%} | {knows:.1%} |")


if __name__ == "__main__":
    main()
