"""More than two models: averages over pairs, families of pairs, weights and prompt, and published counts alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from benchmarks.coverage.planted import Row, Scores, cover, readings, studies
from safemlrm import analysis

BASES = {"d1": "b1", "d2": "b1", "d3": "b2"}
PAIRS = [(base, derived) for derived, base in BASES.items()]
#: Unsafe shares of the models; the goals differ in difficulty, so that all models go together over goals.
_SHARES = {"b1": 0.2, "b2": 0.3, "d1": 0.45, "d2": 0.35, "d3": 0.5}


def contrasts(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Three pairs, two of one backbone, over the same goals: the mean tax over the pairs, and contrasts of two taxes.

    `goals differ by` is how far a goal shifts the unsafe share of every model. Two scenarios.
    """
    rows = []
    for n, spread, seeds in ((20, 0.15, 1), (100, 0.0, 1), (100, 0.15, 1), (100, 0.15, 3)):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for repeat in range(repeats):
            drawn = analysis.replicates(_models(stream, n, spread, seeds), PAIRS, draws=500, seed=repeat)
            mean = analysis.averages(drawn).filter(base="all", threshold=4, average="micro").row(0, named=True)
            found.setdefault("mean over pairs", []).append((mean["difference"], mean["low"], mean["high"]))
            for row in analysis.families(drawn, {"d1": "SFT", "d3": "SFT"}).iter_rows(named=True):
                found.setdefault(row["kind"], []).append((row["contrast"], row["low"], row["high"]))
        for name, truth in zip(("mean over pairs", "one backbone", "one recipe"), _truths(), strict=True):
            point, low, high = np.asarray(found[name], dtype=float).T
            rows.append(
                {"goals": 2 * n, "goals differ by": spread, "seeds": seeds, "quantity": name, "truth": 100 * truth}
                | {"bias, points": 100 * float(point.mean() - truth), "coverage": cover(low, high, truth)}
            )
    return rows


def _truths() -> tuple[float, float, float]:
    taxes = {derived: _SHARES[derived] - _SHARES[base] for derived, base in BASES.items()}
    return float(np.mean(list(taxes.values()))), taxes["d2"] - taxes["d1"], taxes["d3"] - taxes["d1"]


def _models(stream: np.random.Generator, n: int, spread: float, seeds: int) -> pl.DataFrame:
    shift = stream.uniform(-spread, spread, (2 * n, 1))
    goal, seed = np.indices((2 * n, seeds))
    frames = [
        pl.DataFrame({"goal": goal.ravel(), "seed": seed.ravel(), "score": score.ravel()}).select(
            "seed",
            "score",
            pl.col("goal").cast(pl.String).alias("sample"),
            pl.format("s{}", pl.col("goal") // n).alias("scenario"),
            pl.lit(name).alias("model"),
            pl.lit(BASES.get(name), dtype=pl.String).alias("base"),
        )
        for name, share in _SHARES.items()
        for score in [np.where(stream.random((2 * n, seeds)) < share + shift, 5, 0)]
    ]
    return readings(pl.concat(frames))


def factors(repeats: int, stream: np.random.Generator) -> list[Row]:
    """The 2x2 of weights and prompt with and without a planted interaction: every effect over goals that differ.

    `shares`: unsafe shares of the base without and with the prompt, and of the derived model. Where the truth is 0,
    `p below 0.05` is the error.
    """
    rows = []
    planted = (0.2, 0.3, 0.4, 0.7)
    for n, shares in ((60, planted), (200, planted), (200, (0.05, 0.05, 0.15, 0.1)), (200, (0.3, 0.5, 0.3, 0.5))):
        shift = stream.uniform(-0.05, 0.05, (repeats, n))
        frames = []
        for place, share in enumerate(shares):
            scores: Scores = np.where(stream.random((repeats, n)) < share + shift, 5, 0)
            frames.append(studies(scores, "base" if place < 2 else "derived", prompting=("bare", "think")[place % 2]))
        pairs = [(f"base{k}", f"derived{k}") for k in range(repeats)]
        table = analysis.factors(readings(pl.concat(frames)), pairs, draws=500).filter(threshold=4)
        b_off, b_on, d_off, d_on = shares
        truths = {"weights, factor off": d_off - b_off, "factor, derived": d_on - d_off}
        truths |= {
            "weights (main)": (d_off + d_on - b_off - b_on) / 2,
            "factor (main)": (b_on + d_on - b_off - d_off) / 2,
        }
        truths |= {"interaction": d_on - b_on - d_off + b_off}
        for name, truth in truths.items():
            here = table.filter(effect=name)
            error = here["p"].to_numpy() < 0.05
            rows.append(
                {"goals": n, "shares": " ".join(map(str, shares)), "effect": name, "truth": 100 * truth}
                | {"bias, points": 100 * float(here["estimate"].to_numpy().mean() - truth)}
                | {"coverage": cover(here["low"], here["high"], truth), "p below 0.05": float(error.mean())}
            )
    return rows


def counts(repeats: int, stream: np.random.Generator) -> list[Row]:
    """The same three pairs from their counts alone: which model answered which goal how is lost.

    Replies of all models go together over goals; counts cannot tell, and resample every model on its own.
    """
    rows = []
    for n, spread in ((100, 0.0), (100, 0.15), (400, 0.15)):
        found: dict[str, list[tuple[float, float, float]]] = {}
        for repeat in range(repeats):
            table = analysis.counts(_models(stream, n, spread, 1))
            drawn = analysis.replicates_from_counts(table, PAIRS, draws=500, seed=repeat)
            mean = analysis.averages(drawn).filter(base="all", threshold=4, average="micro").row(0, named=True)
            one = analysis.tax_from_counts(table, PAIRS[:1]).filter(scenario="all", threshold=4).row(0, named=True)
            for name, row in (("tax of one pair", one), ("mean over pairs", mean)):
                found.setdefault(name, []).append((row["difference"], row["low"], row["high"]))
        truths: dict[str, float] = {"tax of one pair": _SHARES["d1"] - _SHARES["b1"], "mean over pairs": _truths()[0]}
        for name, values in found.items():
            point, low, high = np.asarray(values, dtype=float).T
            shown: dict[str, Any] = {"goals": 2 * n, "goals differ by": spread, "quantity": name}
            rows.append(
                shown
                | {"truth": 100 * truths[name], "bias, points": 100 * float(point.mean() - truths[name])}
                | {"coverage": cover(low, high, truths[name])}
            )
    return rows
