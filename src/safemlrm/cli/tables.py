"""What the commands print: tables for people, JSON for machines. Numbers only, never a reply."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from safemlrm.records import digest

if TYPE_CHECKING:
    import polars as pl

    from safemlrm.cli.cost import Money
    from safemlrm.cli.power import Before
    from safemlrm.engine.counts import Counts
    from safemlrm.engine.run import Run
    from safemlrm.store import Store
    from safemlrm.trials import Model, Plan, Tally


STEPS_COST = (
    "Steps cost further calls to judges: one for each step of each thinking. How many there are is known only when the "
    "replies are there, so they are in no number here."
)

#: Columns of a table that is written to a file or a pipe.
WIDTH = 140

#: No column of words becomes narrower than this.
_THREAD = 20


def as_json(document: Any) -> None:
    """Print a document as JSON on stdout."""
    typer.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    numbers: int = 0,
    names: int = 0,
    spare: Sequence[str] = (),
) -> None:
    """Print a table; the last `numbers` columns are right-aligned, and the first `names` are never broken.

    Cells are text, never markup. Where the terminal is too narrow, `spare` columns are left out one by one, and it is
    said which.
    """
    from rich.text import Text

    console = Console(width=None if Console().is_terminal else WIDTH)
    cells = [[_cell(value) for value in row] for row in rows]
    shown = _that_fit(console.width, columns, cells, spare)
    console.print(Text(title, style="bold"), soft_wrap=True)
    drawn = Table(header_style="bold")
    for place in shown:
        right = place >= len(columns) - numbers
        # a number is never cut; the words above it may fold
        least = max((len(row[place]) for row in cells), default=0) if right or place < names else None
        drawn.add_column(columns[place], justify="right" if right else "left", overflow="fold", min_width=least)
    for row in cells:
        drawn.add_row(*(Text(row[place]) for place in shown))
    console.print(drawn)
    gone = [name for place, name in enumerate(columns) if place not in shown]
    if gone:
        typer.echo(f"Left out in a terminal of {console.width} columns: {', '.join(gone)}.")


def _that_fit(width: int, columns: Sequence[str], cells: list[list[str]], spare: Sequence[str]) -> list[int]:
    """Return the places of the columns that stand side by side without breaking a word, if `spare` ones go."""
    widths = [max(map(_needed, (name, *(row[place] for row in cells)))) for place, name in enumerate(columns)]
    places = list(range(len(columns)))
    for name in spare:
        if sum(widths[place] + 3 for place in places) + 1 <= width:
            break
        places.remove(columns.index(name))
    return places


def _needed(cell: str) -> int:
    """Return the width in which a cell can be read: sentences fold between words, but not into a thread."""
    return max([min(len(cell), _THREAD), *map(len, cell.split())])


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _asked_with(plan: Plan, model: Model) -> list[str]:
    return [words.label for words in plan.prompted(model)]


def show_plan(plan: Plan, tally: Tally, before: Before, money: Money, *, json: bool) -> None:
    """Print what a study will ask, what it can show, what it takes, and what is missing."""
    from safemlrm import pairs
    from safemlrm.cli import cost, power

    judges = plan.study.judges
    document: dict[str, Any] = {
        "study": plan.study.name,
        "models": [
            {
                "model": m.label,
                "base": m.base,
                "promptings": _asked_with(plan, m),
                "address": m.url,
                "engine": pairs.engine_of(m),
            }
            for m in plan.models
        ],
        "pairs": [
            {
                "base": pair.base.label,
                "derived": pair.derived.label,
                "engine": pairs.engines_of(pair),
                "differs": pairs.differences(pair),
            }
            for pair in pairs.pairs(plan.models)
        ],
        "samples": tally.samples,
        "trials": tally.trials,
        "target_calls": tally.trials,
        "judge_calls_at_most": tally.trials * 3 * len(plan.study.splitters) * len(judges),
        "judge_calls_for_steps": None if plan.study.steps else 0,
        "judges": list(judges),
        "images_sent": tally.images,
        "images_missing": len(tally.missing),
        "chosen": {name: {"ids_sha256": digest(ids), "ids": ids} for name, ids in tally.chosen.items()},
        "warnings": plan.warnings,
    }
    if json:
        as_json(document | power.document(plan, tally, before) | {"cost": cost.cost(plan, tally, money)})
        return
    rows = [(m.label, m.base, ", ".join(_asked_with(plan, m)), _reached(m)) for m in plan.models]
    table(f"{plan.study.name}: {len(rows)} models", ("model", "base", "prompting", "reached at"), rows)
    if document["pairs"]:
        compared = [(p["base"], p["derived"], p["engine"], "; ".join(p["differs"])) for p in document["pairs"]]
        table("Pairs", ("base", "derived", "engine", "differ besides in"), compared)
    for source in plan.sources:
        counts = tally.samples[str(source.dataset.given())]
        conditions = ", ".join(attack.short() for attack in source.attacks)
        title = f"{source.dataset.given()}: {sum(counts.values()):,} samples, asked as {conditions}"
        table(title, ("scenario", "samples"), counts.items(), numbers=1)
    typer.echo(f"{tally.trials:,} trials = {tally.trials:,} calls to targets, with {tally.images:,} pictures sent.")
    typer.echo(
        f"At most {document['judge_calls_at_most']:,} calls to judges ({', '.join(judges)}): "
        "three parts a reply and splitter, fewer where parts are absent or alike."
    )
    if plan.study.steps:
        typer.echo(STEPS_COST)
    power.show(plan, tally, before)
    cost.show(plan, tally, money)
    for warning in plan.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if tally.missing:
        typer.echo(
            f"warning: {len(tally.missing):,} pictures are missing (first {tally.missing[0]}): a run stops "
            'before its first call unless the study says missing = "skip"',
            err=True,
        )


def _reached(model: Model) -> str:
    if model.serve is not None:
        return f"{model.serve}, started for it"
    if model.protocol is None:
        return "no address yet"
    return model.url or f"in the process ({model.protocol.plugin.name})"


def show_run(store: Store, run: Run, outcome: str, *, json: bool) -> dict[str, Any]:
    """Print how a run ended, and return its counts: planned, answered, failed, unread."""
    from safemlrm.store import frames

    trials = frames.trials(store, [run.id])
    states = {name: trials.filter(trials["state"] == name).height for name in ("answered", "blocked", "failed")}
    unread, unpublished = 0, 0
    if run.options.judging:
        unread, unpublished = unread_in(store, run.plan.study.splitters, run.judges, [run.id])
    document: dict[str, Any] = {"store": store.url, "run": run.id, "outcome": outcome, "planned": trials.height}
    document |= states | {"pending": trials.height - sum(states.values()), "unread": unread}
    document |= {"unpublished": unpublished} if unpublished else {}
    document |= {"asked_now": run.counts.done, "verdicts_now": run.counts.judged}
    if json:
        as_json(document)
        return document
    words = [f"{document[name]:,} {name}" for name in ("planned", "answered", "blocked", "failed", "pending", "unread")]
    # why a run was given up is the error that follows, with the end of a log in it
    said = "given up" if outcome.startswith("given up") else outcome
    typer.echo(f"{said}: {', '.join(words)}; {run.counts.done:,} asked now. Store: {store.url}")
    if unpublished:
        typer.echo(f"  {unpublished:,} parts of simulated replies have no score, because none was published.")
    reasons = _reasons(trials)
    for kind, count, first in reasons:
        typer.echo(f"  failed: {count:,} x {kind} (first: {first})")
    if outcome == "stopped":
        typer.echo("Nothing is lost: the same command goes on where this one stopped.")
    elif outcome.startswith("stopped early"):
        typer.echo("That was enough: the same command asks no more. Without [stopping] in the study it goes on.")
    elif any(kind != "attack:missing_image" for kind, _, _ in reasons):
        typer.echo("The same command with --retry-failed asks again for the failed ones only.")
    return document


def unread_in(
    store: Store, splitters: Sequence[str], judges: Container[str], runs: Sequence[str] | None = None
) -> tuple[int, int]:
    """Count present parts and steps without a score under these splitters and judges (by id).

    Counted apart: parts of simulated replies whose score was never published, for there was nothing to read.
    """
    from safemlrm.specimens import UNPUBLISHED
    from safemlrm.store import frames

    unread = unpublished = 0
    for entry in frames.judged(store):
        if entry.splitter in splitters and entry.judge in judges:
            readings = frames.readings(store, splitter=entry.splitter, judge=entry.judge, runs=runs)
            if entry.sitting > 1:  # a later sitting reads what the first one read, and no more
                first = frames.readings(store, splitter=entry.splitter, judge=entry.first, runs=runs)
                readings = readings.filter(first["unread"].ne_missing("not judged"))
            steps = frames.steps(store, splitter=entry.splitter, judge=entry.judge, runs=runs)
            for reasons in (readings["unread"], steps["unread"]):
                simulated = int((reasons == UNPUBLISHED).sum())
                unread += reasons.count() - simulated
                unpublished += simulated
    return unread, unpublished


def _reasons(trials: pl.DataFrame) -> list[tuple[str, int, str]]:
    import polars as pl

    failed = trials.filter(pl.col("state") == "failed").group_by("failure").agg(pl.len(), pl.col("message").first())
    rows = failed.sort("len", descending=True).rows()
    return [(kind, count, " ".join(str(message).split())[:200]) for kind, count, message in rows]


def show_judged(counts: Counts, outcome: str, unread: int, *, json: bool) -> None:
    """Print how a judging pass ended; `unread` counts what has no score in the store, from this pass or before."""
    document = {"outcome": outcome, "replies": counts.stored, "verdicts": counts.judged, "unread": unread}
    document |= {"failed": counts.judge_failed}
    if json:
        as_json(document)
        return
    typer.echo(
        f"{outcome}: {counts.stored:,} replies, {counts.judged:,} new verdicts, {unread:,} parts unread, "
        f"{counts.judge_failed:,} judge calls failed"
    )
