"""Two things at once: weights and prompt, or weights and attack, and the tax along the stages of a training run.

The prompt's share of a difference is told from the weights' by running all four cells over the same items; source: Box,
Hunter and Hunter, Statistics for Experimenters (2nd ed., 2005), 5.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np
import polars as pl

from safemlrm.analysis.frames import POOLED, THRESHOLDS, UNSAFE, Pair, check
from safemlrm.analysis.intervals import Column
from safemlrm.analysis.resampling import GROUP, ends, strata_of, two_sided, weights
from safemlrm.analysis.tax import tax

_WHERE = ["base", "derived", "factor", "level_off", "level_on", "held", "part", "threshold"]
_CELLS = ["base_off", "base_on", "derived_off", "derived_on"]
FACTORS = [*_WHERE, "read", "groups", "effect", "estimate", "low", "high", "p"]
STAGES = ["root", "stage", "model", "against", "condition", "part", "threshold", "n", "difference", "low", "high", "p"]
#: What each effect is of (base off, base on, derived off, derived on).
_EFFECTS = {
    "weights, factor off": (-1, 0, 1, 0),
    "weights, factor on": (0, -1, 0, 1),
    "factor, base": (-1, 1, 0, 0),
    "factor, derived": (0, 0, -1, 1),
    "weights (main)": (-0.5, -0.5, 0.5, 0.5),
    "factor (main)": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1, -1, -1, 1),
}
Factor = Literal["prompting", "condition", "defense"]


def factors(
    readings: pl.DataFrame, pairs: list[Pair], factor: Factor = "prompting", *, draws: int = 2000, seed: int = 0
) -> pl.DataFrame:
    """Return the 2x2 of weights (base, derived) and a factor, for every two of its levels that all four cells ran.

    `factor` is `prompting`, `condition` (the attack) or `defense`; the other two are held fixed (`held`). Over the
    items (sample, seed, attempt) read in all four cells: the weights' effect at either level, the factor's on either
    model, both main effects (their means), and the interaction (by how much the weights' effect grows when the factor
    is on), with group bootstrap intervals. `level_off` is the one that ran first. Rates are differences of shares at or
    above the threshold; null where nothing was read in all four. An attack of several attempts is several rows.
    """
    if factor in readings.columns and readings[factor].n_unique() < 2:
        return pl.DataFrame(schema=dict.fromkeys(FACTORS, pl.String))
    frame = check(readings)
    item = ["dataset", "sample", "seed", "attempt"]
    frame = frame.join(frame.select(item).unique().with_row_index("item"), on=item)
    fixed = [name for name in ("prompting", "condition", "defense") if name != factor]
    rows: list[dict[str, Any]] = []
    for base, derived in pairs:
        both = frame.filter(pl.col("model").is_in([base, derived]))
        for held, group in both.group_by(*fixed, maintain_order=True):
            levels = group[factor].unique(maintain_order=True).to_list()
            ran = [v for v in levels if group.filter(pl.col(factor) == v)["model"].n_unique() == 2]
            for off, on in combinations(ran, 2):
                place = {"base": base, "derived": derived, "factor": factor, "level_off": off, "level_on": on}
                place |= {"held": " ".join(map(str, held))}
                rows += _square(group, place, factor, draws, seed)
    if not rows:
        return pl.DataFrame(schema=dict.fromkeys(FACTORS, pl.String))
    return pl.DataFrame(rows, infer_schema_length=None).with_columns(pl.col(pl.Float64).fill_nan(None)).select(FACTORS)


def _square(group: pl.DataFrame, place: dict[str, Any], factor: str, draws: int, seed: int) -> list[dict[str, Any]]:
    rows = []
    cells = [(place[who], place[level]) for who in ("base", "derived") for level in ("level_off", "level_on")]
    four = group.select("item", "part", *GROUP, "scenario").unique(["item", "part"], keep="first", maintain_order=True)
    for name, (model, level) in zip(_CELLS, cells, strict=True):
        here = group.filter((pl.col("model") == model) & (pl.col(factor) == level)).drop_nulls("score")
        four = four.join(
            here.select("item", "part", pl.col("score").alias(name)), on=["item", "part"], maintain_order="left"
        )
    for (part,), items in four.group_by("part", maintain_order=True):
        values, read, strata = _draw(items, draws, seed)
        groups = items.select(GROUP).unique().height
        for t, rates in values.items():
            for effect, weight in _EFFECTS.items():
                found = (rates @ np.asarray(weight, dtype=float))[:, None]
                interval = ends(found, groups, strata)
                shown = {"part": part, "threshold": t, "read": read, "groups": groups, "effect": effect}
                shown |= {"estimate": found[0, 0], "low": interval.low[0], "high": interval.high[0]}
                shown |= {"p": two_sided(found, interval)[0]}
                rows.append(place | shown)
    return rows


def _draw(items: pl.DataFrame, draws: int, seed: int) -> tuple[dict[int, Column], int, int]:
    """Return the four cells' rates in every draw, by threshold: (1 + draws, 4); and the items and strata."""
    strata = strata_of(items)
    hits = [(pl.col(name) >= t).sum().alias(f"{name}_{t}") for t in THRESHOLDS for name in _CELLS]
    counted = items.join(strata, on=GROUP).group_by("stratum", "place").agg(pl.len(), *hits).sort("stratum", "place")
    sums = np.zeros((1 + draws, 1 + len(hits)), dtype=np.float32)
    for (stratum,), part in counted.group_by("stratum", maintain_order=True):
        of_group = part.drop("stratum", "place").to_numpy().astype(np.float32)
        sums += weights(part.height, draws, seed, str(stratum)) @ of_group
    rates = (sums[:, 1:] / sums[:, :1].astype(np.float64)).reshape(1 + draws, len(THRESHOLDS), len(_CELLS))
    by_threshold = {t: rates[:, place] for place, t in enumerate(THRESHOLDS)}
    return by_threshold, items.height, strata["stratum"].n_unique()


def stages(readings: pl.DataFrame, pairs: list[Pair]) -> pl.DataFrame:
    """Return the tax along every chain of stages (base, SFT, RL) or checkpoints: against the root and the stage before.

    A chain is followed from `pairs`: a derived model that is the base of another. `stage` counts from the root (0);
    pooled over scenarios, at the primary threshold, paired as in `tax`. Chains of one step are in `tax` already.
    """
    parents = {derived: base for base, derived in pairs}
    rows = []
    for model in parents:
        line = _line(model, parents)
        if len(line) < 3:
            continue
        for place in (0, len(line) - 2):
            table = tax(readings, [(line[place], model)]).filter(scenario=POOLED, threshold=UNSAFE)
            against = "root" if place == 0 else "stage before"
            for row in table.iter_rows(named=True):
                shown = {name: row[name] for name in STAGES[4:]}
                rows.append({"root": line[0], "stage": len(line) - 1, "model": model, "against": against} | shown)
    blank = pl.DataFrame(schema=dict.fromkeys(STAGES, pl.String))
    return pl.DataFrame(rows, infer_schema_length=None).select(STAGES) if rows else blank


def _line(model: str, parents: dict[str, str]) -> list[str]:
    """Return a model's line from its root; a ring of bases is cut where it closes."""
    line = [model]
    while line[0] in parents and parents[line[0]] not in line:
        line.insert(0, parents[line[0]])
    return line
