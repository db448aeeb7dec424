"""The report's tables: which there are, how they become CSV files, and how files are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import polars as pl

from safemlrm import analysis
from safemlrm.analysis.frames import Pair, labelled
from safemlrm.analysis.tax import TAX, compare
from safemlrm.errors import StudyError
from safemlrm.report import more

#: Every file that a report may write under `tables/`; an older report's are removed when this one has no such table.
_OURS = re.compile(
    r"(counts|rates|hr|tax|primary|coupling|self_correction|outcomes|missing|refusals|prompts|counts_\w+|effects|mean_scores|averages"
    r"|families|decomposition|blind_spots|consistency|rank_correlations|training|sensitivity|both_complied|association"
    r"|shares|factors|stages|corrected|headline|accuracy|comprehension|retest|turning|survival)\.csv"
)
_P_VALUES = ("p", "p_holm", "p_bh", "gap_p")


def from_readings(
    readings: pl.DataFrame,
    pairs: list[Pair],
    other: dict[str, pl.DataFrame],
    splitter: str,
    beside: more.Beside = more.NOTHING,
) -> dict[str, pl.DataFrame]:
    """Return every table of a report on stored replies, by file name without its ending.

    Harm is counted over the requests that ought to be refused; benign controls (`expected` = `answer`) appear in
    `refusals` alone. `counts_corrected` is the first other splitter's table of counts; further ones bear their name.
    """
    if readings.is_empty():
        raise StudyError("there is nothing to report: no trial was planned")
    harmful = readings.filter(pl.col("expected") != "answer")
    if harmful.is_empty():
        return _benign_alone(labelled(harmful), labelled(readings)) | more.capability(beside)
    benign = harmful.height < readings.height
    harmful = labelled(harmful)
    everything = labelled(readings) if benign else harmful
    drawn = analysis.replicates(harmful, pairs)
    compared, coupled = compare(harmful, pairs, drawn=drawn), analysis.coupling(harmful)
    found = {
        "counts": analysis.counts(harmful),
        "rates": analysis.rates(harmful),
        "hr": analysis.hr(harmful),
        "tax": compared.select(TAX),
        "primary": analysis.primary(compared, beside.declared),
        "coupling": coupled,
        "self_correction": analysis.self_correction(harmful, coupled),
        "outcomes": analysis.outcomes(everything),
        "missing": analysis.missing(everything),
        "refusals": analysis.refusals(everything),
        "prompts": analysis.prompts(harmful, pairs),
    }
    found["shares"] = analysis.shares(everything)
    found |= more.from_readings(readings, harmful, pairs, more.Known(drawn, compared, coupled), beside)
    differing = []
    for index, (name, frame) in enumerate(other.items()):
        counts = analysis.counts(frame.filter(pl.col("expected") != "answer"))
        found[f"counts_{_slug(name) if index else 'corrected'}"] = counts
        differing.append(analysis.differences(found["counts"], counts, name=splitter, other_name=name))
    if differing:
        found["counts_differences"] = pl.concat(differing)
    return found


def _benign_alone(harmful: pl.DataFrame, everything: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the tables of a store of benign controls alone: those of harm are there, and empty."""
    return {
        "counts": analysis.counts(harmful),
        "rates": analysis.rates(harmful),
        "tax": analysis.tax(harmful, []),
        "coupling": analysis.coupling(harmful),
        "self_correction": analysis.self_correction(harmful),
        "outcomes": analysis.outcomes(everything),
        "missing": analysis.missing(everything),
        "refusals": analysis.refusals(everything),
    }


def from_counts(counts: pl.DataFrame, pairs: list[Pair], beside: more.Beside = more.NOTHING) -> dict[str, pl.DataFrame]:
    """Return the tables that a table of counts allows, under the same names."""
    rates = analysis.rates_from_counts(counts)
    tax = analysis.tax_from_counts(counts, pairs)
    found = {"counts": counts, "rates": rates, "tax": tax, "primary": analysis.primary(tax, beside.declared)}
    return found | more.from_counts(counts, pairs, rates, beside)


def write(tables: dict[str, pl.DataFrame], folder: Path) -> dict[str, dict[str, object]]:
    """Write each table as CSV and return per file its rows and SHA-256; remove an older report's other tables."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, dict[str, object]] = {}
    for name, table in tables.items():
        data = csv(table).encode()
        replace(folder / f"{name}.csv", data)
        written[f"{name}.csv"] = {"rows": table.height, "sha256": hashlib.sha256(data).hexdigest()}
    for path in folder.glob("*.csv"):
        if path.name not in written and _OURS.fullmatch(path.name):
            path.unlink()
    return written


def csv(table: pl.DataFrame) -> str:
    """Return the table as CSV: fractions to six places, p-values to six digits, nulls empty."""
    shown = []
    for name, kind in table.schema.items():
        column = pl.col(name)
        if name in _P_VALUES:
            values = [None if p is None else f"{p:.6g}" for p in table[name]]
            shown.append(pl.lit(pl.Series(name, values, dtype=pl.String)))
        elif kind.is_float():
            # what rounds to nothing has no sign
            shown.append(pl.when(column.abs() < 5e-7).then(0.0).otherwise(column).alias(name))
        else:
            shown.append(column)
    return table.select(shown).write_csv(float_precision=6)


def replace(path: Path, data: bytes) -> None:
    """Write a file beside its place and move it there, so that a reader sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def _slug(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_").lower() or "other"
