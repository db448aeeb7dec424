"""`data`: benchmarks on this machine: list, get, check, info, path, and a training set by scenario."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safemlrm.cli.running import DataDir, Json
from safemlrm.cli.taxonomy import hazards, scenarios
from safemlrm.errors import DataError, StudyError

if TYPE_CHECKING:
    from safemlrm.fetch import Checked, Recipe
    from safemlrm.plugin import Plugin
    from safemlrm.registry import Bound

_HELP = "Benchmarks on this machine: what there is, fetching, checking, looking."
#: A data set of one's own lies in `datasets/` of the working folder; it is loaded only when it is named.
Name = Annotated[str, typer.Argument(metavar="NAME", help='A data set: xstest, figstep_safebench(subset="tiny") ...')]
#: Messages list so many files; `--json` lists all.
_FIRST = 5


def add_to(app: typer.Typer) -> None:
    """Add the sub-commands of this file."""
    data = typer.Typer(help=_HELP, no_args_is_help=True)
    data.command("list")(list_all)
    for command in (get, check, info, path, scenarios, hazards):
        data.command()(command)
    app.add_typer(data, name="data")


def list_all(data: DataDir = None, json: Json = False) -> int:
    """List every data set: its size, under which licence, behind which gate, and whether it is here."""
    from rich.filesize import decimal

    from safemlrm.cli import tables
    from safemlrm.fetch import present, recipe_of
    from safemlrm.registry import find, names

    rows = []
    for name in names("dataset"):
        plugin = find("dataset", name)
        home = present(plugin, data)
        recipe = recipe_of(plugin)
        state = "here" if home else _state(plugin, recipe)
        row: dict[str, Any] = {"name": name, "title": plugin.title, "items": _items(plugin), "licence": plugin.licence}
        row |= {"gate": plugin.gate or None, "state": state, "folder": str(home) if home else None}
        rows.append(
            row
            | {
                "adversarial": plugin.adversarial,
                "size": recipe.size,
                "pinned": recipe.pinned if recipe.parts else None,
            }
        )
    if json:
        tables.as_json(rows)
        return 0
    shown = [
        (
            r["name"],
            r["items"],
            decimal(r["size"]) if r["size"] else None,
            r["licence"],
            _short_gate(r["gate"]),
            r["state"],
        )
        for r in rows
    ]
    where = f"in {data}" if data else "no folder named: add --data DIR or set SAFEMLRM_DATA"
    columns = ("name", "items", "download", "licence", "gate", "state")
    tables.table(f"{len(rows)} data sets; {where}", columns, shown, names=3)
    typer.echo("safemlrm data info NAME tells more of one; safemlrm data get NAME fetches it.")
    return 0


def _state(plugin: Plugin, recipe: Recipe) -> str:
    if plugin.folders:
        return "data get" if recipe.parts else "by hand"
    return "your own" if ... in plugin.parameters().values() else "in the package"


def _items(plugin: Plugin) -> int | None:
    """Return the published number of items under the default parameters, None where it is not known."""
    parameters = plugin.parameters()
    if plugin.published is None or ... in parameters.values():
        return None
    return sum(plugin.published(**plugin.bind({})).values())


def _short_gate(gate: str | None) -> str:
    """Return a gate in a few words: `info` tells all of it."""
    return "none" if gate is None else re.split(r"[:;(,]| at https| on https", gate)[0].strip()


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set.")],
    data: DataDir = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You have read licence and gate.")] = False,
) -> int:
    """Fetch a data set from where its authors publish it; nothing is downloaded when it is here already."""
    from safemlrm.fetch import Endpoints, fetch, present, recipe_of
    from safemlrm.fetch.get import by_hand
    from safemlrm.registry import find

    plugin = find("dataset", name)
    if not plugin.folders:
        raise StudyError(f"{name!r} needs no download")
    if data is None:
        raise DataError(f"say where {name!r} shall lie: --data DIR, or SAFEMLRM_DATA")
    if (home := present(plugin, data)) is not None:
        typer.echo(f"{name} is here: {home}. Nothing was downloaded; safemlrm data check {name} looks it through.")
        typer.echo("To fetch it anew, move that folder away.")
        return 0
    recipe, home = recipe_of(plugin), data / plugin.folders[0]
    typer.echo(_terms(plugin, recipe, home), err=True)
    if not recipe.parts:
        raise DataError(f"{name} cannot be fetched by a program. {by_hand(plugin, recipe, home)}")
    _accepted(name, accept_licence)
    with _downloading(name) as meter:
        fetch(plugin, recipe, data, meter, Endpoints.here())
    typer.echo(f"{name} is complete in {home}.")
    if recipe.by_hand:
        typer.echo(f"What no program can fetch: {recipe.by_hand}")
    typer.echo(f"Now look it through: safemlrm data check {name} --data {data}")
    return 0


def _terms(plugin: Plugin, recipe: Recipe, home: Path) -> str:
    pinned = "by pinned commit" if recipe.pinned else "not pinned: today's commit, which is kept on record"
    size = f"about {recipe.size / 1e6:,.1f} MB" if recipe.size else "not known beforehand"
    lines = {
        "licence": plugin.licence,
        "gate": plugin.gate or "none",
        "source": plugin.source,
        "from": "; ".join(f"{part.page} ({part.revision or 'newest'})" for part in recipe.parts) or "by hand",
        "files": f"{size}, {pinned}" if recipe.parts else "",
        "to": str(home),
    }
    table = "\n".join(f"  {key:8} {value}" for key, value in lines.items() if value)
    return f"{plugin.title} ({plugin.paper})\n{table}"


def _accepted(name: str, accepted: bool) -> None:
    """Ask a person; a script must say so beforehand. Raises `StudyError`."""
    if accepted:
        return
    if not sys.stdin.isatty():
        raise StudyError(f"{name} has a licence of its own (above): read it, then add --accept-licence")
    try:
        yes = typer.confirm("Do you accept this licence and these terms?", err=True)
    except typer.Abort:
        yes = False
    if not yes:
        raise StudyError(f"{name} was not fetched: its licence was not accepted")


@contextmanager
def _downloading(name: str) -> Iterator[Any]:
    """Yield a meter that draws a progress bar on a terminal; elsewhere it says nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=None)

        class Bar:
            def expect(self, count: int) -> None:
                progress.update(task, total=(progress.tasks[0].total or 0) + count)

            def advance(self, count: int) -> None:
                progress.update(task, advance=count)

        yield Bar()


def check(name: Name, data: DataDir = None, json: Json = False) -> int:
    """Read a data set from end to end: counts, every picture decoded, missing files, hashes where they are known."""
    from safemlrm.benchfiles import locate
    from safemlrm.cli import tables
    from safemlrm.fetch import check as look_through
    from safemlrm.registry import bind

    bound = bind("dataset", name, beside=Path())
    folder = locate(data, bound.plugin)
    with _reading(bound) as advance:
        found = look_through(bound, folder, advance)
    if json:
        tables.as_json(found)
    else:
        _show_checked(bound, found)
    return 1 if found.problems else 0


@contextmanager
def _reading(bound: Bound) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        counts = bound.plugin.published
        total = sum(counts(**bound.params).values()) if counts else None
        task = progress.add_task(str(bound.given()), total=total)
        yield lambda count: progress.update(task, advance=count)


def _show_checked(bound: Bound, found: Checked) -> None:
    from safemlrm.cli import tables

    published = found.published or {}
    whole = list(published) == ["all"]
    names = [*(n for n in published if not whole), *(n for n in found.scenarios if whole or n not in published)]
    rows = [(n, None if whole or not published else published.get(n, 0), found.scenarios.get(n, 0)) for n in names]
    if not found.scenarios and found.problems:
        rows = []
    if rows:
        tables.table(f"{found.dataset} in {found.folder}", ("scenario", "published", "here"), rows, numbers=2)
    kinds = ", ".join(f"{kind} {items:,}" for kind, items in found.kinds.most_common())
    asked = ", ".join(f"{label} {items:,}" for label, items in found.expected.most_common())
    samples = f"{found.samples:,} samples ({asked})" if asked else "no sample could be read"
    typer.echo(f"{samples}; {found.images:,} pictures" + (f" ({kinds})" if kinds else ""))
    typer.echo(f"files compared with a known hash: {found.hashed:,}")
    for line in found.revisions:
        typer.echo(f"fetched from {line}")
    for listed, what in ((found.missing, "missing"), (found.broken, "broken")):
        for line in listed[:_FIRST]:
            typer.echo(f"  {what}: {line}", err=True)
        if len(listed) > _FIRST:
            typer.echo(f"  and {len(listed) - _FIRST:,} more {what} (--json lists all)", err=True)
    for problem in found.problems:
        typer.echo(f"safemlrm: {bound.plugin.name}: {problem}", err=True)
    if found.missing and bound.plugin.folders:
        typer.echo(f"They are published at {bound.plugin.source}", err=True)
    if not found.problems:
        typer.echo("Everything is as published." if found.published else "Nothing is wrong with it.")


def info(name: Name, data: DataDir = None, json: Json = False) -> int:
    """Tell what a data set is: its scenarios, fields, licence, gate and metric, and the shape of one sample."""
    from safemlrm.cli import dataset_card, tables
    from safemlrm.registry import bind

    with _busy(f"reading {name}"):
        card = dataset_card.card(bind("dataset", name, beside=Path()), data)
    if json:
        tables.as_json(card)
    else:
        dataset_card.show(card)
    return 0


@contextmanager
def _busy(what: str) -> Iterator[None]:
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else nullcontext():
        yield


def path(name: Name, data: DataDir = None, json: Json = False) -> int:
    """Print the folder of a data set."""
    from safemlrm.benchfiles import locate
    from safemlrm.cli import tables
    from safemlrm.registry import bind

    bound = bind("dataset", name, beside=Path())
    if not bound.plugin.folders:
        raise DataError(f"{bound.plugin.name!r} has no folder of its own")
    folder = locate(data, bound.plugin).resolve()
    if json:
        tables.as_json({"name": bound.plugin.name, "folder": str(folder)})
    else:
        typer.echo(folder)
    return 0
