"""Ratios, resampling, clusters, averages, decomposition, factors: known answers, exact enumeration, planted effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readings import frame, only, row
from safemlrm import analysis
from safemlrm.analysis import clusters, ratios, resampling
from safemlrm.analysis.averages import AVERAGES, FAMILIES, SENSITIVITY
from safemlrm.analysis.decomposition import COMPLIED, DECOMPOSITION
from safemlrm.analysis.effects import EFFECTS, MEANS
from safemlrm.analysis.factors import FACTORS, STAGES
from safemlrm.analysis.shares import SHARES
from safemlrm.analysis.tax import TAX

Score = int | None
PAIR = [("base", "derived")]


def study(scores: Mapping[str, Sequence[Score]], **given: Any) -> pl.DataFrame:
    """Return readings of several models over the same items, in two scenarios by turns."""
    return frame(
        [
            row(model=model, sample=str(item), scenario=f"s{item % 2}", score=score, **given)
            for model, of_model in scores.items()
            for item, score in enumerate(of_model)
        ]
    )


# --- ratios ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(25, 97, 1, 97), (5, 30, 8, 40), (20, 20, 3, 25), (5, 10, 5, 10)])
def test_independent_risk_ratio_agrees_with_statsmodels(counts: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    k1, n1, k2, n2 = counts
    found = ratios.risk_ratio_independent([k1], [n1], [k2], [n2])
    expected = confint_proportions_2indep(k1, n1, k2, n2, method="score", compare="ratio")
    assert (found.low[0], found.high[0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("counts", [(25, 97, 1, 97), (5, 30, 8, 40), (25, 40, 8, 40)])
def test_independent_odds_ratio_agrees_with_statsmodels(counts: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    k1, n1, k2, n2 = counts
    found = ratios.odds_ratio_independent([k1], [n1], [k2], [n2])
    expected = confint_proportions_2indep(k1, n1, k2, n2, method="score", compare="odds-ratio")
    assert (found.low[0], found.high[0]) == pytest.approx(expected, rel=1e-5)


def test_paired_risk_ratio_gives_the_example_of_fagerland_and_others() -> None:
    found = ratios.risk_ratio_paired([1], [1], [7], [12])
    assert (found.estimate[0], found.low[0], found.high[0]) == pytest.approx((0.25, 0.065, 0.907), abs=5e-4)


def test_at_its_ends_the_paired_score_of_the_restricted_likelihood_is_the_normal_quantile() -> None:
    from scipy.optimize import minimize_scalar

    a, b, c, d = 20, 9, 4, 17
    n, some = a + b + c + d, (a + b + c) / (a + b + c + d)
    found = ratios.risk_ratio_paired([a], [b], [c], [d])
    for ratio, quantile in ((found.low[0], 1.959964), (found.high[0], -1.959964)):

        def cells(only: float, ratio: float = ratio) -> tuple[float, float]:
            both = (some - (1 + ratio) * only) / ratio
            return both, some - both - only

        def loss(only: float) -> float:
            both, first = cells(only)
            return -float(a * np.log(both) + b * np.log(first) + c * np.log(only))

        edges = (max(0, (1 - ratio) * some) + 1e-9, some / (1 + ratio) - 1e-9)
        best = minimize_scalar(loss, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
        both, first = cells(best)
        variance = n * (first + ratio**2 * best + (1 - ratio) ** 2 * both)
        assert (a + b - ratio * (a + c)) / np.sqrt(variance) == pytest.approx(quantile, rel=1e-4)


def test_ratios_survive_empty_cells_and_say_what_is_not_known() -> None:
    zero = ratios.risk_ratio_independent([0, 3, 0, 0], [20, 20, 20, 0], [3, 0, 0, 5], [25, 25, 25, 9])
    assert zero.low.tolist()[0] == 0
    assert 1 < zero.high[0] < 2
    assert zero.high[1] == np.inf
    assert zero.low[1] > 1
    assert (zero.low[2], zero.high[2]) == (0, np.inf)
    assert np.isnan(zero.estimate[2])
    assert np.isnan([zero.estimate[3], zero.low[3], zero.high[3]]).all()
    paired = ratios.odds_ratio_paired([3, 0, 0], [0, 3, 0])
    assert (paired.high[0], paired.low[1]) == (np.inf, 0)
    assert np.isnan(paired.low[2])


@settings(deadline=None, max_examples=40)
@given(cells=st.tuples(*[st.integers(0, 30)] * 4))
def test_swapping_the_members_inverts_the_paired_ratio(cells: tuple[int, int, int, int]) -> None:
    a, b, c, d = cells
    one, two = ratios.risk_ratio_paired([a], [b], [c], [d]), ratios.risk_ratio_paired([a], [c], [b], [d])
    if a + b and a + c:
        assert one.low[0] == pytest.approx(1 / two.high[0], rel=1e-6)
        assert one.low[0] <= one.estimate[0] * (1 + 1e-9)


def test_benjamini_hochberg_agrees_with_statsmodels_within_each_family() -> None:
    from statsmodels.stats.multitest import multipletests

    p = [0.04, None, 0.001, 0.02, 0.9, 0.02]
    table = pl.DataFrame({"family": ["a"] * 6 + ["b"] * 2, "p": [*p, 0.5, 0.01]})
    found = table.with_columns(b=ratios.benjamini_hochberg(pl.col("p"), ["family"]))["b"].to_list()
    assert found[1] is None
    known = [v for v in p if v is not None]
    assert [v for v in found[:6] if v is not None] == pytest.approx(multipletests(known, method="fdr_bh")[1])
    assert found[6:] == pytest.approx(multipletests([0.5, 0.01], method="fdr_bh")[1])


# --- resampling ------------------------------------------------------------------------------------------------------


def test_weights_are_whole_resamples_and_the_first_is_the_data() -> None:
    drawn = resampling.weights(7, 5000, 1, "s")
    assert (drawn[0] == 1).all()
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn[1:].var(axis=0).mean() == pytest.approx(6 / 7, abs=0.05)
    assert (drawn == resampling.weights(7, 5000, 1, "s")).all()
    assert (drawn != resampling.weights(7, 5000, 1, "t")).any()


def test_the_bootstrap_of_three_items_is_that_of_all_27_resamples() -> None:
    base, derived = [0, 3, 5], [2, 5, 4]
    readings = frame(
        [
            row(model=m, sample=str(k), score=s)
            for m, scores in (("base", base), ("derived", derived))
            for k, s in enumerate(scores)
        ]
    )
    drawn = resampling.replicates(readings, PAIR, draws=20000)
    first, second = drawn.means()
    gaps = np.subtract(derived, base)
    exact = np.array([gaps[list(chosen)].mean() for chosen in product(range(3), repeat=3)])
    found = (second - first)[1:, 0]
    assert found.mean() == pytest.approx(exact.mean(), abs=0.03)
    assert found.std() == pytest.approx(exact.std(), abs=0.03)
    assert set(np.round(found, 6)) == set(np.round(exact, 6))


def test_items_are_drawn_within_their_scenario_and_bases_are_shared() -> None:
    scores: dict[str, Sequence[Score]] = {"base": [0, 5] * 10, "x": [5] * 20, "y": [0] * 20}
    drawn = resampling.replicates(study(scores), [("base", "x"), ("base", "y")], draws=50)
    assert set(drawn.read.ravel().tolist()) == {10.0}
    one, two = (drawn.chosen(pl.col("derived") == name) for name in "xy")
    assert (one.base == two.base).all()
    assert (drawn.groups, drawn.strata) == (20, 2)


def test_goals_stay_together_when_they_were_asked_several_times() -> None:
    rows = [
        row(model=m, sample=str(k), seed=s, score=5 if m == "derived" and k < 3 else 0)
        for m, k, s in product(("base", "derived"), range(6), range(4))
    ]
    drawn = resampling.replicates(frame(rows), PAIR, draws=100)
    assert set(drawn.read.ravel().tolist()) == {24.0}
    assert (drawn.hits(4)[1] % 4 == 0).all()


def test_the_interval_is_the_expanded_percentile_and_no_spread_is_no_certainty() -> None:
    from scipy.stats import norm, t

    values = np.arange(1001, dtype=float)[:, None]
    low, high = resampling.ends(values, 10)
    level = norm.cdf(-np.sqrt(10 / 9) * t.ppf(0.975, 9))
    assert (low[0], high[0]) == pytest.approx(np.quantile(values[1:, 0], [level, 1 - level]))
    assert np.isnan(resampling.ends(np.ones((50, 1)), 10).low[0])
    assert np.isnan(resampling.ends(values, 1).low[0])
    holes = values.copy()
    holes[1:100] = np.nan
    assert np.isnan(resampling.ends(holes, 10).low[0])


# --- the tax where goals were asked several times --------------------------------------------------------------------


def test_with_seeds_copied_the_clustered_tax_is_as_wide_as_without() -> None:
    stream = np.random.default_rng(3)
    base, derived = (stream.integers(0, 6, 60).tolist() for _ in range(2))
    once = study({"base": base, "derived": derived})
    thrice = pl.concat([once.with_columns(seed=pl.lit(s, dtype=pl.Int64)) for s in range(3)])
    one, three = (only(analysis.tax(f, PAIR), scenario="all", threshold=4) for f in (once, thrice))
    assert three["difference"] == pytest.approx(one["difference"])
    assert three["high"] - three["low"] == pytest.approx(one["high"] - one["low"], rel=0.12)
    assert three["p"] == pytest.approx(one["p"], abs=0.05)
    assert three["n"] == 180
    details = only(analysis.effects(thrice, PAIR), scenario="all", threshold=4)
    assert details["design_effect"] == pytest.approx(3, rel=0.05)
    assert details["groups"] == 60


def test_sign_flipping_with_one_reply_per_goal_is_mcnemars_exact_test() -> None:
    from scipy.stats import binomtest

    base, derived = [0] * 20, [5] * 9 + [0] * 11
    base[9:11] = [5, 5]
    found = clusters._flip(np.array([[int(d >= 4) - int(b >= 4)] for b, d in zip(base, derived, strict=True)]))
    assert found[0] == pytest.approx(binomtest(2, 11).pvalue, abs=0.012)


def test_goals_that_all_agree_keep_an_interval_of_their_own_number() -> None:
    rows = [
        row(model=m, sample=str(k), seed=s, score=5) for m, k, s in product(("base", "derived"), range(8), range(5))
    ]
    found = only(analysis.tax(frame(rows), PAIR), scenario="all", threshold=4)
    from safemlrm.analysis.intervals import newcombe_paired

    expected = newcombe_paired([8], [0], [0], [0])
    assert (found["low"], found["high"]) == pytest.approx((expected.low[0], expected.high[0]))


def test_rates_of_copied_seeds_are_as_wide_as_without() -> None:
    once = study({"base": [0, 5, 5, 0, 0, 0, 5, 0, 0, 0]})
    thrice = pl.concat([once.with_columns(seed=pl.lit(s, dtype=pl.Int64)) for s in range(3)])
    one, three = (only(analysis.rates(f), scenario="all", threshold=4) for f in (once, thrice))
    assert three["read"] == 30
    # the variance over groups divides by n - 1
    assert three["high"] - three["low"] == pytest.approx(one["high"] - one["low"], rel=0.06)


# --- effects, means, averages ----------------------------------------------------------------------------------------


def test_effects_stand_beside_the_tax_with_what_they_rest_on() -> None:
    readings = pl.concat(
        [
            study({"base": [5, 0, 0, 0, None], "derived": [5, 5, 4, 0, 5]}).filter(pl.col("sample") != "4"),
            frame(
                [
                    row(model="base", sample="4", scenario="s0", state="failed", failure="target:timeout"),
                    row(model="derived", sample="4", scenario="s0", score=5),
                    row(model="base", sample="5", scenario="s1", unread="unreadable"),
                    row(model="derived", sample="5", scenario="s1", score=5),
                ]
            ),
        ]
    )
    table = analysis.effects(readings, PAIR)
    assert table.columns == EFFECTS
    found = only(table, scenario="all", threshold=4)
    reached = [found[name] for name in ("planned", "asked", "answered", "split", "read", "groups")]
    assert reached == [6, 6, 5, 5, 4, 4]
    assert [found[name] for name in ("both", "only_derived", "only_base", "neither")] == [1, 2, 0, 1]
    assert (found["risk_ratio"], found["odds_ratio_high"]) == (3.0, np.inf)
    taxed = analysis.tax(readings, PAIR)
    assert taxed.columns == TAX
    assert table.select("difference", "low", "high", "p", "p_holm").equals(
        taxed.select("difference", "low", "high", "p", "p_holm")
    )


def test_micro_counts_items_alike_and_macro_scenarios() -> None:
    rows = [
        row(model=m, sample=f"{s}{k}", scenario=s, score=5 if m == "derived" and s == "big" else 0)
        for m, (s, n) in product(("base", "derived"), (("big", 30), ("small", 10)))
        for k in range(n)
    ]
    drawn = analysis.replicates(frame(rows), PAIR)
    table = analysis.averages(drawn, weights={"big": 1.0, "small": 4.0})
    assert table.columns == AVERAGES
    found = {r["average"]: r["difference"] for r in table.filter(threshold=4).iter_rows(named=True)}
    assert found == pytest.approx({"micro": 0.75, "macro": 0.5, "weighted": 0.2})
    left = analysis.sensitivity(drawn)
    assert left.columns == SENSITIVITY
    assert only(left, name="big", average="micro")["difference"] == pytest.approx(0.0)
    assert only(left, name="big", average="micro")["change"] == pytest.approx(-0.75)


def test_a_mean_over_pairs_has_the_interval_of_shared_items() -> None:
    stream = np.random.default_rng(0)
    base = stream.integers(0, 6, 80).tolist()
    scores: dict[str, Sequence[Score]] = {"base": base, "x": stream.integers(0, 6, 80).tolist()}
    scores["y"] = scores["x"]
    drawn = analysis.replicates(study(scores), [("base", "x"), ("base", "y")])
    table = analysis.averages(drawn).filter(threshold=4, average="micro")
    both, one = only(table, base="all"), only(table, derived="x")
    # the same model twice is no more evidence than once
    assert (both["low"], both["high"]) == pytest.approx((one["low"], one["high"]))


def test_families_are_pairs_of_one_backbone_or_one_recipe() -> None:
    scores: dict[str, Sequence[Score]] = {"base": [0, 0, 5, 5] * 5, "x": [5] * 20, "y": [0, 5] * 10, "b2": [0] * 20}
    scores["z"] = [0, 0, 0, 5] * 5
    pairs = [("base", "x"), ("base", "y"), ("b2", "z")]
    table = analysis.families(analysis.replicates(study(scores), pairs), {"x": "SFT", "z": "SFT", "y": "RL"})
    assert table.columns == FAMILIES
    assert set(table["kind"]) == {"one backbone", "one recipe"}
    found = only(table, kind="one backbone")
    assert found["contrast"] == pytest.approx(found["difference_second"] - found["difference_first"])
    assert found["contrast"] == pytest.approx(-0.5)


def test_the_mean_score_difference_is_paired() -> None:
    drawn = analysis.replicates(study({"base": [0, 1, 2, 3] * 6, "derived": [1, 2, 3, 5] * 6}), PAIR)
    table = analysis.means(drawn)
    assert table.columns == MEANS
    found = only(table, scenario="all")
    assert found["difference"] == pytest.approx(1.25)
    assert 1.0 <= found["low"] < 1.25 < found["high"] < 1.6


# --- decomposition ---------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(scores=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_two_parts_add_up_to_the_difference(scores: list[tuple[int, int]]) -> None:
    readings = study({"base": [a for a, _ in scores], "derived": [b for _, b in scores]})
    table = analysis.decomposition(analysis.replicates(readings, PAIR, draws=20))
    assert table.columns == DECOMPOSITION
    for found in table.drop_nulls("refusing_less").iter_rows(named=True):
        assert found["refusing_less"] + found["more_harmful"] == pytest.approx(found["difference"], abs=1e-9)


def test_refusing_less_and_more_harm_are_told_apart_by_hand() -> None:
    less: dict[str, Sequence[Score]] = {"base": [0] * 5 + [5] * 3 + [2] * 2, "derived": [5] * 6 + [2] * 4}
    found = only(analysis.decomposition(analysis.replicates(study(less), PAIR, draws=50)), scenario="all", threshold=4)
    assert (found["comply_base"], found["harm_base"], found["comply_derived"], found["harm_derived"]) == pytest.approx(
        (0.5, 0.6, 1.0, 0.6)
    )
    assert found["refusing_less"] == pytest.approx(0.3)
    assert found["more_harmful"] == pytest.approx(0.0)


def test_a_member_that_complied_with_nothing_has_no_decomposition() -> None:
    table = analysis.decomposition(analysis.replicates(study({"base": [0] * 8, "derived": [5] * 8}), PAIR, draws=20))
    found = only(table, scenario="all", threshold=4)
    assert (found["difference"], found["refusing_less"], found["more_harmful_low"]) == (1.0, None, None)


def test_both_complied_leaves_out_items_that_one_refused() -> None:
    table = analysis.both_complied(study({"base": [0, 2, 2, 5, 5], "derived": [5, 5, 0, 5, 2]}), PAIR)
    assert table.columns == COMPLIED
    found = only(table, scenario="all", threshold=4)
    assert (found["both_complied"], found["rate_base"], found["rate_derived"]) == (3, 2 / 3, 2 / 3)


# --- factors, stages, shares -----------------------------------------------------------------------------------------


def test_the_prompts_share_is_told_from_the_weights() -> None:
    cells = {("base", "bare"): 0, ("base", "think"): 3, ("derived", "bare"): 4, ("derived", "think"): 9}
    rows = [
        row(model=m, prompting=p, sample=str(k), score=5 if k < hits else 0)
        for (m, p), hits in cells.items()
        for k in range(20)
    ]
    table = analysis.factors(frame(rows), PAIR)
    assert table.columns == FACTORS
    found = {r["effect"]: r["estimate"] for r in table.filter(threshold=4).iter_rows(named=True)}
    assert found == pytest.approx(
        {
            "weights, factor off": 0.2, "weights, factor on": 0.3, "factor, base": 0.15, "factor, derived": 0.25,
            "weights (main)": 0.25, "factor (main)": 0.2, "interaction": 0.1,
        }
    )  # fmt: skip
    assert analysis.factors(frame(rows[:40]), PAIR).is_empty()


def test_stages_are_held_against_the_root_and_the_stage_before() -> None:
    scores: dict[str, Sequence[Score]] = {"base": [0] * 10, "sft": [5] * 4 + [0] * 6, "rl": [5] * 6 + [0] * 4}
    table = analysis.stages(study(scores), [("base", "sft"), ("sft", "rl")])
    assert table.columns == STAGES
    assert table.select("model", "stage", "against", "difference").rows() == [
        ("rl", 2, "root", pytest.approx(0.6)),
        ("rl", 2, "stage before", pytest.approx(0.2)),
    ]


def test_every_other_rate_has_its_own_line_under_it_and_its_bounds() -> None:
    rows = [
        row(sample="1", score=0, refusal=True),
        row(sample="2", score=5, refusal=False),
        row(sample="3", score=3, refusal=False, stop="length"),
        row(sample="4", unread="unreadable"),
        row(sample="5", state="failed", failure="target:timeout"),
        row(sample="6", state="pending", stop=None, status=None),
        row(sample="7", expected="answer", score=0, refusal=True),
    ]
    table = analysis.shares(frame(rows))
    assert table.columns == SHARES
    found = {r["what"]: r for r in table.filter(scenario="all", part="full").iter_rows(named=True)}
    counted = {name: (r["hits"], r["of"]) for name, r in found.items()}
    assert counted == {
        "refusal": (1, 3), "over_refusal": (1, 1), "harm_given_compliance": (1, 2), "unread": (1, 5), "absent": (0, 5),
        "truncated": (1, 6), "blocked": (0, 6), "failed": (1, 6),
    }  # fmt: skip
    harm = found["harm_given_compliance"]
    assert (harm["bound_low"], harm["bound_high"]) == pytest.approx((1 / 5, 4 / 5))
    assert (found["refusal"]["bound_low"], found["refusal"]["bound_high"]) == pytest.approx((1 / 6, 4 / 6))
    assert (found["refusal"]["planned"], found["refusal"]["asked"], found["refusal"]["read"]) == (6, 5, 3)


def test_no_pair_and_nothing_read_give_empty_tables_not_numbers() -> None:
    unread = frame([row(model=m, unread="unreadable") for m in ("base", "derived")])
    drawn = analysis.replicates(unread, PAIR)
    assert drawn.keys.is_empty()
    for table in (
        analysis.averages(drawn), analysis.sensitivity(drawn), analysis.families(drawn, {}), analysis.means(drawn),
        analysis.decomposition(drawn), analysis.consistency(drawn), analysis.correlations(drawn),
    ):  # fmt: skip
        assert table.is_empty()
    assert only(analysis.effects(unread, PAIR), scenario="all", threshold=4)["risk_ratio"] is None
    assert analysis.effects(unread, []).is_empty()


def test_what_has_no_interval_has_no_bootstrap_p_and_draws_without_a_value_do_not_count() -> None:
    one = analysis.replicates(study({"base": [0], "derived": [5]}), PAIR)
    assert analysis.averages(one).select("low", "p").unique().rows() == [(None, None)]
    values = np.concatenate([[1.0], np.full(4, np.nan), np.linspace(0.5, 1.5, 96)])[:, None]
    found = resampling.two_sided(values, resampling.ends(values, 20))
    assert found[0] == pytest.approx(2 / 97)
    assert np.isnan(resampling.two_sided(values[:50], resampling.ends(values[:50], 20))[0])


def test_an_average_has_the_interval_of_its_own_goals_and_not_of_the_whole_study() -> None:
    small = [row(model=m, sample=str(k), score=5 * (m == "derived" and k < 4)) for m in ("base", "derived")
             for k in range(10)]  # fmt: skip
    other = [row(model=m, sample=f"o{k}", condition="other", scenario="o", score=5 * (k % 3 == 0))
             for m in ("base", "derived") for k in range(300)]  # fmt: skip
    where = {"condition": "text", "threshold": 4, "average": "micro"}
    alone = only(analysis.averages(analysis.replicates(frame(small), PAIR)), **where)
    among = only(analysis.averages(analysis.replicates(frame(small + other), PAIR)), **where)
    assert (among["low"], among["high"]) == pytest.approx((alone["low"], alone["high"]))


def test_a_goal_of_several_scenarios_is_not_more_than_one_when_pooled() -> None:
    rows = [row(model=m, sample=f"{s}{k}", group=str(k), scenario=s, score=5 * (m == "derived" and k < 3))
            for m in ("base", "derived") for s in ("s", "t") for k in range(8)]  # fmt: skip
    pooled = analysis.replicates(frame(rows), PAIR).pooled()
    assert (pooled.sizes.tolist(), pooled.layers.tolist()) == ([8], [1])


def test_data_sets_are_left_out_in_the_order_of_the_study() -> None:
    names = [f"c{k}" for k in range(6)]
    rows = [row(model=m, sample=str(k), condition=c, score=5 * (k % 2)) for c in names for m in ("base", "derived")
            for k in range(4)]  # fmt: skip
    left = analysis.sensitivity(analysis.replicates(frame(rows), PAIR), {c: f"set {c}" for c in names})
    found = left.filter(left_out="data set", average="micro")["name"].to_list()
    assert found == [f"set {c}" for c in names]
