"""What true rankings may stand behind noisy ones: draws from a normal model whose agreement and spread are integrated.

Ranks of estimates agree less than ranks of what they estimate, and resampling adds noise to noise: percentiles of a
bootstrap of W or of a rank correlation miss the truth far too often. Here each pair's figures over scenarios are normal
around its mean, with a spread of its own and one correlation between every two pairs; the noise is the joint
bootstrap's, with what pairs share (a base, items). Spread and correlation run over a grid instead of being plugged in.
Sources: Laird and Louis, Journal of Educational Statistics 14 (1989) 29 (ranks of a hierarchical model's draws);
Gelman and others, Bayesian Data Analysis (3rd ed., 2013), 5.4; Hoffman and Ribak, Astrophysical Journal 380 (1991) L5
(draws by conditioning).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from safemlrm.analysis.intervals import Column

#: Points of the correlation's grid and of the common scale of the spreads; draws.
_CORRELATIONS, _SCALES, DRAWS = 19, 10, 500
#: How uncertain the spreads are: standard deviation of the logarithm of their scale.
_SCALE_SPREAD = 0.7


def true_values(values: Column, seed: int = 0) -> Column | None:
    """Return draws of the true figures behind (1 + draws, pairs, scenarios), row 0 the estimates; None without spread.

    For two pairs and three scenarios at the least. The normal model is an approximation for shares over few items; it
    is not for figures of which most stand at 0 or 1.
    """
    found = _split(values)
    if found is None:
        return None
    theta, noise = found
    pairs, scenarios = theta.shape
    stream = np.random.default_rng(seed)
    errors = np.einsum("bps,bqs->spq", noise, noise) / len(noise)
    errors += 1e-12 * np.eye(pairs)
    prior, weight = _grid(pairs, _spreads(theta, noise))
    inverse = np.linalg.inv(prior[:, None] + errors)
    precision = inverse.sum(axis=1)
    covariance = np.linalg.inv(precision)
    # the mean of each pair has a flat prior: it is integrated, and drawn given the grid's point
    means = np.einsum("hpq,hsqr,rs->hp", covariance, inverse, theta)
    gap = theta.T - means[:, None]
    log = weight - 0.5 * np.einsum("hsp,hspq,hsq->h", gap, inverse, gap)
    log += 0.5 * np.linalg.slogdet(inverse)[1].sum(axis=1) - 0.5 * np.linalg.slogdet(precision)[1]
    chance = np.exp(log - log.max())
    at = stream.choice(len(chance), size=DRAWS, p=chance / chance.sum())
    roots = np.linalg.cholesky(covariance)[at], np.linalg.cholesky(prior)[at]
    mean = means[at] + np.einsum("npq,nq->np", roots[0], stream.normal(size=(DRAWS, pairs)))
    free = np.einsum("npq,nsq->nsp", roots[1], stream.normal(size=(DRAWS, scenarios, pairs)))
    seen = free + noise[stream.integers(0, len(noise), DRAWS)].transpose(0, 2, 1)
    left = theta.T - mean[:, None] - seen
    return np.asarray((mean[:, None] + free + _gain(prior, inverse, at, left)).transpose(0, 2, 1))


def by_chance(values: Column, statistic: Callable[[Column], Column], seed: int = 0) -> float | None:
    """Return how often `statistic` is as large where every pair has its scenarios in an order of its own.

    The noise that pairs share (a base) stays where it is: agreement that it makes alone is no evidence.
    """
    found = _split(values)
    if found is None:
        return None
    theta, noise = found
    centre = theta.mean(axis=1, keepdims=True)
    shrunk = _spreads(theta, noise) / np.maximum(theta.std(axis=1, ddof=1), 1e-12)
    own = np.broadcast_to(centre + shrunk[:, None] * (theta - centre), noise.shape)
    again = statistic(np.random.default_rng(seed).permuted(own, axis=2) + noise)
    larger = (again >= statistic(values[:1])[0] - 1e-9).sum()
    return float((1 + larger) / (1 + len(again)))


def _split(values: Column) -> tuple[Column, Column] | None:
    """Return the estimates and the draws' deviations; None where one draw in twenty has no value, or none varies."""
    noise = values[1:] - values[0]
    noise = noise[~np.isnan(noise).any(axis=(1, 2))]
    if np.isnan(values[0]).any() or len(noise) < 0.95 * (len(values) - 1) or not np.ptp(noise, axis=0).any():
        return None
    return values[0], noise - noise.mean(axis=0)


def _spreads(theta: Column, noise: Column) -> Column:
    """Return each pair's spread over scenarios without the noise's share of it, a tenth of the noise at the least."""
    error = noise.var(axis=0).mean(axis=1)
    return np.asarray(np.sqrt(np.maximum(theta.var(axis=1, ddof=1) - error, 0.1 * error + 1e-12)))


def _grid(pairs: int, spreads: Column) -> tuple[Column, Column]:
    """Return covariances of a scenario's figures over pairs at every point of the grid, and the points' log weights."""
    correlations = np.linspace(-1 / (pairs - 1) + 1e-3, 1 - 1e-4, _CORRELATIONS)
    scales = np.geomspace(0.2, 3, _SCALES)
    rho, scale = (axis.ravel()[:, None, None] for axis in np.meshgrid(correlations, scales, indexing="ij"))
    prior = scale**2 * ((1 - rho) * np.eye(pairs) + rho) * np.outer(spreads, spreads)
    return prior, -0.5 * (np.log(scale.ravel()) / _SCALE_SPREAD) ** 2


def _gain(prior: Column, inverse: Column, at: NDArray[np.int64], left: Column) -> Column:
    """Return how far what is left unexplained moves each draw."""
    gain = np.einsum("hpq,hsqr->hspr", prior, inverse)
    return np.asarray(np.einsum("nspq,nsq->nsp", gain[at], left))
