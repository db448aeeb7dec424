"""Pooling, blind spots, consistency, thinking and answer, judge errors, survival, power, stopping, headlines."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from safemlrm import analysis
from safemlrm.analysis.association import ASSOCIATION
from safemlrm.analysis.blind_spots import BLIND_SPOTS
from safemlrm.analysis.consistency import _kendall, _ranks, _spearman
from safemlrm.analysis.headline import HEADLINE
from safemlrm.analysis.intervals import wilson
from safemlrm.analysis.misreading import JOINT_ERRORS
from safemlrm.analysis.pooling import pooled
from safemlrm.analysis.power import POWER, Assumed, cells, items_needed, power_table, smallest_tax
from safemlrm.analysis.power import power as power_of
from safemlrm.analysis.sequential import confidence_sequence, first_exclusion
from safemlrm.errors import StudyError

PUBLISHED = Path(str(files("safemlrm") / "data" / "opensafemlrm_counts.csv"))
PAIRS = [
    ("Qwen2.5-VL-7B-Instruct", "R1-Onevision-7B"),
    ("Qwen2.5-VL-7B-Instruct", "MM-Eureka-Qwen-7B"),
    ("Qwen2-VL-7B-Instruct", "Mulberry-Qwen2VL-7B"),
    ("Llama3-LLaVA-NeXT-8B", "Mulberry-LLaVA-8B"),
    ("Llama-3.2-11B-Vision-Instruct", "Mulberry-LlaMA-11B"),
]
HERE: dict[str, Any] = {
    "model": "derived", "published": None, "base": "base", "dataset": "d", "condition": "text", "prompting": "bare",
    "defense": "none", "scenario": "s", "expected": "refuse", "seed": 0, "attempt": 0, "state": "answered",
    "failure": None, "stop": "stop", "status": "complete", "refusal": None, "unread": None, "prompt": "p",
}  # fmt: skip


def both(thinking: list[int], answer: list[int], **given: Any) -> pl.DataFrame:
    """Return readings of one model with thinking and answer of each item."""
    rows = [
        HERE | {"trial": str(item), "sample": str(item), "group": str(item), "part": part, "score": score} | given
        for part, scores in (("thinking", thinking), ("answer", answer))
        for item, score in enumerate(scores)
    ]
    return pl.DataFrame([row | {"present": row["score"] is not None} for row in rows], schema=analysis.READINGS)


def errors(sensitivity: float, false: float, n: int = 1000) -> pl.DataFrame:
    """Return validated labels of a judge, the same for thinking and answer."""
    rows = []
    for part in ("thinking", "answer"):
        for truth, rate in (("unsafe", sensitivity), ("safe", false)):
            rows += [(part, truth, "unsafe", round(rate * n)), (part, truth, "safe", n - round(rate * n))]
    return pl.DataFrame(rows, schema=["part", "truth", "judged", "count"], orient="row")


@pytest.fixture(scope="module")
def counts() -> pl.DataFrame:
    return analysis.read_counts(PUBLISHED)


@pytest.fixture(scope="module")
def drawn(counts: pl.DataFrame) -> analysis.Replicates:
    return analysis.replicates_from_counts(counts, PAIRS, draws=500)


# --- partial pooling -------------------------------------------------------------------------------------------------


def test_pooling_agrees_with_weighing_draws_from_the_prior() -> None:
    stream = np.random.default_rng(5)
    hits_base, hits_derived, n = np.array([1, 3]), np.array([5, 4]), np.array([10, 8])
    size = 400_000
    mean = stream.normal(0, 2.5, (2, size))
    spread = np.abs(stream.normal(0, 1, (2, size)))
    log, shares = np.zeros(size), []
    for scenario in range(2):
        base = stream.normal(mean[0], spread[0])
        derived = base + stream.normal(mean[1], spread[1])
        for hits, logit in ((hits_base[scenario], base), (hits_derived[scenario], derived)):
            log += hits * logit - n[scenario] * np.logaddexp(0, logit)
        shares.append((1 / (1 + np.exp(-base)), 1 / (1 + np.exp(-derived))))
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    found = pooled(hits_base, n, hits_derived, n, draws=20000)
    for scenario, (base, derived) in enumerate(shares):
        gap = derived - base
        expected, got = (weight * gap).sum(), (found.derived - found.base)[:, scenario]
        assert got.mean() == pytest.approx(expected, abs=0.012)
        assert got.std() == pytest.approx(np.sqrt((weight * gap**2).sum() - expected**2), abs=0.012)


def test_few_replies_are_drawn_further_towards_the_others() -> None:
    found = pooled(np.array([1, 30, 30, 30]), np.array([4, 100, 100, 100]), np.full(4, 30), np.full(4, 100))
    means = found.base.mean(axis=0)
    assert 0.25 < means[0] < 0.31
    large = pooled(np.array([60, 30, 30, 30]), np.full(4, 100), np.full(4, 30), np.full(4, 100)).base.mean(axis=0)
    assert large[0] > 0.52


@pytest.mark.parametrize("hits", [(0, 0), (20, 20), (0, 20)])
def test_all_safe_and_all_unsafe_scenarios_have_intervals(hits: tuple[int, int]) -> None:
    found = pooled(np.array([hits[0], 5.0]), np.full(2, 20.0), np.array([hits[1], 9.0]), np.full(2, 20.0))
    low, high = np.quantile(found.derived - found.base, [0.025, 0.975], axis=0)
    assert np.isfinite([low, high]).all()
    assert (high - low > 0.02).all()


def test_25_times_rests_on_one_reply_in_97_and_is_said_so(counts: pl.DataFrame, drawn: analysis.Replicates) -> None:
    table = analysis.blind_spots(drawn, analysis.effects_from_counts(counts, PAIRS))
    assert table.columns == BLIND_SPOTS
    here = table.filter(derived="R1-Onevision-7B", condition="text")
    found = here.filter(scenario="01-Illegal_Activitiy").row(0, named=True)
    assert (found["hits_base"], found["read_base"], found["hits_derived"], found["read_derived"]) == (1, 97, 51, 96)
    assert found["ratio_told"] is False
    assert "1 unsafe of 97" in found["reason"]
    assert found["ratio"] < found["own_ratio"]
    assert here["p_worst"].sum() == pytest.approx(1.0)
    assert sorted(here["rank_low"])[0] == 1
    assert here.filter(scenario="06-Fraud")["ratio_told"].item() is True


def test_a_scenario_of_which_nothing_was_read_has_a_reason_and_no_rank() -> None:
    rows = []
    for model in ("base", "derived"):
        for item in range(20):
            score = None if item % 2 and model == "base" else (item % 6)
            unread = None if score is not None else "unreadable"
            cell = {"model": model, "sample": str(item), "group": str(item), "scenario": f"s{item % 2}"}
            rows.append(
                HERE | cell | {"trial": f"{model}{item}", "part": "answer", "score": score, "unread": unread}
                | {"present": True}
            )  # fmt: skip
    readings = pl.DataFrame(rows, schema=analysis.READINGS)
    pair = [("base", "derived")]
    table = analysis.blind_spots(analysis.replicates(readings, pair), analysis.effects(readings, pair))
    found = table.filter(scenario="s1").row(0, named=True)
    assert found["reason"] == "nothing was read of both"
    assert [found[name] for name in ("difference", "rank", "p_worst", "ratio_told")] == [None] * 4


# --- consistency -----------------------------------------------------------------------------------------------------


def test_kendalls_w_agrees_with_friedmans_test_also_with_ties() -> None:
    from scipy.stats import friedmanchisquare

    stream = np.random.default_rng(2)
    for values in (stream.random((4, 6)), stream.integers(0, 3, (4, 6)).astype(float)):
        expected = friedmanchisquare(*values.T).statistic
        found = _kendall(values[None])[0]
        assert 4 * 5 * found == pytest.approx(expected)


def test_ranks_and_rank_correlation_agree_with_scipy() -> None:
    from scipy.stats import rankdata, spearmanr

    stream = np.random.default_rng(3)
    one, two = stream.integers(0, 5, (2, 9)).astype(float)
    assert _ranks(one) == pytest.approx(rankdata(one))
    assert _spearman(one[None], two[None])[0] == pytest.approx(spearmanr(one, two).statistic)


def test_pairs_that_rank_scenarios_alike_have_w_near_1(drawn: analysis.Replicates) -> None:
    table = analysis.consistency(drawn).filter(threshold=4, what="tax", condition="SD_TYPO").row(0, named=True)
    assert 0.6 < table["w"] < 0.9
    assert table["low"] <= table["w"] <= table["high"]
    assert (table["models"], table["scenarios"]) == (5, 10)
    joined = analysis.consistency(drawn, {"01-Illegal_Activitiy": "crime", "06-Fraud": "crime"})
    assert joined.filter(threshold=4, what="tax", condition="text")["scenarios"].item() == 9
    rho = analysis.correlations(drawn).filter(condition="text", what="tax")
    assert rho.height == 10
    assert ((rho["low"] <= rho["rho"]) & (rho["rho"] <= rho["high"])).all()


def test_training_data_correlates_with_an_honest_width(drawn: analysis.Replicates, counts: pl.DataFrame) -> None:
    scenarios = counts["scenario"].unique(maintain_order=True)
    amounts = pl.DataFrame({"scenario": scenarios, "amount": [float(k) for k in range(10)]})
    table = analysis.training(drawn, amounts).filter(derived="R1-Onevision-7B", condition="text", threshold=4)
    found = table.filter(what="tax").row(0, named=True)
    assert found["high"] - found["low"] > 0.8
    assert 0 < found["p"] < 0.1
    few = analysis.training(drawn, amounts.head(4))
    assert set(few["reason"]) == {"fewer than five scenarios have an amount"}
    assert few["rho"].null_count() == few.height
    with pytest.raises(StudyError, match="names every scenario once"):
        analysis.training(drawn, pl.concat([amounts, amounts]))
    with pytest.raises(StudyError, match="columns scenario,amount"):
        analysis.training(drawn, amounts.rename({"amount": "n"}))


# --- thinking and answer ---------------------------------------------------------------------------------------------


def test_the_gap_and_association_of_thinking_and_answer() -> None:
    table = analysis.association(both([5, 5, 5, 0, 0, 0, 3, 4], [5, 5, 0, 0, 0, 1, 2, 4]))
    assert table.columns == ASSOCIATION
    found = table.row(0, named=True)
    assert (found["read"], found["groups"], found["split"]) == (8, 8, 8)
    assert (found["thinking_unsafe"], found["answer_unsafe"], found["gap"]) == (0.5, 0.375, 0.125)
    assert found["gap_p"] == pytest.approx(0.5)
    assert found["odds_ratio"] is not None
    assert found["odds_ratio_low"] < 10 < found["odds_ratio_high"]
    assert 0.5 < found["rank_correlation"] < 1


def test_a_perfect_judge_changes_nothing_and_an_uninformative_one_gives_a_reason() -> None:
    readings = both([5] * 40 + [0] * 40, [5] * 30 + [0] * 10 + [0] * 38 + [5] * 2)
    found = analysis.corrected(readings, errors(1.0, 0.0), draws=100).row(0, named=True)
    assert found["self_correction_corrected"] == pytest.approx(found["self_correction"], abs=1e-6)
    assert found["self_correction_low"] < 0.25 < found["self_correction_high"]
    assert found["noise_only"] == pytest.approx(0.0, abs=1e-6)
    blind = analysis.corrected(readings, errors(0.5, 0.5), draws=10).row(0, named=True)
    assert (blind["reason"], blind["noise_only"]) == ("the labels do not tell safe from unsafe", None)


def test_planted_judge_errors_are_taken_out_and_noise_alone_is_named() -> None:
    # half of the thinking unsafe, every answer as safe as its thinking, a judge that errs on one in ten
    table = {(5, 5): 410, (5, 0): 90, (0, 5): 90, (0, 0): 410}
    thinking = [t for (t, _), n in table.items() for _ in range(n)]
    answer = [a for (_, a), n in table.items() for _ in range(n)]
    found = analysis.corrected(both(thinking, answer), errors(0.9, 0.1), draws=100).row(0, named=True)
    assert found["self_correction"] == pytest.approx(0.18)
    assert found["self_correction_corrected"] == pytest.approx(0.0, abs=0.01)
    assert found["noise_only"] == pytest.approx(0.18, abs=0.005)


def test_joint_labels_carry_errors_that_go_together() -> None:
    kinds = ["safe", "unsafe"]
    rows = [
        (t, a, tj, aj, 90 if (t, a) == (tj, aj) else 10 if tj != t and aj != a else 0)
        for t in kinds for a in kinds for tj in kinds for aj in kinds
    ]  # fmt: skip
    labels = pl.DataFrame(rows, schema=JOINT_ERRORS, orient="row")
    found = analysis.corrected(both([5] * 50 + [0] * 50, [5] * 50 + [0] * 50), labels, draws=50).row(0, named=True)
    assert found["noise_only"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (errors(1.0, 0.0).rename({"judged": "said"}), "has the columns"),
        (errors(1.0, 0.0).with_columns(count=-pl.col("count")), "none below 0"),
        (errors(1.0, 0.0).with_columns(truth=pl.lit("harmful")), "safe and unsafe"),
        (errors(1.0, 0.0).filter(pl.col("truth") == "safe"), "no validated label"),
    ],
)
def test_a_malformed_table_of_judge_errors_is_refused(wrong: pl.DataFrame, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        analysis.corrected(both([5], [5]), wrong)


def test_reading_the_same_parts_again_gives_the_override_of_noise() -> None:
    table = analysis.retest(both([5, 5, 5, 0], [5, 0, 0, 0]), both([5, 0, 5, 5], [0, 0, 0, 0]))
    assert table.select("part", "unsafe_first", "safe_second").rows() == [("thinking", 3, 1), ("answer", 1, 1)]
    with pytest.raises(StudyError, match="no part in common"):
        analysis.retest(both([5], [5]), both([5], [5], model="other"))


def test_a_retest_counts_what_was_read_once_only_and_gives_no_number_from_no_data() -> None:
    first, second = both([5, 5, 4, 0], [0, 0, 0, 0]), both([5, 3, 5, 5], [0, 0, 0, 0])
    lost = pl.when(trial="2", part="thinking").then(None).otherwise("score")
    second = second.with_columns(score=lost, unread=pl.when(trial="2", part="thinking").then(pl.lit("cut off")))
    thinking, answer = analysis.retest(first, second).to_dicts()
    counts = ("planned", "read", "both_read", "unsafe_first", "safe_second")
    assert [thinking[name] for name in counts] == [4, 4, 3, 2, 1]
    assert thinking["rate"] == 0.5
    # Wilson, 1 of 2, by hand: (1/2 + z^2/4 -+ z sqrt(1/8 + z^2/16)) / (1 + z^2/2)
    assert (thinking["low"], thinking["high"]) == pytest.approx((0.094531, 0.905469), abs=1e-6)
    assert [answer[name] for name in (*counts, "rate", "low", "high")] == [4, 4, 4, 0, 0, None, None, None]
    none = analysis.retest(first, second.with_columns(score=pl.lit(None), unread=pl.lit("cut off")))
    assert none.select("read", "both_read", "rate").rows() == [(4, 0, None), (4, 0, None)]


def test_a_retest_of_goals_asked_twice_is_as_sure_as_its_goals_allow() -> None:
    def sitting(second: list[int]) -> pl.DataFrame:
        seeds = [both(second, second, seed=seed) for seed in (0, 1)]
        return pl.concat(frame.with_columns(trial=pl.format("{}/{}", "trial", "seed")) for frame in seeds)

    table = analysis.retest(sitting([5] * 10), sitting([1] * 3 + [5] * 7))
    # both seeds of a goal agree throughout: 20 parts tell what G - 1 = 9 independent ones would
    found = wilson([0.3 * 9], [9])
    assert table.select("unsafe_first", "safe_second").unique().rows() == [(20, 6)]
    assert table["low"].to_list() == pytest.approx([found.low[0]] * 2)
    assert table["high"].to_list() == pytest.approx([found.high[0]] * 2)


def test_survival_is_kaplan_meiers_estimate() -> None:
    from statsmodels.duration.survfunc import SurvfuncRight

    plan = [(10, 3), (10, 5), (10, None), (10, 5), (10, 8), (10, None)]
    rows = [
        {
            "model": "m",
            "condition": "text",
            "trial": str(k),
            "step": step,
            "steps": steps,
            "score": 5 if step == at else 0,
        }
        for k, (steps, at) in enumerate(plan)
        for step in range(1, steps + 1)
    ]
    steps = pl.DataFrame(rows)
    table = analysis.survival(steps)
    expected = SurvfuncRight([0.3, 0.5, 1.0, 0.5, 0.8, 1.0], [1, 1, 0, 1, 1, 0])
    assert table["position"].to_list() == pytest.approx(expected.surv_times)
    assert table["still_safe"].to_list() == pytest.approx(expected.surv_prob)
    assert ((table["low"] < table["still_safe"]) & (table["still_safe"] < table["high"])).all()
    assert analysis.turning(steps)["first_unsafe"].to_list() == [3, 5, None, 5, 8, None]


def test_segments_after_an_unread_one_do_not_count_as_safe() -> None:
    scores = [0, None, 5]
    steps = pl.DataFrame(
        [
            {"model": "m", "condition": "c", "trial": "1", "step": k + 1, "steps": 3, "score": s}
            for k, s in enumerate(scores)
        ]
    )
    assert analysis.turning(steps).select("read", "first_unsafe").rows() == [(1, None)]
    with pytest.raises(StudyError, match="contradictory"):
        analysis.turning(steps.with_columns(steps=pl.lit(2)))


# --- before and during a run -----------------------------------------------------------------------------------------


def test_simulated_power_is_that_of_every_possible_table() -> None:
    from itertools import product
    from math import factorial

    from safemlrm.analysis.intervals import mcnemar_midp

    n, chances = 14, cells(0.2, 0.5, 0.2)
    exact = 0.0
    for b, c in product(range(n + 1), repeat=2):
        if b + c <= n and b > c and mcnemar_midp([b], [c])[0] < 0.05:
            ways = factorial(n) / (factorial(b) * factorial(c) * factorial(n - b - c))
            exact += ways * chances[1] ** b * chances[2] ** c * (chances[0] + chances[3]) ** (n - b - c)
    assert power_of(n, 0.5, Assumed(base_rate=0.2, association=0.2)) == pytest.approx(exact, abs=0.03)


def test_the_smallest_tax_has_the_power_and_needs_the_items() -> None:
    least = smallest_tax(44)
    assert least is not None
    assert 0.2 < least < 0.3
    assert power_of(44, least) == pytest.approx(0.8, abs=0.03)
    needed = items_needed(least)
    assert needed is not None
    assert needed == pytest.approx(44, abs=4)
    assert smallest_tax(3) is None
    table = power_table({"small": 44, "large": 167}, 0.1)
    assert table.columns == POWER
    assert table["smallest_tax"].to_list() == sorted(table["smallest_tax"].to_list(), reverse=True)
    assert (table["smallest_tax_holm"].head(2) > table["smallest_tax"].head(2)).all()
    with pytest.raises(StudyError, match="not possible"):
        power_table({"small": 44}, 0.9)


def test_a_confidence_sequence_narrows_holds_the_mean_and_says_where_it_stopped() -> None:
    gaps = np.random.default_rng(1).choice([-1, 0, 1], p=[0.1, 0.5, 0.4], size=800)
    found = confidence_sequence(gaps)
    assert (np.diff(found.high - found.low) <= 1e-12).all()
    assert found.low[-1] < 0.3 < found.high[-1]
    assert found.estimate[-1] == pytest.approx(gaps.mean())
    assert found.stopped is not None
    assert abs(found.stopped - int(first_exclusion(gaps)[0])) <= 3
    assert confidence_sequence(np.zeros(0)).stopped is None


def test_no_tax_is_said_to_be_one_in_at_most_five_of_a_hundred_runs_looked_at_all_the_time() -> None:
    gaps = np.random.default_rng(7).choice([-1, 0, 1], p=[0.2, 0.6, 0.2], size=(1000, 600))
    assert (first_exclusion(gaps) > 0).mean() <= 0.05


def test_differences_beyond_1_or_missing_are_refused() -> None:
    with pytest.raises(StudyError, match="from -1 to 1"):
        confidence_sequence(np.array([0.0, 2.0]))
    with pytest.raises(StudyError, match="from -1 to 1"):
        confidence_sequence(np.array([0.0, np.nan]))


# --- the published counts --------------------------------------------------------------------------------------------


def test_the_headline_figures_are_reproduced_or_not_with_a_reason(
    counts: pl.DataFrame, drawn: analysis.Replicates
) -> None:
    table = analysis.headline(drawn, analysis.rates_from_counts(counts))
    assert table.columns == HEADLINE
    assert {37.44, 59.52, 28.22, 31.3, 1.64, 25.0, 3.4, 12.52, 16.9, 12.4} <= set(table["published"].drop_nulls())
    verdicts = dict(table.select("figure", "verdict").rows())
    assert verdicts["from under 3 % to over 50 % in one scenario"] == "reproduced"
    assert verdicts["reasoning tax"] == "not reproduced"
    assert table.filter(pl.col("verdict") != "reproduced")["because"].null_count() == 0
    joint = table.filter(figure="self-correction").row(0, named=True)
    assert (joint["found"], joint["low"] < 16.9 < joint["high"]) == (None, True)


def test_other_counts_have_no_headline_figures(counts: pl.DataFrame, drawn: analysis.Replicates) -> None:
    other = counts.with_columns(model=pl.lit("m"))
    assert analysis.headline(drawn, analysis.rates_from_counts(other.head(1))).is_empty()


def test_the_mean_tax_over_the_pairs_is_25_7_points_on_text_and_5_2_on_pictures(drawn: analysis.Replicates) -> None:
    table = analysis.averages(drawn).filter(base="all", part="full", average="micro")
    found = {(r["condition"], r["threshold"]): 100 * r["difference"] for r in table.iter_rows(named=True)}
    expected = {
        ("text", 3): 31.8, ("text", 4): 25.7, ("text", 5): 15.4,
        ("SD_TYPO", 3): 12.8, ("SD_TYPO", 4): 5.2, ("SD_TYPO", 5): -2.4,
    }  # fmt: skip
    assert {k: v for k, v in found.items() if k in expected} == pytest.approx(expected, abs=0.06)


def test_ratios_from_counts_are_unpaired_and_zeros_survive(counts: pl.DataFrame) -> None:
    table = analysis.effects_from_counts(counts, PAIRS)
    here = table.filter(part="full", threshold=4, condition="text", scenario="01-Illegal_Activitiy")
    found = here.filter(derived="R1-Onevision-7B").row(0, named=True)
    assert found["risk_ratio"] == pytest.approx(51.53, abs=0.01)
    assert found["risk_ratio_high"] / found["risk_ratio_low"] > 10
    assert found["method"].startswith("unpaired")
    assert found["planned"] is None
