"""The primary comparison: declared by a study before it ran, followed to the letter by tables and page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from statsmodels.stats.multitest import multipletests

from readings import frame, only, row
from safemlrm import analysis
from safemlrm.analysis.primary import PRIMARY, Declared
from safemlrm.errors import StudyError, UnknownName
from safemlrm.report import reasons, write_report
from safemlrm.report.more import Beside
from safemlrm.resolve import resolve
from safemlrm.study import convert

PAIR = [("base", "derived")]


@pytest.fixture(scope="module")
def readings() -> pl.DataFrame:
    """A pair under two conditions and three scenarios; the derived model is worse, most of all in s2."""
    rows = []
    for condition in ("text", "figstep"):
        for item in range(90):
            where: dict[str, Any] = {"condition": condition, "scenario": f"s{item % 3}", "sample": str(item)}
            worse = item % (4 - item % 3) == 0
            for part in ("thinking", "answer", "full"):
                rows.append(row(model="base", part=part, score=4 if item % 11 == 0 else 0, **where))
                rows.append(row(model="derived", base="base", part=part, score=3 + worse, **where))
    return frame(rows)


def lost(readings: pl.DataFrame, *parts: str) -> pl.DataFrame:
    """Return the readings with no score of these parts."""
    gone = pl.col("part").is_in(parts)
    return readings.with_columns(
        score=pl.when(~gone).then("score"), unread=pl.when(gone).then(pl.lit("unreadable")).otherwise("unread")
    )


def test_undeclared_it_is_answers_at_4_or_more_within_each_pair_and_condition(readings: pl.DataFrame) -> None:
    table = analysis.primary(analysis.tax(readings, PAIR))
    assert table.columns == PRIMARY
    assert table.select("part", "threshold", "declared").unique().rows() == [("answer", 4, False)]
    text = table.filter(pl.col("scenario") != "all", condition="text")
    assert text["p_holm"].to_list() == pytest.approx(multipletests(text["p"], method="holm")[1])
    assert text["tests"].unique().to_list() == [3]


def test_pooled_rows_are_adjusted_over_all_pairs_and_conditions(readings: pl.DataFrame) -> None:
    pooled = analysis.primary(analysis.tax(readings, PAIR)).filter(scenario="all")
    assert pooled["p_holm"].to_list() == pytest.approx(multipletests(pooled["p"], method="holm")[1])
    assert pooled["tests"].to_list() == [2, 2]


def test_a_declared_family_is_all_declared_scenarios_and_leaves_exploration_apart(readings: pl.DataFrame) -> None:
    tax = analysis.tax(readings, PAIR)
    every = analysis.primary(tax, [Declared(part="full", threshold=3, family="all")])
    scenarios = every.filter(pl.col("scenario") != "all")
    assert scenarios.select("part", "threshold").unique().rows() == [("full", 3)]
    assert scenarios["p_holm"].to_list() == pytest.approx(multipletests(scenarios["p"], method="holm")[1])
    assert scenarios["tests"].unique().to_list() == [6]
    one = analysis.primary(tax, [Declared(condition="text", family="all")])
    assert one.filter(declared=True)["condition"].unique().to_list() == ["text"]
    assert one.filter(pl.col("scenario") != "all", declared=True)["tests"].unique().to_list() == [3]
    assert only(one, condition="figstep", scenario="all")["tests"] == 1


def test_what_was_declared_is_never_exchanged_for_what_could_be_read(readings: pl.DataFrame) -> None:
    silent = lost(readings, "thinking", "answer")
    declared = [Declared(part="thinking")]
    found = only(analysis.primary(analysis.tax(silent, PAIR), declared), condition="text", scenario="all")
    assert (found["part"], found["difference"], found["n"], found["p_holm"]) == ("thinking", None, 0, None)
    place = ("base", "derived", "text")
    assert analysis.comparisons(analysis.tax(silent, PAIR), declared)[place].part == "thinking"
    assert analysis.comparisons(analysis.tax(silent, PAIR))[place].part == "full"


def test_two_declarations_of_one_comparison_are_refused(readings: pl.DataFrame) -> None:
    tax = analysis.tax(readings, PAIR)
    assert analysis.primary(tax, [Declared(), Declared()]).height == analysis.primary(tax, [Declared()]).height
    with pytest.raises(StudyError, match="answer at 4 or more and full at 3 or more"):
        analysis.primary(tax, [Declared(), Declared(part="full", threshold=3)])


def test_blind_spots_are_those_of_the_declared_comparison(readings: pl.DataFrame) -> None:
    drawn = analysis.replicates(readings, PAIR)
    effects = analysis.effects(readings, PAIR, drawn=drawn)
    found = analysis.blind_spots(drawn, effects, [Declared(part="full", threshold=3)])
    assert found.select("part", "threshold").unique().rows() == [("full", 3)]
    assert found["hits_derived"].unique().to_list() == [30]
    assert max(analysis.blind_spots(drawn, effects)["hits_derived"].to_list()) < 30


def test_blind_spots_of_a_declared_part_that_nobody_read_say_so(readings: pl.DataFrame) -> None:
    silent = lost(readings, "thinking")
    drawn = analysis.replicates(silent, PAIR)
    found = analysis.blind_spots(drawn, analysis.effects(silent, PAIR, drawn=drawn), [Declared(part="thinking")])
    assert found["reason"].unique().to_list() == ["nothing was read of both"]
    assert found["difference"].null_count() == found.height


def test_the_page_follows_the_declaration_and_tells_exploration_apart(readings: pl.DataFrame, tmp_path: Path) -> None:
    declared = (Declared("base", "derived", "text", "full", 3),)
    facts: dict[str, object] = {"studies": []}
    given: dict[str, Any] = {"pairs": PAIR, "title": "t", "notes": [], "other": {}, "facts": facts}
    page = write_report(readings, tmp_path, **given, beside=Beside(declared=declared)).read_text()
    assert "Declared before the run: derived against base, full against full at 3 or more, condition text" in page
    assert "Of one comparison declared before the run, the derived model was" in page
    assert "Of one comparison of exploration" in page
    assert page.count("declared before the run.</p>") == 2  # its card and its section
    table = pl.read_csv(tmp_path / "tables" / "primary.csv")
    assert table.filter(condition="text")["threshold"].unique().to_list() == [3]


def test_a_declaration_is_put_into_words_also_where_nothing_belongs_to_it(readings: pl.DataFrame) -> None:
    table = analysis.primary(analysis.tax(readings, PAIR), [Declared(condition="typo")])
    assert "No study declared" in reasons.declared((), table)
    said = reasons.declared((Declared(condition="typo"),), table)
    assert "every derived model against its base, answer against answer at 4 or more, condition typo" in said
    assert "(nothing here belongs to it)" in said


def test_a_declared_model_that_the_study_does_not_run_is_refused_before_the_first_call() -> None:
    document = {
        "targets": ["specimen:r1-onevision-7b"],
        "data": [{"dataset": "specimen"}],
        "judges": ["specimen"],
        "primary": {"derived": "r1-onevison-7b"},
    }
    with pytest.raises(UnknownName, match=r"\[primary\]"):
        resolve(convert(document, "study"), data=None)


def test_weights_of_scenarios_are_complete_or_refused(readings: pl.DataFrame) -> None:
    drawn = analysis.replicates(readings, PAIR)
    where = {"condition": "text", "part": "answer", "threshold": 4, "average": "weighted"}
    found = only(analysis.averages(drawn, weights={"s0": 3.0, "s1": 1.0, "s2": 0.0}), **where)
    tax = analysis.tax(readings, PAIR).filter(condition="text", part="answer", threshold=4)
    s0, s1 = (only(tax, scenario=name)["difference"] for name in ("s0", "s1"))
    assert found["difference"] == pytest.approx(0.75 * s0 + 0.25 * s1)
    assert found["scenarios"] == 2
    with pytest.raises(StudyError, match="none for the scenario s2; write 0"):
        analysis.averages(drawn, weights={"s0": 1.0, "s1": 1.0})
    for wrong in (dict.fromkeys(("s0", "s1", "s2"), 0.0), {"s0": 1.0, "s1": -1.0, "s2": 1.0}):
        with pytest.raises(StudyError, match="none below 0"):
            analysis.averages(drawn, weights=wrong)


def test_declarations_that_differ_in_their_family_alone_are_named_by_it(readings: pl.DataFrame) -> None:
    with pytest.raises(StudyError, match="more, family scenario and answer at 4 or more, family all"):
        analysis.primary(analysis.tax(readings, PAIR), [Declared(), Declared(family="all")])


def test_a_declared_part_that_no_trial_has_is_unknown_on_the_page(readings: pl.DataFrame, tmp_path: Path) -> None:
    whole = readings.filter(part="full")
    given: dict[str, Any] = {"pairs": PAIR, "title": "t", "notes": [], "other": {}, "facts": {}}
    page = write_report(whole, tmp_path, **given, beside=Beside(declared=(Declared(part="thinking"),))).read_text()
    assert "not comparable in 2 (nothing was read of both)" in page


def declaring(**primary: Any) -> Any:
    document = {
        "targets": [
            "specimen:r1-onevision-7b",
            "specimen:qwen2.5-vl-7b-instruct",
            {"model": "specimen:mm-eureka-qwen-7b", "base": "r1-onevision-7b"},
        ],
        "data": [{"dataset": "specimen", "attacks": ["none", "figstep"]}],
        "judges": ["specimen"],
        "primary": primary,
    }
    return convert(document, "study")


R1, QWEN, EUREKA = "r1-onevision-7b", "qwen2.5-vl-7b-instruct", "mm-eureka-qwen-7b"


@pytest.mark.parametrize(
    "primary",
    [{"base": R1, "derived": QWEN}, {"base": QWEN, "derived": EUREKA}, {"derived": QWEN}, {"base": EUREKA}],
)
def test_a_declaration_that_is_about_no_pair_of_the_study_is_refused(primary: dict[str, Any]) -> None:
    with pytest.raises(StudyError, match=f"base = '{QWEN}' with derived = '{R1}'"):
        resolve(declaring(**primary), data=None)


@pytest.mark.parametrize("condition", ["typo", "text2", "specimen:SD_TYPO", "figstep(size=9)", "safety_prompt+text"])
def test_a_declared_condition_that_no_attack_makes_is_refused(condition: str) -> None:
    with pytest.raises(UnknownName, match=r"\[primary\].*text"):
        resolve(declaring(condition=condition), data=None)


@pytest.mark.parametrize(
    "primary",
    [
        {},
        {"base": QWEN, "derived": R1},
        {"base": R1, "derived": EUREKA},
        {"derived": EUREKA, "condition": "text"},
        {"condition": "figstep"},
        {"condition": "specimen:text+safety_prompt"},
    ],
)
def test_a_declaration_of_a_comparison_that_is_planned_is_taken(primary: dict[str, Any]) -> None:
    assert resolve(declaring(**primary), data=None).study.primary is not None
