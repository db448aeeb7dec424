"""`probe`: a dozen harmless questions that say what an endpoint really does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from safemlrm.cli.running import Json, StoreName
from safemlrm.errors import StudyError

if TYPE_CHECKING:
    from safemlrm.engine.probed import Probed
    from safemlrm.store import Store
    from safemlrm.trials import Model

_MARKS = {"yes": "yes", "no": "NO", "unclear": "unclear", "failed": "FAILED"}


def add_to(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(probe)


def probe(
    target: Annotated[str, typer.Argument(help="A model: registry name, protocol:model@URL, or a folder of weights.")],
    serve: Annotated[
        Literal["vllm", "sglang"] | None, typer.Option("--serve", help="Start this engine for the model first.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="Room for thinking in each reply.", min=32)] = 2048,
    store: StoreName = "safemlrm.db",
    beside: Annotated[Path | None, typer.Option("--beside", help="A folder with a models.toml of your own.")] = None,
    json: Json = False,
) -> int:
    """Find out what an endpoint does: pictures, system prompt, prefill, seed, thinking, limits (13 small calls)."""
    from safemlrm.cli import tables
    from safemlrm.resolve import one_model
    from safemlrm.store import open_store
    from safemlrm.study import Target

    if serve is None and (Path(target).expanduser() / "config.json").is_file():
        target = f"transformers_local:{target}"
    named = Target(model=target, serve=serve, decoding={"max_tokens": max_tokens})
    model = one_model(named, beside)
    if model.protocol is None:
        raise StudyError(f"{target!r} has no address: write {target}@http://HOST:PORT/v1, or add --serve vllm")
    with open_store(store, create=True) as opened:
        probed = asyncio.run(_asked(model, opened))
        where = opened.url
    if json:
        findings = [{"name": f.name, "state": f.state, "detail": f.detail} for f in probed.findings]
        tables.as_json({"target": probed.target, "created": probed.created, "store": where, "findings": findings})
    else:
        rows = [(f.name.replace("_", " "), _MARKS[f.state], f.detail) for f in probed.findings]
        tables.table(f"{probed.target}", ("what", "found", "detail"), rows)
        typer.echo(f"Stored in {where}: `safemlrm run` warns when a study needs what is missing here.")
    return 2 if any(f.state == "failed" for f in probed.findings) else 0


async def _asked(model: Model, store: Store) -> Probed:
    """Open the model as a run would, and ask."""
    from safemlrm.engine import serving
    from safemlrm.engine.ask import Patience, Pool
    from safemlrm.engine.probed import probe_model

    serving.check(model)
    waiting = serving.Waiting(_Teller().tell, lambda: False, Path("serve-logs"))
    async with serving.opened(model, waiting) as reach:
        pool = Pool(model.label, "target", reach, asyncio.Semaphore(1), Patience(tries=2))
        return await probe_model(model, pool, store)


class _Teller:
    """Says on stderr how far a starting server is, each new line of its log once."""

    def __init__(self) -> None:
        self._said: Any = None

    def tell(self, words: str) -> None:
        plain = words.partition(" s: ")[2] or words
        if plain != self._said and words != "running":
            self._said = plain
            typer.echo(words, err=True)
