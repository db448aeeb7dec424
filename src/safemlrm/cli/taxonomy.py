"""`data scenarios` and `data hazards`: training sets and benchmarks by one common taxonomy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safemlrm.cli.running import Json

if TYPE_CHECKING:
    from safemlrm.crosswalk import Place


def scenarios(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="A training set, or folders of Parquet.")],
    column: Annotated[str | None, typer.Option(help="The column with the category.")] = None,
    table: Annotated[
        str | None, typer.Option("--as", help="The data set whose crosswalk reads the categories.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print scenario,amount: what the analysis reads.")] = False,
    view: Annotated[
        str,
        typer.Option(help="Of the CSV: hazard, mm_safetybench, authors, or a data set whose scenarios you analyse."),
    ] = "mm_safetybench",
    json: Json = False,
) -> int:
    """Count a safety-training set by crosswalk scenario: how much of it covers what, and how much is unmapped."""
    from safemlrm.cli import dataset_card, tables
    from safemlrm.training_sets import count

    counted = count(files, column, table)
    if json:
        rows = [row._asdict() for row in counted.shares()]
        head: dict[str, Any] = {
            "files": counted.files,
            "column": counted.column,
            "table": counted.table,
            "rows": counted.rows,
        }
        head |= {"no_category": counted.blank, "shares": rows, "among": counted.among()}
        places = {name: counted.place(name) for name in counted.categories}
        tables.as_json(head | {"places": places})
    elif csv:
        typer.echo(dataset_card.as_csv(counted.amounts(view)), nl=False)
    else:
        dataset_card.show_training(counted)
    return 0


def hazards(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A data set: its categories.")] = None,
    json: Json = False,
) -> int:
    """Show the crosswalk: the hazards, or where each category of one data set belongs, and why."""
    from safemlrm.cli import tables
    from safemlrm.crosswalk import Place, crosswalk
    from safemlrm.registry import find

    known = crosswalk()
    if name is None:
        rows = [{"hazard": key, "name": h.name, "group": h.group} for key, h in known.hazards.items()]
    else:
        find("dataset", name)
        places = known.rows(name) or {"(all)": Place(why=known.unmapped.get(name, "not in the table"))}
        rows = [_row(category, place, json=json) for category, place in places.items()]
    if json:
        tables.as_json(rows)
    else:
        tables.table(f"{name or 'hazards'}: {known.taxonomy}", list(rows[0]), [tuple(row.values()) for row in rows])
    return 0


def _row(category: str, place: Place, *, json: bool) -> dict[str, Any]:
    from safemlrm.crosswalk import UNMAPPED

    scenario = place.scenario or UNMAPPED
    if place.among and not json:
        scenario = f"some of {', '.join(place.among)}"
    row = {"category": category, "hazard": place.hazard or UNMAPPED, "scenario": scenario, "why": place.why}
    return row | {"among": place.among} if json else row
