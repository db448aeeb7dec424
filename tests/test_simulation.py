"""Planted effects are recovered: the simulations of `benchmarks/coverage.py` with few repeats."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    if not PATH.is_file():
        pytest.skip("benchmarks/ is not beside the tests")
    found = importlib.util.spec_from_file_location("coverage_of_the_analysis", PATH)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_paired_differences_and_ratios_cover_and_do_not_err(coverage: ModuleType) -> None:
    for row in coverage.paired(400, np.random.default_rng(1)):
        assert row["coverage"] >= 0.9, row
        assert row["coverage of the ratio"] >= 0.9, row
        assert row["tax"] or row["error or power"] <= 0.1, row


def test_unpaired_intervals_cover(coverage: ModuleType) -> None:
    for row in coverage.unpaired(400, np.random.default_rng(2)):
        assert min(v for k, v in row.items() if k.startswith("coverage")) >= 0.91, row


def test_holm_errs_in_at_most_five_of_a_hundred_families(coverage: ModuleType) -> None:
    for row in coverage.families(400, np.random.default_rng(3)):
        assert row["family-wise error, Holm"] <= 0.075, row


@pytest.mark.slow
def test_whole_studies_give_back_what_was_planted(coverage: ModuleType) -> None:
    for row in coverage.study(8, np.random.default_rng(4)):
        scale = 0.2 if row["quantity"] == "mean score" else 6
        assert abs(row["bias"]) < scale, row
        assert row["coverage"] >= 0.6, row


@pytest.mark.slow
def test_blind_spots_cover_over_scenarios(coverage: ModuleType) -> None:
    for row in coverage.blind_spots(6, np.random.default_rng(5)):
        assert row["coverage, difference"] >= 0.8, row


@pytest.mark.slow
def test_a_retest_and_the_curve_of_turning_cover(coverage: ModuleType) -> None:
    for row in [*coverage.retest(40, np.random.default_rng(8)), *coverage.turning(30, np.random.default_rng(9))]:
        assert abs(row["bias, points"]) < 4, row
        assert row["coverage"] >= 0.75, row


def test_judge_errors_are_corrected_and_stopping_holds_its_level(coverage: ModuleType) -> None:
    for row in coverage.judge_errors(8, np.random.default_rng(6)):
        assert abs(row["corrected"] - row["truth"]) < 4, row
    for row in coverage.stopping(300, np.random.default_rng(7)):
        assert row["tax"] or row["said there is a tax"] <= 0.06, row
        if row["tax"] >= 0.2:
            assert row["items, mean"] < row["items, fixed design of that power"], row
