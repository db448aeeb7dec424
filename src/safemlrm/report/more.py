"""The tables beside the four of the interface: effects, averages, blind spots, what explains the tax, and how sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

import polars as pl

from safemlrm import analysis
from safemlrm.analysis.factors import Factor
from safemlrm.analysis.frames import Pair

Tables = dict[str, pl.DataFrame]


class Beside(NamedTuple):
    """What the analysis takes from outside the store: recipes by model, a user's tables, common categories."""

    recipes: Mapping[str, str] = {}
    #: columns scenario, amount: how much safety-training data each scenario has
    training: pl.DataFrame | None = None
    #: counts of validated judge labels (`analysis.misreading`)
    errors: pl.DataFrame | None = None
    #: scenario -> common category, to rank scenarios of several benchmarks side by side
    crosswalk: Mapping[str, str] = {}
    #: what became of capability items (`store.frames.marks`)
    marks: pl.DataFrame | None = None
    #: what the studies declared to be their primary comparison
    declared: tuple[analysis.Declared, ...] = ()
    #: columns scenario, weight: another average over scenarios
    weights: pl.DataFrame | None = None
    #: the readings of the same judge's later sittings, by their number
    again: Mapping[int, pl.DataFrame] = {}
    #: the steps of the thinking, judged one by one (`store.frames.steps`)
    steps: pl.DataFrame | None = None


class Known(NamedTuple):
    """What the first tables have worked out already: draws, `tax.compare`, and `coupling`."""

    drawn: analysis.Replicates
    compared: pl.DataFrame
    coupled: pl.DataFrame


NOTHING = Beside()


def from_readings(
    readings: pl.DataFrame,
    harmful: pl.DataFrame,
    pairs: list[Pair],
    known: Known,
    beside: Beside,
) -> Tables:
    """Return the further tables of a report on stored replies.

    `harmful` is labelled, `readings` are all as stored.
    """
    drawn, compared, coupled = known
    plain = readings.filter(pl.col("expected") != "answer")
    effects = analysis.effects(harmful, pairs, compared=compared)
    found = {"effects": effects} | _of_draws(drawn, effects, beside)
    conditions = harmful.select("condition", "dataset").unique().rows()
    squares = [t for name in get_args(Factor) if (t := analysis.factors(plain, pairs, name)).height]
    found |= {
        "sensitivity": analysis.sensitivity(drawn, dict(conditions)),
        "both_complied": analysis.both_complied(harmful, pairs),
        "association": analysis.association(harmful, coupled),
        "stages": analysis.stages(harmful, pairs),
    }
    found |= capability(beside) | ({"factors": pl.concat(squares)} if squares else {})
    if beside.errors is not None:
        found["corrected"] = analysis.corrected(harmful, beside.errors)
    if beside.steps is not None:
        found["turning"] = analysis.turned(harmful, beside.steps)
        found["survival"] = analysis.survival(analysis.placed(harmful, beside.steps))
    if beside.again:
        found["retest"] = pl.concat(
            analysis.retest(harmful, again).select(pl.lit(number).alias("sitting"), pl.all())
            for number, again in beside.again.items()
        )
    return {name: table for name, table in found.items() if table.height}


def capability(beside: Beside) -> Tables:
    """Return what the models can do, and what they understand of an attack, where such items were asked."""
    if beside.marks is None:
        return {}
    harmless = pl.col("dataset") == "comprehension"
    marked = {"accuracy": beside.marks.filter(~harmless), "comprehension": beside.marks.filter(harmless)}
    return {name: analysis.accuracy(marks) for name, marks in marked.items() if marks.height}


def from_counts(counts: pl.DataFrame, pairs: list[Pair], rates: pl.DataFrame, beside: Beside) -> Tables:
    """Return what marginal counts allow of the same, and the paper's headline figures where they are its counts."""
    drawn = analysis.replicates_from_counts(counts, pairs)
    effects = analysis.effects_from_counts(counts, pairs)
    found = {"effects": effects} | _of_draws(drawn, effects, beside)
    found |= {"sensitivity": analysis.sensitivity(drawn), "headline": analysis.headline(drawn, rates)}
    return {name: table for name, table in found.items() if table.height}


def _of_draws(drawn: analysis.Replicates, effects: pl.DataFrame, beside: Beside) -> Tables:
    weights = None if beside.weights is None else dict(beside.weights.select("scenario", "weight").rows())
    found = {
        "mean_scores": analysis.means(drawn),
        "averages": analysis.averages(drawn, weights=weights),
        "families": analysis.families(drawn, beside.recipes),
        "decomposition": analysis.decomposition(drawn),
        "blind_spots": analysis.blind_spots(drawn, effects, beside.declared),
        "consistency": analysis.consistency(drawn, beside.crosswalk),
        "rank_correlations": analysis.correlations(drawn, beside.crosswalk),
    }
    return found if beside.training is None else found | {"training": analysis.training(drawn, beside.training)}
