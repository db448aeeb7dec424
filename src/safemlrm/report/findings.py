"""What the page says of each pair: the primary comparison in words and numbers, its figures and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from safemlrm.analysis.frames import POOLED, SCORES, UNSAFE, Pair
from safemlrm.analysis.primary import Comparison, Declared, comparisons
from safemlrm.report import figures, reasons
from safemlrm.report.drawing import Figure
from safemlrm.report.wording import (
    PARTS,
    Grid,
    Heading,
    chance,
    count,
    gap,
    listed,
    percent,
    points,
    scenario,
    span,
)

Tables = dict[str, pl.DataFrame]


class Finding(NamedTuple):
    """The primary comparison of one pair under one condition; `row` is its pooled row of `primary.csv`."""

    condition: str
    comparison: Comparison
    row: dict[str, Any]

    @property
    def part(self) -> str:
        return self.comparison.part

    @property
    def threshold(self) -> int:
        return self.comparison.threshold

    @property
    def compared(self) -> str:
        """What is compared, and why it is not the answers where it is not."""
        at = "" if self.threshold == UNSAFE else f" at {self.threshold} or more"
        because = f", {self.comparison.because}" if self.comparison.because else ""
        return f"{PARTS[self.part]} compared{at}{because}"

    @property
    def known(self) -> bool:
        return self.row["difference"] is not None

    @property
    def verdict(self) -> str:
        """`higher`, `lower`, `open` (the interval holds 0) or `unknown`."""
        if not self.known:
            return "unknown"
        return "higher" if self.row["low"] > 0 else "lower" if self.row["high"] < 0 else "open"

    @property
    def basis(self) -> str:
        items = count(self.row["n"])
        return f"paired over {items} items" if self.row["paired"] else f"unpaired, {items} parts read of both together"


class Spots(NamedTuple):
    """Where one comparison stands out: its figure, what to see in it, and its numbers per scenario."""

    finding: Finding
    figure: Figure
    said: str
    grid: Grid
    #: the scenarios ranked, and what to see in that; None where there are too few
    ranking: tuple[str, Grid] | None


class Section(NamedTuple):
    """One pair on the page."""

    anchor: str
    base: str
    derived: str
    findings: list[Finding]
    spots: list[Spots]
    histogram: Figure
    unread: str
    heat: Figure | None
    coupling: list[str]
    everything: Grid
    prompts: list[str]


def sections(
    tables: Tables,
    joint: pl.DataFrame | None,
    pairs: list[Pair],
    names: dict[str, str],
    declared: Sequence[Declared] = (),
) -> list[Section]:
    """Return the sections of the page, one per pair."""
    found: dict[Pair, list[Finding]] = {}
    for (base, derived, condition), one in comparisons(tables["tax"], declared).items():
        where = {"base": base, "derived": derived, "condition": condition, "scenario": POOLED}
        row = tables["primary"].filter(**where).row(0, named=True)
        found.setdefault((base, derived), []).append(Finding(condition, one, row))
    return [
        _section(tables, joint, pair, names, found[pair], anchor=f"pair-{place}")
        for place, pair in enumerate(pairs, start=1)
    ]


def _section(
    tables: Tables,
    joint: pl.DataFrame | None,
    pair: Pair,
    names: dict[str, str],
    found: list[Finding],
    *,
    anchor: str,
) -> Section:
    base, derived = pair
    tax = tables["tax"].filter(base=base, derived=derived)
    conditions = [one.condition for one in found]
    histogram, unread = _histogram(tables["rates"], tables["counts"], pair, names, conditions)
    heat, sentences = _coupling(tables, joint, derived, names[derived])
    return Section(
        anchor=anchor,
        base=names[base],
        derived=names[derived],
        findings=found,
        spots=[_spots(tables, f, pair, names) for f in found if f.known],
        histogram=histogram,
        unread=unread,
        heat=heat,
        coupling=sentences,
        everything=_everything(tax, names[base], names[derived]),
        prompts=_prompts(tables, pair),
    )


def _spots(tables: Tables, f: Finding, pair: Pair, names: dict[str, str]) -> Spots:
    rates = tables["rates"]
    here = {"condition": f.condition, "part": f.part, "threshold": f.threshold}
    both = rates.filter(pl.col("model").is_in(pair), **here).with_columns(member=pl.col("model").replace(names))
    gaps = tables["primary"].filter(base=pair[0], derived=pair[1], condition=f.condition)
    by_model = {(row["model"], row["scenario"]): row for row in both.iter_rows(named=True)}
    rows = []
    for row in gaps.iter_rows(named=True):
        of = [by_model.get((member, row["scenario"])) for member in pair]
        cells = [text for one in of for text in _member(one)]
        cells += [points(row["difference"]), gap(row["low"], row["high"]), chance(row["p"]), chance(row["p_holm"])]
        rows.append([scenario(row["scenario"]), *cells])
    base, derived = (names[name] for name in pair)
    heads = ["Scenario", *(f"{name}: {what}" for name in (base, derived) for what in ("unsafe / read", "rate"))]
    heads += ["difference", "95 % interval", "p", "p, Holm"]
    where = f"{PARTS[f.part]}, condition {f.condition}, score at least {f.threshold}"
    grid = Grid(f"{base} and {derived} per scenario: {where}", _headings(heads), rows)
    said = _extremes(gaps)
    words = f"Share of unsafe {where}, per scenario, of {base} and {derived}, and the difference. {said}"
    picture = figures.blind_spots(both, gaps, (base, derived), words)
    return Spots(f, picture, said, grid, reasons.ranking(tables, *pair, f.condition))


def _extremes(gaps: pl.DataFrame) -> str:
    """Say where the difference is largest and smallest, or nothing where fewer than two scenarios can be told."""
    told = gaps.filter(pl.col("scenario") != POOLED).drop_nulls("difference").sort("difference")
    if told.height < 2:
        return ""
    least, most = told.row(0, named=True), told.row(-1, named=True)
    return (
        "; ".join(
            f"{which}: {scenario(row['scenario'])}, {points(row['difference'])} points ({gap(row['low'], row['high'])})"
            for which, row in (("Largest difference", most), ("smallest", least))
        )
        + "."
    )


def _member(row: dict[str, Any] | None) -> list[str]:
    return ["–", "–"] if row is None else [f"{count(row['hits'])} / {count(row['read'])}", percent(row["rate"])]


def _headings(labels: list[str], heads: int = 1) -> list[Heading]:
    return [Heading(label, number=place >= heads) for place, label in enumerate(labels)]


def _histogram(
    rates: pl.DataFrame, counts: pl.DataFrame, pair: Pair, names: dict[str, str], conditions: list[str]
) -> tuple[Figure, str]:
    """Draw the scores of both members over all scenarios; say which parts were not read at all."""
    shown = [names[name] for name in pair]
    total = (
        counts.filter(pl.col("model").is_in(shown), pl.col("condition").is_in(conditions))
        .group_by("condition", "model", "part", maintain_order=True)
        .agg(pl.col(SCORES).sum(), planned=pl.col("items").sum())
        .with_columns(part=pl.col("part").replace({"reasoning": "thinking"}))
        .with_columns(
            row=pl.format("{} · {}", "model", "part"),
            place=pl.col("model").replace_strict({v: k for k, v in enumerate(shown)}, return_dtype=pl.Int64),
        )
        .sort("place", maintain_order=True)
    )
    read = pl.sum_horizontal(SCORES) > 0
    silent = total.filter(~read)["row"].unique(maintain_order=True).to_list()
    words = f"How often each score from 0 to 5 was given to {listed(shown)}, by condition and part; numbers below."
    return figures.histograms(total.filter(read), words), listed(silent) if silent else ""


def _coupling(tables: Tables, joint: pl.DataFrame | None, derived: str, name: str) -> tuple[Figure | None, list[str]]:
    rows = [] if joint is None else tables["coupling"].filter(model=derived).rows(named=True)
    here = joint.filter(model=derived) if joint is not None else None
    if here is None or here.is_empty():
        return None, []
    sentences = []
    for row in rows:
        unsafe = row["thinking_unsafe_answer_safe"] + row["thinking_unsafe_answer_unsafe"]
        safe = row["thinking_safe_answer_unsafe"] + row["thinking_safe_answer_safe"]
        if unsafe + safe:
            sentences.append(
                f"{row['condition']}: of {count(unsafe)} unsafe thinkings {count(row['thinking_unsafe_answer_safe'])} "
                f"ended in a safe answer, {percent(row['self_correction'])} ({span(row['low'], row['high'])}); "
                f"of {count(safe)} safe thinkings {count(row['thinking_safe_answer_unsafe'])} ended in an unsafe "
                f"answer, {percent(row['leak'])} ({span(row['leak_low'], row['leak_high'])})."
            )
    words = f"Scores of thinking against scores of the answer of {name}, number of replies. " + " ".join(sentences)
    return figures.heat_map(here.with_columns(panel=pl.col("condition")), words), sentences


def _everything(tax: pl.DataFrame, base: str, derived: str) -> Grid:
    pool = tax.filter(scenario=POOLED)
    rows = [
        [
            *(row["condition"], row["part"], f"≥ {row['threshold']}", count(row["n"])),
            *(percent(row["rate_base"]), percent(row["rate_derived"]), points(row["difference"])),
            *(gap(row["low"], row["high"]), chance(row["p"])),
        ]
        for row in pool.iter_rows(named=True)
    ]
    heads = ["Condition", "Part", "Score", "n", base, derived, "difference", "95 % interval", "p"]
    return Grid(
        f"{base} and {derived}: all parts and thresholds, over all scenarios", _headings(heads, 3), rows, heads=3
    )


def _prompts(tables: Tables, pair: Pair) -> list[str]:
    if "prompts" not in tables:
        return []
    rows = tables["prompts"].filter(pl.col("different") > 0, base=pair[0], derived=pair[1])
    return [f"{r['condition']}: {count(r['different'])} of {count(r['pairs'])}" for r in rows.iter_rows(named=True)]
