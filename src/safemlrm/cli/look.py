"""`status`, `split` and `list`: looking without calling anything."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from safemlrm.cli.running import Json
from safemlrm.errors import StudyError

Kind = Literal[
    "targets",
    "pairs",
    "closed",
    "formats",
    "datasets",
    "attacks",
    "promptings",
    "defenses",
    "protocols",
    "judges",
    "splitters",
]
Beside = Annotated[Path | None, typer.Option("--beside", help="A folder with a models.toml of your own.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(status)
    app.command()(split)
    app.command("list")(list_names)


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
    spent = {"calls": calls.height, "tokens": tokens}
    if json:
        latest = [{"name": r.name, "started": r.started, "finished": r.finished, "outcome": r.outcome} for r in runs]
        tables.as_json({"runs": latest, "trials": groups.to_dicts(), "verdicts": verdicts} | spent)
        return 0
    tables.table(f"{store}: trials of the newest run of every study", groups.columns, groups.rows(), numbers=6)
    typer.echo(f"{verdicts:,} verdicts; {spent['calls']:,} calls with {spent['tokens']:,} tokens.")
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
    if json:
        tables.as_json({"format": name, "format_from": how} | msgspec.to_builtins(found))
        return 0
    typer.echo(f"format: {name} ({how})" if splitter == "corrected" else f"splitter: {splitter}")
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


def list_names(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    beside: Beside = None,
    json: Json = False,
) -> int:
    """List what a study can name."""
    from safemlrm.cli import tables

    if json:
        rows = _FULL[kind](beside) if kind in _FULL else _plugins(kind)
        tables.as_json(rows)
        return 0
    rows = _ROWS[kind](beside) if kind in _ROWS else _plugins(kind)
    columns = list(rows[0]) if rows else ["name"]
    tables.table(kind, columns, [[_shown(row[c]) for c in columns] for row in rows])
    if kind in _NOTES:
        typer.echo(_NOTES[kind])
    return 0


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)


def _plugins(kind: str) -> list[dict[str, Any]]:
    from safemlrm.registry import find, names

    singular: Any = {"protocols": "target"}.get(kind, kind.removesuffix("s"))
    rows = []
    for name in names(singular):
        plugin = find(singular, name)
        given = {k: "required" if v is ... else v for k, v in plugin.parameters().items()}
        parameters = ", ".join(f"{k}={v!r}" if v != "required" else f"{k} (required)" for k, v in given.items())
        row = {"name": name, "version": plugin.version, "title": plugin.title, "parameters": parameters}
        extra = {"licence": plugin.licence, "renderings": plugin.renderings} if singular == "dataset" else {}
        rows.append(row | extra | {"paper": plugin.paper})
    return rows


def _targets(beside: Path | None) -> list[dict[str, Any]]:
    """One line a model for reading; `--json` has every fact."""
    from safemlrm.models import registry

    return [
        {
            "name": f.name,
            "size": f.parameters,
            "base": f.base,
            "format": f"{f.format} ^" if f.opens_in == "prompt" else f.format,
            "thinking": f.visibility,
            "switch": f.switch.mechanism if f.switch else None,
            "grade": f"{f.grade} *" if f.unverified else f.grade,
        }
        for f in registry(beside).values()
    ]


def _targets_full(beside: Path | None) -> list[dict[str, Any]]:
    import msgspec

    from safemlrm.models import registry

    return [msgspec.structs.asdict(facts) for facts in registry(beside).values()]


def _pairs(beside: Path | None) -> list[dict[str, Any]]:
    """Every pair that can be compared: by base, by the training stage before, by the switch on the same weights."""
    from safemlrm.models import registry

    rows: list[dict[str, Any]] = []
    for f in registry(beside).values():
        found: list[tuple[str | None, str, str | None]] = [(f.base, f.name, f.pair)]
        if f.earlier:
            found.append((f.earlier, f.name, "stage"))
        if f.switch:
            found.append((f"{f.name}+no_thinking", f"{f.name}+thinking", "switch"))
        rows += [
            {"base": base, "derived": derived, "kind": kind, "recipe": f.recipe, "grade": f.grade}
            for base, derived, kind in found
            if base
        ]
    return rows


def _closed(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import closed_families

    return [
        {
            "name": name,
            "provider": family.provider,
            "models": family.matches,
            "thinking": family.visibility,
            "where": family.field,
            "control": family.control,
            "grade": family.grade,
        }
        for name, family in closed_families(beside).items()
    ]


def _formats(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import own_formats
    from safemlrm.thinking.formats import ours

    return [
        {
            "name": name,
            "family": form.family,
            "title": form.title,
            "thinking": [f"{opens.strip()} {closes}" for opens, closes in form.thinking] or form.headings,
            "answer": [f"{opens} {closes}" for opens, closes in form.answer] or form.answer_headings,
        }
        for name, form in {**own_formats(beside), **ours()}.items()
    ]


def _splitters(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm import thinking

    return [{"name": name, "version": version} for name, version in thinking.SPLITTERS.items()]


def _promptings(beside: Path | None) -> list[dict[str, Any]]:
    from safemlrm.models import prompts, registry
    from safemlrm.prompting import PROMPTINGS

    rows: list[dict[str, Any]] = [{"name": name, "role": None, "turns": None, "models": None} for name in PROMPTINGS]
    for name, prompt in prompts(beside).items():
        users = [f.name for f in registry(beside).values() if f.native and f.native.name == name]
        if name != "none":
            turns = 1 + len(prompt.then)
            rows.append({"name": f"native:{name}", "role": prompt.role, "turns": turns, "models": users})
    return rows


_ROWS = {
    "targets": _targets,
    "pairs": _pairs,
    "closed": _closed,
    "formats": _formats,
    "splitters": _splitters,
    "promptings": _promptings,
}
_FULL = _ROWS | {"targets": _targets_full}
_NOTES = {
    "targets": "Grades: V verified in its authors' code, V2 in a reputable third party; * but for what `unverified` "
    "says. ^ the prompt opens the thought.\nMore (prompts, decoding, serving, sources): safemlrm list targets --json",
    "pairs": "Kinds: tune of its base, stage of one training, sibling, switch on the same weights.",
}
