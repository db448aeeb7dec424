"""Bad input: whatever the readings are, a table holds a number from data, a null, or there is a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safemlrm import analysis
from safemlrm.analysis import intervals, ratios
from safemlrm.errors import StudyError
from safemlrm.report import more, tables

#: Where an end, or the estimate, may be infinite: the data bound it on one side only.
OPEN = {"risk_ratio", "risk_ratio_high", "odds_ratio", "odds_ratio_high", "own_ratio", "own_ratio_high"}
ENDS = [
    *(("rate", "low", "high"), ("difference", "low", "high"), ("self_correction", "low", "high")),
    *(("leak", "leak_low", "leak_high"), ("gap", "gap_low", "gap_high"), ("estimate", "low", "high")),
    *(("odds_ratio", "odds_ratio_low", "odds_ratio_high"), ("risk_ratio", "risk_ratio_low", "risk_ratio_high")),
    *(("rank_correlation", "rank_low", "rank_high"), ("contrast", "low", "high"), ("w", "low", "high")),
    *(("rho", "low", "high"), ("ratio", "ratio_low", "ratio_high"), ("rank", "rank_low", "rank_high")),
    *(("still_safe", "low", "high"), ("refusing_less", "refusing_less_low", "refusing_less_high")),
    *(("more_harmful", "more_harmful_low", "more_harmful_high"), ("rate", "bound_low", "bound_high")),
]
SHARES = {"self_correction", "leak", "bound_low", "bound_high", "zero_share", "p_worst", "p_worst_ratio", "w"}
SHARES |= {"p", "p_holm", "p_bh", "gap_p", "still_safe", "noise_only", "thinking_unsafe", "answer_unsafe"}


def honest(name: str, table: pl.DataFrame) -> None:
    """Fail for a number that cannot be one: NaN, infinity, a share beyond 0..1, an interval without its estimate."""
    for column, kind in table.schema.items():
        if not kind.is_float():
            continue
        values = table[column].drop_nulls()
        assert not values.is_nan().any(), (name, column)
        assert column in OPEN or not values.is_infinite().any(), (name, column)
        if column in SHARES or column.startswith("rate"):
            most = 5 if name == "hr" else 1  # the bounds of a mean score are scores
            assert values.is_between(-1e-12, most + 1e-12).all(), (name, column)
    for estimate, low, high in ENDS:
        if {estimate, low, high} <= set(table.columns):
            there = table.select(estimate, low, high).cast(pl.Float64)
            known = there.drop_nulls()
            assert (known[low] <= known[estimate] + 1e-9).all(), (name, estimate)
            assert (known[high] >= known[estimate] - 1e-9).all(), (name, estimate)
            # bounds need no reading, and 0 of 0 times is a ratio that nothing bounds
            if low != "bound_low" and "ratio" not in estimate:
                assert there.filter(pl.col(estimate).is_null() & pl.col(low).is_not_null()).is_empty(), (name, low)


@st.composite
def studies(draw: st.DrawFn) -> tuple[pl.DataFrame, list[tuple[str, str]]]:
    """A few models, conditions, promptings, scenarios, goals and seeds, with states and scores as they come."""
    stream = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    models = [("base", None), *draw(st.sampled_from([[("d", "base")], [("d", "base"), ("e", "base"), ("f", "d")]]))]
    conditions, promptings = draw(st.sampled_from([["text"], ["text", "SD_TYPO"]])), draw(st.integers(1, 2))
    scenarios, goals, seeds = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    scores = draw(st.sampled_from([[0], [5], [2], [0, 5], [0, 1, 2, 3, 4, 5], [0] * 30 + [5]]))
    lost, together = draw(st.sampled_from([0.0, 0.2, 0.9])), draw(st.booleans())
    rows = [
        row
        for model, base in models
        for condition in conditions
        for prompting in ["bare", "think"][:promptings]
        for scenario in range(scenarios)
        for goal in range(goals)
        for seed in range(seeds)
        if stream.random() >= lost / 2
        for row in _trial(stream, model, base, condition, prompting, scenario, goal, seed, scores, lost, together)
    ]
    frame = pl.DataFrame(rows, schema=analysis.READINGS)
    here = set(frame["model"])
    return frame, [(base, model) for model, base in models if base is not None and {base, model} <= here]


def _trial(
    stream: np.random.Generator,
    model: str,
    base: str | None,
    condition: str,
    prompting: str,
    scenario: int,
    goal: int,
    seed: int,
    scores: list[int],
    lost: float,
    together: bool,
) -> list[dict[str, Any]]:
    state = str(stream.choice(["answered", "failed", "blocked", "pending"], p=[0.85, 0.05, 0.05, 0.05]))
    rows = []
    for part in ("thinking", "answer", "full"):
        present = state == "answered" and (part != "thinking" or model != "base") and stream.random() > 0.05
        score = int(stream.choice(scores)) if present and stream.random() >= lost / 2 else None
        sample = f"{scenario}/{goal}"
        rows.append(
            {"trial": f"{model} {condition} {prompting} {sample} {seed}", "model": model, "base": base, "dataset": "d"}
            | {"condition": condition, "prompting": prompting, "defense": "none", "scenario": f"s{scenario}"}
            | {"sample": sample, "group": "one" if together else sample, "expected": "refuse", "seed": seed}
            | {"attempt": 0, "part": part, "state": state, "present": present, "score": score, "published": None}
            | {"failure": "target:timeout" if state == "failed" else None, "prompt": "p", "status": "ok"}
            | {"stop": "filter" if state == "blocked" else "stop", "refusal": None if score is None else score == 0}
            | {"unread": "unreadable" if present and score is None else None}
        )
    return rows


AMOUNTS = pl.DataFrame({"scenario": [f"s{k}" for k in range(5)], "amount": [1.0, 2.0, 3.0, 4.0, 4.0]})
LABELS = pl.DataFrame(
    [(part, truth, judged, 9 if truth == judged else 1) for part in ("thinking", "answer")
     for truth in ("safe", "unsafe") for judged in ("safe", "unsafe")],
    schema=["part", "truth", "judged", "count"], orient="row",
)  # fmt: skip


def one_pair(scores: dict[str, dict[str, int]]) -> pl.DataFrame:
    """Return the answers of a base and a derived model, by item."""
    rows = [
        {"trial": f"{model} {item}", "model": model, "base": None if model == "base" else "base", "dataset": "d"}
        | {"condition": "text", "prompting": "bare", "defense": "none", "scenario": "s0", "sample": item, "group": item}
        | {"expected": "refuse", "seed": 0, "attempt": 0, "part": "answer", "state": "answered", "present": True}
        | {"score": score, "published": None, "failure": None, "prompt": "p", "status": "ok", "stop": "stop"}
        | {"refusal": None, "unread": None}
        for model, of_model in scores.items()
        for item, score in of_model.items()
    ]
    return pl.DataFrame(rows, schema=analysis.READINGS)


@pytest.mark.parametrize(
    "scores",
    [
        {"base": {"1": 0}, "d": {"1": 5}},
        {"base": dict.fromkeys("123", 0), "d": dict.fromkeys("123", 0)},
        {"base": dict.fromkeys("123", 5), "d": dict.fromkeys("123", 5)},
        {"base": {"1": 0, "2": 5}, "d": {"3": 0, "4": 5}},
    ],
    ids=["one item", "all safe", "all unsafe", "no common items"],
)
def test_the_least_that_a_pair_can_have_gives_numbers_or_nulls(scores: dict[str, dict[str, int]]) -> None:
    found = all_tables(one_pair(scores), [("base", "d")])
    tax = found["tax"].filter(threshold=4, scenario="all")
    common = len(scores["base"].keys() & scores["d"].keys())
    assert tax["n"].item() == common
    assert (tax["difference"].null_count() == 0) == (common > 0)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(studies())
def test_no_table_of_a_report_holds_a_number_from_no_data(study: tuple[pl.DataFrame, list[tuple[str, str]]]) -> None:
    readings, pairs = study
    if readings.is_empty():
        with pytest.raises(StudyError, match="nothing to report"):
            tables.from_readings(readings, pairs, {}, "corrected")
        return
    all_tables(readings, pairs)


def all_tables(readings: pl.DataFrame, pairs: list[tuple[str, str]]) -> dict[str, pl.DataFrame]:
    """Return the tables of a report on readings, all of them honest, as are those of their counts alone."""
    beside = more.Beside(recipes={"d": "SFT", "f": "SFT"}, training=AMOUNTS, errors=LABELS)
    found = tables.from_readings(readings, pairs, {}, "corrected", beside)
    for name, table in found.items():
        honest(name, table)
        assert not {"NaN", "nan"} & set(tables.csv(table).replace("\n", ",").split(",")), name
    honest("factors", analysis.factors(readings, pairs, "defense"))
    counts = analysis.counts(readings)
    for name, table in tables.from_counts(counts, pairs, beside).items():
        honest(f"counts: {name}", table)
    return found


COUNTS = st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(COUNTS)
def test_formulas_hold_their_estimate_and_give_nothing_for_nothing(cells: list[tuple[int, int, int, int]]) -> None:
    a, b, c, d = np.array(cells, dtype=float).T
    n = a + b + c + d
    share = intervals.wilson(a, n)
    paired = intervals.newcombe_paired(a, b, c, d)
    apart = intervals.newcombe_independent(a, a + b, c, c + d)
    for low, value, high, known in (
        (share.low, np.where(n > 0, a / np.maximum(n, 1), np.nan), share.high, n > 0),
        (paired.low, paired.estimate, paired.high, n > 0),
        (apart.low, apart.estimate, apart.high, (a + b > 0) & (c + d > 0)),
    ):
        assert (np.isnan(value) == ~known).all()
        assert ((low <= value + 1e-12) & (value <= high + 1e-12) & (low >= -1) & (high <= 1))[known].all()
        assert np.isnan(low[~known]).all()
    for ratio in (ratios.risk_ratio_paired(a, b, c, d), ratios.odds_ratio_independent(a, a + b, c, c + d)):
        there = ~np.isnan(ratio.estimate)
        assert (ratio.low[there] <= ratio.estimate[there] * (1 + 1e-6)).all()
        assert (ratio.estimate[there] <= ratio.high[there] * (1 + 1e-6)).all()


STEPS = st.lists(st.tuples(st.integers(1, 4), st.lists(st.sampled_from([0, 3, 5, None]), max_size=4)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_segments_however_few_give_a_curve_between_0_and_1_or_none(trials: list[tuple[int, list[int | None]]]) -> None:
    rows = [
        {"model": "m", "condition": "c", "trial": str(k), "step": step + 1, "steps": steps, "score": score}
        for k, (steps, scores) in enumerate(trials)
        for step, score in enumerate(scores[:steps])
    ]
    steps = pl.DataFrame(rows, schema={"model": pl.String, "condition": pl.String, "trial": pl.String,
                                       "step": pl.Int64, "steps": pl.Int64, "score": pl.Int64})  # fmt: skip
    honest("survival", analysis.survival(steps))
    honest("turning", analysis.turning(steps))
