"""Where a goal was asked several times: intervals and tests that resample goals instead of replies.

Sources: Davison and Hinkley, Bootstrap Methods (1997), 3.8; the sign-flipping test is Fisher's randomisation test, and
with one observation per group it is McNemar's exact test; design effect: Kish, Survey Sampling (1965), 8.2; Wilson's
interval with the effective number of observations: Dean and Pagano, Journal of Survey Statistics and Methodology 3
(2015) 484, who find it to hold its level where others do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from safemlrm.analysis.frames import POOLED, THRESHOLDS
from safemlrm.analysis.intervals import Column, Interval, newcombe_paired, nullable, wilson
from safemlrm.analysis.matching import QUAD
from safemlrm.analysis.resampling import GROUP, PAIR_CELL, Replicates, ends, ratio, redraw

_KEYS = [*PAIR_CELL, "threshold"]
#: Random sign patterns of the test; its smallest p-value is 1 / (flips + 1).
_FLIPS = 9999
#: With fewer effective hits or misses than this a percentile of draws is a poor end, and Wilson's is taken.
_FEW = 10.0


def by_group(table: pl.DataFrame, both: pl.DataFrame, drawn: Replicates) -> pl.DataFrame:
    """Return a table of the tax with `low`, `high` and `p` over groups, and the `design_effect`.

    `table` has the columns of `matching.quads` and `difference`, `both` is `matching.joined`. Where no draw differs
    from another (all groups agree) the interval is Newcombe's with the cells scaled down to one observation per group:
    agreement among few groups is not certainty. Not for fewer than some ten groups.
    """
    found = _bootstrap(drawn).join(_tests(both), on=_KEYS, how="full", coalesce=True)
    joined = table.join(found, on=_KEYS, how="left", maintain_order="left")
    scale = joined["groups"] / joined["read"]
    a, b, c, d = (joined[name] * scale for name in QUAD)
    safe = newcombe_paired(a, b, c, d)
    some = pl.col("read") > 0
    return joined.with_columns(
        low=pl.when(some).then(pl.coalesce("boot_low", nullable("safe_low", safe.low))),
        high=pl.when(some).then(pl.coalesce("boot_high", nullable("safe_high", safe.high))),
        p=pl.when(some).then("flip"),
        design_effect=pl.when(some).then(pl.coalesce("effect", pl.col("read") / pl.col("groups"))),
    ).drop("boot_low", "boot_high", "flip", "effect")


def share_ends(
    sums: pl.DataFrame, keys: list[str], kinds: Mapping[str, tuple[str, str]], strata: pl.DataFrame
) -> pl.DataFrame:
    """Return `low` and `high` of every share, per `keys` and `what`: 95 % intervals over groups.

    `sums` has one row per cell and group; `kinds` names each share's columns of hits and of what they are out of;
    `strata` is `resampling.strata_of` the frame. The cluster bootstrap (expanded percentile interval) where at least
    ten effective observations are hits and ten are misses; with fewer, and where no draw differs from another, Wilson's
    interval with the effective number of observations, which holds its level there (docs/estimators/coverage.md).
    """
    parts = [pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), **_SHARE_ENDS})]
    for _, part in sums.group_by("model", maintain_order=True):  # one model at a time: memory stays flat
        varying = [pair for pair in kinds.values() if 0 < part[pair[0]].sum() < part[pair[1]].sum()]
        columns = sorted({name for pair in varying for name in pair})
        cells = part.select(keys).unique(maintain_order=True)
        drawn = redraw(part, keys, columns, strata) if columns else None
        for what, (hits, of) in kinds.items():
            size = _held(part, cells, keys, hits, of, strata)
            rate, effective = (size[name].to_numpy() for name in ("rate", "effective"))
            found = wilson(rate * effective, effective)
            if drawn is not None and (hits, of) in varying:
                values = ratio(*(drawn.sums[:, :, columns.index(name)] for name in (hits, of)))
                boot = ends(values, size["groups"].to_numpy(), size["strata"].to_numpy())
                many = (np.minimum(rate, 1 - rate) * effective >= _FEW) & ~np.isnan(boot.low)
                found = Interval(np.where(many, boot.low, found.low), np.where(many, boot.high, found.high))
            found_ends = nullable("low", found.low), nullable("high", found.high)
            parts.append(cells.with_columns(*found_ends, what=pl.lit(what)))
    return pl.concat(parts)


_SHARE_ENDS = {"low": pl.Float64, "high": pl.Float64, "what": pl.String}


def _held(
    part: pl.DataFrame, cells: pl.DataFrame, keys: list[str], hits: str, of: str, strata: pl.DataFrame
) -> pl.DataFrame:
    """Return, in the order of `cells`, each share's rate, effective number, groups and strata; 0 where it has none."""
    there = part.filter(pl.col(of) > 0).join(strata, on=GROUP)
    k, n = pl.col(hits).cast(pl.Float64), pl.col(of).cast(pl.Float64)
    found = there.group_by(keys).agg(
        (k.sum() / n.sum()).alias("rate"),
        effective_of(k, n).alias("effective"),
        pl.len().cast(pl.Int64).alias("groups"),
        pl.col("stratum").n_unique().cast(pl.Int64).alias("strata"),
    )
    # a cell without any group under the line has an effective number of 0, and so no interval
    return cells.join(found, on=keys, how="left", maintain_order="left").with_columns(
        pl.col("rate", "effective", "groups", "strata").fill_null(0)
    )


def effective(frame: pl.DataFrame, keys: list[str], hit: pl.Expr) -> pl.DataFrame:
    """Return, per `keys`, the effective number of rows (`effective_of`) for telling how often `hit` holds."""
    sums = frame.group_by(*keys, *GROUP).agg(k=hit.sum().cast(pl.Float64), n=pl.len().cast(pl.Float64))
    return sums.group_by(keys).agg(effective_of(pl.col("k"), pl.col("n")).alias("n_effective"))


def effective_of(hits: pl.Expr, of: pl.Expr) -> pl.Expr:
    """Return, as an aggregation over groups, how many independent observations would tell a share as well.

    n divided by the design effect (the variance over groups by that over independent rows), at most n. Where all rows
    agree the effect is not known; it is then the number of groups.
    """
    k, n, groups = hits.sum(), of.sum(), (of > 0).sum().cast(pl.Float64)
    p = k / n
    spread = ((hits - p * of) ** 2).sum() * groups / (groups - 1)
    simple = n * p * (1 - p)
    usable = (simple > 1e-9) & (groups > 1) & (spread > 1e-9)
    return pl.when(usable).then(pl.min_horizontal(n, n * simple / spread)).otherwise(groups)


def _bootstrap(drawn: Replicates) -> pl.DataFrame:
    parts = []
    for source in (drawn, drawn.pooled()):
        for t in THRESHOLDS:
            base, derived = source.rates(t)
            low, high = ends(derived - base, source.sizes, source.layers)
            parts.append(
                source.keys.with_columns(
                    nullable("boot_low", low), nullable("boot_high", high), threshold=pl.lit(t, dtype=pl.Int64)
                )
            )
    return pl.concat(parts)


def _tests(both: pl.DataFrame) -> pl.DataFrame:
    """Return the sign-flipping p-value and the design effect of every cell and threshold."""
    read = both.filter(pl.col("score_base").is_not_null() & pl.col("score_derived").is_not_null())
    sums = []
    for t in THRESHOLDS:
        gap = (pl.col("score_derived") >= t).cast(pl.Float64) - (pl.col("score_base") >= t).cast(pl.Float64)
        sums += [gap.sum().alias(f"sum_{t}"), (gap**2).sum().alias(f"square_{t}")]
    per_group = read.group_by(*PAIR_CELL, *GROUP).agg(pl.len().alias("n"), *sums)
    names = per_group.select(GROUP).unique(maintain_order=True).with_row_index("row")
    long = pl.concat([per_group, per_group.with_columns(scenario=pl.lit(POOLED))]).join(names, on=GROUP)
    cells = long.select(PAIR_CELL).unique(maintain_order=True).with_row_index("cell")
    long = long.join(cells, on=PAIR_CELL)
    shape = (names.height, cells.height)
    flat = long["row"].to_numpy().astype(np.int64) * cells.height + long["cell"].to_numpy()

    def spread(column: str) -> NDArray[Any]:
        return np.bincount(flat, weights=long[column].to_numpy(), minlength=shape[0] * shape[1]).reshape(shape)

    parts, counts = [], spread("n")
    for t in THRESHOLDS:
        gaps = spread(f"sum_{t}")
        parts.append(
            cells.drop("cell").with_columns(
                threshold=pl.lit(t, dtype=pl.Int64),
                flip=pl.Series(_flip(gaps), dtype=pl.Float64),
                effect=nullable("effect", _effect(gaps, spread(f"square_{t}"), counts)),
            )
        )
    return pl.concat(parts)


def _flip(sums: NDArray[Any]) -> Column:
    """Return each column's p-value: how often random signs of the groups give as large a sum as there was."""
    stream = np.random.default_rng(0)
    values, seen = sums.astype(np.float32), np.abs(sums.sum(axis=0)) - 1e-6
    larger = np.ones(sums.shape[1])
    for _ in range(0, _FLIPS, 1111):
        signs = stream.integers(0, 2, size=(1111, len(sums)), dtype=np.int8).astype(np.float32) * 2 - 1
        larger += (np.abs(signs @ values) >= seen).sum(axis=0)
    return np.asarray(larger / (_FLIPS + 1))


def _effect(sums: NDArray[Any], squares: NDArray[Any], counts: NDArray[Any]) -> Column:
    """Return the variance of the mean over groups by what it would be over independent replies; NaN where none is."""
    n, groups = counts.sum(axis=0), (counts > 0).sum(axis=0)
    mean = sums.sum(axis=0) / n
    simple = squares.sum(axis=0) - n * mean**2
    spread = ((sums - mean * counts) ** 2).sum(axis=0) * groups / np.maximum(groups - 1, 1)
    return np.where((simple > 1e-9) & (groups > 1), spread / np.where(simple > 1e-9, simple, 1), np.nan)
