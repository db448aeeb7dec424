"""A judge of a study, ready to sit: its plug-in, its two functions, the model that it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from safemlrm import keys
from safemlrm.engine.ask import Patience, Pool
from safemlrm.models import facts_of, parse_model
from safemlrm.plugin import Judge
from safemlrm.records import Decoding, digest
from safemlrm.registry import Bound, bind
from safemlrm.resolve import judge_named
from safemlrm.store import Row, schema


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is carried out; nothing here changes what is asked."""

    #: calls open per endpoint
    concurrency: int = 32
    judging: bool = True
    retry_failed: bool = False
    patience: Patience = field(default_factory=Patience)
    #: the folder of the study, where the user's own plug-ins and models may lie
    beside: Path | None = None


@dataclass(frozen=True)
class Bench:
    """One judge of a study, ready to sit: its plug-in, its two functions, the model that it asks."""

    bound: Bound
    model: str | None
    pool: Pool | None
    #: the second, third ... time that this judge reads: nothing else tells these verdicts from the first ones
    sitting: int = 1

    @cached_property
    def functions(self) -> Judge:
        """Return the judge's `render` and `read`."""
        judge: Judge = self.bound.plugin.function(**self.bound.params)
        return judge

    @property
    def decoding(self) -> Decoding:
        """How the judge's model is asked."""
        return self.bound.plugin.decoding

    @cached_property
    def document(self) -> dict[str, Any]:
        """Return what makes two judges differ: name, version, parameters, model, decoding, later sitting. No URL."""
        decoding = msgspec.to_builtins(self.decoding) if self.model else None
        later = {"sitting": self.sitting} if self.sitting > 1 else {}
        return self.bound.identity() | {"model": self.model, "decoding": decoding} | later

    @cached_property
    def id(self) -> str:
        """The hash of the judge's document."""
        return digest(self.document)

    @property
    def first(self) -> Bench:
        """The same judge in its first sitting."""
        return replace(self, sitting=1)

    @property
    def name(self) -> str:
        """The name in tables: the plug-in as a study names it; a later sitting says which one it is."""
        return f"{self.bound.given()}, sitting {self.sitting}" if self.sitting > 1 else str(self.bound.given())

    def row(self) -> Row:
        """Return the judge's own row."""
        columns = {
            "id": self.id,
            "name": self.name,
            "version": self.bound.plugin.version,
            "model": self.model,
            "document": msgspec.json.encode(self.document, order="deterministic").decode(),
        }
        return Row(schema.judges, columns)


async def open_benches(
    judges: Sequence[str], options: Options, stack: AsyncExitStack, *, sitting: int = 1
) -> list[Bench]:
    """Open every judge's model: a key that is not set is known before anything is paid for."""
    benches = []
    for named in judges:
        bound, asked = judge_named(named, options.beside)
        if asked is None:
            benches.append(Bench(bound, None, None, sitting))
            continue
        name = parse_model(asked if "@http" in asked else f"{asked}@{_default_url(bound)}")
        facts = msgspec.structs.replace(facts_of(name.model, options.beside), served=name.model)
        facts = keys.with_key(facts, name.url, options.beside)
        protocol = bind("target", "openai_compatible")
        reach = await stack.enter_async_context(protocol.plugin.function(facts, name.url, **protocol.params))
        gate = asyncio.Semaphore(options.concurrency)
        pool = Pool(name.model, "judge", reach, gate, options.patience)
        benches.append(Bench(bound, name.model, pool, sitting))
    return benches


def _default_url(bound: Bound) -> str:
    return (bound.plugin.model or "").partition("@")[2]
