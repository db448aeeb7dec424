"""Partial pooling over scenarios: a binomial likelihood, the spread between scenarios integrated out by quadrature.

The model. In scenario s the base is unsafe with logit a_s and the derived model with a_s + d_s; a_s ~ N(m_a, t_a²) and
d_s ~ N(m_d, t_d²); the counts are binomial. Priors: m_a, m_d ~ N(0, 2.5²), t_a, t_d half-normal with scale 1 (logits).
Ten scenarios estimate a spread badly, so it is not plugged in: (m_a, t_a) and (m_d, t_d) run over grids. The prior of a
scenario factors into its two logits, so that integrating one scenario for all hyperparameters at once is two matrix
products; draws of all scenarios together then follow exactly. Source: Gelman and others, Bayesian Data Analysis (3rd
ed., 2013), 5.3 and 5.6. Nothing is drawn by a Markov chain, so nothing has to converge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from safemlrm.analysis.intervals import Column

#: Points of the logits' grids, of a mean's and of a spread's.
_LOGITS, _MEANS, _SPREADS = 121, 17, 12
_MEAN_SCALE, _SPREAD_SCALE = 2.5, 1.0
#: What is smaller beside 1 is nothing.
_NOTHING = 1e-12


class Pooled(NamedTuple):
    """Draws from the joint posterior: unsafe shares of base and derived, (draws, scenarios) each."""

    base: Column
    derived: Column


class _Block(NamedTuple):
    """One scenario's likelihood where it is not nothing: of these rows (logits) and columns (gaps) of the grids."""

    rows: slice
    columns: slice
    values: NDArray[np.float32]


class _Hyper(NamedTuple):
    """A grid of (mean, spread): the scenarios' prior on a grid of logits, and the log prior weight of each point."""

    prior: NDArray[np.float32]
    weight: Column


def pooled(
    hits_base: Column,
    read_base: Column,
    hits_derived: Column,
    read_derived: Column,
    *,
    draws: int = 4000,
    seed: int = 0,
) -> Pooled:
    """Draw the scenarios' shares from their joint posterior. Counts may be fractions (divided by a design effect).

    Every scenario must have been read of both (`read` > 0). The two members' replies are independent given the
    scenario in this model; positive association between them over items makes the differences' intervals too wide
    rather than too narrow. Deterministic for a seed.
    """
    from scipy.special import expit, logsumexp

    base, derived = (np.asarray(k, float) for k in (hits_base, hits_derived))
    total = [np.asarray(n, float) for n in (read_base, read_derived)]
    a = _grid(base, total[0])
    gap = _grid_of_gaps(base, total[0], derived, total[1])
    likelihood = _likelihood(a, gap, base, total[0], derived, total[1])
    (first, error_first), (second, error_second) = _centre(base, total[0]), _centre(derived, total[1])
    over_a, over_gap = _hyper(a, first, error_first), _hyper(gap, second - first, np.hypot(error_first, error_second))
    log = np.add.outer(over_a.weight, over_gap.weight)
    # each scenario's likelihood of a logit, its gap integrated under every (mean, spread) of the gaps
    given_a = [over_gap.prior[:, at.columns] @ at.values.T for at in likelihood]
    for at, inner in zip(likelihood, given_a, strict=True):
        log = log + np.log(np.maximum(over_a.prior[:, at.rows] @ inner.T, 1e-37))
    chance = np.exp(log - logsumexp(log)).ravel()
    stream = np.random.default_rng(seed)
    chosen = stream.choice(len(chance), size=draws, p=chance / chance.sum())
    of_a, of_gap = np.divmod(chosen, len(over_gap.weight))
    found_base, found_derived = np.empty((draws, len(base))), np.empty((draws, len(base)))
    for place, (at, inner) in enumerate(zip(likelihood, given_a, strict=True)):
        row = _draw(over_a.prior[of_a, at.rows] * inner[of_gap], stream)
        column = _draw(over_gap.prior[of_gap, at.columns] * at.values[row], stream)
        logit = _jitter(a, at.rows.start + row, stream)
        found_base[:, place] = expit(logit)
        found_derived[:, place] = expit(logit + _jitter(gap, at.columns.start + column, stream))
    return Pooled(found_base, found_derived)


def _centre(hits: Column, read: Column) -> tuple[Column, Column]:
    """Return empirical logits and their standard errors, half an item added to both outcomes."""
    return np.log((hits + 0.5) / (read - hits + 0.5)), np.sqrt(1 / (hits + 0.5) + 1 / (read - hits + 0.5))


def _grid(hits: Column, read: Column) -> Column:
    logit, error = _centre(hits, read)
    return _line(logit - 6 * error, logit + 6 * error, error)


def _grid_of_gaps(hits_base: Column, read_base: Column, hits_derived: Column, read_derived: Column) -> Column:
    (first, error_first), (second, error_second) = _centre(hits_base, read_base), _centre(hits_derived, read_derived)
    error = np.hypot(error_first, error_second)
    return _line(second - first - 6 * error, second - first + 6 * error, error)


def _line(low: Column, high: Column, error: Column) -> Column:
    """Return a grid over all scenarios' ranges, fine enough for the one that is known best."""
    start, stop = max(low.min(), -16.0), min(high.max(), 16.0)
    points = int(np.clip(np.ceil((stop - start) / (0.8 * error.min())), _LOGITS, 401))
    return np.linspace(start, stop, points)


def _likelihood(
    a: Column, gap: Column, hits_base: Column, read_base: Column, hits_derived: Column, read_derived: Column
) -> list[_Block]:
    """Return each scenario's likelihood on the grids of logits and gaps, its largest value 1."""
    found = []
    for k1, n1, k2, n2 in zip(hits_base, read_base, hits_derived, read_derived, strict=True):
        first = _log_binomial(a, k1, n1)
        rows = _window(first)
        # a gap counts where it leads from one of these logits to one that the derived model's replies allow
        other = np.linspace(a[0] + gap[0], a[-1] + gap[-1], 4 * len(a))
        allowed = other[_window(_log_binomial(other, k2, n2))]
        step = 2 * (other[1] - other[0])
        columns = slice(
            max(int(np.searchsorted(gap, allowed[0] - a[rows][-1] - step)) - 1, 0),
            int(np.searchsorted(gap, allowed[-1] - a[rows][0] + step)) + 1,
        )
        log = first[rows, None] + _log_binomial(a[rows, None] + gap[None, columns], k2, n2)
        found.append(_Block(rows, columns, _sizeable(np.exp(log - log.max()))))
    return found


def _window(log: Column) -> slice:
    """Return where a likelihood of one hump is not nothing beside its largest value."""
    there = np.flatnonzero(log > log.max() + np.log(_NOTHING))
    return slice(int(there[0]), int(there[-1]) + 1)


def _log_binomial(logit: Column, hits: float, read: float) -> Column:
    return np.asarray(hits * logit - read * np.logaddexp(0, logit))


def _hyper(grid: Column, logit: Column, error: Column) -> _Hyper:
    """Return the priors that every (mean, spread) puts on a grid of logits, and the log weight of each of them.

    The means run five standard errors to both sides of the scenarios' own mean.
    """
    from scipy.special import ndtr

    spreads = np.geomspace(0.03, 4.0, _SPREADS)
    reach = 5 * np.sqrt((logit.var() + (error**2).mean()) / len(logit))
    means = np.linspace(logit.mean() - reach, logit.mean() + reach, _MEANS)
    mean, spread = (axis.ravel() for axis in np.meshgrid(means, spreads, indexing="ij"))
    step = grid[1] - grid[0]
    # the share of each cell of the grid, not the density at its middle: a small spread lies within one cell
    edges = np.concatenate([grid - step / 2, [grid[-1] + step / 2]])
    prior = np.diff(ndtr((edges[None, :] - mean[:, None]) / spread[:, None]), axis=1)
    # normal densities up to constants; the spreads stand at equal steps of their logarithm
    weight = -((mean / _MEAN_SCALE) ** 2 + (spread / _SPREAD_SCALE) ** 2) / 2 + np.log(spread)
    return _Hyper(_sizeable(prior), weight)


def _sizeable(values: Column) -> NDArray[np.float32]:
    """Return single precision with what vanishes as 0: subnormal numbers multiply a hundred times slower."""
    return np.where(values < _NOTHING, 0.0, values).astype(np.float32)


def _draw(weight: NDArray[np.float32], stream: np.random.Generator) -> NDArray[np.int64]:
    """Draw a column from each row of unnormalised weights."""
    sums = np.cumsum(weight, axis=1)
    wanted = stream.random(len(sums))[:, None] * sums[:, -1:]
    return np.asarray(np.minimum((sums < wanted).sum(axis=1), weight.shape[1] - 1), dtype=np.int64)


def _jitter(grid: Column, place: NDArray[np.int64], stream: np.random.Generator) -> Column:
    """Return values spread evenly over their cells of the grid."""
    return np.asarray(grid[place] + (stream.random(len(place)) - 0.5) * (grid[1] - grid[0]))
