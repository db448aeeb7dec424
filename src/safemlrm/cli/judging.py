"""`judge`: stored replies before other judges, other splitters, or the same judge again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safemlrm.cli.running import Concurrency, Json, Judges, Splitters, Steps, exit_code, wait_for

if TYPE_CHECKING:
    from safemlrm.store import Store


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(judge)


def judge(
    store: Annotated[str, typer.Argument(metavar="[STORE]")] = "safemlrm.db",
    judge: Judges = None,
    splitter: Splitters = None,
    steps: Steps = False,
    sitting: Annotated[
        int, typer.Option(help="Above 1: read what this judge has read a second, third ... time.", min=1)
    ] = 1,
    concurrency: Concurrency = 32,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again for failed judge calls.")] = False,
    beside: Annotated[Path | None, typer.Option(help="The study's folder, for judges and models of your own.")] = None,
    json: Json = False,
) -> int:
    """Judge stored replies again, with another judge or splitter, or the same judge once more: no model is sampled."""
    from safemlrm.cli import tables
    from safemlrm.engine.bench import Options
    from safemlrm.engine.rejudge import Rejudging
    from safemlrm.store import open_store

    options = Options(concurrency=concurrency, retry_failed=retry_failed, beside=beside)
    with open_store(store) as opened:
        by = splitter or ([] if sitting > 1 else ["corrected"])
        work = Rejudging(opened, judge or _judges_of(opened), by, options, sitting, steps)
        outcome = wait_for(work, work.counts)
        unread, _ = tables.unread_in(opened, work.splitters, work.sat)
        tables.show_judged(work.counts, outcome, unread, json=json)
    return exit_code(outcome, unread)


def _judges_of(store: Store) -> list[str]:
    """Return the judges of the newest study in a store: who reads again or further, where nobody is named."""
    from safemlrm.store import choice

    return list(choice.studies(store)[-1].get("judges") or ["harm_rubric"])
