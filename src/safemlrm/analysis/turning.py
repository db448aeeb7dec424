"""Where in the thinking it turns: the first unsafe step, and how much thinking is still safe up to each position.

Sources: Kaplan and Meier, Journal of the American Statistical Association 53 (1958) 457, with Greenwood's variance on
the log(-log) scale (Kalbfleisch and Prentice, 1980), which keeps the interval within 0 and 1, summed within goals that
were asked several times (Williams, Lifetime Data Analysis 1 (1995) 171); the median's distribution-free interval from
the order statistics (David and Nagaraja, Order Statistics (2003), 7.1).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from safemlrm.analysis.clusters import effective
from safemlrm.analysis.frames import UNSAFE, in_order, labelled
from safemlrm.analysis.intervals import Column, nullable
from safemlrm.analysis.matching import repeated
from safemlrm.analysis.resampling import GROUP
from safemlrm.errors import StudyError

STEPS: dict[str, pl.DataType] = {
    "model": pl.String(),
    "condition": pl.String(),
    "trial": pl.String(),
    "step": pl.Int64(),
    "steps": pl.Int64(),
    "score": pl.Int64(),
}
TURNING = ["model", "condition", "trial", "steps", "read", "first_unsafe", "position"]
TURNED = [
    *("model", "condition", "planned", "answered", "split", "cut", "read"),
    *("turned", "never_turned", "broken_off", "median", "low", "high", "followed", "steps", "steps_read"),
]
SURVIVAL = ["model", "condition", "position", "at_risk", "turned", "still_safe", "low", "high"]


def placed(readings: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Return the steps of the trials of `readings`, under the condition that tables show and with their goal."""
    trials = labelled(readings).filter(part="thinking").select("trial", "model", "condition", *GROUP)
    return steps.select(pl.exclude("model", "condition", *GROUP)).join(trials, on="trial", maintain_order="left")


def turning(steps: pl.DataFrame) -> pl.DataFrame:
    """Return each thinking's first unsafe step and its position (0..1]; null where none of the read ones is unsafe.

    `steps` has the columns of `STEPS`: `step` counts from 1 to `steps`, `score` is null for a step that was not read.
    Steps after the first unread one do not count: what stood there could have turned.
    """
    return _thinkings(steps).select(TURNING)


def _thinkings(steps: pl.DataFrame) -> pl.DataFrame:
    """Return `turning` with how far each was followed (`time`) and its goal, its own where `steps` does not tell."""
    frame = _checked(steps).sort("trial", "step")
    reached = pl.col("score").is_not_null().cum_min().over("trial")
    read = frame.filter(reached & (pl.col("step") == pl.int_range(1, pl.len() + 1).over("trial")))
    keys = ["model", "condition", "trial", "steps", *GROUP]
    table = read.group_by(keys, maintain_order=True).agg(
        read=pl.len().cast(pl.Int64),
        first_unsafe=pl.col("step").filter(pl.col("score") >= UNSAFE).min(),
    )
    position = pl.col("first_unsafe") / pl.col("steps")
    return table.with_columns(
        turned=pl.col("first_unsafe").is_not_null(),
        position=position,
        time=pl.coalesce(position, pl.col("read") / pl.col("steps")),
    )


def turned(readings: pl.DataFrame, steps: pl.DataFrame) -> pl.DataFrame:
    """Return how many thinkings turned and where, by model and condition, with what was planned, split and read.

    `cut` are the thinkings whose steps were brought before the judge, `read` those of which the first step was read;
    these `turned`, or `never_turned` to their end, or were `broken_off` at a step that was not read. `median` is the
    median position of those that turned, with a distribution-free 95 % interval from the order statistics, of the
    effective number of thinkings where goals were asked several times; null for fewer than six, which have none.
    `followed` is the furthest position up to which a thinking was read: nothing is known beyond it.
    """
    frame, cell = labelled(readings).filter(part="thinking"), ["model", "condition"]
    here = placed(frame, steps)
    plan = frame.group_by(cell, maintain_order=True).agg(
        planned=pl.len().cast(pl.Int64),
        answered=(pl.col("state") == "answered").sum().cast(pl.Int64),
        split=pl.col("present").sum().cast(pl.Int64),
    )
    judged = here.group_by(cell).agg(
        cut=pl.col("trial").n_unique().cast(pl.Int64),
        steps=pl.len().cast(pl.Int64),
        steps_read=pl.col("score").count().cast(pl.Int64),
    )
    thinkings, whole, did = _thinkings(here), pl.col("read") == pl.col("steps"), pl.col("turned")
    ended = thinkings.group_by(cell).agg(
        read=pl.len().cast(pl.Int64),
        turned=did.sum().cast(pl.Int64),
        never_turned=(~did & whole).sum().cast(pl.Int64),
        broken_off=(~did & ~whole).sum().cast(pl.Int64),
        followed=pl.col("time").max(),
    )
    table = plan
    for more in (judged, ended, _medians(thinkings.filter(did), clustered=repeated(frame))):
        table = table.join(more, on=cell, how="left", maintain_order="left")
    counts = pl.col("cut", "read", "turned", "never_turned", "broken_off", "steps", "steps_read")
    return in_order(table.with_columns(counts.fill_null(0)), frame).select(TURNED)


def _medians(thinkings: pl.DataFrame, *, clustered: bool) -> pl.DataFrame:
    """Return the median position of thinkings that turned, by model and condition."""
    cell = ["model", "condition"]
    early = thinkings.with_columns(early=pl.col("position") <= pl.col("position").median().over(cell))
    sizes = effective(early, cell, pl.col("early")) if clustered else early.group_by(cell).agg(n_effective=pl.len())
    found = early.group_by(cell).agg(pl.col("position").sort()).join(sizes, on=cell)
    rows = [
        (model, condition, *_order_statistics(np.array(positions), int(size)))
        for model, condition, positions, size in found.iter_rows()
    ]
    types = {name: pl.String if name in cell else pl.Float64 for name in (*cell, "median", "low", "high")}
    return pl.DataFrame(rows, schema=types, orient="row")


def _order_statistics(ordered: Column, size: int) -> tuple[float, float | None, float | None]:
    """Return the median and the ranks around it that hold 95 % of the binomial distribution of `size` draws."""
    from scipy.special import bdtr

    rank = int(np.searchsorted(bdtr(np.arange(size + 1), size, 0.5), 0.025))
    place = int(rank * len(ordered) / size)
    ends = (float(ordered[place - 1]), float(ordered[-place])) if rank else (None, None)
    return float(np.median(ordered)), *ends


def survival(steps: pl.DataFrame) -> pl.DataFrame:
    """Return the share of thinkings still safe after each position, by model and condition (Kaplan and Meier).

    A thinking that never turned, or was read in part only, leaves at the end of what was read (censored, not safe).
    Positions are relative to each thinking's own length: long and short ones are set side by side. `steps` may have the
    columns `dataset` and `group` (`placed` adds them): thinkings about one goal then count as hanging together.
    """
    groups = _thinkings(steps).group_by("model", "condition", maintain_order=True)
    parts = [_curve(group) for _, group in groups]
    nothing = pl.DataFrame(schema=dict.fromkeys(SURVIVAL, pl.Float64))
    return in_order(pl.concat(parts), steps).select(SURVIVAL) if parts else nothing


def _curve(group: pl.DataFrame) -> pl.DataFrame:
    times = group.group_by("time").agg(turned=pl.col("turned").sum().cast(pl.Int64), left=pl.len()).sort("time")
    at_risk = group.height - times["left"].cum_sum().shift(1, fill_value=0).cast(pl.Int64)
    kept = times.with_columns(at_risk=at_risk).filter(pl.col("turned") > 0)
    safe = np.cumprod(1 - kept["turned"].to_numpy() / kept["at_risk"].to_numpy())
    low, high = _interval(safe, _half(group, kept))
    return kept.select(
        pl.lit(group["model"][0]).alias("model"),
        pl.lit(group["condition"][0]).alias("condition"),
        pl.col("time").alias("position"),
        *("at_risk", "turned"),
        pl.Series("still_safe", safe, dtype=pl.Float64),
        nullable("low", low),
        nullable("high", high),
    )


def _half(group: pl.DataFrame, kept: pl.DataFrame) -> Column:
    """Return half the interval of log(still safe) after each position: from the squared influences of the goals.

    Where every thinking is a goal of its own their sum is Greenwood's variance, to the last digit. Where not, there are
    fewer goals than thinkings, and Student's quantile and G / (G - 1) make up for it.
    """
    from scipy.special import stdtrit

    goal = group.select(pl.struct(GROUP).rank("dense")).to_series().to_numpy() - 1
    time, did = group["time"].to_numpy(), group["turned"].to_numpy()
    goals = int(goal.max()) + 1
    influence, found = np.zeros(goals), []
    with np.errstate(divide="ignore", invalid="ignore"):
        for position, n, d in kept.select("time", "at_risk", "turned").iter_rows():
            moved = (did & (time == position)) - (time >= position) * (d / n)
            influence = influence + np.bincount(goal, moved, goals) / np.float64(n - d)
            found.append(np.sum(influence**2))
        free = np.float64(goals - 1)
        reach = 1.959963984540054 if goals == len(goal) else stdtrit(free, 0.975) * np.sqrt(goals / free)
        return np.asarray(reach * np.sqrt(found))


def _interval(safe: Column, half: Column) -> tuple[Column, Column]:
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = half / np.log(safe)
        ends = safe ** np.exp(-scaled), safe ** np.exp(scaled)
    inside = (safe > 0) & (safe < 1)
    low, high = (np.where(inside, end, np.nan) for end in ends)
    return np.minimum(low, high), np.maximum(low, high)


def _checked(steps: pl.DataFrame) -> pl.DataFrame:
    missing = [name for name in STEPS if name not in steps.columns]
    if missing:
        raise StudyError(f"the steps lack the column {', '.join(missing)}")
    goal = GROUP if "group" in steps.columns else [pl.col("trial").alias(name) for name in GROUP]
    frame = steps.select(*(pl.col(name).cast(kind) for name, kind in STEPS.items()), *goal)
    wrong = ~pl.col("step").is_between(1, pl.col("steps")) | ~pl.col("score").is_between(0, 5)
    if frame.filter(wrong).height:
        raise StudyError("the steps are contradictory: a step beyond their number, or a score off 0..5")
    if frame.select(pl.struct("trial", "step").is_duplicated().any()).item():
        raise StudyError("the steps hold the same step of a trial twice")
    return frame
