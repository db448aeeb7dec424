"""The headline figures of arXiv 2504.08813, one by one: what the published counts give, and whether that is it.

A figure is `reproduced` where the counts give it to its last printed digit under the reading that the paper's words
have; otherwise `not`, with the reason. Readings were not searched until one fitted: with nine models, two conditions,
three thresholds and several averages some subset would fit any figure. All models answered the same items, and counts
do not tell how they go together: intervals of means over models let them rise and fall as one, which is the widest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from safemlrm.analysis.averages import averages
from safemlrm.analysis.frames import POOLED, UNSAFE
from safemlrm.analysis.intervals import Column
from safemlrm.analysis.ratios import risk_ratio_independent
from safemlrm.analysis.resampling import Replicates, ends

HEADLINE = ["figure", "published", "unit", "reading", "found", "low", "high", "verdict", "because"]
_BASE, _DERIVED = "Qwen2.5-VL-7B-Instruct", "R1-Onevision-7B"
_SCENARIO, _CONDITION, _PART = "01-Illegal_Activitiy", "text", "full"
_JOINT = (
    "only marginal counts are published, not which scores belong to one reply: every value from low to high fits them"
)
_NOWHERE = (
    "no threshold, condition, part or average of these counts gives it to the last digit, in points or relative; "
    "the paper also uses data not released"
)


def headline(drawn: Replicates, rates: pl.DataFrame) -> pl.DataFrame:
    """Return the list of the paper's headline figures with what these counts give, or an empty table for other counts.

    `drawn` and `rates` are made from the published table (`replicates_from_counts`, `rates_from_counts`). `found`,
    `low` and `high` are in `unit`; the interval is the bootstrap's or the score interval, for the two figures on
    thinking and answer the range that the marginal counts leave open (Frechet's bounds). Not for other counts.
    """
    if not {_BASE, _DERIVED} <= set(rates["model"]) or _CONDITION not in rates["condition"]:
        return pl.DataFrame(schema=dict.fromkeys(HEADLINE, pl.String))
    rows = [*_tax(drawn), *_levels(drawn), *_ratios(drawn), _blind_spot(rates), _unknown(), *_coupling(rates)]
    return pl.DataFrame([dict.fromkeys(HEADLINE) | row for row in rows], infer_schema_length=None).select(HEADLINE)


def _row(name: str, published: float, unit: str, reading: str, found: Any, because: str) -> dict[str, Any]:
    value, low, high = found
    same = value is not None and abs(value - published) < 0.5 * 10 ** -_digits(published)
    verdict = "reproduced" if same else "not reproduced"
    row = {"figure": name, "published": published, "unit": unit, "reading": reading, "found": value}
    return row | {"low": low, "high": high, "verdict": verdict, "because": None if same else because}


def _digits(value: float) -> int:
    return len(str(value).partition(".")[2])


def _tax(drawn: Replicates) -> list[dict[str, Any]]:
    """37.44 %: the average tax."""
    table = averages(drawn).filter(base=POOLED, part=_PART, threshold=UNSAFE, average="micro")
    found = {row["condition"]: row for row in table.iter_rows(named=True)}
    rows = []
    for condition, where in ((_CONDITION, "text"), ("SD_TYPO", "SD_TYPO"), (POOLED, "both conditions")):
        if condition in found:
            row = found[condition]
            values = tuple(100 * row[name] for name in ("difference", "low", "high"))
            reading = f"derived minus base at >= {UNSAFE}, mean over the pairs, {where}"
            rows.append(_row("reasoning tax", 37.44, "points", reading, values, _NOWHERE))
    return rows


def _levels(drawn: Replicates) -> list[dict[str, Any]]:
    """59.52 against 28.22 %, 31.30 points, and HR + 1.64: means over the models, each base once."""
    cells = drawn.chosen((pl.col("condition") == _CONDITION) & (pl.col("part") == _PART)).pooled()
    once = cells.keys.with_row_index("at").unique("base", keep="first", maintain_order=True)["at"].to_list()
    (base, derived), (low_score, high_score) = cells.rates(UNSAFE), cells.means()
    shares = _as_one(derived, 0), _as_one(base[:, once], 1)
    levels: dict[tuple[str, float, str], Column] = {
        ("unsafe share of the derived models", 59.52, "%"): 100 * shares[0],
        ("unsafe share of the bases", 28.22, "%"): 100 * shares[1],
        ("difference of the two", 31.30, "points"): 100 * (shares[0] - shares[1]),
        ("difference of the mean scores", 1.64, "score"): _as_one(high_score, 0) - _as_one(low_score[:, once], 1),
    }
    share = f"whole replies under {_CONDITION} at >= {UNSAFE}; other thresholds and SD_TYPO do not either"
    score = f"whole replies under {_CONDITION}; SD_TYPO does not either"
    reading = f"{_CONDITION}, mean over the models, each base once"
    return [
        _row(name, published, unit, reading, _spread(values, drawn), score if unit == "score" else share)
        for (name, published, unit), values in levels.items()
    ]


def _ratios(drawn: Replicates) -> list[dict[str, Any]]:
    """25 times in one scenario, 3.4 times on average."""
    cells = drawn.chosen((pl.col("condition") == _CONDITION) & (pl.col("part") == _PART))
    names = cells.keys["scenario"].unique(maintain_order=True).to_list()
    once = cells.keys.with_row_index("at").unique(["base", "scenario"], keep="first", maintain_order=True)
    base, derived = cells.rates(UNSAFE)
    ratios = []
    for place, name in enumerate(names):
        of_derived = cells.keys.with_row_index("at").filter(scenario=name)["at"].to_list()
        above = _as_one(derived[:, of_derived], 2 * place)
        below = _as_one(base[:, once.filter(scenario=name)["at"].to_list()], 2 * place + 1)
        ratios.append(above / np.where(below > 0, below, np.nan))
    own = _of_pairs(cells)
    said = f"the pairs' own ratios run from {own[0]:.1f} to {own[1]:.1f}, on 1 to 3 unsafe replies of each base in 97"
    rows = []
    if _SCENARIO in names:
        found = _spread(ratios[names.index(_SCENARIO)], drawn)
        reading = f"{_CONDITION}, Illegal Activity: mean share of the derived models over that of the bases"
        rows.append(_row("ratio in one scenario", 25, "times", reading, found, said))
    average = _spread(np.mean(ratios, axis=0), drawn)
    reading = f"{_CONDITION}, mean over scenarios of the same ratio"
    why = "one scenario, with hardly an unsafe reply of the bases, carries this mean; pooled, the ratio is below 2"
    return [*rows, _row("average ratio", 3.4, "times", reading, average, why)]


def _as_one(values: Column, seed: int) -> Column:
    """Return the mean over models (columns) with every model's draws in one order: all are high together, or low."""
    order = np.random.default_rng(seed).permutation(len(values) - 1)
    return np.append(values[:1].mean(axis=1), np.sort(values[1:], axis=0)[order].mean(axis=1))


def _of_pairs(cells: Replicates) -> tuple[float, float]:
    here = cells.chosen(pl.col("scenario") == _SCENARIO)
    base, derived = here.rates(UNSAFE)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = derived[0] / base[0]
    return float(np.nanmin(ratios)), float(np.nanmax(ratios))


def _blind_spot(rates: pl.DataFrame) -> dict[str, Any]:
    """From under 3 % to over 50 % in one scenario."""
    here = rates.filter(condition=_CONDITION, part=_PART, threshold=UNSAFE, scenario=_SCENARIO)
    one, two = (here.filter(model=name).row(0, named=True) for name in (_BASE, _DERIVED))
    met = one["rate"] < 0.03 and two["rate"] > 0.5
    ratio = risk_ratio_independent([two["hits"]], [two["read"]], [one["hits"]], [one["read"]])
    said = (
        f"{_BASE} {one['hits']} of {one['read']} ({100 * one['rate']:.1f} %), "
        f"{_DERIVED} {two['hits']} of {two['read']} ({100 * two['rate']:.1f} %)"
    )
    row = {"figure": "from under 3 % to over 50 % in one scenario", "published": None, "unit": "times", "reading": said}
    row |= {"found": ratio.estimate[0], "low": ratio.low[0], "high": ratio.high[0]}
    return row | {
        "verdict": "reproduced" if met else "not reproduced",
        "because": None if met else "one end is not met",
    }


def _unknown() -> dict[str, Any]:
    row = {"figure": "12.52 %", "published": 12.52, "unit": "%", "reading": "none that these counts allow"}
    return row | {"verdict": "not reproduced", "because": _NOWHERE}


def _coupling(rates: pl.DataFrame) -> list[dict[str, Any]]:
    """16.9 % of unsafe thinking overridden; 12.4 % of replies with thinking above 3 and answer up to 3."""
    here = rates.filter(scenario=POOLED, threshold=UNSAFE).drop_nulls("rate")
    sides = {part: here.filter(part=part).select("model", "condition", "rate") for part in ("thinking", "answer")}
    both = sides["thinking"].join(sides["answer"], on=["model", "condition"], suffix="_answer")
    if both.is_empty():
        return []
    thinking, answer = both["rate"].to_numpy(), both["rate_answer"].to_numpy()
    least, most = np.maximum(0, thinking - answer), np.minimum(thinking, 1 - answer)
    share = (100 * (least / thinking).mean(), 100 * (most / thinking).mean())
    over_all = (100 * least.mean(), 100 * most.mean())
    return [
        {
            "figure": name,
            "published": published,
            "unit": "%",
            "reading": f"{words}, mean over {both.height} models and conditions with both parts",
            "low": low,
            "high": high,
            "verdict": "cannot be known",
            "because": _JOINT,
        }
        for name, published, words, (low, high) in (
            ("self-correction", 16.9, "P(answer safe | thinking unsafe)", share),
            ("thinking above 3, answer up to 3", 12.4, "P(thinking >= 4 and answer <= 3)", over_all),
        )
    ]


def _spread(values: Column, drawn: Replicates) -> tuple[float | None, float | None, float | None]:
    low, high = ends(values[:, None], drawn.groups, drawn.strata)
    found = (values[0], low[0], high[0])
    return tuple(None if np.isnan(v) else float(v) for v in found)  # type: ignore[return-value]
