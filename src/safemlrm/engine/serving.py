"""Models that have no address: a vLLM or SGLang server is started for each, and stopped after its last trial."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import aiohttp
import msgspec

from safemlrm import keys, listing, weights
from safemlrm.engine.command import command
from safemlrm.errors import RunStopped, StudyError, TargetError
from safemlrm.plugin import Call, Reach
from safemlrm.records import Decoding, Prompt, Response
from safemlrm.trials import Model

#: Where a server that somebody started by hand is looked for.
_USUAL_PORT = {"vllm": 8000, "sglang": 30000}
_WARDEN = Path(__file__).with_name("warden.py")
#: Secrets that a server needs: what gated weights are fetched with, by its name of today and of before.
_FOR_WEIGHTS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
#: Lines of a log that an error quotes, and attempts with another port when a free one was taken meanwhile.
_TAIL, _PORTS = 12, 3
#: Seconds until a warden that should have ended its server long ago is killed with it.
_PATIENCE = 20.0
_TAKEN = re.compile(r"address already in use|errno 98", re.IGNORECASE)


@dataclass(frozen=True)
class Waiting:
    """What goes on while a server starts: who is told of it, who wants it to end, where logs lie."""

    tell: Callable[[str], None]
    stopping: Callable[[], bool]
    logs: Path


def check(model: Model) -> None:
    """Raise `StudyError` where an engine, or what weights are opened with, is not installed: known before any call."""
    if model.serve is None:
        lacking = [name for name in ("torch", "transformers") if find_spec(name) is None]
        if lacking and model.opened_here:
            raise StudyError(
                f"target {model.label!r} is opened in this process, which needs {' and '.join(lacking)}: install it "
                "with `pip install 'safemlrm[local]'`"
            )
        return
    program = command(model, 0)[0]
    if shutil.which(program) is None:
        raise StudyError(
            f'target {model.label!r} says serve = "{model.serve}", and there is no {program!r} on the PATH: install '
            f"{model.serve}, or name the command in [targets.serving] (command = [...])"
        )


@asynccontextmanager
async def opened(model: Model, waiting: Waiting) -> AsyncIterator[Reach]:
    """Open a model whose turn has come, and close it with all that was started for it.

    Raises `RunStopped` when its server does not come up; a call to one that died raises it too, with the last
    lines of its log.
    """
    if model.protocol is None:
        raise StudyError(f"target {model.label!r} has no protocol")
    open_target = model.protocol.plugin.function
    if model.serve is None:
        waiting.tell(f"opening {model.label}" if model.opened_here else "running")
        async with open_target(model.facts, model.url, **model.protocol.params) as reach:
            waiting.tell("running")
            yield reach
        return
    facts = msgspec.structs.replace(model.facts, served=weights.named(model.facts))
    async with (
        _served(model, waiting) as server,
        open_target(facts, server.url, **model.protocol.params) as reach,
    ):
        yield _Watched(reach, server)


@dataclass
class _Server:
    """A server that answers: ours, with its process and log, or one that was there before."""

    name: str
    url: str
    process: Process | None = None
    log: Path | None = None
    #: where the licence of its weights is accepted, where there is one
    gate: str = ""

    def dead(self) -> bool:
        return self.process is not None and self.process.returncode is not None

    def epitaph(self, what: str) -> str:
        """Return what became of it: its own last word first, for a row is read by its beginning, then the log's end."""
        end = tail(self.log)
        lines = end.split("\n")
        last = next((line for line in reversed(lines) if not line.startswith("[safemlrm]")), lines[-1]).strip()
        gate = f"\nThe licence of its weights is accepted at {self.gate}" if self.gate else ""
        return f"{self.name} {what}: {last or 'it said nothing'}\nThe last lines of {self.log}:\n{end}{gate}"


@dataclass
class _Watched:
    """The same target, that says so when its server is gone instead of trying again for minutes."""

    reach: Reach
    server: _Server

    @property
    def engine(self) -> str:
        """What answers, and its version."""
        return str(getattr(self.reach, "engine", ""))

    async def __call__(self, prompt: Prompt, decoding: Decoding, call: Call) -> Response:
        """Send one prompt. Raises `TargetError`, and `RunStopped` with the last lines of the log of a dead server."""
        if self.server.dead():
            raise RunStopped(self.server.epitaph("died"))
        try:
            return await self.reach(prompt, decoding, call)
        except TargetError as error:
            if error.kind == "connection" and await _gone(self.server):
                raise RunStopped(self.server.epitaph("died")) from error
            raise


async def _gone(server: _Server) -> bool:
    """Tell whether the process ended; it is seen to a moment after its connections are cut."""
    if server.process is None:
        return False
    with suppress(TimeoutError):
        await asyncio.wait_for(server.process.wait(), 1.0)
    return server.dead()


@asynccontextmanager
async def _served(model: Model, waiting: Waiting) -> AsyncIterator[_Server]:
    name, wanted = f"{model.serve} for {model.label}", model.serving.port
    usual = f"http://127.0.0.1:{wanted or _USUAL_PORT[str(model.serve)]}/v1"
    there = await _listening(usual)
    if there is not None and weights.named(model.facts) in there.models:
        waiting.tell(f"{name} is up already at {usual}")
        yield _Server(name, usual)
        return
    if wanted is not None and (there is not None or not _free(wanted)):
        serves = f"; it serves {', '.join(there.models)}" if there and there.models else ""
        raise RunStopped(f"{name}: port {wanted} is taken by something else{serves}. Stop it, or name another port")
    for attempt in range(_PORTS):
        server = await _start(model, name, wanted or _free_port(), waiting)
        try:
            if await _healthy(server, model, waiting):
                yield server
                return
            if wanted is not None or attempt + 1 == _PORTS or not _TAKEN.search(tail(server.log)):
                raise RunStopped(server.epitaph("did not start"))
        finally:
            waiting.tell(f"stopping {name}")
            await _stop(server)
            waiting.tell("running")


async def _start(model: Model, name: str, port: int, waiting: Waiting) -> _Server:
    """Start a server under its warden, in a process group of its own: Ctrl-C is for us, not for it."""
    waiting.logs.mkdir(parents=True, exist_ok=True)
    log = waiting.logs / f"{re.sub(r'[^A-Za-z0-9._+-]+', '_', model.label).strip('_')}.{model.serve}.log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_WARDEN), *command(model, port)),
            stdin=PIPE,
            stdout=file,
            stderr=STDOUT,
            start_new_session=True,
            env=_environment(),
        )
    gate = "" if weights.folder(model.facts) else model.facts.gate
    return _Server(name, f"http://127.0.0.1:{port}/v1", process, log, gate)


def _environment() -> dict[str, str]:
    """Return what a server is told of ours: no key, for it may run a repository's code, or ask us for its own."""
    kept = {name: value for name, value in os.environ.items() if name in _FOR_WEIGHTS or not keys.secret(name)}
    return kept | {"PYTHONUNBUFFERED": "1"}


async def _healthy(server: _Server, model: Model, waiting: Waiting) -> bool:
    """Wait until a server answers, telling how far it is; False when it ended instead."""
    started, pause = time.monotonic(), 0.05
    while not server.dead():
        seconds = time.monotonic() - started
        if waiting.stopping():
            raise RunStopped(f"{server.name}: stopped while it was starting")
        if seconds > model.serving.start_within:
            raise RunStopped(server.epitaph(f"did not answer within {seconds:.0f} s (serving.start_within)"))
        if await _listening(server.url) is not None:
            waiting.tell("running")
            return True
        last = tail(server.log, 1).strip()[:100]
        waiting.tell(f"starting {server.name}, {seconds:.0f} s" + (f": {last}" if last else ""))
        await asyncio.sleep(pause)
        pause = min(2.0, pause * 1.5)
    return False


async def _stop(server: _Server) -> None:
    """Close the warden's standard input, and wait until the whole group is gone."""
    process = server.process
    if process is None:
        return
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _PATIENCE)
    # the warden's last act ends the group; where it was killed itself, or hangs, we do
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _listening(url: str) -> listing.Server | None:
    """Return what a server at that address says of itself, None where none answers yet."""
    limits = aiohttp.ClientTimeout(total=5)
    try:
        async with aiohttp.ClientSession(timeout=limits) as session, session.get(f"{url}/models") as reply:
            if reply.status in (401, 403):  # it is up, and wants a key
                return listing.Server()
            return listing.read_listing(await reply.read()) if reply.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path | None, lines: int = _TAIL) -> str:
    """Return the last lines of a log, "" where there is none yet."""
    if log is None or not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        # progress bars rewrite their line: of such a line the last state counts
        text = file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    kept = [line.rpartition("\r")[2] or line for line in text.rstrip().split("\n")]
    return "\n".join(map(keys.shown, kept[-lines:]))
