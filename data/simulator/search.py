"""The best known order: a beam over true marginal gains, then changes until none helps.

B lists, W orders of the beam, M slots, T places, C topics, N neighbours of an order.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, product

import numpy as np
from tqdm import tqdm

from data.simulator.law import Above, Float32, Int64, attraction
from data.simulator.truth import SHOWN, Truth

WIDTH = 32
BLOCK = 256  # lists searched together: bounds the memory
SLOW = 40  # blocks from which on a bar is worth it
GAIN = 1e-6  # a change that gains less is rounding


def best(truth: Truth, *, sees: bool, width: int = WIDTH, shown: int = SHOWN) -> Int64:
    """The best known order (B, T) of each list, −1 after the last item of a short one."""
    starts = range(0, len(truth), BLOCK)
    bar = tqdm(starts, desc="searching the best orders", disable=len(starts) < SLOW)
    parts = (truth.select(slice(start, start + BLOCK)) for start in bar)
    return np.concatenate([
        improve(part, beam(part, sees=sees, width=width, shown=shown), sees=sees) for part in parts
    ])  # fmt: skip


def greedy(truth: Truth, *, sees: bool, shown: int = SHOWN) -> Int64:
    """The order (B, T) that takes the largest true marginal gain at each place."""
    starts = range(0, len(truth), BLOCK)
    parts = (truth.select(slice(start, start + BLOCK)) for start in starts)
    return np.concatenate([beam(part, sees=sees, width=1, shown=shown) for part in parts])


def beam(truth: Truth, *, sees: bool, width: int, shown: int = SHOWN) -> Int64:
    """The best of `width` orders grown from the top down (B, T)."""
    law, (lists, slots) = truth.law, truth.mask.shape
    above, own, spread = Above(law), truth.isolated(sees=sees), truth.spread(sees=sees)
    shape = (lists, width)
    effect = np.zeros((*shape, law.topics), np.float32)
    value = np.where(np.arange(width) > 0, -np.inf, np.zeros(shape)).astype(np.float32)
    free = np.repeat(truth.mask[:, None], width, axis=1)  # (B, W, M)
    orders = np.full((*shape, shown), -1, np.int64)
    row, places = np.arange(lists)[:, None], min(shown, slots)
    for place, examined in enumerate(law.examination(places)):
        logits = own[:, None] + np.take_along_axis(effect, truth.topic[:, None], axis=2)
        gain = np.where(free, examined * attraction(logits, spread), -np.inf)
        total = (value[..., None] + gain).reshape(lists, -1)  # (B, W·M)
        chosen = np.argpartition(-total, min(width, total.shape[1]) - 1, axis=1)[:, :width]
        parent, slot = chosen // slots, chosen % slots  # (B, W)
        going = truth.mask.sum(axis=1) > place  # lists that still have an item
        parent = np.where(going[:, None], parent, np.arange(width))
        value = np.where(going[:, None], total[row, chosen], value)
        effect, free, orders = effect[row, parent], free[row, parent], orders[row, parent]
        topic = np.take_along_axis(truth.topic, slot, axis=1)
        effect = above.after(effect, topic, np.broadcast_to(truth.fatigue[:, None], shape))
        np.put_along_axis(free, slot[..., None], False, axis=2)
        orders[..., place] = np.where(going[:, None], slot, -1)
    return orders[np.arange(lists), value.argmax(axis=1)]


def improve(truth: Truth, orders: Int64, *, sees: bool) -> Int64:
    """Swap two places, or a place with an item left out, or move an item to another place, while
    the best such change helps."""
    orders, values = orders.copy(), truth.value(orders, sees=sees, shown=orders.shape[1])
    active = np.arange(len(truth))
    while active.size:
        part = truth.select(active)
        step, gained = _best_neighbour(part, orders[active], sees=sees)
        better = gained > values[active] + GAIN
        active = active[better]
        orders[active], values[active] = step[better], gained[better]
    return orders


def _best_neighbour(truth: Truth, orders: Int64, *, sees: bool) -> tuple[Int64, Float32]:
    """The best change of each list: order (B, T) and value (B,)."""
    near = _neighbours(truth, orders)  # (B, N, T)
    lists, count, shown = near.shape
    spread_out = truth.select(np.repeat(np.arange(lists), count))
    values = spread_out.value(near.reshape(-1, shown), sees=sees, shown=shown)
    values = values.reshape(lists, count)
    top = values.argmax(axis=1)
    return near[np.arange(lists), top], values[np.arange(lists), top]


def _neighbours(truth: Truth, orders: Int64) -> Int64:
    """All orders (B, N, T) one change away; impossible ones repeat the order itself.

    The slots are put in a row (B, T + M), the shown ones first and then those left out. A change
    swaps two of the row, at least one of them shown, or moves a shown one to another place.
    """
    shown = orders.shape[1]
    row = np.concatenate([orders, _left_out(truth, orders)], axis=1)
    width = int((row >= 0).any(axis=0).nonzero()[0].max()) + 1
    changes = _changes(min(shown, width), width)  # (N, width)
    changed = row[:, changes]  # (B, N, width)
    count = (orders >= 0).sum(axis=1)[:, None, None]
    whole = ((changed[..., :shown] >= 0) == (np.arange(min(shown, width)) < count)).all(axis=2)
    near = np.where(whole[..., None], changed[..., :shown], orders[:, None, : changed.shape[2]])
    return np.pad(near, ((0, 0), (0, 0), (0, shown - near.shape[2])), constant_values=-1)


@lru_cache(maxsize=64)
def _changes(shown: int, width: int) -> Int64:
    """Each change of a row as the places that its items come from (N, width)."""
    rows = []
    for i, j in combinations(range(width), 2):
        if i < shown:
            rows.append([j if k == i else i if k == j else k for k in range(width)])
    for i, j in product(range(shown), repeat=2):
        if abs(i - j) > 1:
            rest = [k for k in range(width) if k != i]
            rows.append([*rest[:j], i, *rest[j:]])
    return np.array(rows or [range(width)])


def _left_out(truth: Truth, orders: Int64) -> Int64:
    """Slots that an order (B, T) does not show, first, then −1 (B, M)."""
    left = truth.mask.copy()
    lists, places = np.nonzero(orders >= 0)
    left[lists, orders[lists, places]] = False
    order = np.argsort(~left, axis=1, kind="stable")
    return np.where(np.take_along_axis(left, order, axis=1), order, -1)
