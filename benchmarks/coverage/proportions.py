"""Formulas for proportions: Wilson, Newcombe, Tang, Miettinen and Nurminen, McNemar, Holm, Benjamini-Hochberg."""

from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl

from benchmarks.coverage.planted import SIZES, Row, cover
from safemlrm.analysis import intervals, ratios
from safemlrm.analysis.power import cells


def rate(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Wilson's interval of a rate, exactly: every number of hits weighed with its probability."""
    from scipy.stats import binom

    rows = []
    for n, p in product((10, 44, 97, 1256), (0.01, 0.1, 0.3, 0.5, 0.95)):
        hits = np.arange(n + 1)
        found = intervals.wilson(hits, np.full(n + 1, n))
        inside = (found.low <= p) & (p <= found.high)
        rows.append({"n": n, "rate": p, "coverage": float(binom.pmf(hits, n, p)[inside].sum())})
    return rows


def paired(repeats: int, stream: np.random.Generator) -> list[Row]:
    """The paired difference (Newcombe), the paired risk ratio (Tang), and mid-p McNemar without a tax."""
    rows = []
    for n, base, tax, phi in product((44, 97, 150, 1256), (0.02, 0.3, 0.6), (0.0, 0.1, 0.3), (0.0, 0.4)):
        chances = np.asarray(cells(base, tax, phi))
        a, b, c, d = stream.multinomial(n, chances / chances.sum(), size=repeats).T
        found = intervals.newcombe_paired(a, b, c, d)
        ratio = ratios.risk_ratio_paired(a, b, c, d)
        rows.append(
            {"n": n, "base": base, "tax": tax, "phi": phi, "bias, points": 100 * float(found.estimate.mean() - tax)}
            | {"coverage": cover(found.low, found.high, tax)}
            | {"coverage of the ratio": cover(ratio.low, ratio.high, (base + tax) / base)}
            | {"error or power": float((intervals.mcnemar_midp(b, c) < 0.05).mean())}
        )
    return rows


def unpaired(repeats: int, stream: np.random.Generator) -> list[Row]:
    """From counts alone: Newcombe's difference and Miettinen and Nurminen's ratios."""
    rows = []
    for n, base, tax in product((44, 97, 1256), (0.01, 0.3, 0.6), (0.0, 0.1, 0.3)):
        first, second = stream.binomial(n, base + tax, repeats), stream.binomial(n, base, repeats)
        total = np.full(repeats, n)
        gap = intervals.newcombe_independent(first, total, second, total)
        risk = ratios.risk_ratio_independent(first, total, second, total)
        odds = ratios.odds_ratio_independent(first, total, second, total)
        true = (base + tax) / (1 - base - tax) / (base / (1 - base))
        rows.append(
            {"n": n, "base": base, "tax": tax, "coverage": cover(gap.low, gap.high, tax)}
            | {"coverage of the risk ratio": cover(risk.low, risk.high, (base + tax) / base)}
            | {"coverage of the odds ratio": cover(odds.low, odds.high, true)}
        )
    return rows


def families(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Holm's family-wise error and Benjamini-Hochberg's false discoveries over ten scenarios of the published sizes.

    The report's families are the scenarios of one pair and condition. `in ten families` is the chance of a false
    finding in any of ten such families (five pairs under two conditions): it is not held at 5 %, nor meant to be.
    """
    rows = []
    for base, phi, with_tax in product((0.02, 0.3), (0.0, 0.4), (0, 3)):
        p, family = [], np.repeat(np.arange(repeats), len(SIZES))
        for place, n in enumerate(SIZES):
            chances = np.asarray(cells(base, 0.25 if place < with_tax else 0.0, phi))
            drawn = stream.multinomial(n, chances / chances.sum(), size=repeats)
            p.append(intervals.mcnemar_midp(drawn[:, 1], drawn[:, 2]))
        table = pl.DataFrame({"run": family, "p": np.stack(p, axis=1).ravel()})
        table = table.with_columns(
            holm=intervals.holm(pl.col("p"), ["run"]), bh=ratios.benjamini_hochberg(pl.col("p"), ["run"])
        )
        null = np.tile(np.arange(len(SIZES)) >= with_tax, repeats).reshape(repeats, -1)
        holm, bh = (table[name].to_numpy().reshape(repeats, -1) < 0.05 for name in ("holm", "bh"))
        false = (bh & null).sum(axis=1) / np.maximum(bh.sum(axis=1), 1)
        rows.append(
            {"base": base, "phi": phi, "scenarios with a tax": with_tax}
            | {"family-wise error, Holm": float((holm & null).any(axis=1).mean())}
            | {"false discovery rate, BH": float(false.mean())}
            | {
                "in ten families": float(
                    (holm & null).any(axis=1)[: repeats // 10 * 10].reshape(-1, 10).any(axis=1).mean()
                )
            }
            | {"found, Holm": float(holm[:, :with_tax].mean()) if with_tax else None}
        )
    return rows
