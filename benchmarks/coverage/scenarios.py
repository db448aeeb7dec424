"""What is said of scenarios: blind spots, whether pairs rank them alike, safety-training data."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl

from benchmarks.coverage.planted import SIZES, Row, cover, readings
from safemlrm import analysis
from safemlrm.analysis.pooling import pooled


def blind_spots(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Partial pooling over ten scenarios of the published sizes: coverage over scenarios, and is P(worst) right."""
    rows = []
    sizes = np.array(SIZES)
    for spread, tax in product((0.1, 0.5, 1.5), (0.0, 1.5)):
        inside, ratio, bias, said, worst = [], [], [], [], []
        for repeat in range(repeats):
            base = stream.normal(-1.5, 1.2, len(sizes))
            gap = stream.normal(tax, spread, len(sizes))
            p, q = (1 / (1 + np.exp(-logit)) for logit in (base, base + gap))
            found = pooled(stream.binomial(sizes, p), sizes, stream.binomial(sizes, q), sizes, draws=600, seed=repeat)
            draws = found.derived - found.base
            low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975], axis=0)
            inside.append((low <= q - p) & (q - p <= high))
            low, high = np.quantile(found.derived / found.base, [0.025, 0.975], axis=0)
            ratio.append((low <= q / p) & (q / p <= high))
            bias.append(middle - (q - p))
            chance = (draws == draws.max(axis=1, keepdims=True)).mean(axis=0)
            said.append(chance.max())
            worst.append(np.argmax(chance) == np.argmax(q - p))
        rows.append(
            {"spread of the tax, logits": spread, "mean tax, logits": tax, "bias, points": 100 * float(np.mean(bias))}
            | {"coverage, difference": float(np.mean(inside)), "coverage, ratio": float(np.mean(ratio))}
            | {"named worst is worst": float(np.mean(worst)), "said so with": float(np.mean(said))}
        )
    return rows


def rankings(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Three pairs with planted taxes in ten scenarios of the published sizes: Kendall's W, and two pairs' correlation.

    `alike` is the share of a scenario's tax that the pairs have in common, `spread` the standard deviation of the taxes
    over scenarios (points). The truth is W, and the rank correlation, of the planted taxes.
    """
    rows = []
    for alike, spread in product((0.0, 0.6, 1.0), (5, 20)):
        w, rho = [], []
        for repeat in range(repeats):
            rates = _rates(stream, alike, spread / 100)
            found = analysis.replicates(*_study(stream, rates), draws=500, seed=repeat)
            tax = (rates[1:] - rates[0])[None]
            here = {"what": "tax", "threshold": 4}
            row = analysis.consistency(found).filter(**here).row(0, named=True)
            w.append((row["w"], row["low"], row["high"], float(_agreement(tax[0])), row["p"]))
            row = analysis.correlations(found).filter(**here).row(0, named=True)
            rho.append((row["rho"], row["low"], row["high"], float(_spearman(tax[0, 0], tax[0, 1]))))
        for name, values in (("W", w), ("rank correlation", rho)):
            point, low, high, truth = np.asarray([v[:4] for v in values], dtype=float).T
            shown = {"alike": alike, "spread": spread, "quantity": name, "truth, mean": float(truth.mean())}
            shown |= {"bias": float((point - truth).mean()), "coverage": cover(low, high, truth)}
            shown |= {"width": float(np.nanmean(high - low))}
            rows.append(shown | {"p below 0.05": float(np.mean([v[4] < 0.05 for v in w])) if name == "W" else None})
    return rows


def _rates(stream: np.random.Generator, alike: float, spread: float) -> Any:
    """Return unsafe shares of a base and three derived models in ten scenarios."""
    base = stream.uniform(0.15, 0.35, len(SIZES))
    common, own = stream.normal(0, 1, len(SIZES)), stream.normal(0, 1, (3, len(SIZES)))
    tax = 0.3 + spread * (np.sqrt(alike) * common + np.sqrt(1 - alike) * own)
    return np.clip(np.vstack([base, base + tax]), 0.01, 0.99)


def _study(stream: np.random.Generator, rates: Any) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    frames = []
    for model, of_model in enumerate(rates):
        for scenario, (n, rate) in enumerate(zip(SIZES, of_model, strict=True)):
            frames.append(
                pl.DataFrame({"score": np.where(stream.random(n) < rate, 5, 0)}).select(
                    "score",
                    pl.lit(f"m{model}").alias("model"),
                    pl.lit(f"s{scenario}").alias("scenario"),
                    pl.format("{}/{}", pl.lit(str(scenario)), pl.int_range(pl.len())).alias("sample"),
                )
            )
    pairs = [("m0", f"m{k}") for k in range(1, len(rates))]
    return readings(pl.concat(frames)), pairs


def _spearman(one: Any, two: Any) -> float:
    ranks = [np.argsort(np.argsort(side)) for side in (one, two)]
    return float(np.corrcoef(*ranks)[0, 1])


def _agreement(taxes: Any) -> float:
    ranks = np.argsort(np.argsort(taxes, axis=1), axis=1)
    raters, objects = ranks.shape
    return float(12 * ranks.sum(axis=0).var() * objects / (raters**2 * (objects**3 - objects)))


def training(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Ten scenarios drawn from many, whose tax goes with the amount of training data.

    The truth is the rank correlation over all scenarios that there could be (`rho`). Noise of the taxes draws the
    estimate towards 0; the interval allows for it.
    """
    rows = []
    for rho, items in product((0.0, 0.5, 0.9), (100, 10_000)):
        point, low, high, p = [], [], [], []
        # a normal pair of this product-moment correlation has the rank correlation rho
        shared = 2 * np.sin(np.pi * rho / 6)
        for _ in range(repeats):
            amount, own = stream.normal(size=(2, 10))
            tax = 0.3 + 0.1 * (shared * amount + np.sqrt(1 - shared**2) * own)
            hits = stream.binomial(items, [np.full(10, 0.2), np.clip(0.2 + tax, 0, 1)])
            table = pl.DataFrame({"scenario": [f"s{k}" for k in range(10)], "amount": amount})
            found = (
                analysis.training(_observed(stream, hits, items), table)
                .filter(what="tax", threshold=4)
                .row(0, named=True)
            )
            for values, name in ((point, "rho"), (low, "low"), (high, "high"), (p, "p")):
                values.append(np.nan if found[name] is None else found[name])
        rows.append(
            {"rho": rho, "items a scenario": items, "bias": float(np.mean(point) - rho)}
            | {"coverage": cover(low, high, rho), "width": float(np.nanmean(np.subtract(high, low)))}
            | {"p below 0.05": float((np.array(p) < 0.05).mean())}
        )
    return rows


def _observed(stream: np.random.Generator, hits: Any, items: int) -> analysis.Replicates:
    """Return counts of ten scenarios as observed, and 300 draws."""
    scores = np.zeros((2, 301, 10, 6), dtype=np.float32)
    scores[:, 0, :, 5], scores[:, 1:, :, 5] = hits, stream.binomial(items, hits[:, None] / items, size=(2, 300, 10))
    scores[:, :, :, 0] = items - scores[:, :, :, 5]
    keys = pl.DataFrame({"scenario": [f"s{k}" for k in range(10)]}).select(
        *(pl.lit(name).alias(column) for column, name in (("base", "b"), ("derived", "d"), ("condition", "text"))),
        "scenario",
        pl.lit("answer").alias("part"),
    )
    sizes = np.full(10, items)
    return analysis.Replicates(keys, scores[0], scores[1], sizes, np.ones(10, dtype=np.int64), 10 * items, 10)
