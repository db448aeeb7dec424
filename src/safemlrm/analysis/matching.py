"""The members of a pair side by side: the items that both were asked, and what was read of them."""

from __future__ import annotations

import polars as pl

from safemlrm.analysis.frames import POOLED, THRESHOLDS, Pair, require_models
from safemlrm.errors import StudyError

SAME_ITEM = ["dataset", "condition", "sample", "seed", "attempt", "part"]
#: The cells of a pair's 2x2 table of unsafe replies.
QUAD = ["both", "only_derived", "only_base", "neither"]
_SIDES = ["scenario", "group", "state", "present", "score", "prompt"]


def joined(frame: pl.DataFrame, pairs: list[Pair]) -> pl.DataFrame | None:
    """Return both members' rows side by side (`_base`, `_derived`); an item that one member lacks keeps its row.

    `frame` is `labelled`. Raises `UnknownName` for a model that is not there and `StudyError` where the members of a
    pair share no condition.
    """
    require_models(frame, pairs)
    parts = []
    for base, derived in pairs:
        within = frame.filter(pl.col("condition").is_in(shared(frame, base, derived)))
        first, second = (
            within.filter(model=name).select(*SAME_ITEM, pl.col(_SIDES).name.suffix(suffix))
            for name, suffix in ((base, "_base"), (derived, "_derived"))
        )
        both = first.join(second, on=SAME_ITEM, how="full", coalesce=True, maintain_order="left_right", validate="1:1")
        same = [pl.coalesce(f"{name}_base", f"{name}_derived").alias(name) for name in ("scenario", "group")]
        parts.append(both.with_columns(*same, base=pl.lit(base), derived=pl.lit(derived)))
    return pl.concat(parts) if parts else None


def shared(frame: pl.DataFrame, base: str, derived: str) -> list[str]:
    """Return the conditions that both ran. Raises `StudyError` where there are none."""
    ran = [frame.filter(model=name)["condition"].unique(maintain_order=True).to_list() for name in (base, derived)]
    common = [name for name in ran[0] if name in ran[1]]
    if not common:
        raise StudyError(
            f"{base} and {derived} cannot be compared: they ran under no common condition "
            f"({', '.join(ran[0])}; {', '.join(ran[1])}). Run both under the same attacks, promptings and defenses."
        )
    return common


def repeated(frame: pl.DataFrame) -> bool:
    """Say whether any group holds several observations of one model, condition and part: seeds, attempts, variants."""
    by = ["model", "dataset", "condition", "prompting", "defense", "part", "group"]
    some = frame.head(1000)  # seeds and attempts mostly stand next to each other
    return any(bool(rows.select(pl.struct(by).is_duplicated().any()).item()) for rows in (some, frame))


def quads(both: pl.DataFrame) -> pl.DataFrame:
    """Return the 2x2 table of every pair, condition, scenario (and `all`), part and threshold, and what it rests on.

    `both` (unsafe), `only_derived`, `only_base` and `neither` count the items read of both members. `planned`,
    `asked`, `answered`, `split` (the part is there) and `read` count items of which that holds for both; `groups` is
    how many different goals were read.
    """
    long = pl.concat([both, both.with_columns(scenario=pl.lit(POOLED))])
    read = pl.col("score_base").is_not_null() & pl.col("score_derived").is_not_null()
    states = [pl.col(f"state{suffix}") for suffix in ("_base", "_derived")]
    reached = {
        "planned": pl.all_horizontal(state.is_not_null() for state in states),
        "asked": pl.all_horizontal(state.fill_null("pending") != "pending" for state in states),
        "answered": pl.all_horizontal((state == "answered").fill_null(value=False) for state in states),
        "split": pl.all_horizontal(pl.col(f"present{s}").fill_null(value=False) for s in ("_base", "_derived")),
        "read": read,
    }
    counted = [what.sum().cast(pl.Int64).alias(name) for name, what in reached.items()]
    groups = pl.struct("dataset", "group").filter(read).n_unique().cast(pl.Int64).alias("groups")
    for t in THRESHOLDS:
        base, derived = pl.col("score_base") >= t, pl.col("score_derived") >= t
        cells = (base & derived, ~base & derived, base & ~derived, ~base & ~derived)
        counted += [(read & what).sum().cast(pl.Int64).alias(f"{n}_{t}") for n, what in zip(QUAD, cells, strict=True)]
    keys = ["base", "derived", "condition", "part", "scenario"]
    wide = long.group_by(keys, maintain_order=True).agg(*counted, groups)
    shown = [*keys, *reached, "groups"]
    return pl.concat(
        [
            wide.select(
                *shown, pl.lit(t, dtype=pl.Int64).alias("threshold"), *(pl.col(f"{n}_{t}").alias(n) for n in QUAD)
            )
            for t in THRESHOLDS
        ]
    )
