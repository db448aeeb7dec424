"""`demo` and `serve-specimen`: the whole line on simulated models, offline, without a key or weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from safemlrm.cli.reporting import writable
from safemlrm.cli.running import carry_out


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(demo)
    app.command("serve-specimen")(serve)


def demo(out: Annotated[Path, typer.Option("--out", help="The folder for store and report.")] = Path("demo")) -> int:
    """Run the published study on simulated models: 22,608 trials, no key, no GPU, no network."""
    from safemlrm.engine.bench import Options
    from safemlrm.models import registry
    from safemlrm.study import Data, Study, Target

    started = time.monotonic()
    published = [facts for facts in registry().values() if facts.published]
    targets = tuple(
        Target(model=f"specimen:{facts.name}", promptings=(facts.paper_prompting or "bare",)) for facts in published
    )
    study = Study(
        name="The published study on simulated models",
        description="The study of arXiv 2504.08813 on simulated models that answer from its published score counts.",
        targets=targets,
        data=(Data(dataset="specimen", attacks=("none", 'released(name="SD_TYPO")')),),
        judges=("specimen",),
        splitters=("opensafemlrm", "corrected"),
    )
    writable(out)
    code = carry_out(study, Options(), store=str(out / "demo.db"), data=None, out=out)
    typer.echo(f"Simulated models, real published counts. {time.monotonic() - started:.0f} s.")
    return code


def serve(
    port: Annotated[int, typer.Option("--port", help="The port on 127.0.0.1.", min=0, max=65535)],
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    manner: Annotated[
        list[str] | None,
        typer.Option("--manner", help="Answer a probe's questions with this habit."),
    ] = None,
) -> int:
    """Serve the simulated models, and judges, over HTTP in the chat-completions dialect."""
    from safemlrm import specimen_server

    typer.echo(f"Simulated models at http://{host}:{port}/v1 (Ctrl-C ends it).", err=True)
    specimen_server.serve(port, host, manners=frozenset(manner) if manner else None)
    return 0
