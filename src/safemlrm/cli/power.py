"""What `plan` says before the run: the smallest tax that each scenario can show, and the items for a wanted one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from safemlrm.errors import StudyError

if TYPE_CHECKING:
    import polars as pl

    from safemlrm.trials import Plan, Tally


class Before(NamedTuple):
    """What is assumed before a run, as the options of `plan` give it."""

    wanted: float | None = None
    base_rate: float = 0.3
    association: float = 0.3


def tables(plan: Plan, tally: Tally, before: Before) -> dict[str, pl.DataFrame]:
    """Return the smallest tax per scenario of every benchmark; nothing where the study compares no pair."""
    from safemlrm.analysis.power import Assumed, power_table

    if not 0 <= before.base_rate < 1:
        raise StudyError(f"--base-rate {before.base_rate}: a fraction from 0 to below 1")
    if not _pairs(plan):
        return {}
    assumed = Assumed(before.base_rate, before.association)
    return {name: power_table(counts, before.wanted, assumed) for name, counts in tally.samples.items()}


def show(plan: Plan, tally: Tally, before: Before) -> None:
    """Print it, with what it assumes."""
    import typer

    from safemlrm.cli.tables import table

    for name, found in tables(plan, tally, before).items():
        heads = ["scenario", "items", "smallest tax", "the same, among all scenarios"]
        heads += [f"items for {100 * before.wanted:g} points", "among all scenarios"] if before.wanted else []
        rows = [
            [row[0], row[1], _points(row[2]), _points(row[3]), *(row[4:] if before.wanted else ())]
            for row in found.iter_rows()
        ]
        table(
            f"{name}: the smallest tax found in 80 of 100 runs, in points", heads, rows, numbers=len(heads) - 1, names=1
        )
    if _pairs(plan):
        typer.echo(
            f"Assumed: the base is unsafe in {100 * before.base_rate:g} %, the pair's outcomes correlate by "
            f"{before.association:g} over items; mid-p McNemar at 5 %, `among all scenarios` at Holm's first step."
        )


def document(plan: Plan, tally: Tally, before: Before) -> dict[str, Any]:
    """Return it as plain data, for `plan --json`."""
    return {
        "assumed": before._asdict(),
        "smallest_tax": {name: table.to_dicts() for name, table in tables(plan, tally, before).items()},
    }


def _pairs(plan: Plan) -> list[object]:
    from safemlrm.pairs import pairs

    return list(pairs(plan.models))


def _points(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"
