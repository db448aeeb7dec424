"""What the page says beyond the difference: what was declared, averages, why, blind spots ranked, headline figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from safemlrm.analysis.frames import POOLED, UNSAFE
from safemlrm.analysis.primary import Declared
from safemlrm.report import figures
from safemlrm.report.drawing import Figure
from safemlrm.report.wording import PARTS, Grid, Heading, chance, count, gap, listed, percent, points, scenario

Tables = dict[str, pl.DataFrame]
Names = Mapping[str, str]


def _headings(labels: list[str], heads: int) -> list[Heading]:
    return [Heading(label, number=place >= heads) for place, label in enumerate(labels)]


def declared(found: Sequence[Declared], primary: pl.DataFrame) -> str:
    """Say which comparison the studies declared before they ran, or that none was; `primary` is `primary.csv`."""
    if not found:
        return (
            f"No study declared its primary comparison. This page takes answer against answer at {UNSAFE} or more, or "
            "whole replies where separate answers were not read of both, with Holm's adjustment over the scenarios; "
            "everything else here is exploration."
        )
    said = []
    for one in found:
        pair = f"{one.derived or 'every derived model'} against {one.base or 'its base'}, "
        where = f", condition {one.condition}" if one.condition else ""
        over = "the scenarios of each pair and condition" if one.family == "scenario" else "all declared scenarios"
        rows = primary.filter(declared=True, scenario=POOLED).select("base", "derived", "condition").rows()
        nothing = "" if any(one.covers(row) for row in rows) else " (nothing here belongs to it)"
        what = f"{one.part} against {one.part} at {one.threshold} or more"
        said.append(f"{pair}{what}{where}, Holm's adjustment over {over}{nothing}")
    return f"Declared before the run: {'; '.join(dict.fromkeys(said))}. Everything else here is exploration."


def averages(tables: Tables) -> Grid | None:
    """Return the averages of the tax over all pairs, micro and macro; None with a single pair."""
    if "averages" not in tables:
        return None
    rows = tables["averages"].filter(base=POOLED, threshold=UNSAFE)
    shown = [
        [
            *("all conditions" if r["condition"] == POOLED else r["condition"], r["part"], r["average"]),
            *(percent(r["rate_base"]), percent(r["rate_derived"])),
            *(points(r["difference"]), gap(r["low"], r["high"])),
        ]
        for r in rows.iter_rows(named=True)
    ]
    heads = ["Condition", "Part", "Average", "bases", "derived", "difference", "95 % interval, over items"]
    return Grid("Mean over all pairs, score 4 or 5", _headings(heads, 3), shown, heads=3) if shown else None


def why(
    tables: Tables, compared: Mapping[tuple[str, str, str], tuple[str, int]], names: Names
) -> tuple[Figure | None, Grid | None]:
    """Draw and list Kitagawa's two parts of every pair's tax.

    `compared`: (base, derived, condition) -> the part and the threshold of its primary comparison.
    """
    if "decomposition" not in tables:
        return None, None
    chosen = [
        row
        for row in tables["decomposition"].filter(scenario=POOLED).iter_rows(named=True)
        if compared.get((row["base"], row["derived"], row["condition"])) == (row["part"], row["threshold"])
        and row["refusing_less"] is not None
    ]
    if not chosen:
        return None, None
    both = _both_complied(tables)
    drawn, shown = [], []
    for r in chosen:
        pair = f"{names[r['base']]} → {names[r['derived']]}"
        for name, label in (("refusing_less", "refusing less"), ("more_harmful", "more harmful when complying")):
            ends = {"low": r[f"{name}_low"], "high": r[f"{name}_high"]}
            drawn.append({"pair": pair, "condition": r["condition"], "part": label, "points": r[name]} | ends)
        same = both.get((r["base"], r["derived"], r["condition"], r["part"], r["threshold"]))
        shown.append(
            [
                *(pair, r["condition"], points(r["difference"])),
                *(points(r["refusing_less"]), gap(r["refusing_less_low"], r["refusing_less_high"])),
                *(points(r["more_harmful"]), gap(r["more_harmful_low"], r["more_harmful_high"])),
                *_same(same),
            ]
        )
    heads = ["Pair", "Condition", "difference", "refusing less", "95 % interval", "more harmful", "95 % interval"]
    heads += ["both complied, items", "difference there", "95 % interval"]
    told = [f"{d['pair']}, {d['condition']}: {d['part']} {points(d['points'])}" for d in drawn]
    words = "The tax in two parts, percentage points. " + "; ".join(told) + "."
    grid = Grid(
        "The tax in two parts, and over the items with which both complied", _headings(heads, 2), shown, heads=2
    )
    return figures.decomposition(pl.DataFrame(drawn), words), grid


def _both_complied(tables: Tables) -> dict[tuple[str | int, ...], dict[str, Any]]:
    if "both_complied" not in tables:
        return {}
    rows = tables["both_complied"].filter(scenario=POOLED).iter_rows(named=True)
    return {(r["base"], r["derived"], r["condition"], r["part"], r["threshold"]): r for r in rows}


def _same(row: dict[str, Any] | None) -> list[str]:
    if row is None:
        return ["–", "–", "–"]
    return [count(row["both_complied"]), points(row["difference"]), gap(row["low"], row["high"])]


def ranking(tables: Tables, base: str, derived: str, condition: str) -> tuple[str, Grid] | None:
    """Return the blind spots of one comparison, worst first, and what to see in them; None where nothing was read."""
    if "blind_spots" not in tables:
        return None
    rows = tables["blind_spots"].filter(base=base, derived=derived, condition=condition).drop_nulls("difference")
    if rows.height < 2:
        return None
    rows = rows.sort("rank", "difference", descending=[False, True])
    shown = [
        [
            *(scenario(r["scenario"]), f"{r['rank']} ({r['rank_low']} – {r['rank_high']})", _probability(r["p_worst"])),
            *(points(r["difference"]), gap(r["low"], r["high"])),
            *(_times(r), _told(r)),
        ]
        for r in rows.iter_rows(named=True)
    ]
    heads = ["Scenario", "rank (95 %)", "P(worst)", "difference, pooled", "95 % interval", "ratio, pooled (95 %)"]
    heads += ["own ratio (95 %)"]
    worst = rows.sort("p_worst", descending=True).row(0, named=True)
    said = f"Most likely the worst: {scenario(worst['scenario'])}, with probability {_probability(worst['p_worst'])}."
    untold = [scenario(name) for name in rows.filter(pl.col("ratio_told").not_())["scenario"]]
    if untold:
        said += (
            f" By how many times it grew cannot be told in {listed(untold)}: the base has too few unsafe replies there."
        )
    return said, Grid(f"Blind spots ranked, condition {condition}", _headings(heads, 1), shown)


def _times(row: dict[str, Any]) -> str:
    return f"{row['ratio']:.1f} ({row['ratio_low']:.1f} – {row['ratio_high']:.1f})"


def _told(row: dict[str, Any]) -> str:
    low, high = row["own_ratio_low"], row["own_ratio_high"]
    if not row["ratio_told"] or row["own_ratio"] is None:
        return "cannot be told"
    return f"{row['own_ratio']:.1f} ({low:.1f} – {high:.1f})"


def _probability(value: float) -> str:
    return "< 0.01" if value < 0.01 else "> 0.99" if value > 0.99 else f"{value:.2f}"


def headline(tables: Tables) -> Grid | None:
    """Return the paper's headline figures beside what the published counts give; None for other counts."""
    if "headline" not in tables:
        return None
    rows = [
        [
            *(r["figure"], _number(r["published"], r["unit"]), _number(r["found"], r["unit"])),
            "–" if r["low"] is None else f"{_plain(r['low'])} – {_plain(r['high'])}",
            *(
                r["verdict"],
                r["reading"] + (f". {r['because'][0].upper()}{r['because'][1:]}." if r["because"] else "."),
            ),
        ]
        for r in tables["headline"].iter_rows(named=True)
    ]
    labels = ["Figure", "paper", "these counts", "interval or range", "reproduced", "how read, and why not"]
    columns = [Heading(label, number=0 < place < 4) for place, label in enumerate(labels)]
    return Grid("The paper's headline figures from its published counts", columns, rows)


def consistency(tables: Tables) -> list[str]:
    """Say how alike the pairs rank the scenarios, per condition, at the primary threshold."""
    if "consistency" not in tables:
        return []
    rows = tables["consistency"].filter(threshold=UNSAFE, what="tax").drop_nulls("w")
    return [
        f"{'all conditions together' if r['condition'] == POOLED else r['condition']}, {PARTS[r['part']]}: Kendall's W "
        f"{r['w']:.2f} (of the true rankings: {r['low']:.2f} – {r['high']:.2f}), {r['models']} rankings of "
        f"{r['scenarios']} scenarios, p\u00a0{chance(r['p']).replace(' ', chr(160))}"
        for r in rows.drop_nulls("low").iter_rows(named=True)
    ]


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{_plain(value)}\u00a0{unit}"


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
