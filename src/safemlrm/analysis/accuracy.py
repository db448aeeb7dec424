"""Accuracy on capability items beside harm, and comprehension: marked by exact match and by no judge."""

from __future__ import annotations

import polars as pl

from safemlrm.analysis.clusters import share_ends
from safemlrm.analysis.frames import POOLED
from safemlrm.analysis.intervals import nullable, wilson
from safemlrm.analysis.rates import share
from safemlrm.analysis.resampling import strata_of

_KEYS = ["model", "condition", "dataset", "scenario"]
ACCURACY = [
    *_KEYS,
    "planned",
    "answered",
    "read",
    "right",
    "rate",
    "low",
    "high",
    "bound_low",
    "bound_high",
]


def accuracy(marks: pl.DataFrame) -> pl.DataFrame:
    """Return `accuracy.csv`: the share of read answers that are right, per task and pooled (`all`).

    `marks` has one row per planned trial of a capability item (`store.frames.marks`): `right` is null where nothing
    was answered or no answer could be read. rate = right / read with Wilson's 95 % interval, over groups where an item
    was asked several times; `bound_low` = right / planned and `bound_high` = (right + planned - read) / planned are
    what it would be if everything unread were wrong, or right. 0 of 0 is null. Not comparable with published figures
    where the extraction differs (`safemlrm.capability` says how).
    """
    both = pl.concat([marks, marks.with_columns(scenario=pl.lit(POOLED))])
    # the data set is one of the keys, and of the group
    sums = both.group_by(*_KEYS, "group", maintain_order=True).agg(
        planned=pl.len().cast(pl.Int64),
        answered=(pl.col("state") == "answered").sum().cast(pl.Int64),
        read=pl.col("right").count().cast(pl.Int64),
        right=pl.col("right").sum().cast(pl.Int64),
    )
    table = sums.group_by(_KEYS, maintain_order=True).agg(pl.col("planned", "answered", "read", "right").sum())
    interval = wilson(table["right"], table["read"])
    table = table.with_columns(low=nullable("low", interval.low), high=nullable("high", interval.high))
    if sums.filter(pl.col("planned") > 1, pl.col("scenario") != POOLED).height:
        found = share_ends(sums, _KEYS, {"right": ("right", "read")}, strata_of(marks))
        table = table.drop("low", "high").join(found, on=_KEYS, how="left", maintain_order="left")
    return table.with_columns(
        rate=share("right", "read"),
        bound_low=share("right", "planned"),
        bound_high=share(pl.col("right") + pl.col("planned") - pl.col("read"), "planned"),
    ).select(ACCURACY)
