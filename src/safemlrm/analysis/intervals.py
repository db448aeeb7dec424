"""Intervals and tests for proportions, on whole columns at once; no data gives NaN here and null in the tables.

Sources: Wilson, JASA 22 (1927) 209; Newcombe, Statistics in Medicine 17 (1998) 873 (independent proportions) and 2635
(paired proportions); Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13 (2013) 91 (mid-p McNemar);
Holm, Scandinavian Journal of Statistics 6 (1979) 65. statsmodels has the first two for single numbers and takes over a
second to import; for Newcombe's paired interval neither scipy nor statsmodels has an estimator.
"""

from __future__ import annotations

from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Column = NDArray[np.float64]
Counts = Any


class Interval(NamedTuple):
    """Lower and upper ends, one per row; NaN where there is no data."""

    low: Column
    high: Column


class Difference(NamedTuple):
    """First minus second proportion with the ends of its interval; NaN where there is no data."""

    estimate: Column
    low: Column
    high: Column


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _columns(*counts: Counts) -> list[Column]:
    return [np.asarray(values, dtype=np.float64) for values in counts]


def _ratio(over: Column, under: Column) -> Column:
    """Return over / under, NaN where nothing stands under the line."""
    safe = np.where(under == 0, 1.0, under)
    return np.where(under == 0, np.nan, over / safe)


def wilson(hits: Counts, n: Counts, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for hits of n.

    (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n). Good from n = 1 and at 0 and n hits. Not for observations that
    hang together (several seeds or variants of one item): it is then too narrow.
    """
    k, total = _columns(hits, n)
    z = _z(confidence)
    p = _ratio(k, total)
    inverse = _ratio(np.ones_like(total), total)
    centre = p + z * z * inverse / 2
    half = z * np.sqrt(p * (1 - p) * inverse + (z * inverse / 2) ** 2)
    scale = 1 + z * z * inverse
    low, high = (centre - half) / scale, (centre + half) / scale
    # at the ends the closed form is exact but for rounding
    low = np.where(k == 0, np.where(total == 0, np.nan, 0.0), low)
    high = np.where(k == total, np.where(total == 0, np.nan, 1.0), high)
    return Interval(low, high)


def newcombe_independent(
    hits_first: Counts, n_first: Counts, hits_second: Counts, n_second: Counts, confidence: float = 0.95
) -> Difference:
    """Newcombe's hybrid score interval (1998, method 10) for p1 - p2 of two independent samples.

    d - sqrt((p1-l1)² + (u2-p2)²), d + sqrt((u1-p1)² + (p2-l2)²), with l, u Wilson's ends. Not for the same items under
    two models: use `newcombe_paired`, which knows how the two go together.
    """
    return _hybrid(hits_first, n_first, hits_second, n_second, 0.0, confidence)


def newcombe_paired(
    both: Counts, only_first: Counts, only_second: Counts, neither: Counts, confidence: float = 0.95
) -> Difference:
    """Newcombe's score interval (1998, paired, method 10) for p1 - p2 over the same items.

    As for independent samples, less 2·phi·(product of the two arms) under each root; phi is the correlation of the 2x2
    table, its numerator ad - bc reduced by n/2 where positive, and 0 where a margin is empty. Not for several
    observations per item (seeds, attempts, variants of one goal): resample by item instead.
    """
    a, b, c, d = _columns(both, only_first, only_second, neither)
    n = a + b + c + d
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    cross = a * d - b * c
    corrected = np.where(cross > 0, np.maximum(cross - n / 2, 0.0), cross)
    phi = np.where(margins > 0, corrected / np.sqrt(np.where(margins > 0, margins, 1.0)), 0.0)
    return _hybrid(a + b, n, a + c, n, phi, confidence)


def _hybrid(k1: Counts, n1: Counts, k2: Counts, n2: Counts, phi: Column | float, confidence: float) -> Difference:
    first, total_first, second, total_second = _columns(k1, n1, k2, n2)
    p1, p2 = _ratio(first, total_first), _ratio(second, total_second)
    (l1, u1), (l2, u2) = wilson(first, total_first, confidence), wilson(second, total_second, confidence)
    down = (p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2
    up = (u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2
    estimate = p1 - p2
    # rounding can carry the square a hair below zero, never a real one
    return Difference(estimate, estimate - np.sqrt(np.maximum(down, 0.0)), estimate + np.sqrt(np.maximum(up, 0.0)))


def mcnemar_midp(only_first: Counts, only_second: Counts) -> Column:
    """Two-sided mid-p McNemar test from the discordant counts: 2·P(X <= k) - P(X = k), X ~ Binomial(b + c, 1/2).

    k is the smaller count. Exact, no continuity correction; 1 when nothing is discordant. Not for clustered items.
    """
    from scipy.special import bdtr

    b, c = _columns(only_first, only_second)
    k, n = np.minimum(b, c), b + c
    upto = bdtr(k, n.astype(np.int64), 0.5)
    below = np.where(k > 0, bdtr(np.maximum(k - 1, 0), n.astype(np.int64), 0.5), 0.0)
    return np.asarray(np.minimum(upto + below, 1.0))


def fisher_exact(hits_first: Counts, n_first: Counts, hits_second: Counts, n_second: Counts) -> Column:
    """Fisher's exact two-sided test (scipy) that two independent samples share one proportion.

    Conservative with few items. Not for the same items under two models: use `mcnemar_midp`.
    """
    columns = _columns(hits_first, n_first, hits_second, n_second)
    return np.array([_fisher(*row) for row in zip(*columns, strict=True)], dtype=np.float64)


@lru_cache(100_000)
def _fisher(k1: float, n1: float, k2: float, n2: float) -> float:
    """Return one p-value: some milliseconds each, and the same tables come again."""
    from scipy.stats import fisher_exact as exact

    return float(exact([[k1, n1 - k1], [k2, n2 - k2]])[1]) if n1 and n2 else np.nan


def holm(p: pl.Expr, family: list[str]) -> pl.Expr:
    """Return Holm's adjusted p-values within each family; nulls stay null and do not count.

    max over the smaller ones of (m - rank + 1)·p, at most 1. Controls the family-wise error under any dependence.
    """
    order = p.rank("ordinal")
    scaled = ((p.count() - order + 1) * p).clip(upper_bound=1.0)
    adjusted = scaled.sort_by(order, nulls_last=True).cum_max().gather(order - 1)
    return pl.when(p.is_not_null()).then(adjusted.over(family))


def nullable(name: str, values: Column) -> pl.Series:
    """Return a column with null where there is no number."""
    return pl.Series(name, values, dtype=pl.Float64).fill_nan(None)
