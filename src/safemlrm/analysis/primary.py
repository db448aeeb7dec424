"""The primary comparison of every pair and condition: as a study declared it before it ran, or answer against answer.

What was declared is confirmed or not; everything else is exploration. Holm's adjustment is over the family that the
declaration names. Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import polars as pl

from safemlrm.analysis.frames import POOLED, UNSAFE
from safemlrm.analysis.intervals import holm
from safemlrm.errors import StudyError

PRIMARY = [
    *("base", "derived", "condition", "scenario", "part", "threshold", "declared"),
    *("rate_base", "rate_derived", "difference", "low", "high", "n", "paired", "p", "p_holm", "family", "tests"),
]
_PLACE = ["base", "derived", "condition"]
_POOLED, _ALL, _OWN = "pairs and conditions", "all declared scenarios", "scenarios of the pair and condition"
Place = tuple[str, str, str]


class Declared(NamedTuple):
    """A comparison that was declared before the run; what is None holds for every pair or condition."""

    base: str | None = None
    derived: str | None = None
    condition: str | None = None
    part: str = "answer"
    threshold: int = UNSAFE
    #: the scenarios that Holm's adjustment is over: those of one pair and condition, or all that are declared together
    family: Literal["scenario", "all"] = "scenario"

    def covers(self, place: Place) -> bool:
        """Say whether it is about this (base, derived, condition)."""
        return all(named in (None, there) for named, there in zip(self[:3], place, strict=True))


class Comparison(NamedTuple):
    """What is compared of one pair under one condition; `because` says why it is not the answers, where it is not."""

    part: str
    threshold: int
    declared: bool = False
    because: str = ""
    family: str = "scenario"


def comparisons(table: pl.DataFrame, declared: Sequence[Declared] = ()) -> dict[Place, Comparison]:
    """Return the primary comparison of every (base, derived, condition) of a table with the columns of `tax`.

    Undeclared, it is answers at >= 4, or whole replies where no answer was read of both. What was declared is never
    exchanged for something else: where nothing was read of it, it is unknown. Raises `StudyError` where two
    declarations disagree about one comparison.
    """
    known: dict[Place, dict[str, bool]] = {}
    rows = table.filter(scenario=POOLED, threshold=UNSAFE).select(*_PLACE, "part", pl.col("difference").is_not_null())
    for base, derived, condition, part, told in rows.iter_rows():
        known.setdefault((base, derived, condition), {})[part] = told
    return {place: _comparison(place, parts, declared) for place, parts in known.items()}


def _comparison(place: Place, parts: Mapping[str, bool], declared: Sequence[Declared]) -> Comparison:
    mine = dict.fromkeys((d.part, d.threshold, d.family) for d in declared if d.covers(place))
    if len(mine) > 1:
        apart = len({family for *_, family in mine}) > 1
        told = (f"{part} at {at} or more" + f", family {family}" * apart for part, at, family in mine)
        said = " and ".join(told)
        raise StudyError(
            f"two studies declare different primary comparisons of {place[1]} and {place[0]} under {place[2]}: {said}. "
            "Report one of them with --run ID"
        )
    for part, threshold, family in mine:
        return Comparison(part, threshold, declared=True, family=family)
    if parts.get("answer") or "full" not in parts:
        part = "answer" if "answer" in parts else "thinking"
        return Comparison(part, UNSAFE, because="" if part == "answer" else "only the thinking was planned")
    because = "since separate answers were not read of both" if "answer" in parts else ""
    return Comparison("full", UNSAFE, because=because)


def primary(table: pl.DataFrame, declared: Sequence[Declared] = ()) -> pl.DataFrame:
    """Return `primary.csv`: the rows of `tax` that are the primary comparisons, per scenario and pooled.

    `p_holm` of a scenario is over its `family` (`tests` of them with a p-value): the scenarios of its pair and
    condition, or, where that was declared, all declared scenarios together. `p_holm` of a pooled row (`all`) is over
    the pooled rows of all comparisons, declared and undeclared ones apart: so many pairs and conditions were tried.
    A declared part that no trial has keeps a pooled row, of 0 items.
    """
    found = comparisons(table, declared)
    kinds = [pl.String, pl.String, pl.String, pl.String, pl.Int64, pl.Boolean, pl.String]
    columns = dict(zip([*_PLACE, "part", "threshold", "declared", "family"], kinds, strict=True))
    chosen = pl.DataFrame(
        [(*place, c.part, c.threshold, c.declared, c.family) for place, c in found.items()], columns, orient="row"
    )
    where = [*_PLACE, "part", "threshold"]
    rows = table.join(chosen, on=where, how="inner", maintain_order="left")
    nowhere = chosen.join(table.filter(scenario=POOLED), on=where, how="anti", maintain_order="left")
    none = nowhere.with_columns(scenario=pl.lit(POOLED), n=pl.lit(0, table.schema["n"]), paired=pl.lit(value=False))
    rows = pl.concat([rows, none], how="diagonal")
    pooled, together = pl.col("scenario") == POOLED, pl.col("family") == "all"
    over = pl.when(pooled).then(pl.lit(_POOLED)).when(together).then(pl.lit(_ALL)).otherwise(pl.lit(_OWN))
    own = [pl.when(~pooled & ~together).then(pl.col(name)).alias(f"_{name}") for name in _PLACE]
    rows = rows.with_columns(*own, family=over)
    members = ["family", "declared", *(f"_{name}" for name in _PLACE)]
    return rows.with_columns(
        p_holm=holm(pl.col("p"), members), tests=pl.col("p").count().over(members).cast(pl.Int64)
    ).select(PRIMARY)
