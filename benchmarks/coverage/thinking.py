"""Thinking and answer: self-correction, leak, gap, association; judges that err; where the thinking turns."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import polars as pl

from benchmarks.coverage.planted import Row, Scores, cover, drawn, readings, studies
from safemlrm import analysis
from safemlrm.analysis import misreading

#: P(score) of thinking, and how far the answer goes its own way: both scores from one table, shifted.
_SCORES = np.array([0.3, 0.05, 0.1, 0.1, 0.2, 0.25])


def coupling(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Replies whose thinking and answer go together by a planted table: every share, the gap, and the association.

    `follows` is how often the answer takes the thinking's score; else it is drawn anew, and safer by `shift`. With
    three seeds, replies of one goal share their thinking's severity in half of the goals.
    """
    rows = []
    for n, seeds, follows, shift in ((60, 1, 0.5, 0.2), (200, 1, 0.0, 0.0), (200, 1, 0.5, 0.2), (200, 1, 0.9, 0.0),
                                     (1256, 1, 0.8, 0.1), (70, 3, 0.5, 0.2)):  # fmt: skip
        table = _table(follows, shift)
        truth = _truths(table)
        found = _coupled(_draw(stream, table, repeats, n, seeds), seeds)
        for name, (point, low, high) in found.items():
            scale = 1 if name in ("odds ratio", "rank correlation") else 100
            bias = None if name == "odds ratio" else scale * (float(np.nanmean(point)) - truth[name])
            rows.append(
                {"goals": n, "seeds": seeds, "follows": follows, "shift": shift, "quantity": name}
                | {"truth": scale * truth[name], "bias": bias, "coverage": cover(low, high, truth[name])}
            )
    return rows


def _table(follows: float, shift: float) -> Any:
    """Return P(thinking, answer)."""
    safer = (1 - shift) * _SCORES + shift * np.eye(6)[0]
    return _SCORES[:, None] * (follows * np.eye(6) + (1 - follows) * safer[None])


def _truths(table: Any) -> dict[str, float]:
    quad = [table[4:, :4].sum(), table[4:, 4:].sum(), table[:4, 4:].sum(), table[:4, :4].sum()]
    middle = [np.cumsum(m) - m / 2 for m in (table.sum(axis=1), table.sum(axis=0))]
    one, two = (m - 0.5 for m in middle)
    spread = np.sqrt((table.sum(axis=1) @ one**2) * (table.sum(axis=0) @ two**2))
    return {
        "self-correction": quad[0] / (quad[0] + quad[1]),
        "self-correction, of all": quad[0],
        "leak": quad[2] / (quad[2] + quad[3]),
        "gap": quad[0] - quad[2],
        "odds ratio": quad[1] * quad[3] / (quad[0] * quad[2]),
        "rank correlation": float(one @ table @ two / spread),
    }


def _draw(stream: np.random.Generator, table: Any, repeats: int, n: int, seeds: int) -> tuple[Scores, Scores]:
    """Return both scores of every reply, (repeats, goals, seeds)."""
    thinking = drawn(stream, table.sum(axis=1), (repeats, n, seeds))
    alike = stream.random((repeats, n, 1)) < 0.5
    thinking = np.where(alike, thinking[:, :, :1], thinking)
    given = table / table.sum(axis=1, keepdims=True)
    return thinking, drawn(stream, given[thinking], thinking.shape)


def _coupled(scores: tuple[Scores, Scores], seeds: int) -> dict[str, tuple[Any, Any, Any]]:
    repeats = len(scores[0])
    frame = pl.concat([studies(side.reshape(repeats, -1), "m", part=part) for side, part in
                       zip(scores, ("thinking", "answer"), strict=True)])  # fmt: skip
    item = pl.col("sample").cast(pl.Int64)
    frame = frame.with_columns(sample=(item // seeds).cast(pl.String), seed=item % seeds)
    labelled = analysis.labelled(readings(frame))
    coupled = analysis.coupling(labelled)
    of_all = analysis.self_correction(labelled, coupled).filter(reading="of_all_replies")
    both = analysis.association(labelled, coupled)

    def ends(table: pl.DataFrame, *names: str) -> tuple[Any, Any, Any]:
        one, two, three = (table[name].cast(pl.Float64).to_numpy() for name in names)
        return one, two, three

    return {
        "self-correction": ends(coupled, "self_correction", "low", "high"),
        "self-correction, of all": ends(of_all, "rate", "low", "high"),
        "leak": ends(coupled, "leak", "leak_low", "leak_high"),
        "gap": ends(both, "gap", "gap_low", "gap_high"),
        "odds ratio": ends(both, "odds_ratio", "odds_ratio_low", "odds_ratio_high"),
        "rank correlation": ends(both, "rank_correlation", "rank_low", "rank_high"),
    }


def survival(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Thinkings of 5 to 20 segments that turn unsafe at a constant hazard, some read in part only.

    Coverage of the curve at three positions, over the studies whose curve has left 1 by then; `truth` is the share
    that is still safe.
    """
    rows = []
    for n, hazard, cut in product((40, 200), (0.2, 1.5), (0.0, 0.4)):
        steps = stream.integers(5, 21, (repeats, n))
        turned = stream.exponential(1 / hazard, (repeats, n))
        first = np.ceil(turned * steps)  # the segment in which it turns, beyond the last where it never does
        read = np.where(stream.random((repeats, n)) < cut, np.ceil(stream.random((repeats, n)) * steps), steps)
        found = analysis.survival(_segments(steps, first, read))
        for position in (0.25, 0.5, 0.9):
            truth = _still_safe(hazard, position)
            at = found.filter(pl.col("position") <= position).group_by("model", maintain_order=True).last()
            point = at["still_safe"].to_numpy()
            rows.append(
                {"thinkings": n, "hazard": hazard, "read in part": cut, "position": position, "truth": truth}
                | {"bias, points": 100 * float(point.sum() + repeats - at.height - repeats * truth) / repeats}
                | {"given": at.height / repeats, "coverage": cover(at["low"], at["high"], truth)}
            )
    return rows


def _segments(steps: Scores, first: Any, read: Any) -> pl.DataFrame:
    number, trial = np.indices(steps.shape)
    table = pl.DataFrame(
        {"model": number.ravel(), "trial": trial.ravel(), "steps": steps.ravel()}
        | {"first": first.ravel(), "read": read.ravel()}
    )
    table = table.with_columns(step=pl.int_ranges(1, pl.col("steps") + 1)).explode("step")
    score = pl.when(pl.col("step") >= pl.col("first")).then(5).otherwise(0)
    return table.select(
        pl.col("model").cast(pl.String), pl.lit("text").alias("condition"), "step", "steps",
        pl.format("{}/{}", "model", "trial").alias("trial"),
        pl.when(pl.col("step") <= pl.col("read")).then(score).alias("score"),
    )  # fmt: skip


def _still_safe(hazard: float, position: float) -> float:
    """Return the share of thinkings whose first unsafe segment ends after this position."""
    lengths = np.arange(5, 21)
    return float(np.exp(-hazard * np.floor(position * lengths + 1e-9) / lengths).mean())


def judge_errors(repeats: int, stream: np.random.Generator) -> list[Row]:
    """Self-correction under a judge that errs, as it is reported, corrected, and made by noise alone."""
    rows = []
    for override, error, labels in product((0.0, 0.15), (0.0, 0.08), (200,)):
        true = np.array([0.4, 0.05, 0.55 * override, 0.55 * (1 - override)])
        one = np.array([[1 - error, error], [error, 1 - error]])
        matrix = np.kron(one, one)
        raw, fixed, inside, noise = [], [], [], []
        for repeat in range(repeats):
            seen = stream.multinomial(800, true @ matrix)
            counts = np.stack([[stream.multinomial(labels, row) for row in one] for _ in range(2)])
            got = _corrected(seen, counts, repeat)
            raw.append(got["self_correction"])
            fixed.append(got["self_correction_corrected"])
            inside.append(got["self_correction_low"] <= override + 1e-3 and override <= got["self_correction_high"])
            noise.append(got["noise_only"])
        rows.append(
            {"truth": 100 * override, "judge errs": error, "validated labels": 4 * labels}
            | {"as reported": 100 * float(np.mean(raw)), "corrected": 100 * float(np.mean(fixed))}
            | {"coverage": float(np.mean(inside)), "by noise alone": 100 * float(np.mean(noise))}
        )
    return rows


def _corrected(seen: Any, counts: Any, seed: int) -> Row:
    stream = np.random.default_rng(seed)
    found = misreading._one(seen.astype(float), counts.astype(float), stream, 200)
    return found | {"self_correction": seen[2] / max(seen[2] + seen[3], 1)}
