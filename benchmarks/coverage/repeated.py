"""What hangs together: rates of goals asked several times, parts that a judge read twice, thinkings that turn."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl

from benchmarks.coverage.planted import Row, Scores, cover, readings, studies
from safemlrm import analysis
from safemlrm.analysis.clusters import effective_of
from safemlrm.analysis.intervals import wilson


def clustered(repeats: int, stream: np.random.Generator) -> list[Row]:
    """A rate of goals asked three times, whose outcomes correlate within a goal by `icc`; beside Wilson's alone.

    `coverage` is the table's: the cluster bootstrap, and Wilson's interval with the effective number of replies where
    fewer than ten hits or misses are effective. `of Wilson's` is what that interval alone would cover.
    """
    rows = []
    for goals, rate, icc in product((10, 44, 97, 400), (0.02, 0.05, 0.1, 0.3, 0.5), (0.2, 0.95)):
        spare = (1 - icc) / icc
        found = [_asked_again(stream, goals, rate * spare, (1 - rate) * spare, share) for share in _shares(repeats)]
        table = pl.concat(found)
        size = table["effective"].to_numpy()
        alone = wilson(table["rate"].to_numpy() * size, size)
        rows.append(
            {
                "goals": goals,
                "rate": rate,
                "icc": icc,
                "bias, points": 100 * float(table["rate"].to_numpy().mean() - rate),
            }
            | {"coverage": cover(table["low"], table["high"], rate), "of Wilson's": cover(alone.low, alone.high, rate)}
        )
    return rows


def _shares(repeats: int) -> list[int]:
    """Return so many studies in shares that are analysed at once."""
    return [min(100, repeats - start) for start in range(0, repeats, 100)]


def _asked_again(stream: np.random.Generator, goals: int, one: float, other: float, count: int) -> pl.DataFrame:
    chance = stream.beta(one, other, (count, goals))
    seeds = [
        studies(5 * (stream.random((count, goals)) < chance).astype(np.int64), "m").with_columns(seed=pl.lit(seed))
        for seed in range(3)
    ]
    frame = readings(pl.concat(seeds))
    k, n = (pl.col("score") >= 4).sum().cast(pl.Float64), pl.len().cast(pl.Float64)
    sums = frame.group_by("model", "sample").agg(k=k, n=n)
    sizes = sums.group_by("model").agg(effective_of(pl.col("k"), pl.col("n")).alias("effective"))
    told = analysis.rates(frame, thresholds=(4,)).filter(scenario="all")
    return told.select("model", "rate", "low", "high").join(sizes, on="model")


def retest(repeats: int, stream: np.random.Generator) -> list[Row]:
    """What a judge's noise makes of unsafe thinking at a second reading; goals differ in how easily it is swayed."""
    rows = []
    for goals, seeds, rate, differ in product((50, 200), (1, 3), (0.05, 0.2), (False, True)):
        first = _thinking(np.full((goals, seeds), 5))
        found = []
        for _ in range(repeats):
            swayed = stream.beta(2 * rate, 2 * (1 - rate), goals) if differ else np.full(goals, rate)
            again = np.where(stream.random((goals, seeds)) < swayed[:, None], 1, 5)
            row = analysis.retest(first, _thinking(again)).row(0, named=True)
            found.append((row["rate"], row["low"], row["high"]))
        point, low, high = np.asarray(found).T
        rows.append(
            {"goals": goals, "seeds": seeds, "goals differ": "yes" if differ else "no", "truth": 100 * rate}
            | {"bias, points": 100 * float(point.mean() - rate), "coverage": cover(low, high, rate)}
        )
    return rows


def _thinking(score: Scores) -> pl.DataFrame:
    """Return readings of the thinkings of some goals, asked so many times: (goals, seeds)."""
    goal, seed = np.indices(score.shape)
    frame = pl.DataFrame({"sample": goal.ravel(), "seed": seed.ravel(), "score": score.ravel()})
    return readings(
        frame.with_columns(pl.col("sample").cast(pl.String), model=pl.lit("derived"), part=pl.lit("thinking"))
    )


def turning(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Thinkings of 20 steps that turn at a constant hazard: the curve halfway, and the median of those that turned."""
    rows = []
    grid = ((50, 1, 0.0, 0.0), (50, 1, 1.0, 0.0), (200, 1, 1.0, 0.02), (50, 3, 1.0, 0.0), (200, 3, 1.0, 0.02))
    for goals, seeds, spread, lost in grid:
        many = _turns(stream, 500_000, 1, spread)
        safe, middle = float((many > 10).mean()), float(np.median(many[many <= 20])) / 20
        frame, found, inside = _thinking(np.full((goals, seeds), 5)), list[tuple[float, ...]](), list[float]()
        for _ in range(repeats):
            table, curve = _followed(frame, _turns(stream, goals, seeds, spread).ravel(), stream, lost)
            found.append(curve.filter(pl.col("position") <= 0.5).select("still_safe", "low", "high").row(-1))
            if table["low"] is not None:
                inside.append(cover(table["low"], table["high"], middle))
        point, low, high = np.asarray(found).T
        rows.append(
            {"goals": goals, "seeds": seeds, "goals differ by": spread, "steps lost": lost, "safe halfway": 100 * safe}
            | {"bias, points": 100 * float(point.mean() - safe), "coverage": cover(low, high, safe)}
            # those that turned in what was read turned earlier: no truth to set the median against
            | {"coverage of the median": None if lost else float(np.mean(inside))}
        )
    return rows


def _turns(stream: np.random.Generator, goals: int, seeds: int, spread: float) -> Any:
    """Return the step at which each thinking turns, from 1 on without end."""
    hazard = np.clip(0.05 * np.exp(spread * stream.standard_normal(goals) - spread**2 / 2), 0, 1)
    return stream.geometric(hazard[:, None], (goals, seeds))


def _followed(frame: pl.DataFrame, turns: Any, stream: np.random.Generator, lost: float) -> tuple[Row, pl.DataFrame]:
    step = np.tile(np.arange(1, 21), len(turns))
    score = np.where(step < np.repeat(turns, 20), 0, 5)
    steps = pl.DataFrame({"trial": np.repeat(frame["trial"].to_numpy(), 20), "step": step}).with_columns(
        model=pl.lit("derived"), condition=pl.lit("text"), steps=20, score=pl.Series(score)
    )
    steps = steps.with_columns(score=pl.when(pl.Series(stream.random(len(step)) >= lost)).then("score"))
    return analysis.turned(frame, steps).row(0, named=True), analysis.survival(analysis.placed(frame, steps))
