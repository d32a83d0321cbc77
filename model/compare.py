"""Is one ranker better than another? Paired statistics over the same lists, by user.

R runs that differ only by seed, L lists, U users. A list is first averaged over seeds; what is
compared is the difference of these averages. Lists of one user are not independent, so the
bootstrap resamples users (with all their lists), and Wilcoxon sees one mean difference a user.
Reads arrays only; `psad evaluate` prints what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, wilcoxon

Floats = NDArray[np.float64]
Verdict = Literal["better", "level", "undecided", "worse"]

LEVEL_MARGIN = 0.005  # level: the interval's lower end is above −0.005
SAME = 1e-12  # differences this small are rounding, not a difference
RESAMPLES = 2_000
_CELLS = 4_000_000  # resamples × users held at once


@dataclass(frozen=True)
class Comparison:
    """Ours against the base on one metric, over lists where both say something."""

    difference: float  # mean over lists, ours − base
    low: float  # 95% interval of the difference
    high: float
    p_value: float  # Wilcoxon signed-rank, two-sided; Holm-corrected after `correct`
    effect: float  # matched-pairs rank biserial, −1 to 1
    lists: int
    users: int

    @property
    def verdict(self) -> Verdict:
        """Better: the interval lies above 0. Level: its lower end is above −0.005. Otherwise worse
        where it lies below 0, and undecided where it is too wide to tell."""
        if self.low > 0:
            return "better"
        if self.low > -LEVEL_MARGIN:
            return "level"
        return "worse" if self.high < 0 else "undecided"


def over_seeds(runs: Sequence[ArrayLike]) -> Floats:
    """The mean of each list over runs that differ by seed: (R, L) -> (L,)."""
    return np.mean(np.asarray(runs, np.float64), axis=0)


def compare(
    ours: ArrayLike, base: ArrayLike, users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare one metric, list by list; all three are (L,), users any hashable ids.

    Lists where either side is NaN are left out. Raises ValueError where none is left.
    """
    ours, base = np.asarray(ours, np.float64), np.asarray(base, np.float64)
    said = ~(np.isnan(ours) | np.isnan(base))
    if not said.any():
        raise ValueError("no list has this metric on both sides; there is nothing to compare")
    difference = (ours - base)[said]
    difference = np.where(np.abs(difference) < SAME, 0.0, difference)
    user = np.unique(np.asarray(users)[said], return_inverse=True)[1]
    low, high = interval(difference, user, resamples=resamples, seed=seed)
    a_user = np.bincount(user, difference) / np.bincount(user)
    p_value, effect = signed_rank(a_user)
    return Comparison(
        float(difference.mean()), low, high, p_value, effect, difference.size, a_user.size
    )


def interval(
    values: ArrayLike, users: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval of the mean over lists (L,), by bootstrap over users (L,)."""
    user = np.unique(np.asarray(users), return_inverse=True)[1]
    sums, counts = np.bincount(user, np.asarray(values, np.float64)), np.bincount(user)
    means = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _resampled_means(
    sums: Floats, counts: NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> Floats:
    """Draw U users with replacement, `resamples` times; the mean over the lists they bring."""
    users, means = sums.size, []
    while (left := resamples - sum(map(len, means))) > 0:
        rows = min(left, max(1, _CELLS // users))
        drawn = rng.integers(users, size=(rows, users))  # (rows, U)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def signed_rank(differences: ArrayLike) -> tuple[float, float]:
    """Wilcoxon's two-sided p (zeros ranked with Pratt) and the matched-pairs rank biserial effect.

    The effect is (ranks for − ranks against) / all ranks: 0 where wins balance losses, ±1 where
    every user gains or loses. Users without a difference count as neither, so they shrink it.
    """
    values = np.asarray(differences, np.float64)
    if not values.any():
        return 1.0, 0.0
    ranks = rankdata(np.abs(values))
    effect = float((np.sign(values) * ranks).sum() / ranks.sum())
    method = "exact" if values.size <= 12 and values.all() and _distinct(values) else "asymptotic"
    return float(wilcoxon(values, zero_method="pratt", method=method).pvalue), effect


def _distinct(values: Floats) -> bool:
    return bool(np.unique(np.abs(values)).size == values.size)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down correction: p values that hold for all tests of a family together."""
    p = np.asarray(p_values, np.float64)
    ascending = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[ascending] * np.arange(p.size, 0, -1))
    corrected = np.empty(p.size)
    corrected[ascending] = np.minimum(raised, 1.0)
    return corrected


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with p values Holm-corrected as one family."""
    corrected = holm([comparison.p_value for comparison in comparisons])
    return [
        replace(comparison, p_value=float(p))
        for comparison, p in zip(comparisons, corrected, strict=True)
    ]
