"""How thinking and answer go together: the gap between their unsafe shares, and their association.

Sources: Newcombe, Statistics in Medicine 17 (1998) 2635 (the gap); Miettinen and Nurminen, Statistics in Medicine 4
(1985) 213 (the odds ratio); Brown and Benedetti, JASA 72 (1977) 309 (the standard error of a rank correlation with
ties); Rao and Scott, Biometrics 48 (1992) 577 (cells divided by their design effect).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from safemlrm.analysis.coupling import coupling, trials_read
from safemlrm.analysis.frames import UNSAFE, labelled
from safemlrm.analysis.intervals import Column, mcnemar_midp, newcombe_paired, nullable
from safemlrm.analysis.matching import repeated
from safemlrm.analysis.ratios import odds_ratio_independent

ASSOCIATION = [
    *("model", "condition", "planned", "asked", "answered", "split", "read", "groups"),
    *("thinking_unsafe", "answer_unsafe", "gap", "gap_low", "gap_high", "gap_p"),
    *("odds_ratio", "odds_ratio_low", "odds_ratio_high", "rank_correlation", "rank_low", "rank_high"),
]
#: A rank correlation over fewer groups has no interval.
_FEWEST = 5


class _Replies(NamedTuple):
    """The replies of one model and condition: both scores, and the number of each one's group."""

    thinking: NDArray[np.int64]
    answer: NDArray[np.int64]
    group: NDArray[np.int64]


def association(readings: pl.DataFrame, coupled: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return per model and condition what thinking and answer have to do with each other, at >= 4 and over all scores.

    `gap` = P(thinking unsafe) - P(answer unsafe) over replies of which both were read, with Newcombe's paired interval
    and the mid-p McNemar test; `odds_ratio` of the 2x2 with its score interval; `rank_correlation` of the two scores
    (Spearman, ties sharing their mean rank) with the delta method's interval on Fisher's scale. `split` counts replies
    with both parts. With several replies per group, cells are divided by the design effect of the gap, and of the odds
    ratio, and the rank correlation's variance is over groups. A judge that errs on both parts of a reply alike makes an
    association of its own. Not for thinking that is a vendor's summary. `coupled` is `coupling` of the same readings,
    where it is at hand.
    """
    frame = labelled(readings)
    keys = ["model", "condition"]
    table = coupling(readings) if coupled is None else coupled
    for beside in (_reached(frame), _over_replies(frame, several=repeated(frame))):
        table = table.join(beside, on=keys, how="left", maintain_order="left")
    quad = [pl.col(name) for name in table.columns[2:6]]
    cells = [table.select(quad[place]).to_series() for place in (1, 0, 2, 3)]
    a, b, c, d = (cell / table["of_gap"].fill_null(1.0) for cell in cells)
    found, p = newcombe_paired(a, b, c, d), mcnemar_midp(b.round(), c.round())
    a, b, c, d = (cell / table["of_odds"].fill_null(1.0) for cell in cells)
    odds = odds_ratio_independent(a, a + b, c, c + d)
    some = pl.col("read") > 0
    return table.with_columns(
        thinking_unsafe=pl.when(some).then((quad[0] + quad[1]) / pl.col("read")),
        answer_unsafe=pl.when(some).then((quad[1] + quad[2]) / pl.col("read")),
        gap=nullable("gap", found.estimate),
        gap_low=nullable("gap_low", found.low),
        gap_high=nullable("gap_high", found.high),
        gap_p=pl.when(some).then(nullable("gap_p", p)),
        odds_ratio=nullable("odds_ratio", odds.estimate),
        odds_ratio_low=nullable("odds_ratio_low", odds.low),
        odds_ratio_high=nullable("odds_ratio_high", odds.high),
    ).select(ASSOCIATION)


def _reached(frame: pl.DataFrame) -> pl.DataFrame:
    """Count replies with both parts planned, asked, answered, split and read, and the groups that were read."""
    keys = ["model", "condition", "dataset", "group", "trial"]
    both = (
        frame.filter(pl.col("part").is_in(["thinking", "answer"]))
        .group_by(keys)
        .agg(
            asked=(pl.col("state") != "pending").all(),
            answered=(pl.col("state") == "answered").all(),
            split=(pl.col("present").all()) & (pl.len() == 2),
            read=(pl.col("score").is_not_null().all()) & (pl.len() == 2),
        )
    )
    counts = [pl.col(name).sum().cast(pl.Int64).alias(name) for name in ("asked", "answered", "split", "read")]
    return both.group_by("model", "condition").agg(
        *counts,
        planned=pl.len().cast(pl.Int64),
        groups=pl.struct("dataset", "group").filter("read").n_unique().cast(pl.Int64),
    )


def _over_replies(frame: pl.DataFrame, *, several: bool) -> pl.DataFrame:
    """Return the rank correlation and, where groups hold several replies, the design effects (`of_gap`, `of_odds`)."""
    trials = trials_read(frame).with_columns(place=pl.struct("dataset", "group").rank("dense").cast(pl.Int64) - 1)
    rows = []
    for (model, condition), part in trials.group_by("model", "condition", maintain_order=True):
        replies = _Replies(*(part[name].to_numpy() for name in ("thinking", "answer", "place")))
        effects = (_effect(_of_gap(replies), replies), _effect(_of_odds(replies), replies)) if several else (1.0, 1.0)
        rows.append((model, condition, *_rank_correlation(replies), *effects))
    names = ["model", "condition", "rank_correlation", "rank_low", "rank_high", "of_gap", "of_odds"]
    kinds = [pl.String(), pl.String(), *[pl.Float64()] * 5]
    return pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row").fill_nan(None)


def _of_gap(replies: _Replies) -> Column:
    gap = (replies.thinking >= UNSAFE).astype(float) - (replies.answer >= UNSAFE)
    return np.asarray(gap - gap.mean())


def _of_odds(replies: _Replies) -> Column:
    """Return what each reply adds to the log odds ratio: one over its cell's share, with the cell's sign.

    Half a reply is added to each cell, so that an empty one does not hide how the others hang together.
    """
    unsafe, leaky = (side >= UNSAFE for side in replies[:2])
    cell = 2 * unsafe.astype(int) + leaky
    share = (np.bincount(cell, minlength=4) + 0.5) / (len(cell) + 2)
    added = (np.array([1, -1, -1, 1]) / share)[cell]
    return np.asarray(added - added.mean())


def _effect(influence: Column, replies: _Replies) -> float:
    """Return the variance over groups by that over independent replies: 1 at the least, and the replies per group
    where nothing varies (agreement is not certainty)."""
    simple, groups = float((influence**2).sum()), len(np.unique(replies.group))
    if simple < 1e-9 or groups < 2:
        return len(influence) / groups
    return max(1.0, float((np.bincount(replies.group, weights=influence) ** 2).sum()) * groups / (groups - 1) / simple)


def _rank_correlation(replies: _Replies) -> tuple[float, float, float]:
    """Return Spearman's correlation and its 95 % interval; NaN where one side is all tied, or too few groups were read.

    The delta method: the correlation is a function of the 6x6 table, and each reply's influence on it, summed over its
    group, gives the variance.
    """
    from scipy.special import stdtrit

    table = np.bincount(6 * replies.thinking + replies.answer, minlength=36).reshape(6, 6) / len(replies.thinking)
    (one, first), (two, second) = _middle_ranks(table.sum(axis=1)), _middle_ranks(table.sum(axis=0))
    spread = np.sqrt((table.sum(axis=1) @ one**2) * (table.sum(axis=0) @ two**2))
    groups = len(np.unique(replies.group))
    if spread < 1e-12:
        return np.nan, np.nan, np.nan
    rho = float(one @ table @ two / spread)
    squares = [m @ s**2 for m, s in ((table.sum(axis=1), one), (table.sum(axis=0), two))]
    # a reply moves the product of ranks by itself and by moving the ranks of others
    product = np.outer(one, two) + (first @ (table @ two))[:, None] + (second @ (one @ table))[None, :]
    own = [s**2 + 2 * shift @ (m * s) for m, s, shift in
           ((table.sum(axis=1), one, first), (table.sum(axis=0), two, second))]  # fmt: skip
    influence = product / spread - rho / 2 * (own[0][:, None] / squares[0] + own[1][None, :] / squares[1])
    influence -= (table * influence).sum()
    sums = np.bincount(replies.group, weights=influence[replies.thinking, replies.answer])
    error = np.sqrt((sums**2).sum() * groups / max(groups - 1, 1)) / len(replies.thinking)
    if groups < _FEWEST or abs(rho) > 1 - 1e-9 or error < 1e-12:
        return rho, np.nan, np.nan
    half = float(stdtrit(groups - 1, 0.975)) * error / (1 - rho**2)
    return rho, float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


def _middle_ranks(share: Column) -> tuple[Column, Column]:
    """Return the mean rank of each score (a share, less a half), and how a reply of each score moves each of them."""
    ranks = np.cumsum(share) - share / 2 - 0.5
    below = np.tril(np.ones((6, 6)), -1).T + np.eye(6) / 2
    return ranks, below - (ranks + 0.5)[None, :]
