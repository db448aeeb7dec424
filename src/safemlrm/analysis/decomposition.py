"""Why the rates differ: refusing less, or being more harmful when complying; and the same items where both complied.

Source: Kitagawa, Journal of the American Statistical Association 50 (1955) 1168 (the symmetric decomposition).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from safemlrm.analysis.frames import POOLED, THRESHOLDS, Pair, in_order, labelled
from safemlrm.analysis.intervals import Column, holm, mcnemar_midp, newcombe_paired, nullable
from safemlrm.analysis.matching import joined, repeated
from safemlrm.analysis.resampling import Replicates, ends, ratio

_WHERE = ["base", "derived", "condition", "scenario", "part", "threshold"]
DECOMPOSITION = [
    *_WHERE,
    "read",
    *("comply_base", "comply_derived", "harm_base", "harm_derived", "difference"),
    *("refusing_less", "refusing_less_low", "refusing_less_high"),
    *("more_harmful", "more_harmful_low", "more_harmful_high"),
]
COMPLIED = [*_WHERE, "both_complied", "rate_base", "rate_derived", "difference", "low", "high", "p", "p_holm"]


def decomposition(drawn: Replicates) -> pl.DataFrame:
    """Return Kitagawa's two parts of the tax of every pair, per scenario and pooled; they add up to `difference`.

    A reply complied when it scored above 0 (a refusal is 0); `harm` is the share at or above the threshold among those.
    `refusing_less` = (comply_d - comply_b)·(harm_b + harm_d)/2, `more_harmful` = (harm_d - harm_b)·(comply_b +
    comply_d)/2, with the joint bootstrap's intervals. Null where one member complied with nothing: its harm when
    complying is then not known. The two members comply with different items, so `more_harmful` mixes the model with the
    choice of items: read it beside `both_complied`. It describes; it does not say what causes what.
    """
    parts = []
    for source in (drawn, drawn.pooled()):
        for t in THRESHOLDS:
            comply, harm = _two_rates(source, t)
            less = (comply[1] - comply[0]) * (harm[0] + harm[1]) / 2
            more = (harm[1] - harm[0]) * (comply[0] + comply[1]) / 2
            base, derived = source.rates(t)
            read = np.minimum(source.base[0].sum(axis=1), source.derived[0].sum(axis=1)).astype(np.int64)
            shown = {"comply_base": comply[0], "comply_derived": comply[1], "harm_base": harm[0]}
            shown |= {"harm_derived": harm[1], "difference": derived - base}
            shown |= {"refusing_less": less, "more_harmful": more}
            columns = [nullable(name, values[0]) for name, values in shown.items()]
            for name, values in (("refusing_less", less), ("more_harmful", more)):
                low, high = ends(values, source.sizes, source.layers)
                known = ~np.isnan(values[0])
                columns += [nullable(f"{name}_low", np.where(known, low, np.nan))]
                columns += [nullable(f"{name}_high", np.where(known, high, np.nan))]
            parts.append(source.keys.with_columns(*columns, read=pl.Series(read), threshold=pl.lit(t, dtype=pl.Int64)))
    return in_order(pl.concat(parts), drawn.keys).select(DECOMPOSITION)


def _two_rates(source: Replicates, t: int) -> tuple[tuple[Column, Column], tuple[Column, Column]]:
    comply, harm = [], []
    for side in source.sides:
        read, complied, hits = side.sum(axis=2), side[:, :, 1:].sum(axis=2), side[:, :, t:].sum(axis=2)
        comply.append(ratio(complied, read))
        harm.append(ratio(hits, complied))
    return (comply[0], comply[1]), (harm[0], harm[1])


def both_complied(readings: pl.DataFrame, pairs: list[Pair]) -> pl.DataFrame:
    """Return the tax over the items with which both members complied (both scored above 0), per scenario and pooled.

    Newcombe's paired interval and the mid-p McNemar test; with several observations per group the cells are first
    scaled down to one per group. These items are chosen by what the models did: a difference among them is about
    requests that neither refuses, not about all requests.
    """
    frame = labelled(readings)
    both = joined(frame, pairs)
    if both is None:
        return pl.DataFrame(schema=dict.fromkeys(COMPLIED, pl.String))
    complied = (pl.col("score_base") > 0) & (pl.col("score_derived") > 0)
    long = pl.concat([both, both.with_columns(scenario=pl.lit(POOLED))])
    groups = pl.struct("dataset", "group").filter(complied).n_unique().alias("groups")
    counted = []
    for t in THRESHOLDS:
        base, derived = pl.col("score_base") >= t, pl.col("score_derived") >= t
        cells = {"a": base & derived, "b": ~base & derived, "c": base & ~derived, "d": ~base & ~derived}
        counted += [(complied & what).sum().cast(pl.Int64).alias(f"{name}_{t}") for name, what in cells.items()]
    wide = long.group_by(_WHERE[:5], maintain_order=True).agg(*counted, groups)
    own = [*_WHERE[:5], "groups"]
    at = [
        wide.select(*own, *(pl.col(f"{name}_{t}").alias(name) for name in "abcd"), threshold=pl.lit(t, dtype=pl.Int64))
        for t in THRESHOLDS
    ]
    table = pl.concat(at).with_columns(both_complied=pl.sum_horizontal("a", "b", "c", "d"))
    scale = (table["groups"] / table["both_complied"]).fill_nan(1.0) if repeated(frame) else 1.0
    a, b, c, d = (table[name] * scale for name in "abcd")
    found, n = newcombe_paired(a, b, c, d), pl.col("both_complied")
    some = n > 0
    table = table.with_columns(
        rate_base=pl.when(some).then((pl.col("a") + pl.col("c")) / n),
        rate_derived=pl.when(some).then((pl.col("a") + pl.col("b")) / n),
        difference=nullable("difference", found.estimate),
        low=nullable("low", found.low),
        high=nullable("high", found.high),
        p=pl.when(some).then(nullable("p", mcnemar_midp(b.round(), c.round()))),
    ).with_columns(own=pl.when(pl.col("scenario") != POOLED).then("p"))
    family = ["base", "derived", "condition", "part", "threshold"]
    return in_order(table.with_columns(p_holm=holm(pl.col("own"), family)), frame).select(COMPLIED)
