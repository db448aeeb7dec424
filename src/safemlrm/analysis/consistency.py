"""Are scenarios ranked alike by different models, and does a scenario's safety-training data explain its rank?

Sources: Kendall and Babington Smith, Annals of Mathematical Statistics 10 (1939) 275 (W); Laird and Louis, Journal of
Educational Statistics 14 (1989) 29 (`rankings`: the intervals); Bonett and Wright, Psychometrika 65 (2000) 23 (the
interval of a rank correlation over scenarios); Mislevy, Psychometrika 56 (1991) 177 (plausible values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, permutations
from math import atanh, factorial, sqrt, tanh
from typing import Any

import numpy as np
import polars as pl

from safemlrm.analysis.frames import POOLED, THRESHOLDS, UNSAFE
from safemlrm.analysis.intervals import Column
from safemlrm.analysis.rankings import by_chance, true_values
from safemlrm.analysis.resampling import Replicates, ratio
from safemlrm.errors import StudyError

_WHERE = ["what", "condition", "part", "threshold"]
CONSISTENCY = [*_WHERE, "models", "scenarios", "w", "low", "high", "p"]
CORRELATIONS = [*_WHERE, "first", "second", "scenarios", "rho", "low", "high"]
TRAINING = [*_WHERE, "base", "derived", "scenarios", "rho", "low", "high", "p", "reason"]
#: Up to so many scenarios every order is tried; beyond, so many random ones.
_EXACT, _ORDERS = 8, 20000


def consistency(drawn: Replicates, crosswalk: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return Kendall's W over the scenarios that all pairs share: 1 if all rank them alike, about 1/models by chance.

    `what` is `tax` (each pair's differences) or `rate` (the derived models' shares). `crosswalk` maps scenarios to
    common categories, so that data sets can be set side by side; scenarios of one category are pooled. Rows with the
    condition `all` rank every pair under every condition (and data set) as a rater of its own. `w` is that of the
    estimates; `low` and `high` are for the true figures (`rankings`), which agree more than noisy ones, so `w` may
    stand at an end: over items, not over models. `p` says how often such agreement comes by chance, pairs that share a
    base agreeing by its noise. Agreement among models that share a judge is no news.
    """
    rows = []
    for place, matrix, names in _matrices(drawn, crosswalk):
        if len(names) < 2 or matrix.shape[2] < 3:
            continue
        low, high = _ends(matrix, _kendall)
        rows.append(
            place
            | {"models": len(names), "scenarios": matrix.shape[2], "w": _kendall(matrix[:1])[0]}
            | {"low": low, "high": high, "p": by_chance(matrix, _kendall)}
        )
    return _table(rows, CONSISTENCY)


def correlations(drawn: Replicates, crosswalk: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Return Spearman's rank correlation over scenarios of every two pairs, with the interval of the true one.

    At the primary threshold, within a condition; `crosswalk` and the interval as in `consistency`.
    """
    rows = []
    for place, matrix, names in _matrices(drawn, crosswalk):
        if matrix.shape[2] < 3 or place["threshold"] != UNSAFE or place["condition"] == POOLED:
            continue
        for first, second in combinations(range(len(names)), 2):
            two = matrix[:, [first, second]]
            low, high = _ends(two, _of_two)
            shown = {"first": names[first], "second": names[second], "scenarios": matrix.shape[2]}
            rows.append(place | shown | {"rho": _of_two(two[:1])[0], "low": low, "high": high})
    return _table(rows, CORRELATIONS)


def training(drawn: Replicates, amounts: pl.DataFrame) -> pl.DataFrame:
    """Correlate each pair's scenarios with the amount of safety-training data that they have.

    `amounts`: columns `scenario` and `amount`, one row per scenario. Spearman's rho of the estimates; its interval
    takes the scenarios as a sample (Bonett and Wright) and the figures as noisy (plausible values): with ten scenarios
    it is as wide as it is, and with fewer than five there is none. `p` is exact over all orders up to eight scenarios,
    else over 20,000 random ones. A correlation over scenarios is not an effect of training data: scenarios differ in
    more than that. Raises `StudyError` for a malformed table.
    """
    known = _amounts(amounts)
    rows = []
    for place, matrix, names in _matrices(drawn, None, by_pair=True):
        scenarios = place.pop("scenarios")
        at = [k for k, name in enumerate(scenarios) if name in known]
        base, _, derived = names[0].partition(" → ")
        shown: dict[str, Any] = {"base": base, "derived": derived, "scenarios": len(at)}
        if len(at) < 5:
            rows.append(place | shown | {"reason": "fewer than five scenarios have an amount"})
            continue
        amount = np.array([known[scenarios[k]] for k in at])
        rho = float(_spearman(matrix[:1, 0, at], amount[None, :])[0])
        if np.isnan(rho):
            rows.append(place | shown | {"reason": "all scenarios are alike"})
            continue
        low, high = _over_scenarios(matrix[:, 0, at], amount, rho)
        chance = _permutation(matrix[0, 0, at], amount, rho)
        rows.append(place | shown | {"rho": rho, "low": low, "high": high, "p": chance, "reason": None})
    return _table(rows, TRAINING)


def _amounts(table: pl.DataFrame) -> dict[str, float]:
    if table.columns != ["scenario", "amount"] or not table.schema["amount"].is_numeric():
        raise StudyError("a table of training data has the columns scenario,amount, and amounts are numbers")
    if table["scenario"].is_duplicated().any() or table.null_count().sum_horizontal().item():
        raise StudyError("a table of training data names every scenario once, each with an amount")
    return {str(name): float(amount) for name, amount in table.rows()}


def _matrices(
    drawn: Replicates, crosswalk: Mapping[str, str] | None, *, by_pair: bool = False
) -> Iterator[tuple[dict[str, Any], Column, list[str]]]:
    """Yield what is ranked, per condition, part and threshold: (1 + draws, pairs, scenarios), and the pairs' names."""
    keys = drawn.keys.with_columns(
        category=pl.col("scenario").replace(dict(crosswalk or {})), pair=pl.format("{} → {}", "base", "derived")
    ).with_row_index("at")
    if keys["condition"].n_unique() > 1 and not by_pair:
        both = keys.with_columns(pair=pl.format("{}, {}", "pair", "condition"), condition=pl.lit(POOLED))
        keys = pl.concat([keys, both])
    for (condition, part), group in keys.group_by("condition", "part", maintain_order=True):
        pairs = group["pair"].unique(maintain_order=True).to_list()
        for chosen in [[pair] for pair in pairs] if by_pair else [pairs]:
            cells = _common(group, chosen)
            if not cells:
                continue
            for t in THRESHOLDS:
                base, derived = (_pooled_rates(side, list(cells.values()), t) for side in drawn.sides)
                # rounding noise must not break ties
                for what, values in (("tax", np.round(derived - base, 9)), ("rate", np.round(derived, 9))):
                    place: dict[str, Any] = {"what": what, "condition": condition, "part": part, "threshold": t}
                    yield place | ({"scenarios": list(cells)} if by_pair else {}), values, chosen


def _common(group: pl.DataFrame, chosen: list[str]) -> dict[str, list[list[int]]]:
    """Return the categories that all the chosen have, with the cells of each of them."""
    cells: dict[str, dict[str, list[int]]] = {}
    for pair, category, at in group.select("pair", "category", "at").rows():
        if pair in chosen:
            cells.setdefault(category, {}).setdefault(pair, []).append(at)
    return {name: [of[pair] for pair in chosen] for name, of in cells.items() if len(of) == len(chosen)}


def _pooled_rates(side: Any, cells: list[list[list[int]]], t: int) -> Column:
    """Return the shares of each category (outer) and pair (inner list of cells): (1 + draws, pairs, categories)."""
    rows = [[ratio(side[:, at, t:].sum(axis=(1, 2)), side[:, at].sum(axis=(1, 2))) for at in of] for of in cells]
    return np.moveaxis(np.asarray(rows, dtype=np.float64), (0, 1, 2), (2, 1, 0))


def _kendall(matrix: Column) -> Column:
    """Return W of each draw, corrected for ties: (draws, raters, objects) -> (draws,); NaN where all are tied."""
    ranks = _ranks(matrix)
    raters, objects = ranks.shape[1:]
    spread = ranks.sum(axis=1).var(axis=1) * objects
    # the sum of t³ - t over ties of each rater is what its ranks lack of their full variance
    own = ranks.var(axis=2).sum(axis=1) * objects
    return np.asarray(spread / np.where(own > 0, raters * own, np.nan))


def _ranks(values: Column) -> Column:
    """Return ranks along the last axis, ties sharing their mean rank."""
    less = (values[..., :, None] > values[..., None, :]).sum(axis=-1)
    equal = (values[..., :, None] == values[..., None, :]).sum(axis=-1)
    return np.asarray(less + (equal + 1) / 2, dtype=np.float64)


def _spearman(first: Column, second: Column) -> Column:
    """Return the rank correlation of each draw; NaN where one side is all tied."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    under = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.asarray((a * b).sum(axis=1) / np.where(under > 0, under, np.nan))


def _of_two(matrix: Column) -> Column:
    return _spearman(matrix[:, 0], matrix[:, 1])


def _ends(matrix: Column, statistic: Callable[[Column], Column]) -> tuple[float | None, float | None]:
    """Return the central 95 % of a statistic of the true figures, widened to the estimates' own where that is outside.

    None where it is not defined or nothing varies.
    """
    own = float(statistic(matrix[:1])[0])
    true = None if np.isnan(own) else true_values(matrix)
    if true is None:
        return None, None
    low, high = np.quantile(statistic(true), [0.025, 0.975])
    return min(float(low), own), max(float(high), own)


def _bonett_wright(rho: float, n: int) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a rank correlation; none at 1 or -1, where the formula knows no spread."""
    if abs(rho) > 1 - 1e-12:
        return None, None
    half = 1.959963984540054 * sqrt((1 + rho**2 / 2) / (n - 3))
    return tanh(atanh(rho) - half), tanh(atanh(rho) + half)


def _over_scenarios(values: Column, amount: Column, rho: float) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a rank correlation over scenarios whose figures are noisy.

    Plausible values (Mislevy): draws of the true figures given the estimates and the amounts, each with Bonett and
    Wright's spread over scenarios; that alone where the noise is not known.
    """
    from scipy.special import ndtri

    n = len(amount)
    scores = ndtri((_ranks(amount) - 0.5) / n)
    true = true_values(np.stack([values, np.broadcast_to(scores, values.shape)], axis=1))
    if true is None:
        return _bonett_wright(rho, n)
    found = np.clip(_spearman(true[:, 0], np.broadcast_to(amount, true[:, 0].shape)), -1 + 1e-6, 1 - 1e-6)
    half = np.sqrt((1 + found**2 / 2) / (n - 3))
    drawn = np.tanh(np.arctanh(found) + half * np.random.default_rng(0).normal(size=len(found)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return min(float(low), rho), max(float(high), rho)


def _permutation(values: Column, amount: Column, rho: float) -> float:
    """Return how often an order of the amounts correlates as strongly as theirs."""
    n = len(values)
    if n <= _EXACT:
        orders = np.array(list(permutations(range(n))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(n), (_ORDERS, 1)), axis=1)
    # the ranks stay what they are, in another order
    a, b = (_ranks(side) - (n + 1) / 2 for side in (values, amount))
    found = np.abs(b[orders] @ a) / np.sqrt((a @ a) * (b @ b)) >= abs(rho) - 1e-12
    return float(found.mean()) if len(orders) == factorial(n) else float((found.sum() + 1) / (len(orders) + 1))


def _table(rows: list[dict[str, Any]], columns: list[str]) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    full = [dict.fromkeys(columns) | row for row in rows]
    return pl.DataFrame(full, infer_schema_length=None).with_columns(pl.col(pl.Float64).fill_nan(None)).select(columns)
