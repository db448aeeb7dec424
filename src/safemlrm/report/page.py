"""The report: one self-contained page of numbers and figures, its tables and its manifest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from safemlrm import analysis
from safemlrm.analysis.frames import UNSAFE, Pair, labelled
from safemlrm.analysis.matching import repeated
from safemlrm.analysis.primary import Declared
from safemlrm.errors import StudyError
from safemlrm.report import figures, further, grids, reasons, tables, turns, wording
from safemlrm.report.drawing import Figure
from safemlrm.report.findings import Finding, Section, sections
from safemlrm.report.more import NOTHING, Beside

if TYPE_CHECKING:
    from jinja2 import Environment

_REPEATED = (
    "Goals were asked several times (seeds, attempts or variants), and those replies hang together: the intervals and "
    "tests here are over goals (cluster bootstrap, sign flipping), not over replies. A rate that rests on fewer than "
    "ten effective hits or misses has Wilson's interval with the effective number of replies."
)
_BENIGN_ALONE = (
    "Every request here ought to be answered: there is no rate of harm and no reasoning tax, only over-refusal and "
    "what did not happen."
)
_COUNTS_ONLY = (
    "This report is made from counts alone. Which item got which score is not known, so nothing is paired, "
    "thinking and answer cannot be set against each other, and how many calls were answered is not told."
)


def write_report(
    readings: pl.DataFrame,
    out: Path,
    *,
    pairs: list[Pair],
    title: str,
    notes: list[str],
    other: dict[str, pl.DataFrame],
    facts: dict[str, object],
    beside: Beside = NOTHING,
) -> Path:
    """Write `report.html`, `manifest.json` and `tables/*.csv` into `out` and return the page's path.

    `readings` is a frame of `analysis.READINGS`; `pairs` are (base, derived) names of its models; `notes` stand at the
    top of the page; `other` holds the readings of further splitters by name; `facts` goes into the manifest and the
    foot of the page (`facts["simulated"] = True` marks the page as simulated; `facts["splitter"]` names the splitter).
    `beside` is what the analysis takes from outside the store. Replies' texts never enter. Raises `StudyError` on
    contradictory or empty readings, `UnknownName` on a pair's.
    """
    readings = analysis.check(readings)
    splitter = str(facts.get("splitter", "this report's splitter"))
    found = tables.from_readings(readings, pairs, other, splitter, beside)
    harmful = readings.filter(pl.col("expected") != "answer")
    said = [*notes, _REPEATED] if repeated(harmful) else list(notes)
    if harmful.is_empty():
        pairs, said = [], [_BENIGN_ALONE, *said]
    shown = labelled(readings).select("model", pl.coalesce("published", "model")).unique().rows()
    return _write(
        found,
        out,
        pairs=pairs,
        title=title,
        notes=said,
        facts=facts,
        names=dict(shown),
        joint=analysis.joint(harmful),
        declared=beside.declared,
    )


def write_counts_report(
    counts: pl.DataFrame, out: Path, *, pairs: list[Pair], notes: list[str], beside: Beside = NOTHING
) -> Path:
    """Write the same from a table of counts (`analysis.read_counts`): unpaired, and without what counts do not tell."""
    names = {name: name for name in counts["model"].unique()}
    found = tables.from_counts(counts, pairs, beside)
    title = "Reasoning tax from published counts"
    return _write(found, out, pairs=pairs, title=title, notes=[*notes, _COUNTS_ONLY], facts={}, names=names)


def _write(
    found: dict[str, pl.DataFrame],
    out: Path,
    *,
    pairs: list[Pair],
    title: str,
    notes: list[str],
    facts: dict[str, object],
    names: dict[str, str],
    joint: pl.DataFrame | None = None,
    declared: Sequence[Declared] = (),
) -> Path:
    page = _render(found, joint, pairs=pairs, title=title, notes=notes, facts=facts, names=names, declared=declared)
    try:
        files = tables.write(found, out / "tables")
        manifest = {"title": title, "facts": facts, "notes": notes, "pairs": pairs, "tables": files}
        tables.replace(out / "manifest.json", json.dumps(manifest, indent=2, default=str).encode())
        tables.replace(out / "report.html", page.encode())
    except OSError as error:
        raise StudyError(f"{out}: the report cannot be written: {error.strerror or error}") from error
    return out / "report.html"


def _render(
    found: dict[str, pl.DataFrame],
    joint: pl.DataFrame | None,
    *,
    pairs: list[Pair],
    title: str,
    notes: list[str],
    facts: dict[str, object],
    names: dict[str, str],
    declared: Sequence[Declared],
) -> str:
    parts = sections(found, joint, pairs, names, declared)
    compared = {
        (base, derived, f.condition): (f.part, f.threshold)
        for (base, derived), part in zip(pairs, parts, strict=True)
        for f in part.findings
    }
    why, why_grid = reasons.why(found, compared, names)
    environment = _environment()
    style = environment.get_template("style.html.j2").render()
    # the policy admits this very style sheet and pictures inside the page, and nothing else
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(
        title=title,
        simulated=facts.get("simulated") is True,
        notes=notes,
        style=style,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'",
        sections=parts,
        lead=_lead(parts),
        overview=_overview(parts),
        declared=reasons.declared(declared, found["primary"]) if "primary" in found and "studies" in facts else None,
        averages=reasons.averages(found),
        why=why,
        why_grid=why_grid,
        consistency=reasons.consistency(found),
        headline=reasons.headline(found),
        further=further.further(found, names),
        totals=grids.totals(found),
        rates=grids.rates(found, names),
        unread=grids.unread(found["rates"], names),
        outcomes=grids.outcomes(found, names),
        missing=grids.missing(found, names),
        corrections=grids.corrections(found, names),
        noise=grids.noise(found, names),
        turning=turns.turning(found, names),
        refusals=grids.refusals(found, names),
        accuracy=grids.accuracy(found, names),
        comprehension=grids.comprehension(found, names),
        splitters=grids.splitters(found),
        facts=[(name.replace("_", " "), wording.fact(value)) for name, value in facts.items()],
        files=[f"{name}.csv" for name in found],
        unsafe=UNSAFE,
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("safemlrm.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": wording}
    return environment


def _lead(parts: list[Section]) -> str:
    found = [found for part in parts for found in part.findings]
    if not found:
        return "No pair of a base and a derived model was asked for, so there is no difference to report."
    declared = [one for one in found if one.comparison.declared]
    if not declared or len(declared) == len(found):
        return _told(found, "")
    rest = [one for one in found if not one.comparison.declared]
    return f"{_told(declared, ' declared before the run')} {_told(rest, ' of exploration')}"


def _told(found: list[Finding], which: str) -> str:
    verdicts = [one.verdict for one in found]
    said = {
        "higher": "unsafe more often than its base in {}",
        "lower": "unsafe less often in {}",
        "open": "not to be told from its base in {} (the interval holds 0)",
        "unknown": "not comparable in {} (nothing was read of both)",
    }
    told = [words.format(verdicts.count(name)) for name, words in said.items() if name in verdicts]
    number = "one comparison" if len(verdicts) == 1 else f"{len(verdicts)} comparisons"
    return f"Of {number}{which}, the derived model was {wording.listed(told)}."


def _overview(parts: list[Section]) -> Figure | None:
    rows = [
        {"pair": f"{part.base} → {part.derived}", "condition": found.condition}
        | {name: found.row[name] for name in ("difference", "low", "high")}
        for part in parts
        for found in part.findings
        if found.known
    ]
    if not rows:
        return None
    told = [
        f"{row['pair']}, {row['condition']}: {wording.points(row['difference'])} "
        f"({wording.gap(row['low'], row['high'])})"
        for row in rows
    ]
    return figures.overview(pl.DataFrame(rows), "Derived minus base in percentage points. " + "; ".join(told) + ".")
