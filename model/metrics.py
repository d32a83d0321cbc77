"""Ranking metrics of one list each, over padded arrays, given the order in which items are shown.

B lists, M padded slots (slot = place in the incoming order), T items a generator shows, K the cut.
An *order* (B, M) names slots from the top down: every real slot once, padding last. Every metric is
(B,) float64, and NaN where it says nothing: no positive, or for AUC no negative. Leave NaN out of
means (`np.nanmean`). Labels are gains for NDCG (2^y − 1); elsewhere a positive is a label above 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Metric = Callable[[ArrayLike, ArrayLike, Integers], Floats]


def order_from_scores(scores: ArrayLike, mask: ArrayLike) -> Integers:
    """Slots by descending score (B, M); ties by incoming order, padding last.

    Raises ValueError where a real slot's score is NaN: an order of NaN means nothing.
    """
    values, real = np.asarray(scores, np.float64), np.asarray(mask, bool)
    if np.isnan(values[real]).any():
        raise ValueError("the scores hold NaN; a list cannot be ordered by them")
    return np.lexsort((np.where(real, -values, 0.0), ~real), axis=-1)  # last key counts most


def complete_order(rank: ArrayLike, mask: ArrayLike) -> Integers:
    """A generator's list (B, T), −1 for no item, made a whole order (B, M).

    Items left out follow in incoming order. Raises ValueError where a list repeats an item or
    names a padded slot.
    """
    chosen, real = np.asarray(rank, np.int64), np.asarray(mask, bool)
    lists, places = np.nonzero(chosen >= 0)
    slots = chosen[lists, places]
    if slots.size and (slots.max() >= real.shape[1] or not real[lists, slots].all()):
        raise ValueError("a generated list names a slot that holds no candidate")
    if np.unique(lists * real.shape[1] + slots).size != slots.size:
        raise ValueError("a generated list names a candidate twice")
    place_of = np.full(real.shape, chosen.shape[1], np.int64)
    place_of[lists, slots] = places
    return np.lexsort((place_of, ~real), axis=-1)  # lexsort is stable: the rest keep their order


def order_as_scores(order: Integers) -> Floats:
    """−rank of every slot (B, M): the scores of a ranker that only gives an order."""
    scores = np.empty(order.shape)
    np.put_along_axis(scores, order, -np.arange(order.shape[1], dtype=float)[None], axis=1)
    return scores


def ndcg_at_k(labels: ArrayLike, mask: ArrayLike, order: Integers, k: int) -> Floats:
    """Discounted gain of the first K over that of the best order of the *whole* list, cut at K."""
    gains = np.exp2(_real_labels(labels, mask)) - 1.0
    ideal = -np.sort(-gains, axis=1)
    shown = np.take_along_axis(gains, order, axis=1)
    return _ratio(_discounted(shown, k), _discounted(ideal, k))


def map_at_k(labels: ArrayLike, mask: ArrayLike, order: Integers, k: int) -> Floats:
    """Average precision over the first K, divided by min(K, positives)."""
    hits = _hits(labels, mask, order)
    return _ratio(_precisions(hits, k), np.minimum(hits.sum(axis=1), k))


def map_paper_at_k(labels: ArrayLike, mask: ArrayLike, order: Integers, k: int) -> Floats:
    """Average precision divided by the hits in the first K; 0 without hits (the paper's column)."""
    hits = _hits(labels, mask, order)
    found = np.maximum(hits[:, :k].sum(axis=1), 1.0)
    return np.where(hits.any(axis=1), _precisions(hits, k) / found, np.nan)


def auc(labels: ArrayLike, mask: ArrayLike, order: Integers) -> Floats:
    """Share of (positive, negative) pairs with the positive above. An order knows no ties."""
    hits = _hits(labels, mask, order)
    misses = np.take_along_axis(np.asarray(mask, bool), order, axis=1) - hits
    below = misses.sum(axis=1, keepdims=True) - np.cumsum(misses, axis=1)
    return _ratio((hits * below).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


METRICS: dict[str, Metric] = {
    "ndcg@5": partial(ndcg_at_k, k=5),
    "ndcg@10": partial(ndcg_at_k, k=10),
    "map@5": partial(map_at_k, k=5),
    "map@10": partial(map_at_k, k=10),
    "auc": auc,
    "map_paper@5": partial(map_paper_at_k, k=5),
    "map_paper@10": partial(map_paper_at_k, k=10),
}


def list_metrics(labels: ArrayLike, mask: ArrayLike, order: Integers) -> dict[str, Floats]:
    """Every metric of METRICS for every list: name -> (B,)."""
    return {name: metric(labels, mask, order) for name, metric in METRICS.items()}


def rank_correlation(one: ArrayLike, two: ArrayLike, mask: ArrayLike) -> Floats:
    """Spearman's correlation of two scorings (B, M) of each list; ties share their mean rank.

    (B,), NaN where either is constant.
    """
    real = np.asarray(mask, bool)
    count = np.maximum(real.sum(axis=1, keepdims=True), 1)
    ranks = [_mean_ranks(np.asarray(values, np.float64), real) for values in (one, two)]
    a, b = (np.where(real, r - (r * real).sum(axis=1, keepdims=True) / count, 0.0) for r in ranks)
    return _ratio((a * b).sum(axis=1), np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))


def _mean_ranks(values: Floats, real: NDArray[np.bool_]) -> Floats:
    """Rising ranks of the real slots (B, M), from 0; equals share the mean of their places."""
    order = np.lexsort((values, ~real), axis=-1)
    ordered = np.take_along_axis(np.where(real, values, np.inf), order, axis=1)
    edge = np.ones((len(values), 1), bool)
    changes = ordered[:, 1:] != ordered[:, :-1]
    place, last_place = np.arange(values.shape[1]), values.shape[1] - 1
    begins = np.where(np.concatenate([edge, changes], 1), place, 0)
    ends = np.where(np.concatenate([changes, edge], 1), place, last_place)
    first = np.maximum.accumulate(begins, axis=1)
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=1)
    return ranks


def expected_random(labels: ArrayLike, mask: ArrayLike) -> dict[str, Floats]:
    """The exact expected value of each metric over all orders of a list: name -> (B,)."""
    gains = np.exp2(_real_labels(labels, mask)) - 1.0
    items = np.asarray(mask, bool).sum(axis=1)
    positives = (_real_labels(labels, mask) > 0).sum(axis=1)
    mixed = (positives > 0) & (positives < items)
    values = {"auc": np.where(mixed, 0.5, np.nan)}
    for k in (5, 10):
        values[f"ndcg@{k}"] = _random_ndcg(gains, items, k)
        precisions = _random_precisions(positives, items, k)
        values[f"map@{k}"] = _ratio(precisions, np.minimum(positives, k))
        values[f"map_paper@{k}"] = _random_map_paper(positives, items, k)
    return {name: values[name] for name in METRICS}


def _real_labels(labels: ArrayLike, mask: ArrayLike) -> Floats:
    return np.where(np.asarray(mask, bool), np.asarray(labels, np.float64), 0.0)


def _hits(labels: ArrayLike, mask: ArrayLike, order: Integers) -> Floats:
    """1 where the item at a place is a positive (B, M)."""
    return np.take_along_axis(_real_labels(labels, mask) > 0, order, axis=1).astype(np.float64)


def _discounted(gains: Floats, k: int) -> Floats:
    top = gains[:, :k]
    return top @ _discounts(top.shape[1])


def _discounts(places: int) -> Floats:
    return 1.0 / np.log2(np.arange(places) + 2.0)


def _precisions(hits: Floats, k: int) -> Floats:
    """Σ over hits in the first K of the precision at the hit (B,)."""
    top = hits[:, :k]
    return (top * np.cumsum(top, axis=1) / np.arange(1, top.shape[1] + 1)).sum(axis=1)


def _ratio(numerator: Floats, denominator: ArrayLike) -> Floats:
    below = np.asarray(denominator, np.float64)
    return np.divide(numerator, below, out=np.full(below.shape, np.nan), where=below > 0)


def _random_ndcg(gains: Floats, items: Integers, k: int) -> Floats:
    """In a random order every place has the list's mean gain."""
    until = np.concatenate([[0.0], np.cumsum(_discounts(k))])[np.minimum(items, k)]
    mean_gain = gains.sum(axis=1) / np.maximum(items, 1)
    return _ratio(mean_gain * until, _discounted(-np.sort(-gains, axis=1), k))


def _random_precisions(positives: ArrayLike, items: ArrayLike, k: int) -> Floats:
    """E[Σ precision at hits in the first K]: a place r is a hit with P/M, another place above it
    then with (P − 1)/(M − 1), so each place adds (1 + (r − 1)(P − 1)/(M − 1)) · (P/M) / r."""
    p, m = np.asarray(positives, np.float64)[..., None], np.asarray(items, np.float64)[..., None]
    place = np.arange(1, k + 1)
    above = (place - 1) * (p - 1) / np.maximum(m - 1, 1)
    each = (1 + above) * p / np.maximum(m, 1) / place
    return np.where(place <= m, each, 0.0).sum(axis=-1)


def _random_map_paper(positives: Integers, items: Integers, k: int) -> Floats:
    """Given h hits in the first K' = min(K, M), they are a random order of K' places with h
    positives; h itself is hypergeometric."""
    shown = np.minimum(items, k)[:, None]  # (B, 1)
    hits = np.arange(1, k + 1)[None]  # (1, K)
    each = _random_precisions(*np.broadcast_arrays(hits, shown), k) / hits  # (B, K)
    chance = _hypergeometric(hits, positives[:, None], items[:, None], shown)
    return np.where(positives > 0, (each * chance).sum(axis=1), np.nan)


def _hypergeometric(
    hits: Integers, positives: Integers, items: Integers, drawn: Integers
) -> Floats:
    """P(h of the drawn places hold a positive), broadcast over the four."""
    factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, items.max(initial=1) + 1)))])

    def log_choose(n: Integers, r: Integers) -> Floats:
        possible = (r >= 0) & (r <= n)
        n, r = np.where(possible, n, 0), np.where(possible, r, 0)
        return np.where(possible, factorial[n] - factorial[r] - factorial[n - r], -np.inf)

    ways = log_choose(positives, hits) + log_choose(items - positives, drawn - hits)
    return np.exp(ways - log_choose(items, drawn))
