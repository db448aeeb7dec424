"""`report`: from a store, or from a table of published counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safemlrm import __version__
from safemlrm.errors import StudyError

if TYPE_CHECKING:
    from safemlrm.report.source import Source
    from safemlrm.store import Store


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(report)


def report(
    store: Annotated[str, typer.Argument(metavar="[STORE]")] = "safemlrm.db",
    counts: Annotated[Path | None, typer.Option(help="A CSV of published score counts, instead of a store.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The folder for report.html, manifest.json and tables/.")] = Path(
        "report"
    ),
    splitter: Annotated[str | None, typer.Option(help="The splitter; by default the study's first.")] = None,
    judge: Annotated[str | None, typer.Option(help="The judge's name; by default the study's first.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="One run, by the beginning of its id.")] = None,
    training_data: Annotated[
        Path | None, typer.Option(help="A CSV scenario,amount: how much safety-training data each scenario has.")
    ] = None,
    judge_errors: Annotated[
        Path | None, typer.Option(help="A CSV part,truth,judged,count of validated labels, to correct for the judge.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A CSV scenario,weight: a further average over the scenarios.")
    ] = None,
) -> int:
    """Write tables, figures and one self-contained HTML page."""
    from safemlrm.cli.beside import read

    given = {"training": read(training_data, "amount"), "errors": read(judge_errors, "count")}
    given["weights"] = read(weights, "weight")
    if counts is not None:
        path = _report_counts(counts, out, given)
    else:
        from safemlrm.store import open_store

        with open_store(store) as opened:
            runs = None if run is None else [opened.run_named(run)]
            path = report_store(opened, out, runs=runs, splitter=splitter, judge=judge, given=given)
    typer.echo(f"Report: {path.resolve()}")
    return 0


def _report_counts(path: Path, out: Path, given: dict[str, Any]) -> Path:
    from safemlrm.analysis.counts import read_counts
    from safemlrm.cli.beside import recipes
    from safemlrm.models import facts_of, registry
    from safemlrm.report import write_counts_report
    from safemlrm.report.more import Beside

    counts = read_counts(path)
    there, models = set(counts["model"].unique()), registry()
    named = {f.name: name for f in models.values() for name in (f.name, f.published) if name and name in there}
    pairs = [(named[f.base], named[f.name]) for f in models.values() if f.base in named and f.name in named]
    unknown = sorted(name for name in there if not facts_of(name).known)
    notes = [f"Not in the registry, so not in a pair: {', '.join(unknown)}."] if unknown else []
    return write_counts_report(
        counts,
        out,
        pairs=pairs,
        notes=notes,
        beside=Beside(recipes=recipes(there), training=given["training"], weights=given["weights"]),
    )


def writable(out: Path) -> None:
    """Make the folder of a report. Raises `StudyError` where that cannot be: before anything is paid for."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"--out {out}: the folder cannot be made: {error.strerror or error}") from error


def report_store(
    store: Store,
    out: Path,
    *,
    runs: Sequence[str] | None = None,
    splitter: str | None = None,
    judge: str | None = None,
    given: dict[str, Any] | None = None,
) -> Path:
    """Write the report of a store (or of some of its runs) and return the page's path."""
    from safemlrm import specimens
    from safemlrm.cli.beside import categories, recipes
    from safemlrm.report import write_report
    from safemlrm.report.more import Beside
    from safemlrm.report.source import gather

    source = gather(store, runs=runs, splitter=splitter, judge=judge)
    notes = [*source.notes, *unlike(store, source, runs)]
    models = source.readings["model"].unique().to_list()
    common = categories(source.readings)
    beside = Beside(recipes=recipes(models), crosswalk=common, **(given or {}))
    beside = beside._replace(marks=source.marks, declared=source.declared, again=source.again, steps=source.steps)
    if source.simulated:
        notes.insert(0, f"Simulated: no model was called. {specimens.ASSUMPTION}")
        notes += [specimens.UNMOVED] if source.readings["prompting"].n_unique() > 1 else []
        notes += unpublished(source)
    return write_report(
        source.readings,
        out,
        pairs=source.pairs,
        title=source.title,
        notes=notes,
        other=source.other,
        facts=source.facts | {"data sets": _benchmarks(source), "safemlrm": __version__},
        beside=beside,
    )


def unlike(store: Store, source: Source, runs: Sequence[str] | None = None) -> list[str]:
    """Say of each pair in what its members were asked differently: the tax cannot tell that from their weights."""
    from safemlrm.store import frames

    shown = frames.trials(store, runs).drop_nulls("visibility").group_by("model").agg("visibility")
    visible = {model: set(found) for model, found in shown.rows()}
    engines = frames.engines(store)
    notes = []
    for base, derived in source.pairs:
        ours, theirs = _asked(source, base), _asked(source, derived)
        differing = [
            f"{name}: {' or '.join(sorted(ours.get(name, _NOT_SET)))} against {' or '.join(sorted(other))}"
            for name in sorted({*ours, *theirs})
            if (other := theirs.get(name, _NOT_SET)) != ours.get(name, _NOT_SET)
        ]
        seen = visible.get(base, set()), visible.get(derived, set())
        if seen[0] != seen[1] and (seen[0] | seen[1]) & {"summary", "hidden"}:
            differing.append(f"visibility of the reasoning: {' against '.join(', '.join(sorted(s)) for s in seen)}")
        if engines.get(base, _NOT_SAID) != engines.get(derived, _NOT_SAID):
            said = (" or ".join(sorted(engines.get(model, _NOT_SAID))) for model in (base, derived))
            differing.append(f"engine: {' against '.join(said)}")
        if differing:
            notes.append(f"{derived} and {base} differ in more than their weights: {'; '.join(differing)}.")
    return notes


_NOT_SET = frozenset({"not set"})
_NOT_SAID = {"not said"}


def _asked(source: Source, model: str) -> dict[str, set[str]]:
    """Return the settings under which a model was asked, each with its values over all of its arms."""
    arms: Any = source.facts["arms"]
    mine = [arm for arm in arms if arm["model"] == model]
    switched = any("thinking" in arm["target"] for arm in mine)
    found: dict[str, set[str]] = {}
    for arm in mine:
        decoding = {k: v for k, v in arm["decoding"].items() if not (switched and k == "extra")}
        settings = {f"decoding {k}": v for k, v in decoding.items()} | arm["target"].get("settings", {})
        named = {"flags": "engine flags", "limits": "image-processor limits"}
        flags = {name: arm["target"][key] for key, name in named.items() if key in arm["target"]}
        prompt = {"prompting": arm["prompting"]["name"]}
        for name, value in (settings | flags | prompt).items():
            found.setdefault(name, set()).add(str(value))
    return found


def unpublished(source: Source) -> list[str]:
    """Name the simulated models whose parts have no score because the publication holds none."""
    from safemlrm.specimens import UNPUBLISHED

    found = list[str]()
    for splitter, readings in {str(source.facts["splitter"]): source.readings, **source.other}.items():
        lacking = readings.filter(readings["unread"] == UNPUBLISHED)
        if lacking.height:
            models = ", ".join(sorted(lacking["published"].drop_nulls().unique()))
            found.append(
                f"{models}: the publication scored whole replies only. Under the splitter {splitter}, "
                f"{lacking.height:,} thinking and answer parts of these models are therefore unread: "
                f"{UNPUBLISHED}."
            )
    return found


def _benchmarks(source: Source) -> dict[str, str]:
    """Return each benchmark's size and licence: data sets keep their own terms."""
    import polars as pl

    from safemlrm.registry import find, names

    known, counts = names("dataset"), source.readings.group_by("dataset").agg(pl.col("sample").n_unique()).rows()
    found = {}
    for name, samples in counts:
        plugin = find("dataset", name) if name in known else None
        terms = f", {plugin.licence}, {plugin.source}" if plugin else ""
        found[str(name)] = f"{samples:,} samples{terms}"
    return found
