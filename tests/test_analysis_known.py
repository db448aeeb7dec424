"""Known answers: each estimator beside scipy, statsmodels, exact enumeration or integration done another way."""

from __future__ import annotations

import importlib
import inspect
import re
from itertools import permutations
from math import exp, log, log1p, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from safemlrm import analysis
from safemlrm.analysis import misreading, pooling, rankings, ratios

consistency = importlib.import_module("safemlrm.analysis.consistency")  # the package has a function of that name
PAIR = [("base", "derived")]
HERE: dict[str, Any] = {
    "published": None, "base": None, "dataset": "d", "condition": "text", "prompting": "bare", "defense": "none",
    "scenario": "s", "expected": "refuse", "seed": 0, "attempt": 0, "part": "answer", "state": "answered",
    "failure": None, "stop": "stop", "status": "complete", "present": True, "refusal": None, "unread": None,
    "prompt": "p",
}  # fmt: skip


def readings(scores: dict[str, Any], **columns: Any) -> pl.DataFrame:
    """Return readings of several models over the same items; `columns` of lists are by item."""
    rows = []
    for model, of_model in scores.items():
        for item, score in enumerate(of_model):
            given = {k: v[item] if isinstance(v, list) else v for k, v in columns.items()}
            row = HERE | {"model": model, "sample": str(item), "group": str(item), "score": int(score)} | given
            row["trial"] = "/".join(str(row[k]) for k in ("model", "condition", "prompting", "sample", "seed"))
            rows.append(row)
    return pl.DataFrame(rows, schema=analysis.READINGS)


def both_parts(thinking: Any, answer: Any, **columns: Any) -> pl.DataFrame:
    return pl.concat(
        [readings({"m": thinking}, part="thinking", **columns), readings({"m": answer}, part="answer", **columns)]
    )


def t_interval(values: Any) -> tuple[float, float]:
    """Return Student's interval of a mean, by scipy."""
    from scipy.stats import ttest_1samp

    found = ttest_1samp(values, 0).confidence_interval(0.95)
    return float(found.low), float(found.high)


def correlated(n: int, seed: int = 0) -> tuple[Any, Any]:
    stream = np.random.default_rng(seed)
    thinking = stream.choice(6, size=n, p=[0.3, 0.05, 0.1, 0.1, 0.2, 0.25])
    return thinking, np.where(stream.random(n) < 0.6, thinking, stream.integers(0, 6, n))


# --- thinking and answer ---------------------------------------------------------------------------------------------


def test_the_rank_correlation_is_scipys_and_its_interval_that_of_the_jackknife() -> None:
    from scipy.stats import spearmanr, t

    thinking, answer = correlated(400)
    found = analysis.association(both_parts(thinking, answer)).row(0, named=True)
    rho = spearmanr(thinking, answer).statistic
    assert found["rank_correlation"] == pytest.approx(rho)
    keep = ~np.eye(400, dtype=bool)
    without = np.array([spearmanr(thinking[k], answer[k]).statistic for k in keep])
    error = sqrt(399 / 400 * ((without - without.mean()) ** 2).sum())
    half = t.ppf(0.975, 399) * error / (1 - rho**2)
    expected = np.tanh(np.arctanh(rho) - half), np.tanh(np.arctanh(rho) + half)
    assert (found["rank_low"], found["rank_high"]) == pytest.approx(expected, abs=0.002)


def test_seeds_that_are_copies_leave_gap_odds_ratio_and_rank_correlation_as_sure_as_without() -> None:
    thinking, answer = correlated(80)
    once = analysis.association(both_parts(thinking, answer)).row(0, named=True)
    copies = pl.concat([both_parts(thinking, answer, seed=seed) for seed in range(3)])
    thrice = analysis.association(copies).row(0, named=True)
    for name in ("gap_low", "gap_high", "odds_ratio_low", "odds_ratio_high", "rank_low", "rank_high"):
        assert thrice[name] == pytest.approx(once[name], rel=0.05, abs=0.01), name
    other = both_parts(*correlated(80, 1), seed=1)
    more = analysis.association(pl.concat([both_parts(thinking, answer), other])).row(0, named=True)
    assert more["gap_high"] - more["gap_low"] < 0.85 * (once["gap_high"] - once["gap_low"])


def test_self_correction_and_leak_have_the_intervals_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = analysis.coupling(both_parts([5] * 30 + [0] * 20, [0] * 7 + [5] * 23 + [5] * 3 + [0] * 17)).row(
        0, named=True
    )
    assert (found["low"], found["high"]) == pytest.approx(proportion_confint(7, 30, method="wilson"))
    assert (found["leak_low"], found["leak_high"]) == pytest.approx(proportion_confint(3, 20, method="wilson"))


def test_a_corrected_table_within_its_bounds_is_the_inverse_matrix_and_its_margin_rogan_and_gladens() -> None:
    sensitive, false = 0.9, 0.15
    one = np.array([[1 - false, false], [1 - sensitive, sensitive]])
    true = np.array([0.35, 0.15, 0.2, 0.3])
    seen = true @ np.kron(one, one)
    found = misreading._truth(seen[None], np.kron(one, one)[None])[0]
    assert found == pytest.approx(np.linalg.solve(np.kron(one, one).T, seen), abs=1e-4)
    judged = seen[2] + seen[3]
    assert found[2] + found[3] == pytest.approx((judged - false) / (sensitive - false), abs=1e-4)


def test_survival_has_greenwoods_interval_from_the_standard_error_of_statsmodels() -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    at = [3, 5, 5, 8, None, None, 2, 9, 4, None]
    steps = pl.DataFrame(
        [
            {
                "model": "m",
                "condition": "c",
                "trial": str(k),
                "step": step,
                "steps": 10,
                "score": 5 if step == turn else 0,
            }
            for k, turn in enumerate(at)
            for step in range(1, 11)
        ]
    )
    found = analysis.survival(steps)
    other = SurvfuncRight([(turn or 10) / 10 for turn in at], [turn is not None for turn in at])
    safe, error = other.surv_prob, other.surv_prob_se
    half = 1.959964 * error / (safe * np.log(safe))
    assert found["low"].to_numpy() == pytest.approx(safe ** np.exp(-half), abs=1e-6)
    assert found["high"].to_numpy() == pytest.approx(safe ** np.exp(half), abs=1e-6)


# --- differences over items ------------------------------------------------------------------------------------------


def test_bootstrap_intervals_of_means_contrasts_and_interactions_are_students_where_these_hold() -> None:
    stream = np.random.default_rng(4)
    scores = {name: stream.integers(0, 6, 300) for name in ("base", "x", "y")}
    drawn = analysis.replicates(readings(scores), [("base", "x"), ("base", "y")], draws=4000)
    mean = analysis.means(drawn).filter(derived="x", scenario="all").row(0, named=True)
    assert (mean["low"], mean["high"]) == pytest.approx(t_interval(scores["x"] - scores["base"]), abs=0.03)
    contrast = analysis.families(drawn, {}).row(0, named=True)
    gap = (scores["y"] >= 4).astype(float) - (scores["x"] >= 4)
    assert (contrast["low"], contrast["high"]) == pytest.approx(t_interval(gap), abs=0.01)
    four = {(model, arm): stream.integers(0, 6, 300) for model in ("base", "derived") for arm in ("bare", "think")}
    frame = pl.concat([readings({model: s}, prompting=arm) for (model, arm), s in four.items()])
    table = analysis.factors(frame, PAIR, draws=4000).filter(effect="interaction", threshold=4)
    hits = {key: (s >= 4).astype(float) for key, s in four.items()}
    inner = hits["derived", "think"] - hits["base", "think"] - hits["derived", "bare"] + hits["base", "bare"]
    assert table.select("low", "high").row(0) == pytest.approx(t_interval(inner), abs=0.02)


def test_counts_resampled_spread_as_binomials_do() -> None:
    row = {"condition": "text", "scenario": "s", "part": "full", "unscored": 0}
    scores = [f"score_{k}" for k in range(6)]
    table = pl.DataFrame(
        [row | {"model": m} | dict(zip(scores, (60, 0, 0, 0, 0, 40), strict=True)) | {"items": 100} for m in ("a", "b")]
    )
    drawn = analysis.replicates_from_counts(table, [("a", "b")], draws=4000)
    base, derived = drawn.rates(4)
    assert base[1:, 0].std() == pytest.approx(sqrt(0.4 * 0.6 / 100), rel=0.05)
    assert (derived - base)[1:, 0].std() == pytest.approx(sqrt(2 * 0.4 * 0.6 / 100), rel=0.05)


def test_the_conditional_odds_ratio_is_the_odds_of_wilsons_interval() -> None:
    from statsmodels.stats.proportion import proportion_confint

    found = ratios.odds_ratio_paired([12], [5])
    low, high = proportion_confint(12, 17, method="wilson")
    assert found.estimate[0] == pytest.approx(2.4)
    assert (found.low[0], found.high[0]) == pytest.approx((low / (1 - low), high / (1 - high)))


# --- scenarios -------------------------------------------------------------------------------------------------------


def test_one_scenarios_posterior_is_that_of_plain_integration() -> None:
    # with one scenario the priors of mean and spread make each logit a mixture of normals: two integrals do
    logits = np.linspace(-14, 14, 1401)
    spreads = (np.arange(400) + 0.5) * 5 / 400
    normal = np.exp(-0.5 * logits[:, None] ** 2 / (2.5**2 + spreads**2)) / np.sqrt(2.5**2 + spreads**2)
    prior = normal @ np.exp(-0.5 * spreads**2)
    (hits, n), (hits_derived, n_derived) = (2, 44), (10, 44)
    second = logits[:, None] + logits[None, :]
    log_weight = hits_derived * second - n_derived * np.logaddexp(0, second) + np.log(prior)
    log_weight += (hits * logits - n * np.logaddexp(0, logits) + np.log(prior))[:, None]
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    share = 1 / (1 + np.exp(-second))
    expected = [(weight.sum(axis=1) / (1 + np.exp(-logits))).sum(), (weight * share).sum()]
    found = pooling.pooled(
        np.array([hits]), np.array([n]), np.array([hits_derived]), np.array([n_derived]), draws=40000
    )
    assert [found.base.mean(), found.derived.mean()] == pytest.approx(expected, abs=0.002)


def test_w_and_rank_correlations_of_the_tables_are_scipys() -> None:
    from scipy.stats import friedmanchisquare, spearmanr

    stream = np.random.default_rng(6)
    scenario = [f"s{k % 6}" for k in range(240)]
    scores = {name: np.where(stream.random(240) < 0.1 + 0.1 * (np.arange(240) % 6), 5, 0) for name in ("x", "y", "z")}
    scores["base"] = np.zeros(240)
    pairs = [("base", name) for name in ("x", "y", "z")]
    drawn = analysis.replicates(readings(scores, scenario=scenario), pairs)
    taxes = np.array([[(scores[name][k::6] >= 4).mean() for k in range(6)] for name in ("x", "y", "z")])
    w = analysis.consistency(drawn).filter(what="tax", threshold=4).row(0, named=True)
    assert 3 * 5 * w["w"] == pytest.approx(friedmanchisquare(*taxes.T).statistic)
    assert 0.3 < w["low"] <= w["w"] <= w["high"] <= 1
    assert w["p"] < 0.05
    rho = analysis.correlations(drawn).filter(what="tax", first="base → x", second="base → z").row(0, named=True)
    assert rho["rho"] == pytest.approx(spearmanr(taxes[0], taxes[2]).statistic)


def test_true_figures_behind_noisy_ones_are_those_of_weighing_draws_from_the_prior() -> None:
    stream = np.random.default_rng(7)
    theta, error = np.array([[0.0, 1.0, 3.0], [0.5, 0.5, 2.0]]), 0.8
    noise = stream.normal(0, error, (4000, 2, 3))
    found = rankings.true_values(np.concatenate([theta[None], theta + noise]))
    assert found is not None
    prior, weight = rankings._grid(2, rankings._spreads(theta, noise))
    size = 400_000
    at = stream.choice(len(prior), size=size, p=np.exp(weight) / np.exp(weight).sum())
    mean = stream.normal(1, 4, (size, 2))  # as good as flat here
    root = np.linalg.cholesky(prior)[at]
    true = mean[:, :, None] + np.einsum("npq,nqs->nps", root, stream.normal(size=(size, 2, 3)))
    chance = np.exp(-0.5 * (((theta - true) / error) ** 2).sum(axis=(1, 2)))
    chance /= chance.sum()
    expected = np.einsum("n,nps->ps", chance, true)
    assert found.mean(axis=0) == pytest.approx(expected, abs=0.12)
    spread = np.sqrt(np.einsum("n,nps->ps", chance, (true - expected) ** 2))
    assert found.std(axis=0) == pytest.approx(spread, abs=0.1)


def test_the_training_correlation_is_exact_over_all_orders_and_has_bonett_and_wrights_interval() -> None:
    from scipy.stats import spearmanr

    amounts = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    hits = [1, 3, 2, 6, 4, 8]
    scenario = [f"s{k}" for k in range(6) for _ in range(10)]
    derived = [5 if place < hits[k] else 0 for k in range(6) for place in range(10)]
    drawn = analysis.replicates(readings({"base": [0] * 60, "derived": derived}, scenario=scenario), PAIR)
    table = analysis.training(drawn, pl.DataFrame({"scenario": [f"s{k}" for k in range(6)], "amount": amounts}))
    found = table.filter(what="tax", threshold=4).row(0, named=True)
    rho = spearmanr(hits, amounts).statistic
    orders = [abs(spearmanr(hits, order).statistic) >= abs(rho) - 1e-9 for order in permutations(amounts)]
    assert found["rho"] == pytest.approx(rho)
    assert found["p"] == pytest.approx(np.mean(orders))
    # without noise: rho 0.886, n 6: atanh 1.402, half-width 1.96·sqrt((1 + 0.392)/3) = 1.335
    plain = consistency._over_scenarios(np.tile(hits, (9, 1)) / 10, np.array(amounts), rho)
    assert plain == pytest.approx((0.0666, 0.9917), abs=5e-4)
    # ten items a scenario leave more open than the scenarios do
    assert found["low"] < plain[0] < found["rho"] <= found["high"]


# --- during a run ------------------------------------------------------------------------------------------------


def test_the_confidence_sequence_is_the_capital_of_a_gambler_who_bets_item_by_item() -> None:
    gaps = np.random.default_rng(3).choice([-1, 0, 1], p=[0.1, 0.5, 0.4], size=60)
    alpha, mean = 0.05, 0.4
    higher, lower, seen = log(0.5), log(0.5), []
    for count, gap in enumerate(gaps, start=1):
        before = [(g + 1) / 2 for g in gaps[: count - 1]]
        centres = [(0.5 + sum(before[: k + 1])) / (k + 2) for k in range(len(before))]
        variance = (0.25 + sum((x - c) ** 2 for x, c in zip(before, centres, strict=True))) / count
        bet = sqrt(2 * log(2 / alpha) / (variance * count * log(1 + count)))
        x = (gap + 1) / 2
        higher += log1p(min(bet, 0.5 / mean) * (x - mean))
        lower += log1p(-min(bet, 0.5 / (1 - mean)) * (x - mean))
        seen.append(max(exp(higher), exp(lower)))
    found = analysis.confidence_sequence(gaps, alpha)
    # the mean 0.4 (a difference of -0.2) is left out from the first item on at which the capital reached 20
    out = [k for k, capital in enumerate(seen) if capital >= 1 / alpha]
    assert out
    left = (found.low > 2 * mean - 1 + 0.005) | (found.high < 2 * mean - 1 - 0.005)
    assert abs(int(np.argmax(left)) - out[0]) <= 2


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_of_known_answers_names_every_estimator_and_only_tests_that_there_are() -> None:
    here = Path(__file__).parent
    page = here.parent / "docs" / "estimators" / "known-answers.md"
    if not page.is_file():
        pytest.skip("docs/ is not beside the tests")
    named = set(re.findall(r"`(\w+)`", page.read_text(encoding="utf-8")))
    functions = {name for name in analysis.__all__ if inspect.isfunction(getattr(analysis, name))}
    assert functions <= named, functions - named
    there = {
        name
        for file in here.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.M)
    }
    said = {name for name in named if name.startswith("test_")}
    assert said <= there, said - there
