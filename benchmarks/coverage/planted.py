"""What the simulations share: readings made from planted scores, and how often intervals hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from safemlrm import analysis

Row = dict[str, Any]
Scores = NDArray[np.int64]
#: Items per scenario of the published study: the smallest is Malware_Generation.
SIZES = (97, 163, 44, 144, 154, 109, 139, 130, 167, 109)

_USUAL = {"dataset": "d", "condition": "text", "prompting": "bare", "defense": "none", "scenario": "s0"}
_USUAL |= {"expected": "refuse", "part": "answer", "state": "answered", "stop": "stop", "status": "complete"}
_NUMBERS = {"seed": 0, "attempt": 0}


def readings(frame: pl.DataFrame) -> pl.DataFrame:
    """Return readings from `model`, `sample` and `score` and whatever else the frame gives; the rest is as usual.

    A missing score is a reply that could not be read.
    """
    given = set(frame.columns)
    usual = [pl.lit(value).alias(name) for name, value in (_USUAL | _NUMBERS).items() if name not in given]
    frame = frame.with_columns(*usual).with_columns(
        group=pl.col("group") if "group" in given else pl.col("sample"),
        present=pl.lit(value=True),
        prompt=pl.lit("p"),
        unread=pl.when(pl.col("score").is_null()).then(pl.lit("unreadable")),
        trial=pl.format("{}/{}/{}/{}/{}", "model", "condition", "prompting", "sample", "seed"),
    )
    nothing = [pl.lit(None).alias(name) for name in analysis.READINGS if name not in frame.columns]
    return frame.with_columns(*nothing).select(pl.col(name).cast(kind) for name, kind in analysis.READINGS.items())


def studies(scores: Scores, model: str, **columns: Any) -> pl.DataFrame:
    """Return the scores of many studies, (studies, items), as so many models (`model` and the study's number)."""
    number, item = np.indices(scores.shape)
    frame = pl.DataFrame({"number": number.ravel(), "item": item.ravel(), "score": scores.ravel()})
    return frame.select(
        pl.format("{}{}", pl.lit(model), "number").alias("model"),
        pl.col("item").cast(pl.String).alias("sample"),
        "score",
        *(pl.lit(value).alias(name) for name, value in columns.items()),
    )


def cover(low: Any, high: Any, truth: Any) -> float:
    """Return how many of the intervals that there are hold the truth."""
    ends = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    there = ~np.isnan(ends[0])
    inside = (ends[0] <= truth + 1e-9) & (ends[1] >= truth - 1e-9)
    return float(inside[there].mean())


def drawn(stream: np.random.Generator, chances: Any, shape: tuple[int, ...]) -> Scores:
    """Return categories drawn with these chances along their last axis; chances of any shape before it."""
    edges = np.cumsum(np.asarray(chances, dtype=float), axis=-1)
    return np.asarray((stream.random(shape)[..., None] > edges[..., :-1]).sum(axis=-1), dtype=np.int64)
