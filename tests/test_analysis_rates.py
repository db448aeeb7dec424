"""Rates, mean scores and shares where goals were asked several times: whole counts, intervals over goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from readings import frame, only, row
from safemlrm import analysis
from safemlrm.analysis import intervals
from safemlrm.analysis.rates import HR
from safemlrm.errors import StudyError


def asked_again(scores: Sequence[Sequence[int | None]], **given: Any) -> pl.DataFrame:
    """Return readings of one model: one list of scores per goal, one seed each; a missing score is an unread part."""
    return frame(
        [
            row(sample=str(goal), seed=seed, score=score, unread=None if score is not None else "unreadable", **given)
            for goal, seeds in enumerate(scores)
            for seed, score in enumerate(seeds)
        ]
    )


def test_every_observation_of_a_goal_is_planned_asked_and_counted() -> None:
    found = analysis.shares(asked_again([[4, 4, None], [0, 0, 0]])).filter(scenario="all")
    assert only(found, what="unread")["planned"] == 6
    assert only(found, what="absent")["planned"] == 6
    assert only(found, what="unread")["hits"] == 1
    scores = only(analysis.hr(asked_again([[4, 4, None], [0, 0, 0]])), scenario="all")
    assert (scores["planned"], scores["read"], scores["groups"]) == (6, 5, 2)


def test_with_many_goals_the_interval_of_a_rate_is_the_bootstraps_over_goals() -> None:
    stream = np.random.default_rng(1)
    unsafe = stream.random(200) < 0.4
    found = only(analysis.rates(asked_again([[5 * int(u)] * 3 for u in unsafe])), scenario="all", threshold=4)
    # three copies of a reply tell no more than one: the standard error is that of 200, by theory, not of 600
    error = np.sqrt(unsafe.mean() * (1 - unsafe.mean()) / 200)
    assert (found["high"] - found["low"]) / (2 * 1.96) == pytest.approx(error, rel=0.08)
    assert found["low"] < found["rate"] < found["high"]


def test_with_few_unsafe_goals_the_interval_is_wilsons_of_the_effective_number() -> None:
    found = only(analysis.rates(asked_again([[5, 5, 5], *[[0, 0, 0]] * 49])), scenario="all", threshold=4)
    one = intervals.wilson([1 / 50 * 49], [49.0])  # the design effect of copies, 3 · 50/49
    assert (found["low"], found["high"]) == pytest.approx((one.low[0], one.high[0]), rel=1e-6)


def test_goals_that_all_agree_leave_the_interval_of_their_number_open_on_one_side() -> None:
    found = only(analysis.rates(asked_again([[5, 5]] * 12)), scenario="all", threshold=4)
    assert (found["low"], found["high"]) == pytest.approx((intervals.wilson([12], [12]).low[0], 1.0))


def test_refusals_over_goals_are_wider_than_over_replies() -> None:
    rows = [
        row(sample=str(goal), seed=seed, score=0, refusal=goal % 2 == 0, expected="answer")
        for goal in range(40)
        for seed in range(4)
    ]
    found = only(analysis.refusals(frame(rows)), scenario="all")
    plain = intervals.wilson([80], [160])
    assert found["high"] - found["low"] > 1.8 * (plain.high[0] - plain.low[0])


def test_self_correction_over_goals_is_wider_than_over_replies() -> None:
    rows = [
        row(sample=str(goal), seed=seed, part=part, score=score)
        for goal in range(60)
        for seed in range(3)
        for part, score in (("thinking", 5), ("answer", 5 * (goal % 2)))
    ]
    coupled = only(analysis.coupling(frame(rows)))
    plain = intervals.wilson([90], [180])
    assert coupled["high"] - coupled["low"] > 1.6 * (plain.high[0] - plain.low[0])
    both = analysis.self_correction(frame(rows))
    given = only(both, reading="given_unsafe_thinking")
    assert (given["low"], given["high"]) == (coupled["low"], coupled["high"])
    assert coupled["leak"] is None
    assert coupled["leak_low"] is None


def test_the_mean_score_has_a_students_interval_by_bootstrap_and_bounds() -> None:
    stream = np.random.default_rng(2)
    scores = stream.integers(0, 6, size=120)
    table = analysis.hr(asked_again([*[[int(s)] for s in scores], [None]]))
    found = only(table, scenario="all")
    assert table.columns == HR
    assert found["hr"] == pytest.approx(scores.mean())
    half = 1.98 * scores.std(ddof=1) / np.sqrt(120)
    assert (found["low"], found["high"]) == pytest.approx((found["hr"] - half, found["hr"] + half), abs=0.06)
    assert found["bound_low"] == pytest.approx(scores.sum() / 121)
    assert found["bound_high"] == pytest.approx((scores.sum() + 5) / 121)


def test_a_mean_score_of_nothing_is_null_and_of_equal_scores_has_no_interval() -> None:
    assert only(analysis.hr(asked_again([[None], [None]])), scenario="all")["hr"] is None
    same = only(analysis.hr(asked_again([[3], [3], [3]])), scenario="all")
    assert (same["hr"], same["low"], same["high"]) == (3.0, None, None)


def test_any_threshold_can_be_asked_for_and_no_other() -> None:
    readings = asked_again([[1], [2], [5]])
    found = analysis.rates(readings, thresholds=(1, 2)).filter(scenario="all")
    assert found.select("threshold", "hits").rows() == [(1, 3), (2, 2)]
    for wrong in ((0,), (6,), ()):
        with pytest.raises(StudyError, match="whole scores from 1 to 5"):
            analysis.rates(readings, thresholds=wrong)
