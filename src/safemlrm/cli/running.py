"""`run` and `plan`: what calls models, and what is known before."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from safemlrm.errors import DataError, StudyError

if TYPE_CHECKING:
    from safemlrm.engine.bench import Options
    from safemlrm.study import Study
    from safemlrm.trials import Plan, Tally

StudyFile = Annotated[Path | None, typer.Argument(metavar="[STUDY.toml]", help="A study in TOML.", show_default=False)]
Targets = Annotated[list[str] | None, typer.Option("--target", help="A model: registry name or protocol:model@URL.")]
Datasets = Annotated[list[str] | None, typer.Option("--dataset", help="A benchmark by name.")]
Attacks = Annotated[list[str] | None, typer.Option("--attack", help='none, released(name="SD_TYPO"), figstep ...')]
Promptings = Annotated[list[str] | None, typer.Option("--prompting", help="bare, think or native.")]
Defenses = Annotated[list[str] | None, typer.Option("--defense", help="none, safety_prompt ...")]
Judges = Annotated[list[str] | None, typer.Option("--judge", help="name or name:model@URL.")]
Splitters = Annotated[list[str] | None, typer.Option("--splitter", help="corrected, opensafemlrm.")]
Steps = Annotated[
    bool, typer.Option("--steps", help="Have each step of the thinking judged by itself too: where it turns.")
]
Seeds = Annotated[int | None, typer.Option(help="Repetitions of every trial.")]
Limit = Annotated[int | None, typer.Option(help="At most so many samples of each data set, spread over scenarios.")]
PerScenario = Annotated[int | None, typer.Option(help="The first so many samples of each scenario.")]
Serve = Annotated[
    Literal["vllm", "sglang"] | None,
    typer.Option("--serve", help="Start this engine for each model without an address, one after the other."),
]
Concurrency = Annotated[int, typer.Option(help="Calls open per endpoint.", min=1)]
StoreName = Annotated[str, typer.Option("--store", help="A file name or a database URL.")]
DataDir = Annotated[Path | None, typer.Option("--data", envvar="SAFEMLRM_DATA", help="Holds one folder per benchmark.")]
OutDir = Annotated[Path | None, typer.Option("--out", help="Write the report there when the run is done.")]
WantTax = Annotated[float | None, typer.Option(help="Say how many items a tax of this size needs (0.1: ten points).")]
BaseRate = Annotated[float, typer.Option(help="The base's unsafe share that the smallest tax assumes.")]
Prices = Annotated[list[str] | None, typer.Option("--price", help="NAME=IN/OUT, money per million tokens.")]
Tokens = Annotated[str, typer.Option(help="IN/OUT tokens of one call to a target, where none was measured.")]
JudgeTokens = Annotated[str, typer.Option(help="IN/OUT tokens of one call to a judge, where none was measured.")]
Measured = Annotated[str | None, typer.Option("--store", help="Take tokens from this store's calls to the same model.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]
Simulated = Annotated[
    bool, typer.Option("--specimens", help="Simulated models, placeholder data and no calls: a rehearsal.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    for command in (run, plan):
        app.command()(command)


def run(
    study: StudyFile = None,
    target: Targets = None,
    dataset: Datasets = None,
    attack: Attacks = None,
    prompting: Promptings = None,
    defense: Defenses = None,
    judge: Judges = None,
    splitter: Splitters = None,
    steps: Steps = False,
    seeds: Seeds = None,
    limit: Limit = None,
    per_scenario: PerScenario = None,
    serve: Serve = None,
    concurrency: Concurrency = 32,
    store: StoreName = "safemlrm.db",
    data: DataDir = None,
    out: OutDir = None,
    no_judge: Annotated[bool, typer.Option("--no-judge", help="Collect replies only.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Ask again only for failures.")] = False,
    specimens: Simulated = False,
    json: Json = False,
) -> int:
    """Ask every trial of a study once, have the replies judged, and store everything."""
    from safemlrm.engine.bench import Options

    lists = {"targets": target, "promptings": prompting, "defenses": defense, "judges": judge, "splitters": splitter}
    chosen = {"seeds": seeds, "limit": limit, "per_scenario": per_scenario, "serve": serve, "steps": steps or None}
    wanted = compose(study, lists | chosen, dataset, attack, specimens=specimens)
    options = Options(
        concurrency=concurrency, judging=not no_judge, retry_failed=retry_failed, beside=study.parent if study else None
    )
    return carry_out(wanted, options, store=store, data=data, out=out, json=json)


def plan(
    study: StudyFile = None,
    target: Targets = None,
    dataset: Datasets = None,
    attack: Attacks = None,
    prompting: Promptings = None,
    defense: Defenses = None,
    judge: Judges = None,
    steps: Steps = False,
    seeds: Seeds = None,
    limit: Limit = None,
    per_scenario: PerScenario = None,
    serve: Serve = None,
    data: DataDir = None,
    specimens: Simulated = False,
    want_tax: WantTax = None,
    base_rate: BaseRate = 0.3,
    price: Prices = None,
    tokens: Tokens = "400/800",
    judge_tokens: JudgeTokens = "1500/150",
    store: Measured = None,
    json: Json = False,
) -> int:
    """Say what a study means before the first paid call: trials, calls, pictures, the smallest tax seen, money."""
    from safemlrm.cli import tables
    from safemlrm.cli.cost import Money
    from safemlrm.cli.power import Before
    from safemlrm.resolve import resolve

    lists = {"targets": target, "promptings": prompting, "defenses": defense, "judges": judge}
    chosen = {"seeds": seeds, "limit": limit, "per_scenario": per_scenario, "serve": serve, "steps": steps or None}
    wanted = compose(study, lists | chosen, dataset, attack, specimens=specimens)
    beside = study.parent if study else None
    planned = resolve(wanted, data=data, beside=beside, needs_data=False)
    money = Money(tuple(price or ()), tokens, judge_tokens, store, beside)
    tables.show_plan(planned, planned.tally(), Before(want_tax, base_rate), money, json=json)
    return 0


def compose(
    path: Path | None,
    options: dict[str, Any],
    datasets: list[str] | None,
    attacks: list[str] | None,
    *,
    specimens: bool,
) -> Study:
    """Return the study of a file with the command line's options laid over it."""
    import tomllib

    from safemlrm.study import convert, read_study

    if path is not None:
        read_study(path)
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
    document |= {key: value for key, value in options.items() if value is not None and key != "serve"}
    if options.get("serve"):
        document["targets"] = [_served(entry, options["serve"]) for entry in document.get("targets", [])]
    entries: list[dict[str, Any]] = document.get("data", [])
    if datasets:
        entries = [{"dataset": name} for name in datasets]
    if attacks:
        entries = [entry | {"attacks": attacks} for entry in entries]
    document["data"] = entries
    where = str(path) if path else "the command line"
    study = convert(document, where, default_name=path.stem if path else "command line")
    return rehearse(study, path.parent if path else None) if specimens else study


def _served(entry: str | dict[str, Any], engine: str) -> str | dict[str, Any]:
    """Return a target that this engine is started for, unless the study says how it is reached."""
    from safemlrm.models import parse_model

    target = {"model": entry} if isinstance(entry, str) else entry
    name = parse_model(str(target.get("model", "")))
    return entry if name.protocol or name.url or "serve" in target else target | {"serve": engine}


def rehearse(study: Study, beside: Path | None = None) -> Study:
    """Return the same study on simulated models and placeholder data of the same shape.

    Raises `StudyError` for a benchmark that no placeholders stand in for.
    """
    import msgspec

    from safemlrm.models import facts_of, parse_model

    targets = tuple(
        msgspec.structs.replace(t, model=f"specimen:{facts_of(parse_model(t.model).model, beside).name}", serve=None)
        for t in study.targets
    )
    data = tuple(msgspec.structs.replace(entry, dataset=_placeholders(entry.dataset, beside)) for entry in study.data)
    return msgspec.structs.replace(study, targets=targets, data=data, judges=("specimen",))


def _placeholders(dataset: str, beside: Path | None) -> str:
    from safemlrm.registry import Spec, bind

    bound = bind("dataset", dataset, beside)
    if bound.plugin.name == "specimen":
        return dataset
    if bound.plugin.name not in ("mm_safetybench", "figstep_safebench"):
        raise StudyError(
            f"--specimens has placeholders for mm_safetybench and figstep_safebench, none for {bound.plugin.name!r}"
        )
    params: dict[str, Any] = {"like": bound.plugin.name}
    if bound.params.get("scenarios"):
        params["scenarios"] = list(bound.params["scenarios"])
    return str(Spec("specimen", params))


def carry_out(
    study: Study, options: Options, *, store: str, data: Path | None, out: Path | None, json: bool = False
) -> int:
    """Check a study, run it with a display, report it where `out` says so, and return the exit code."""
    from safemlrm.cli import tables
    from safemlrm.cli.reporting import report_store, writable
    from safemlrm.cli.stopping import watched
    from safemlrm.engine.run import Run
    from safemlrm.resolve import resolve
    from safemlrm.store import open_store

    if out is not None:
        writable(out)
    planned = resolve(study, data=data, beside=options.beside)
    for warning in planned.warnings:
        typer.echo(f"warning: {warning}", err=True)
    _nothing_missing(planned, planned.tally())
    with open_store(store, create=True) as opened:
        work = Run(planned, opened, options)
        watched(work)
        outcome = wait_for(work, work.counts)
        summary = tables.show_run(opened, work, outcome, json=json)
        if out is not None:
            page = report_store(opened, out, runs=[work.id])
            typer.echo(f"Report: {page.resolve()}", err=json)
    pending = 0 if outcome.startswith("stopped early") else summary["pending"]
    return exit_code(outcome, summary["failed"] + summary["unread"] + pending)


def _nothing_missing(plan: Plan, tally: Tally) -> None:
    if plan.study.missing == "skip" or not tally.missing:
        return
    first = "\n  ".join(tally.missing[:3])
    more = f"\n  and {len(tally.missing) - 3:,} more" if len(tally.missing) > 3 else ""
    raise DataError(
        f"{len(tally.missing):,} pictures are missing:\n  {first}{more}\n"
        'Put them there, or write missing = "skip" in the study: then each is counted as a failed trial.'
    )


def wait_for(work: Any, counts: Any) -> str:
    """Run an engine's job with its display; Ctrl-C once finishes what is in flight, twice breaks off."""
    from rich.console import Console

    from safemlrm.cli.display import shown

    async def go() -> str:
        loop, presses = asyncio.get_running_loop(), 0
        task = asyncio.current_task()

        def interrupted() -> None:
            nonlocal presses
            presses += 1
            if presses > 1 and task is not None:
                task.cancel()
            work.stop()

        for name in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows has none: there Ctrl-C breaks off at once
                loop.add_signal_handler(name, interrupted)
        async with shown(counts, Console(stderr=True)):
            outcome: str = await work.go()
        return outcome

    try:
        return asyncio.run(go())
    except asyncio.CancelledError:
        return "stopped"
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup) -> BaseException:
    """The one error behind a group: tasks that were cancelled because of it say nothing of their own."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def exit_code(outcome: str, rows: int) -> int:
    if outcome == "stopped":
        return 130
    if outcome.startswith("given up"):
        raise StudyError(f"{outcome}\nWhat was stored is kept; the same command with --retry-failed goes on.")
    return 2 if rows else 0
