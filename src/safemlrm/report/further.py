"""What the page says beyond each pair: weights or prompt, families, stages, one piece left out, judge errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import polars as pl

from safemlrm.analysis.frames import POOLED, UNSAFE
from safemlrm.report.wording import (
    Grid,
    Heading,
    chance,
    count,
    decimal,
    decimals,
    gap,
    percent,
    points,
    scenario,
    span,
)

Tables = dict[str, pl.DataFrame]
Names = Mapping[str, str]


class Further(NamedTuple):
    """One further question of the page: its name, what to know before reading, its numbers."""

    anchor: str
    title: str
    said: str
    grid: Grid


def further(tables: Tables, names: Names) -> list[Further]:
    """Return the further questions that this report can answer, in the order of the page."""
    made = (_squares, _families, _stages, _left_out, _corrected, _training)
    return [found for make in made for found in make(tables, names)]


def _grid(caption: str, heads: list[str], rows: list[list[str]], named: int) -> Grid:
    return Grid(caption, [Heading(label, number=place >= named) for place, label in enumerate(heads)], rows, named)


def _main_part(table: pl.DataFrame, *of: str) -> pl.DataFrame:
    """Return, `of` each pair and condition, the rows of answers, else of whole replies, at the usual threshold."""
    answers = (pl.col("part") == "answer").any().over(of)
    part = pl.when(answers).then(pl.lit("answer")).otherwise(pl.lit("full"))
    return table.filter(pl.col("part") == part, threshold=UNSAFE)


def _with(value: float | None, low: float | None, high: float | None) -> str:
    return points(value) if low is None else f"{points(value)} ({gap(low, high)})"


def _squares(tables: Tables, names: Names) -> Iterator[Further]:
    """Yield the 2x2 of weights and a factor: one row for each pair, levels, and what was held fixed."""
    if "factors" not in tables:
        return
    rows: dict[tuple[str, ...], dict[str, dict[str, Any]]] = {}
    cell = ("base", "derived", "factor", "level_off", "level_on", "held")
    for r in _main_part(tables["factors"], *cell).iter_rows(named=True):
        held = r["held"].removesuffix(" none").removesuffix(" bare")
        place = (names[r["derived"]], f"{r['level_off']} → {r['level_on']}", held, r["part"], count(r["read"]))
        rows.setdefault(place, {})[r["effect"]] = r
    effects = ["factor, base", "factor, derived", "interaction", "weights, factor off", "weights, factor on"]
    shown = [
        [*place, *(_with(*(found[effect][name] for name in ("estimate", "low", "high"))) for effect in effects)]
        for place, found in rows.items()
    ]
    heads = ["Derived model", "factor", "under", "part", "items"]
    heads += ["on the base", "on the derived", "interaction", "tax without", "tax with"]
    said = (
        "Each model against its base, and one factor (prompting, attack or defense) off and on, over the items that "
        "were read in all four cells; points at 4 or more, with 95 % intervals. The factor's effect on either model, "
        "and the tax without and with it; the interaction is by how much the factor changes the tax."
    )
    yield Further("squares", "Weights or prompt?", said, _grid("The 2x2 of weights and a factor", heads, shown, 4))


def _families(tables: Tables, names: Names) -> Iterator[Further]:
    if "families" not in tables:
        return
    shown = [
        [
            *(f"{r['kind']}: {names.get(r['family'], r['family'])}", r["condition"], r["part"]),
            *(f"{_derived(r[which], names)} {points(r[f'difference_{which}'])}" for which in ("first", "second")),
            *(_with(r["contrast"], r["low"], r["high"]), chance(r["p"])),
        ]
        for r in _main_part(tables["families"], "first", "second", "condition").iter_rows(named=True)
    ]
    heads = ["Family", "Condition", "part", "tax of the first", "of the second", "contrast (95 %)", "p"]
    said = (
        "Pairs that share a backbone under different recipes, or a recipe on different backbones. A contrast says that "
        "two models differ, not that the recipe does it; its interval is over items."
    )
    yield Further("families", "Families", said, _grid("Taxes within a family, in points", heads, shown, 5))


def _derived(pair: str, names: Names) -> str:
    name = pair.partition(" → ")[2]
    return names.get(name, name)


def _stages(tables: Tables, names: Names) -> Iterator[Further]:
    if "stages" not in tables:
        return
    shown = [
        [
            *(names[r["root"]], str(r["stage"]), names[r["model"]], names[r["against"]], r["condition"], r["part"]),
            *(count(r["n"]), _with(r["difference"], r["low"], r["high"]), chance(r["p"])),
        ]
        for r in _main_part(tables["stages"], "root", "model", "condition").iter_rows(named=True)
    ]
    heads = ["Root", "stage", "model", "against", "condition", "part", "items", "difference (95 %)", "p"]
    said = "The tax as a curve: every stage or checkpoint against the root of its chain and against the one before."
    yield Further("stages", "Along the training", said, _grid("The tax along each chain, in points", heads, shown, 6))


def _left_out(tables: Tables, names: Names) -> Iterator[Further]:
    """Yield, for each pair and condition, the scenario, condition or data set whose absence moves the tax most."""
    if "sensitivity" not in tables:
        return
    table = (
        _main_part(tables["sensitivity"], "base", "derived", "condition").filter(average="micro").drop_nulls("change")
    )
    cell = ["base", "derived", "condition", "left_out"]
    largest = pl.col("change").abs() == pl.col("change").abs().max().over(cell)
    most = table.filter(largest).unique(cell, keep="first", maintain_order=True)
    shown = [
        [
            names[r["derived"]],
            *("all conditions" if r["condition"] == POOLED else r["condition"], r["part"]),
            *(f"{r['left_out']} {_piece(r)}", _with(r["difference"], r["low"], r["high"])),
            points(r["change"]),
        ]
        for r in most.iter_rows(named=True)
    ]
    if not shown:
        return
    heads = ["Derived model", "Condition", "part", "left out", "difference without it (95 %)", "change"]
    said = (
        "The one piece whose absence moves each difference most: a finding that one piece carries is about that piece."
    )
    yield Further("left-out", "What one piece changes", said, _grid("One piece left out, in points", heads, shown, 4))


def _piece(row: dict[str, Any]) -> str:
    return scenario(row["name"]) if row["left_out"] == "scenario" else str(row["name"])


def _corrected(tables: Tables, names: Names) -> Iterator[Further]:
    if "corrected" not in tables:
        return
    shown = []
    for r in tables["corrected"].filter(pl.col("n") > 0).iter_rows(named=True):
        corrected = (
            f"{percent(r['self_correction_corrected'])} ({span(r['self_correction_low'], r['self_correction_high'])})"
        )
        leak = f"{percent(r['leak_corrected'])} ({span(r['leak_low'], r['leak_high'])})"
        told = [corrected, percent(r["noise_only"]), percent(r["leak"]), leak]
        shown.append([names[r["model"]], r["condition"], count(r["n"]), percent(r["self_correction"]), *told])
        if r["reason"]:
            shown[-1][4:] = [f"– ({r['reason']})", "–", percent(r["leak"]), "–"]
    heads = [
        "Model",
        "Condition",
        "replies",
        "self-correction, judged",
        "corrected (95 %)",
        "by the judge's errors alone",
    ]
    heads += ["leak, judged", "corrected (95 %)"]
    said = (
        "Self-correction and leak as the validated labels say they would be without the judge's errors, and the "
        "self-correction that those errors alone would make of thinking and answer that always agree."
    )
    yield Further("corrected", "Without the judge's errors", said, _grid("Corrected, in per cent", heads, shown, 2))


def _training(tables: Tables, names: Names) -> Iterator[Further]:
    if "training" not in tables:
        return
    taxes = tables["training"].filter(what="tax")
    shown = [
        [
            *(names[r["derived"]], r["condition"], r["part"]),
            *(count(r["scenarios"]), decimal(r["rho"]), decimals(r["low"], r["high"]), chance(r["p"])),
            r["reason"] or "",
        ]
        for r in _main_part(taxes, "base", "derived", "condition").iter_rows(named=True)
    ]
    heads = ["Derived model", "Condition", "part", "scenarios", "rank correlation", "95 % interval", "p", "why not"]
    said = (
        "Do blind spots follow a lack of safety training? The rank correlation of each scenario's tax with how much "
        "training data it has; ten scenarios leave a wide interval."
    )
    yield Further("training", "Blind spots and training data", said, _grid("Rank correlations", heads, shown, 3))
