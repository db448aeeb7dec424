"""Planted effects are recovered: the simulations of `benchmarks/coverage/` with few repeats."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def simulated(name: str) -> ModuleType:
    if not (ROOT / "benchmarks" / "coverage").is_dir():
        pytest.skip("benchmarks/ is not beside the tests")
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"benchmarks.coverage.{name}")


def test_the_page_shows_every_table_as_it_is_made_today() -> None:
    page = ROOT / "docs" / "estimators" / "coverage.md"
    if not page.is_file():
        pytest.skip("docs/ is not beside the tests")
    text = page.read_text(encoding="utf-8")
    for name, make in simulated("__main__").TABLES.items():
        assert f"### {name.replace('_', ' ')}\n\n{' '.join(str(make.__doc__).split())}\n" in text, name


def test_paired_differences_and_ratios_cover_and_do_not_err() -> None:
    for row in simulated("proportions").paired(400, np.random.default_rng(1)):
        assert row["coverage"] >= 0.9, row
        assert row["coverage of the ratio"] >= 0.9, row
        assert row["tax"] or row["error or power"] <= 0.1, row


def test_unpaired_intervals_cover() -> None:
    for row in simulated("proportions").unpaired(400, np.random.default_rng(2)):
        assert min(v for k, v in row.items() if k.startswith("coverage")) >= 0.91, row


def test_holm_errs_in_at_most_five_of_a_hundred_families() -> None:
    for row in simulated("proportions").families(400, np.random.default_rng(3)):
        assert row["family-wise error, Holm"] <= 0.075, row


@pytest.mark.slow
def test_whole_studies_give_back_what_was_planted() -> None:
    for row in simulated("whole").study(8, np.random.default_rng(4)):
        scale = 0.2 if row["quantity"] == "mean score" else 8 if row["quantity"] == "where both complied" else 6
        assert abs(row["bias"]) < scale, row
        assert row["coverage"] >= 0.6, row


def test_bounds_hold_whatever_is_lost_and_for_whatever_reason() -> None:
    rows = simulated("whole").missing(100, np.random.default_rng(9))
    assert {row["bounds hold"] for row in rows} == {1.0}
    # the interval is of what was read: replies lost for their harm lead it astray
    assert min(row["coverage"] for row in rows) < 0.8


@pytest.mark.slow
def test_planted_coupling_is_given_back_with_intervals_that_cover() -> None:
    for row in simulated("thinking").coupling(150, np.random.default_rng(8)):
        assert row["coverage"] >= 0.88, row
        scale = 0.05 if row["quantity"] == "rank correlation" else 2.5
        assert row["bias"] is None or abs(row["bias"]) < scale, row


def test_survival_curves_cover_at_every_position() -> None:
    for row in simulated("thinking").survival(60, np.random.default_rng(10)):
        assert row["coverage"] >= 0.83, row
        assert abs(row["bias, points"]) < 4, row


@pytest.mark.slow
def test_blind_spots_cover_over_scenarios() -> None:
    for row in simulated("scenarios").blind_spots(6, np.random.default_rng(5)):
        assert row["coverage, difference"] >= 0.8, row


@pytest.mark.slow
def test_a_retest_and_the_curve_of_turning_cover() -> None:
    repeated = simulated("repeated")
    for row in [*repeated.retest(40, np.random.default_rng(8)), *repeated.turning(30, np.random.default_rng(9))]:
        assert abs(row["bias, points"]) < 4, row
        assert row["coverage"] >= 0.75, row


@pytest.mark.slow
def test_rates_of_goals_asked_three_times_cover() -> None:
    for row in simulated("repeated").clustered(20, np.random.default_rng(15)):
        assert row["coverage"] >= 0.7, row


@pytest.mark.slow
def test_agreement_over_scenarios_is_covered_though_noise_hides_it() -> None:
    for row in simulated("scenarios").rankings(5, np.random.default_rng(11)):
        assert row["coverage"] >= 0.6, row


@pytest.mark.slow
def test_contrasts_interactions_and_counts_give_back_what_was_planted() -> None:
    several = simulated("several")
    for row in several.contrasts(12, np.random.default_rng(12)) + several.counts(12, np.random.default_rng(13)):
        assert row["coverage"] >= 0.7, row
    for row in several.factors(40, np.random.default_rng(14)):
        assert row["coverage"] >= 0.82, row
        assert abs(row["bias, points"]) < 6, row


def test_judge_errors_are_corrected_and_stopping_holds_its_level() -> None:
    for row in simulated("thinking").judge_errors(8, np.random.default_rng(6)):
        assert abs(row["corrected"] - row["truth"]) < 4, row
    for row in simulated("stopping").stopping(300, np.random.default_rng(7)):
        assert row["tax"] or row["said there is a tax"] <= 0.06, row
        if row["tax"] >= 0.2:
            assert row["items, mean"] < row["items, fixed design of that power"], row
