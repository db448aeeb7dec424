"""Averages of the tax over scenarios, conditions and pairs, families of pairs, and what one piece more or less changes.

Everything here is a function of the joint bootstrap (`resampling.Replicates`): all intervals are over items, none is
over models, since the models were not drawn from anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from safemlrm.analysis.frames import POOLED, THRESHOLDS, UNSAFE, Pair
from safemlrm.analysis.intervals import Column, nullable
from safemlrm.analysis.resampling import Replicates, ends, ratio, two_sided
from safemlrm.errors import StudyError

_WHERE = ["base", "derived", "condition", "part", "threshold"]
AVERAGES = [*_WHERE, "average", "scenarios", "read", "rate_base", "rate_derived", "difference", "low", "high", "p"]
SENSITIVITY = [*_WHERE, "left_out", "name", "average", "difference", "low", "high", "change"]
FAMILIES = ["family", "kind", "condition", "part", "threshold", "first", "second", "difference_first"]
FAMILIES += ["difference_second", "contrast", "low", "high", "p"]


class _Line(NamedTuple):
    """One average in every draw: both members' rates, over so many scenarios and (as observed) items.

    `groups` in `strata` are what was resampled of it.
    """

    base: Column
    derived: Column
    scenarios: int
    read: int
    groups: int
    strata: int

    @property
    def gap(self) -> Column:
        return self.derived - self.base


def averages(drawn: Replicates, *, weights: Mapping[str, float] | None = None) -> pl.DataFrame:
    """Return micro and macro averages of every pair's tax, over conditions (`all`) and over pairs (`all`) too.

    `micro`: every item counts alike. `macro`: every scenario counts alike (those in which something was read of both).
    `weighted`: with the caller's weight of each scenario, where `weights` gives them; every scenario needs one, since a
    scenario that is left out in silence is another average. Raises `StudyError` for one that has none, for weights
    below 0, and where all weights of a line are 0. Averages over conditions and over
    pairs are means of those, each counting alike: a base that two pairs share counts twice. `p` is the bootstrap's.
    """
    rows = []
    for t in THRESHOLDS:
        lines = _lines(drawn, t, weights)
        for place, line in _with_means(lines).items():
            rows.append((dict(zip([*_WHERE[:4], "average"], place, strict=True)) | {"threshold": t}, line))
    return _table(rows).select(AVERAGES) if rows else _blank(AVERAGES)


def sensitivity(drawn: Replicates, datasets: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return the averages with one scenario, one condition or one data set left out, and by how much that moves them.

    At the primary threshold. `left_out` is `scenario` (of one pair and condition), `condition` or `data set` (of one
    pair's mean over conditions; `datasets` says which condition belongs to which). A finding that one piece carries is
    a finding about that piece.
    """
    rows = []
    for (base, derived, condition, part), cells in _by_line(drawn).items():
        names = cells.keys["scenario"].to_list()
        whole = _average(cells, UNSAFE, None)
        for name in names if len(names) > 1 else []:
            for average, line in _average(cells.chosen(pl.col("scenario") != name), UNSAFE, None).items():
                place = {"base": base, "derived": derived, "condition": condition, "part": part, "threshold": UNSAFE}
                change = float(line.gap[0] - whole[average].gap[0])
                more = {"left_out": "scenario", "name": name, "average": average, "change": change}
                rows.append((place | more, line))
    rows += _without_conditions(drawn, datasets or {})
    return _table(rows).select(SENSITIVITY) if rows else _blank(SENSITIVITY)


def families(drawn: Replicates, recipes: Mapping[str, str]) -> pl.DataFrame:
    """Compare the taxes of pairs that share a backbone (under different recipes) or a recipe (on different backbones).

    `recipes` gives each derived model's recipe. A contrast is second minus first of two taxes (micro averages at the
    primary threshold), with the joint bootstrap's interval: over items, given these models. Two models are two models:
    a contrast says that they differ, not that the recipe does it.
    """
    lines = {k: v["micro"] for k, v in ((k, _average(c, UNSAFE, None)) for k, c in _by_line(drawn).items()) if v}
    pairs = list(dict.fromkeys((base, derived) for base, derived, _, _ in lines))
    rows = []
    for kind, family, members in _families(pairs, recipes):
        for first, second in combinations(members, 2):
            for condition, part in dict.fromkeys((c, p) for *_, c, p in lines):
                one, two = lines.get((*first, condition, part)), lines.get((*second, condition, part))
                if one is None or two is None:
                    continue
                contrast = (two.gap - one.gap)[:, None]
                interval = ends(contrast, *_most([one, two]))
                shown = {"family": family, "kind": kind, "condition": condition, "part": part, "threshold": UNSAFE}
                shown |= {"first": " → ".join(first), "second": " → ".join(second), "contrast": contrast[0, 0]}
                shown |= {"difference_first": one.gap[0], "difference_second": two.gap[0]}
                shown |= {"low": interval.low[0], "high": interval.high[0], "p": two_sided(contrast, interval)[0]}
                rows.append(shown)
    return (
        pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None)).select(FAMILIES)
        if rows
        else _blank(FAMILIES)
    )


def _families(pairs: list[Pair], recipes: Mapping[str, str]) -> Iterable[tuple[str, str, list[Pair]]]:
    by_base: dict[str, list[Pair]] = {}
    by_recipe: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_base.setdefault(pair[0], []).append(pair)
        if recipe := recipes.get(pair[1]):
            by_recipe.setdefault(recipe, []).append(pair)
    for kind, groups in (("one backbone", by_base), ("one recipe", by_recipe)):
        yield from ((kind, name, members) for name, members in groups.items() if len(members) > 1)


def _by_line(drawn: Replicates) -> dict[tuple[str, str, str, str], Replicates]:
    found = {}
    for base, derived, condition, part in drawn.keys.select(_WHERE[:4]).unique(maintain_order=True).rows():
        wanted = pl.struct(_WHERE[:4]) == pl.struct(
            base=pl.lit(base), derived=pl.lit(derived), condition=pl.lit(condition), part=pl.lit(part)
        )
        found[base, derived, condition, part] = drawn.chosen(wanted)
    return found


def _average(cells: Replicates, t: int, weights: Mapping[str, float] | None) -> dict[str, _Line]:
    """Return the averages of one pair, condition and part over its scenarios."""
    if not cells.keys.height:
        return {}
    hits, read = cells.hits(t), (cells.base.sum(axis=2), cells.derived.sum(axis=2))
    rates, number = cells.rates(t), cells.keys.height
    items = int(min(read[0][0].sum(), read[1][0].sum()))
    sums = [ratio(h.sum(axis=1), n.sum(axis=1)) for h, n in zip(hits, read, strict=True)]
    found = {
        "micro": _Line(sums[0], sums[1], number, items, *cells.held()),
        "macro": _Line(rates[0].mean(axis=1), rates[1].mean(axis=1), number, items, *cells.held()),
    }
    if weights is not None:
        share = _weighed(cells.keys["scenario"].to_list(), weights)
        # a scenario of weight 0 is in the average of nobody, whatever its rate
        kept = np.flatnonzero(share)
        sides = [side[:, kept] @ share[kept] for side in rates]
        found["weighted"] = _Line(sides[0], sides[1], len(kept), items, *cells.held(kept.tolist()))
    return found


def _weighed(scenarios: list[str], weights: Mapping[str, float]) -> Column:
    """Return the scenarios' weights, made to add up to 1."""
    without = [name for name in scenarios if name not in weights]
    if without:
        raise StudyError(f"weights: none for the scenario {', '.join(without)}; write 0 to leave one out")
    share = np.array([weights[name] for name in scenarios], dtype=np.float64)
    if not (share >= 0).all() or not share.sum() > 0:
        raise StudyError(f"weights of {', '.join(scenarios)}: none below 0, and not all of them 0")
    return np.asarray(share / share.sum())


def _lines(drawn: Replicates, t: int, weights: Mapping[str, float] | None) -> dict[tuple[str, ...], _Line]:
    """Return every line of every pair under (base, derived, condition, part, average)."""
    return {
        (*place, average): line
        for place, cells in _by_line(drawn).items()
        for average, line in _average(cells, t, weights).items()
    }


def _with_means(lines: dict[tuple[str, ...], _Line]) -> dict[tuple[str, ...], _Line]:
    """Return the lines with their means over conditions, over pairs, and over both; only of what all of them have."""
    conditions = {place[2] for place in lines}
    found = dict(lines)
    if len(conditions) > 1:
        found |= _means(lines, lambda p: (p[0], p[1], POOLED, *p[3:]), len(conditions))
    pairs = {place[:2] for place in lines}
    if len(pairs) > 1:
        found |= _means(found, lambda p: (POOLED, POOLED, *p[2:]), len(pairs))
    return found


def _means(lines: dict[tuple[str, ...], _Line], name: Any, wanted: int) -> dict[tuple[str, ...], _Line]:
    groups: dict[tuple[str, ...], list[_Line]] = {}
    for place, line in lines.items():
        groups.setdefault(name(place), []).append(line)
    return {place: _mean(members) for place, members in groups.items() if len(members) == wanted}


def _mean(members: list[_Line]) -> _Line:
    base = np.mean([line.base for line in members], axis=0)
    derived = np.mean([line.derived for line in members], axis=0)
    return _Line(base, derived, max(m.scenarios for m in members), sum(m.read for m in members), *_most(members))


def _most(members: list[_Line]) -> tuple[int, int]:
    """Return the groups and strata of the member with most: members share items, and no more may be known apart."""
    most = max(members, key=lambda line: line.groups - line.strata)
    return most.groups, most.strata


def _without_conditions(drawn: Replicates, datasets: Mapping[str, str]) -> list[tuple[dict[str, Any], _Line]]:
    lines, rows = _lines(drawn, UNSAFE, None), []
    groups: dict[tuple[str, ...], dict[str, _Line]] = {}
    for (base, derived, condition, part, average), line in lines.items():
        groups.setdefault((base, derived, part, average), {})[condition] = line
    for (base, derived, part, average), members in groups.items():
        whole = np.mean([line.gap for line in members.values()], axis=0)[0]
        pieces = [("condition", name, {name}) for name in members]
        owners = dict.fromkeys(datasets[name] for name in members if name in datasets)
        pieces += [("data set", owner, {c for c in members if datasets.get(c) == owner}) for owner in owners]
        for kind, name, gone in pieces:
            kept = [line for condition, line in members.items() if condition not in gone]
            if not kept or len(kept) == len(members) or (kind == "data set" and len(owners) < 2):
                continue
            line = _mean(kept)
            place = {"base": base, "derived": derived, "condition": POOLED, "part": part, "threshold": UNSAFE}
            more = {"left_out": kind, "name": name, "average": average, "change": float(line.gap[0] - whole)}
            rows.append((place | more, line))
    return rows


def _table(rows: list[tuple[dict[str, Any], _Line]]) -> pl.DataFrame:
    gaps = np.stack([line.gap for _, line in rows], axis=1)
    interval = ends(gaps, np.array([line.groups for _, line in rows]), np.array([line.strata for _, line in rows]))
    return pl.DataFrame([place for place, _ in rows]).with_columns(
        pl.Series("scenarios", [line.scenarios for _, line in rows], dtype=pl.Int64),
        pl.Series("read", [line.read for _, line in rows], dtype=pl.Int64),
        nullable("rate_base", np.array([line.base[0] for _, line in rows])),
        nullable("rate_derived", np.array([line.derived[0] for _, line in rows])),
        nullable("difference", gaps[0]),
        nullable("low", interval.low),
        nullable("high", interval.high),
        nullable("p", two_sided(gaps, interval)),
    )


def _blank(columns: list[str]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
