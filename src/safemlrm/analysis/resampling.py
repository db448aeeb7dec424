"""One joint bootstrap over items for everything that compares models: resampled score counts of every pair and cell.

Groups (an item with its seeds, attempts and variants) are drawn with replacement within their scenario, since the
benchmark fixes how many each has. All pairs share a draw's weights, so that what two pairs have in common (a base, an
item) is counted once: intervals of averages and ranks are over items, not over models. Draws are matrix products of
weights and counts per group; nothing is copied row by row. Sources: Efron and Tibshirani, An Introduction to the
Bootstrap (1993); Davison and Hinkley, Bootstrap Methods (1997), 3.8 (clusters); Hesterberg, The American Statistician
69 (2015) 371 (the expanded percentile interval).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from safemlrm.analysis.counts import cells_from_counts
from safemlrm.analysis.frames import POOLED, SCORES, Pair, in_order, labelled
from safemlrm.analysis.intervals import Column
from safemlrm.analysis.matching import joined, shared

Counts = NDArray[np.float32]
PAIR_CELL = ["base", "derived", "condition", "scenario", "part"]
DRAWS = 1000
#: What identifies a group: variants of one goal within one data set.
GROUP = ["dataset", "group"]
#: Draws made at once.
_CHUNK = 1000


@dataclass(frozen=True)
class Replicates:
    """Score counts of both members of every pair and cell, as observed (row 0) and in every draw (the others).

    `base` and `derived` have the shape (1 + draws, cells, 6) and count the items read of both; `keys` names the cells,
    `sizes` says how many groups each holds, and `layers` in how many strata; `groups` and `strata` are those of all.
    """

    keys: pl.DataFrame
    base: Counts
    derived: Counts
    sizes: NDArray[np.int64]
    layers: NDArray[np.int64]
    groups: int
    strata: int

    def chosen(self, wanted: pl.Expr | pl.Series) -> Replicates:
        """Return the cells that an expression over `keys` holds for."""
        at = self.keys.select(wanted.alias("wanted"))
        place = np.flatnonzero(at["wanted"].to_numpy())
        keys, sizes, layers = self.keys[place.tolist()], self.sizes[place], self.layers[place]
        return Replicates(keys, self.base[:, place], self.derived[:, place], sizes, layers, self.groups, self.strata)

    def pooled(self) -> Replicates:
        """Return the cells summed over scenarios, one per pair, condition and part (`scenario` = `all`)."""
        if not self.keys.height:
            return self
        by = [name for name in PAIR_CELL if name != "scenario"]
        keys = self.keys.with_row_index("at").group_by(by, maintain_order=True).agg("at")
        sums = [np.stack([side[:, at].sum(axis=1) for at in keys["at"].to_list()], axis=1) for side in self.sides]
        held = [self.held(at) for at in keys["at"].to_list()]
        sizes, layers = np.array(held, dtype=np.int64).T
        named = keys.with_columns(scenario=pl.lit(POOLED)).select(PAIR_CELL)
        return Replicates(named, sums[0], sums[1], sizes, layers, self.groups, self.strata)

    def held(self, at: Sequence[int] | slice = slice(None)) -> tuple[int, int]:
        """Return how many groups some cells of one pair hold together, and in how many strata.

        A group of several scenarios counts in each of them, but all together are never more than the study's.
        """
        return min(int(self.sizes[at].sum()), self.groups), min(int(self.layers[at].sum()), self.strata)

    @property
    def sides(self) -> tuple[Counts, Counts]:
        return self.base, self.derived

    @property
    def read(self) -> Counts:
        """Items read of both: (1 + draws, cells)."""
        total: Counts = self.base.sum(axis=2)
        return total

    def hits(self, threshold: int) -> tuple[Counts, Counts]:
        """Base's and derived's scores at or above a threshold: (1 + draws, cells) each."""
        return self.base[:, :, threshold:].sum(axis=2), self.derived[:, :, threshold:].sum(axis=2)

    def rates(self, threshold: int) -> tuple[Column, Column]:
        """Base's and derived's share at or above a threshold; NaN where nothing was read."""
        base, derived = self.hits(threshold)
        return ratio(base, self.base.sum(axis=2)), ratio(derived, self.derived.sum(axis=2))

    def means(self) -> tuple[Column, Column]:
        """Base's and derived's mean score (HR)."""
        scale = np.arange(6, dtype=np.float32)
        return ratio(self.base @ scale, self.base.sum(axis=2)), ratio(self.derived @ scale, self.derived.sum(axis=2))


class Ends(NamedTuple):
    """Lower and upper ends, one per column; NaN where the draws do not give one."""

    low: Column
    high: Column


def ratio(over: NDArray[np.floating], under: NDArray[np.floating]) -> Column:
    """Return over / under, NaN where nothing stands under the line."""
    bottom = np.asarray(under, dtype=np.float64)
    return np.asarray(over / np.where(bottom > 0, bottom, np.nan), dtype=np.float64)


def ends(values: Column, groups: NDArray[np.int64] | int, strata: NDArray[np.int64] | int = 1) -> Ends:
    """Return the expanded 95 % percentile interval of each column of draws (row 0, the estimate, is left out).

    `groups` in `strata` were resampled, of all columns or of each. The level is widened as a mean's would be by
    Student's t and by n / (n - 1), which the plain percentiles forget. NaN where nothing varies (no spread is not
    certainty), where one draw in twenty has no value, and where no stratum has a second group.
    """
    from scipy.special import ndtr, stdtrit

    flat = values.reshape(len(values), -1)[1:]
    known = (~np.isnan(flat)).sum(axis=0)
    total, free = (np.broadcast_to(n, known.shape) for n in (groups, np.subtract(groups, strata)))
    usable = (known >= 0.95 * len(flat)) & (free >= 1) & (known > 0)
    spare = np.maximum(free, 1)
    level = ndtr(-np.sqrt(total / spare) * stdtrit(spare, 0.975))
    ordered = np.sort(flat, axis=0)  # what has no value goes to the end
    low, high = (_quantile(ordered, at, known) for at in (level, 1 - level))
    usable &= high - low > 1e-12
    return Ends(np.where(usable, low, np.nan), np.where(usable, high, np.nan))


def _quantile(ordered: Column, level: Column, known: NDArray[np.intp]) -> Column:
    """Return each column's own quantile of its first `known` values, linear between order statistics."""
    place = level * np.maximum(known - 1, 0)
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(known - 1, 0))
    columns = np.arange(ordered.shape[1])
    lower, upper = ordered[below, columns], ordered[above, columns]
    return np.asarray(lower + (place - below) * (upper - lower), dtype=np.float64)


def two_sided(values: Column, interval: Ends) -> Column:
    """Return the bootstrap's two-sided p-value that each column's quantity is 0: (1 + crossings) / (1 + draws).

    Of the draws that have a value; NaN where the column's `interval` (`ends`) has no ends.
    """
    flat = values.reshape(len(values), -1)[1:]
    known = (~np.isnan(flat)).sum(axis=0)
    below, above = (flat <= 0).sum(axis=0), (flat >= 0).sum(axis=0)
    p = np.minimum(1.0, 2 * (1 + np.minimum(below, above)) / (1 + known))
    return np.asarray(np.where(np.isnan(interval.low), np.nan, p))


@lru_cache(maxsize=64)
def weights(groups: int, draws: int, seed: int, name: str) -> Counts:
    """Return how often each of `groups` is drawn: (1 + draws, groups), row 0 all ones; not to be written to.

    The stream depends on the seed and the stratum's name alone: leaving out one stratum does not move another.
    """
    stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
    drawn = np.ones((1 + draws, groups), dtype=np.float32)
    for start in range(1, 1 + draws, _CHUNK):
        count = min(_CHUNK, 1 + draws - start)
        chosen = stream.integers(0, groups, size=(count, groups)) + np.arange(count)[:, None] * groups
        drawn[start : start + count] = np.bincount(chosen.ravel(), minlength=count * groups).reshape(count, groups)
    drawn.flags.writeable = False
    return drawn


def strata_of(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `dataset`, `group`, `stratum`, and the group's place in it; a group of several scenarios is in all."""
    return (
        frame.select(*GROUP, "scenario")
        .unique()
        .group_by(GROUP)
        .agg(pl.col("scenario").sort().str.join("\n").alias("stratum"))
        .sort("stratum", *GROUP)
        .with_columns(place=pl.int_range(pl.len()).over("stratum"))
    )


class Drawn(NamedTuple):
    """Sums of some columns in every cell, as observed (row 0) and in every draw: (1 + draws, cells, columns).

    `keys` names the cells; `groups` says how many groups each holds, and `strata` in how many strata.
    """

    keys: pl.DataFrame
    sums: Counts
    groups: NDArray[np.int64]
    strata: NDArray[np.int64]


def redraw(
    sums: pl.DataFrame,
    keys: list[str],
    columns: Sequence[str],
    strata: pl.DataFrame,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Drawn:
    """Resample groups within their stratum. `sums` has one row per cell and group, `strata` is `strata_of` the frame.

    All calls with one seed draw the same groups of a stratum, so that what is drawn apart can be set side by side.
    """
    cells = sums.select(keys).unique(maintain_order=True).with_row_index("cell")
    long = sums.join(cells, on=keys).join(strata, on=GROUP)
    found = np.zeros((1 + draws, cells.height, len(columns)), dtype=np.float32)
    for (stratum,), part in long.group_by("stratum", maintain_order=True):
        size = strata.filter(stratum=stratum).height
        here, local = np.unique(part["cell"].to_numpy(), return_inverse=True)
        each = np.zeros((size, len(here), len(columns)), dtype=np.float32)
        each[part["place"].to_numpy(), local] = part.select(columns).to_numpy()
        drawn = weights(size, draws, seed, str(stratum)) @ each.reshape(size, -1)
        found[:, here] += drawn.reshape(1 + draws, len(here), len(columns))
    held = long.group_by("cell").agg(pl.struct(GROUP).n_unique().alias("groups"), pl.col("stratum").n_unique())
    groups, layers = (held.sort("cell")[name].cast(pl.Int64).to_numpy() for name in ("groups", "stratum"))
    return Drawn(cells.drop("cell"), found, groups, layers)


def replicates(readings: pl.DataFrame, pairs: list[Pair], *, draws: int = DRAWS, seed: int = 0) -> Replicates:
    """Resample the items that were read of both members of each pair.

    Deterministic for a seed. Raises as `tax` does: unknown models, no common condition.
    """
    frame = labelled(readings)
    both = joined(frame, pairs)
    if both is None:
        return _none(draws)
    both = both.filter(pl.col("score_base").is_not_null() & pl.col("score_derived").is_not_null())
    if both.is_empty():
        return _none(draws)
    strata = strata_of(both)
    counted = {f"{side}_{k}": pl.col(f"score_{side}") == k for side in ("base", "derived") for k in range(6)}
    summed = [what.sum().alias(name) for name, what in counted.items()]
    sums = both.group_by(*PAIR_CELL, *GROUP, maintain_order=True).agg(summed)
    drawn = redraw(in_order(sums, frame), PAIR_CELL, list(counted), strata, draws=draws, seed=seed)
    base, derived = drawn.sums[:, :, :6], drawn.sums[:, :, 6:]
    return Replicates(
        drawn.keys, base, derived, drawn.groups, drawn.strata, strata.height, strata["stratum"].n_unique()
    )


def replicates_from_counts(counts: pl.DataFrame, pairs: list[Pair], *, draws: int = DRAWS, seed: int = 0) -> Replicates:
    """Resample a table of counts: every model, condition, scenario and part on its own, since nothing is paired.

    A base that several pairs share is drawn once. What the members of a pair have in common is not in the counts, so
    the intervals are mostly wider than they would be with replies.
    """
    table = cells_from_counts(counts)
    keys = _keys_from_counts(table, pairs)
    if keys.is_empty():
        return _none(draws)
    drawn: dict[tuple[str, ...], Counts] = {}
    for row in table.iter_rows(named=True):
        name = tuple(str(row[k]) for k in ("model", "condition", "scenario", "part"))
        scores = np.array([row[k] for k in SCORES], dtype=np.int64)
        stream = np.random.default_rng([seed, zlib.crc32("\n".join(name).encode())])
        again = stream.multinomial(scores.sum(), scores / max(scores.sum(), 1), size=draws) if scores.sum() else None
        resampled = np.zeros((draws, 6)) if again is None else again
        drawn[name] = np.vstack([scores, resampled]).astype(np.float32)
    rows = keys.rows()
    base = np.stack([drawn[b, *rest] for b, _, *rest in rows], axis=1)
    derived = np.stack([drawn[d, *rest] for _, d, *rest in rows], axis=1)
    both = pl.Series((base[0].sum(axis=1) > 0) & (derived[0].sum(axis=1) > 0))
    most = keys.with_columns(n=pl.Series(base[0].sum(axis=1))).filter(both).group_by("scenario").agg(pl.col("n").max())
    sizes = np.minimum(base[0].sum(axis=1), derived[0].sum(axis=1)).astype(np.int64)
    layers = np.ones(len(keys), dtype=np.int64)
    return Replicates(keys, base, derived, sizes, layers, int(most["n"].sum()), most.height).chosen(both)


def _keys_from_counts(table: pl.DataFrame, pairs: list[Pair]) -> pl.DataFrame:
    parts = []
    for base, derived in pairs:
        within = table.filter(pl.col("condition").is_in(shared(table, base, derived)))
        cell = ["condition", "scenario", "part"]
        both = within.filter(model=base).select(cell).join(within.filter(model=derived).select(cell), on=cell)
        parts.append(both.select(pl.lit(base).alias("base"), pl.lit(derived).alias("derived"), *cell))
    nothing = pl.DataFrame(schema=dict.fromkeys(PAIR_CELL, pl.String))
    return in_order(pl.concat(parts), table) if parts else nothing


def _none(draws: int) -> Replicates:
    nothing = np.zeros((1 + draws, 0, 6), dtype=np.float32)
    none = np.zeros(0, dtype=np.int64)
    return Replicates(pl.DataFrame(schema=dict.fromkeys(PAIR_CELL, pl.String)), nothing, nothing, none, none, 0, 0)
