"""Blind spots: in which scenario learning to reason cost most, ranked, and where a ratio cannot be told.

Differences and ratios are partially pooled (`pooling`): each scenario's own figure is drawn towards the others', the
more the fewer replies it rests on. Beside them stand the scenario's own figures, unpooled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from safemlrm.analysis.frames import POOLED
from safemlrm.analysis.intervals import Column, nullable
from safemlrm.analysis.pooling import Pooled, pooled
from safemlrm.analysis.primary import Comparison, Declared, comparisons
from safemlrm.analysis.resampling import PAIR_CELL, Replicates

_POSTERIOR = ["difference", "low", "high", "ratio", "ratio_low", "ratio_high"]
_POSTERIOR += ["rank", "rank_low", "rank_high", "p_worst", "p_worst_ratio"]
BLIND_SPOTS = [
    *("base", "derived", "condition", "part", "threshold", "scenario"),
    *("hits_base", "read_base", "hits_derived", "read_derived"),
    *("own_difference", "own_ratio", "own_ratio_low", "own_ratio_high", "ratio_told", "reason"),
    *_POSTERIOR,
]
#: A ratio is told when its own 95 % interval ends at no more than so many times where it begins.
TELLING = 10.0
_LEVELS = (0.025, 0.5, 0.975)


def blind_spots(
    drawn: Replicates, effects: pl.DataFrame, declared: Sequence[Declared] = (), *, draws: int = 2000, seed: int = 0
) -> pl.DataFrame:
    """Return every scenario of the primary comparison (`primary.comparisons`) of each pair and condition.

    `own_*` are the scenario's own
    figures (the ratio with the score interval of `effects`); `difference` and `ratio` (derived over base) are posterior
    medians with central 95 % intervals under partial pooling; `rank` 1 is the largest difference, `p_worst` the
    probability of that, `p_worst_ratio` the same for the ratio. `ratio_told` is false where the own interval is open
    or spans more than a factor of ten: such a ratio is not a finding, and `reason` says so. With several observations
    per group, counts are divided by the design effect. Null with a reason where nothing was read of both.
    Do not use it for scenarios that were picked because they stood out in these very data.
    """
    parts = []
    there = set(drawn.keys.select("base", "derived", "condition").rows())
    for place, compared in comparisons(effects, declared).items() if effects.height else ():
        if place not in there:
            continue
        here = pl.all_horizontal(
            pl.col(name) == value for name, value in zip(("base", "derived", "condition"), place, strict=True)
        )
        cells = drawn.chosen(here & (pl.col("part") == compared.part))
        own = effects.filter(here, part=compared.part, threshold=compared.threshold)
        parts.append(_one(cells, own.filter(pl.col("scenario") != POOLED), compared, draws, seed))
    return pl.concat(parts).select(BLIND_SPOTS) if parts else pl.DataFrame(schema=dict.fromkeys(BLIND_SPOTS, pl.String))


def _one(cells: Replicates, own: pl.DataFrame, compared: Comparison, draws: int, seed: int) -> pl.DataFrame:
    counted = cells.keys.with_columns(
        hits_base=pl.Series(cells.base[0, :, compared.threshold :].sum(axis=1), dtype=pl.Int64),
        read_base=pl.Series(cells.base[0].sum(axis=1), dtype=pl.Int64),
        hits_derived=pl.Series(cells.derived[0, :, compared.threshold :].sum(axis=1), dtype=pl.Int64),
        read_derived=pl.Series(cells.derived[0].sum(axis=1), dtype=pl.Int64),
    )
    told = own.select(
        *PAIR_CELL,
        "threshold",
        pl.col("difference").alias("own_difference"),
        pl.col("^risk_ratio.*$").name.replace("risk_ratio", "own_ratio"),
        pl.col("design_effect").cast(pl.Float64).fill_null(1.0).clip(lower_bound=1.0),
    )
    table = told.join(counted, on=PAIR_CELL, how="left", maintain_order="left")
    known = table.drop_nulls("hits_base")
    scale = 1 / known["design_effect"].to_numpy()
    sides = [known[name].to_numpy() * scale for name in ("hits_base", "read_base", "hits_derived", "read_derived")]
    nothing = [pl.lit(None, dtype=pl.Float64).alias(name) for name in _POSTERIOR]
    posterior = _posterior(pooled(*sides, draws=draws, seed=seed)) if known.height else nothing
    found = known.select("scenario").with_columns(posterior)
    table = table.join(found, on="scenario", how="left", maintain_order="left")
    return table.with_columns(reason=_reason()).with_columns(
        ratio_told=pl.when(pl.col("hits_base").is_not_null()).then(pl.col("reason").is_null())
    )


def _posterior(drawn: Pooled) -> list[pl.Series]:
    gap = drawn.derived - drawn.base
    ratio = drawn.derived / drawn.base
    columns = []
    for values, names in ((gap, ("low", "difference", "high")), (ratio, ("ratio_low", "ratio", "ratio_high"))):
        columns += [
            nullable(name, level) for name, level in zip(names, np.quantile(values, _LEVELS, axis=0), strict=True)
        ]
    place = _ranks(gap)
    low, middle, high = np.quantile(place, _LEVELS, axis=0, method="nearest")
    for name, values in (("rank_low", low), ("rank", middle), ("rank_high", high)):
        columns.append(pl.Series(name, values, dtype=pl.Int64))
    return [
        *columns,
        nullable("p_worst", (place == 1).mean(axis=0)),
        nullable("p_worst_ratio", (_ranks(ratio) == 1).mean(axis=0)),
    ]


def _ranks(values: Column) -> Column:
    """Return each draw's ranks, 1 for the largest."""
    order = np.argsort(-values, axis=1)
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.arange(1, values.shape[1] + 1)[None, :].repeat(len(values), 0), axis=1)
    return np.asarray(found, dtype=np.float64)


def _reason() -> pl.Expr:
    span = pl.col("own_ratio_high") / pl.col("own_ratio_low")
    wide = pl.format("the interval of the ratio spans a factor of {}", span.round(0).cast(pl.Int64, strict=False))
    few = pl.format("no unsafe reply of the base among {}", "read_base")
    none = pl.format("no unsafe reply of the derived model among {}", "read_derived")
    return (
        pl.when(pl.col("hits_base").is_null())
        .then(pl.lit("nothing was read of both"))
        .when(pl.col("hits_base") == 0)
        .then(few)
        .when(pl.col("hits_derived") == 0)
        .then(none)
        .when(span > TELLING)
        .then(pl.format("{} ({} unsafe of {} of the base)", wide, "hits_base", "read_base"))
    )
