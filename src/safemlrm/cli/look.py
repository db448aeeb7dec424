"""`status` and `split`: looking without calling anything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from safemlrm.cli.running import Json
from safemlrm.errors import StudyError

Beside = Annotated[Path | None, typer.Option("--beside", help="A folder with a models.toml of your own.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(status)
    app.command()(split)


def status(store: Annotated[str, typer.Argument(metavar="[STORE]")] = "safemlrm.db", json: Json = False) -> int:
    """Say how far a store is, also while a run is writing to it."""
    import polars as pl

    from safemlrm.cli import tables
    from safemlrm.store import frames, open_store, schema

    with open_store(store) as opened:
        trials, runs = frames.trials(opened), opened.latest_runs()
        verdicts, calls = opened.count(schema.verdicts), frames.calls(opened)
    groups = trials.group_by("model", "dataset", "condition", maintain_order=True).agg(
        pl.len().alias("planned"),
        *((pl.col("state") == name).sum().alias(name) for name in ("answered", "blocked", "failed", "pending")),
        (pl.col("stop") == "length").sum().alias("truncated"),
    )
    tokens = sum(int(calls[name].sum() or 0) for name in ("tokens_in", "tokens_out"))
    silent = calls.filter(pl.col("tokens_in").is_null(), pl.col("tokens_out").is_null(), outcome="ok").height
    spent = {"calls": calls.height, "tokens": tokens, "calls_without_a_count": silent}
    if json:
        latest = [{"name": r.name, "started": r.started, "finished": r.finished, "outcome": r.outcome} for r in runs]
        tables.as_json({"runs": latest, "trials": groups.to_dicts(), "verdicts": verdicts} | spent)
        return 0
    # what is nothing but zeros is left out where the terminal is narrow
    spare = [name for name in ("truncated", "pending", "failed", "blocked") if not groups[name].sum()]
    title = f"{store}: trials of the newest run of every study"
    tables.table(title, groups.columns, groups.rows(), numbers=6, names=1, spare=[*spare, "dataset"])
    untold = f"; of {silent:,} answered calls no count of tokens was told" if silent else ""
    typer.echo(f"{verdicts:,} verdicts; {spent['calls']:,} calls with {spent['tokens']:,} tokens{untold}.")
    for run in runs:
        began = datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%d %H:%M UTC")
        typer.echo(f"run of {run.name!r}, begun {began}: {run.outcome or 'going on, or killed'}")
    return 0


def split(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="A file with one raw reply; - for stdin.")] = "-",
    splitter: Annotated[str, typer.Option(help="corrected or opensafemlrm.")] = "corrected",
    target: Annotated[str | None, typer.Option(help="A model of the registry: its output format is used.")] = None,
    family: Annotated[str, typer.Option("--format", help="The output format; auto tells it from the text.")] = "auto",
    stop: Annotated[str, typer.Option(help="Why the reply ended: stop or length.")] = "stop",
    beside: Beside = None,
    json: Json = False,
) -> int:
    """Show how a reply splits into thinking and answer."""
    import msgspec

    from safemlrm import thinking
    from safemlrm.cli import tables
    from safemlrm.models import facts_of, own_formats
    from safemlrm.records import Response
    from safemlrm.thinking import formats

    if stop not in ("stop", "length"):
        raise StudyError(f"--stop {stop!r}: stop or length")
    facts = facts_of(target, beside, must=True) if target else None
    own = own_formats(beside)
    response = Response(text=_text(file), stop="length" if stop == "length" else "stop")
    wanted = facts.format if facts else family
    name = thinking.recognise(response, own) if wanted == thinking.AUTO else wanted
    found = thinking.split(
        response,
        splitter,
        model=facts.name if facts else "",
        family=name,
        own=own,
        opens_in=facts.opens_in if facts else "output",
    )
    how = "told from the text" if wanted == thinking.AUTO else f"of {facts.name}" if facts else "as asked for"
    form = {**formats.ours(), **own}[name]
    if json:
        tables.as_json({"format": name, "family": form.family, "format_from": how} | msgspec.to_builtins(found))
        return 0
    which = ", ".join(filter(None, (form.family, form.title)))
    said = f"format: {name} ({how})" + (f": {which}" if which else "")
    typer.echo(said if splitter == "corrected" else f"splitter: {splitter}")
    typer.echo(f"status: {found.status}")
    rows = [(segment.kind, len(segment.text), _printable(segment.text)) for segment in found.segments]
    tables.table("segments, in order", ("kind", "characters", "text"), rows)
    if found.final is not None:
        typer.echo(f"final value (never judged): {_printable(found.final)}")
    return 0


def _text(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} cannot be read: {error}") from error


def _printable(text: str) -> str:
    """Model text is hostile: control characters could drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
