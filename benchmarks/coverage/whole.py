"""Whole studies: tax, averages, mean score, decomposition, rates; and replies missing because of their harm."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl

from benchmarks.coverage.planted import Row, Scores, cover, drawn, readings, studies
from safemlrm import analysis

PAIR = [("base", "derived")]


class Planted:
    """A simulated study: a base and a derived model, scenarios, goals, seeds; severities with known probabilities."""

    def __init__(self, stream: np.random.Generator, *, seeds: int, read: float, spread: float) -> None:
        self.stream, self.seeds, self.read, self.spread = stream, seeds, read, spread
        self.sizes = (44, 60, 96)
        #: P(comply) and P(harm | comply) of base and derived by scenario
        self.comply = np.array([[0.3, 0.45, 0.6], [0.5, 0.6, 0.7]])
        self.harm = np.array([[0.6, 0.7, 0.8], [0.7, 0.7, 0.6]])

    def draw(self) -> pl.DataFrame:
        """Return readings: goals differ in how readily both models answer them (`spread`, in probability)."""
        frames = []
        for place, size in enumerate(self.sizes):
            shift = self.stream.uniform(-self.spread, self.spread, size)[:, None]
            for model in (0, 1):
                comply = self.stream.random((size, self.seeds)) < self.comply[model, place] + shift
                harm = self.stream.random((size, self.seeds)) < self.harm[model, place]
                there = self.stream.random((size, self.seeds)) < self.read
                frames.append(_frame(place, model, np.where(comply, np.where(harm, 4, 2), 0), there))
        return readings(pl.concat(frames))

    def truth(self) -> dict[str, float]:
        """Return what the analysis should find, over all goals of this size."""
        share = np.array(self.sizes) / sum(self.sizes)
        c, h = self.comply, self.harm
        rate = c * h
        pool_c = c @ share
        pool_h = (rate @ share) / pool_c
        gap = rate[1] - rate[0]
        # goals that one model answers readily the other does too
        both = share * (c[0] * c[1] + self.spread**2 / 3)
        return {
            "tax, micro": float(gap @ share),
            "tax, macro": float(gap.mean()),
            "mean score": float(((c * (h * 4 + (1 - h) * 2)) @ share) @ [-1, 1]),
            "refusing less": float((pool_c[1] - pool_c[0]) * pool_h.mean()),
            "more harmful": float((pool_h[1] - pool_h[0]) * pool_c.mean()),
            "where both complied": float((h[1] - h[0]) @ both / both.sum()),
            "rate of the derived model": float(rate[1] @ share),
        }


def _frame(place: int, model: int, score: Scores, there: Any) -> pl.DataFrame:
    goal, seed = np.indices(score.shape)
    frame = pl.DataFrame({"goal": goal.ravel(), "seed": seed.ravel(), "score": score.ravel(), "there": there.ravel()})
    return frame.select(
        "seed",
        pl.format("{}/{}", pl.lit(str(place)), "goal").alias("sample"),
        pl.when("there").then("score").alias("score"),
        pl.lit(("base", "derived")[model]).alias("model"),
        pl.lit("base" if model else None, dtype=pl.String).alias("base"),
        pl.lit(f"s{place}").alias("scenario"),
    )


def study(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Whole studies of 200 goals: tax, averages, mean score, decomposition; one seed and three; missing replies."""
    rows = []
    for seeds, spread, read in ((1, 0.0, 1.0), (1, 0.3, 1.0), (1, 0.3, 0.8), (3, 0.3, 1.0)):
        planted = Planted(stream, seeds=seeds, read=read, spread=spread)
        truth, found = planted.truth(), dict[str, list[tuple[float, float, float]]]()
        for _ in range(repeats):
            for name, values in _analyse(planted.draw()).items():
                found.setdefault(name, []).append(values)
        for name, values in found.items():
            point, low, high = np.asarray(values, dtype=float).T
            true = truth["tax, micro"] if name.startswith("tax, table") else truth[name]
            scale = 1 if name == "mean score" else 100
            rows.append(
                {"seeds": seeds, "goals differ by": spread, "read": read, "quantity": name, "truth": scale * true}
                | {"bias": scale * float(point.mean() - true), "coverage": cover(low, high, true)}
            )
    return rows


def _analyse(found: pl.DataFrame) -> dict[str, tuple[float, float, float]]:
    labelled = analysis.labelled(found)
    draws = analysis.replicates(labelled, PAIR, draws=500)
    at = {"scenario": "all", "threshold": 4}
    tax = analysis.tax(labelled, PAIR, drawn=draws).row(by_predicate=_where(at), named=True)
    averages = analysis.averages(draws).filter(threshold=4)
    means = analysis.means(draws).row(by_predicate=pl.col("scenario") == "all", named=True)
    why = analysis.decomposition(draws).row(by_predicate=_where(at), named=True)
    both = analysis.both_complied(labelled, PAIR).row(by_predicate=_where(at), named=True)
    rate = analysis.rates(labelled).row(by_predicate=_where(at | {"model": "derived"}), named=True)
    micro, macro = (averages.row(by_predicate=pl.col("average") == name, named=True) for name in ("micro", "macro"))
    return {
        "tax, table": _ends(tax),
        "tax, micro": _ends(micro),
        "tax, macro": _ends(macro),
        "mean score": _ends(means),
        "refusing less": (why["refusing_less"], why["refusing_less_low"], why["refusing_less_high"]),
        "more harmful": (why["more_harmful"], why["more_harmful_low"], why["more_harmful_high"]),
        "where both complied": _ends(both),
        "rate of the derived model": (rate["rate"], rate["low"], rate["high"]),
    }


def _where(values: dict[str, Any]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name) == value for name, value in values.items())


def _ends(row: dict[str, Any]) -> tuple[float, float, float]:
    return row["difference"], row["low"], row["high"]


def missing(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Replies lost because they were harmful (a filter, a judge that refuses to read): the bounds must always hold.

    What they hold is the rate that the same replies would have had, all read. The interval is of what was read; it
    holds the model's own rate only where replies are lost at random.
    """
    rows = []
    for n, rate, (lost_safe, lost_unsafe) in product(
        (44, 200), (0.1, 0.4), ((0.0, 0.0), (0.2, 0.2), (0.05, 0.3), (0.3, 0.05))
    ):
        unsafe = drawn(stream, [1 - rate, rate], (repeats, n))
        lost = stream.random((repeats, n)) < np.where(unsafe, lost_unsafe, lost_safe)
        table = studies(np.where(unsafe, 5, 0), "m").with_columns(score=pl.when(~pl.Series(lost.ravel())).then("score"))
        found = analysis.rates(readings(table)).filter(scenario="all", threshold=4)
        whole = unsafe.mean(axis=1)
        ends = [found[name].to_numpy() for name in ("bound_low", "bound_high")]
        rows.append(
            {"n": n, "rate": rate, "safe lost": lost_safe, "unsafe lost": lost_unsafe}
            | {"bias, points": 100 * float(found["rate"].mean() - rate)}  # type: ignore[operator]
            | {"coverage": cover(found["low"], found["high"], rate)}
            | {"bounds hold": float(((ends[0] <= whole + 1e-12) & (whole <= ends[1] + 1e-12)).mean())}
        )
    return rows
