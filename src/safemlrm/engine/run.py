"""A run: plan on record, collect and judge side by side, stop in good order, resume without paying twice."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from safemlrm import __version__
from safemlrm.engine.ask import Pool
from safemlrm.engine.bench import Bench, Options, open_benches
from safemlrm.engine.collect import Collector, adaptive, planned_rows
from safemlrm.engine.counts import Counts
from safemlrm.engine.judge import Bar, Subject
from safemlrm.engine.probed import shortcomings
from safemlrm.engine.serving import Waiting, check, opened
from safemlrm.errors import RunStopped, StudyError
from safemlrm.plugin import Reach
from safemlrm.records import Response
from safemlrm.store import Row, Store, schema
from safemlrm.store.writer import Writer
from safemlrm.trials import Arm, Model, Plan, Trial

_log = logging.getLogger("safemlrm")

#: Trials put on record in one transaction while planning.
_BATCH = 2000


@dataclass
class Run:
    """One run of a plan in a store. `await run.go()` returns its outcome: `done`, `stopped`, `given up: why`...

    ... or `stopped early: why`, where `watch` says that enough was asked.
    """

    plan: Plan
    store: Store
    options: Options
    counts: Counts = field(default_factory=Counts)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    #: ids of the judges that sit in this run
    judges: set[str] = field(default_factory=set)
    #: looks at the store, and says in a sentence why enough was asked; called in a thread, one look at a time
    watch: Callable[[], str | None] | None = None
    #: how the run ended, as `go()` returns it; None while it goes on
    outcome: str | None = None
    _keys: dict[str, deque[tuple[str, str, str | None]]] = field(default_factory=dict)
    #: ids of the plan, and of what a stream has handed out: each is asked once however often the study names it
    _ids: set[str] = field(default_factory=set)
    _taken: set[str] = field(default_factory=set)
    _stop: bool = False
    #: why enough was asked, the trials judged since the last look, and whether one is under way
    _enough: str | None = None
    _since: int = 0
    _looking: bool = False
    #: labels of the models that are opened one after the other, and why one could not be
    _turns: set[str] = field(default_factory=set)
    _unopened: list[str] = field(default_factory=list)

    def stop(self) -> None:
        """Finish what is in flight, write it, and end: what Ctrl-C does."""
        self._stop = self.counts.stopping = True

    async def go(self) -> str:
        """Carry the run out. Raises `StudyError` for what can be known before the first call."""
        async with AsyncExitStack() as stack:
            stack.enter_context(_rare_collections())
            benches = await open_benches(self.plan.study.judges, self.options, stack) if self.options.judging else []
            self.judges = {bench.id for bench in benches}
            for warning in shortcomings(self.plan, self.store):
                _log.warning("warning: %s", warning)
            try:
                await asyncio.to_thread(self._record, benches)
                await self._look()
                if self._enough:
                    return self._end(f"stopped early: {self._enough}")
                work = self._work()
                pools = await self._pools(work, stack)
            except StudyError:
                self.store.forget(self.id)  # it never began: nothing was asked, and no report should expect it
                raise
            writer = await stack.enter_async_context(Writer(self.store))
            study = self.plan.study
            bar = Bar(self.id, benches, study.splitters, self.store, writer, self.counts, study.steps)
            bar.learn(retry_failed=self.options.retry_failed)
            self.counts.phase, self.counts.started = "running", time.monotonic()
            collectors = [Collector(self.id, pool, writer, self._recall, work["failed"]) for _, pool in pools]
            await self._side_by_side(work, collectors, bar, writer)
        reasons = [*self._unopened, *(c.stopped for c in collectors), bar.stopped]
        given_up = "\n".join(dict.fromkeys(why for why in reasons if why))
        enough = f"stopped early: {self._enough}" if self._enough else None
        outcome = f"given up: {given_up}" if given_up else enough or ("stopped" if self._stop else "done")
        return self._end(outcome)

    def _end(self, outcome: str) -> str:
        self.store.finish(self.id, time.time(), outcome)
        self.outcome = outcome
        return outcome

    def _record(self, benches: list[Bench]) -> None:
        """Write the run and its whole plan: what was planned and never asked must be visible too."""
        study = self.plan.study
        named = msgspec.to_builtins(study) | {"judge_ids": [bench.id for bench in benches]}
        document = msgspec.json.encode(named).decode()
        columns: dict[str, Any] = {"id": self.id, "name": study.name, "study": study.identity(), "document": document}
        columns |= {"version": __version__, "started": time.time(), "finished": None, "outcome": None}
        rows = [Row(schema.runs, columns), *(bench.row() for bench in benches)]
        known: set[str] = set()
        for trial in self.plan.ids():
            self._keys.setdefault(trial.arm.id, deque()).append((trial.id, trial.content, trial.missing))
            if trial.id in self._ids:
                continue  # two entries of the study mean the same trial: it is asked once
            self._ids.add(trial.id)
            rows += planned_rows(self.id, trial, self.counts.planned, known)
            self.counts.planned += 1
            if len(rows) >= _BATCH:
                self.store.write(rows)
                rows = []
        self.store.write(rows)

    def _work(self) -> dict[str, set[str]]:
        """Return what is to be done: `answered` trials, `failed` ones not to be tried again, and those `todo`."""
        answered = self.store.present(schema.responses, "trial", list(self._ids))
        with self.store.engine.connect() as connection:
            wanted = select(schema.failures.c.trial).where(schema.failures.c.step != "judge").distinct()
            failed = set(connection.execute(wanted).scalars())
        failed -= self.store.present(schema.responses, "trial", list(failed))
        if self.options.retry_failed:
            failed = set()
        self.counts.failed = len(failed & self._ids)
        self.counts.stored = len(answered)
        return {"answered": answered, "failed": failed, "todo": self._ids - answered - failed}

    async def _pools(self, work: dict[str, set[str]], stack: AsyncExitStack) -> list[tuple[Model, Pool]]:
        """Open every model that has something left to be asked; endpoints at one address share their limit."""
        gates: dict[str, asyncio.Semaphore] = {}
        opened = []
        for model in self.plan.models:
            arms = [arm.id for source in self.plan.sources for arm in self.plan.arms(source, [model])]
            left = any(key in work["todo"] for arm in arms for key, _, _ in self._keys.get(arm, ()))
            # an adaptive attack may have been broken off between two attempts: only going through it tells
            left = left or any(
                inspect.isgeneratorfunction(a.plugin.function) for s in self.plan.sources for a in s.attacks
            )
            if not left:
                continue
            if model.protocol is None:
                raise StudyError(
                    f"target {model.label!r} has no address: write {model.label}@http://HOST:PORT/v1, or "
                    f"specimen:{model.label} for a simulated one"
                )
            if model.opened_here:  # it needs the machine's memory for itself
                check(model)
                self._turns.add(model.label)
                continue
            reach = await stack.enter_async_context(
                model.protocol.plugin.function(model.facts, model.url, **model.protocol.params)
            )
            self._note_engine(model, reach)
            gate = gates.setdefault(model.url or model.label, asyncio.Semaphore(self.options.concurrency))
            opened.append((model, Pool(model.label, "target", reach, gate, self.options.patience)))
        return opened

    def _note_engine(self, model: Model, reach: Reach) -> None:
        """Keep what answers and its version, where it says so: members of a pair belong on one engine."""
        engine = str(getattr(reach, "engine", ""))
        if engine:
            self.store.write([Row(schema.engines, {"run": self.id, "model": model.label, "engine": engine})])

    async def _side_by_side(
        self, work: dict[str, set[str]], collectors: list[Collector], bar: Bar, writer: Writer
    ) -> None:
        """Collect and judge at once: the judges' endpoint works while the targets' does."""
        size = self.options.concurrency
        queue: asyncio.Queue[tuple[Subject, Response] | None] = asyncio.Queue(maxsize=4 * size)
        by_label = {collector.pool.name: collector for collector in collectors}
        streams = [self._stream(model) for model in self.plan.models]
        judges = size if self.options.judging else 1
        async with asyncio.TaskGroup() as judging:
            for _ in range(judges):
                judging.create_task(self._judge_all(queue, bar))
            async with asyncio.TaskGroup() as collecting:
                later = [pair for pair in zip(self.plan.models, streams, strict=True) if pair[0].label in self._turns]
                collecting.create_task(self._in_turn(later, work, collectors, writer, queue))
                for model, stream in zip(self.plan.models, streams, strict=True):
                    if model.label in self._turns:
                        continue
                    collector = by_label.get(model.label)
                    for _ in range(size if collector else 1):
                        collecting.create_task(self._collect_all(stream, work, collector, writer, queue))
            for _ in range(judges):
                await queue.put(None)
        self.counts.phase = "done"

    async def _in_turn(
        self,
        models: list[tuple[Model, Iterator[Trial]]],
        work: dict[str, set[str]],
        collectors: list[Collector],
        writer: Writer,
        queue: asyncio.Queue[tuple[Subject, Response] | None],
    ) -> None:
        """Open the models that need the machine for themselves one after the other, each for all of its trials."""
        logs = Path("serve-logs") if "://" in self.store.url else Path(self.store.url).parent / "serve-logs"
        waiting = Waiting(lambda words: setattr(self.counts, "phase", words), lambda: self._stop, logs)
        for model, stream in models:
            try:
                if not self._stop:
                    async with opened(model, waiting) as reach, asyncio.TaskGroup() as asking:
                        self._note_engine(model, reach)
                        gate = asyncio.Semaphore(self.options.concurrency)
                        pool = Pool(model.label, "target", reach, gate, self.options.patience)
                        collector = Collector(self.id, pool, writer, self._recall, work["failed"])
                        collectors.append(collector)
                        for _ in range(self.options.concurrency):
                            asking.create_task(self._collect_all(stream, work, collector, writer, queue))
            except (RunStopped, StudyError) as error:
                self._unopened += [] if self._stop else [str(error)]
                # nothing was asked: what is stored of this model is judged all the same
                await self._collect_all(stream, work, None, writer, queue)

    def _stream(self, model: Model) -> Iterator[Trial]:
        keys = {arm: iter(known) for arm, known in self._keys.items()}

        def ids(arm: Arm) -> Iterator[tuple[str, str, str | None]]:
            return keys[arm.id]

        return self.plan.trials(model, ids)

    async def _collect_all(
        self,
        stream: Iterator[Trial],
        work: dict[str, set[str]],
        collector: Collector | None,
        writer: Writer,
        queue: asyncio.Queue[tuple[Subject, Response] | None],
    ) -> None:
        """Take trials from the model's stream until it is empty; stored replies go straight to the judges."""
        for trial in stream:
            if self._stop or (collector and collector.stopped):
                return
            if trial.id in self._taken:
                continue
            self._taken.add(trial.id)
            goes_on = collector is not None and adaptive(trial)
            if trial.id in work["answered"] and not goes_on:
                if self.options.judging and (stored := self._recall(trial.id)):
                    await queue.put((_subject(trial), stored))
            elif (goes_on or trial.id in work["todo"]) and collector is not None:
                for outcome in await collector.settle(trial):
                    if not outcome.recalled:
                        self._tell(outcome.response)
                    if outcome.response is not None and self.options.judging:
                        await queue.put((_subject(outcome.trial), outcome.response))

    def _tell(self, response: Response | None) -> None:
        if response is None:
            self.counts.failed += 1
            return
        self.counts.done += 1
        self.counts.blocked += response.stop == "filter"
        self.counts.truncated += response.stop == "length"
        self.counts.tokens += (response.tokens_in or 0) + (response.tokens_out or 0)

    async def _judge_all(self, queue: asyncio.Queue[tuple[Subject, Response] | None], bar: Bar) -> None:
        while (item := await queue.get()) is not None:
            if not (bar.stopped or self._stop):
                await bar.judge(*item)
                await self._now_and_then()

    async def _now_and_then(self) -> None:
        """Look whether enough was asked after every so many judged trials, one look at a time."""
        self._since += 1
        stopping = self.plan.study.stopping
        if stopping and self._since >= stopping.every and not (self._looking or self._stop):
            self._looking, self._since = True, 0
            try:
                await self._look()
            finally:
                self._looking = False

    async def _look(self) -> None:
        self._enough = await asyncio.to_thread(self.watch) if self.watch else None
        if self._enough:
            self.stop()

    def _recall(self, trial: str) -> Response | None:
        return self.store.replies([trial]).get(trial)


def _subject(trial: Trial) -> Subject:
    return Subject(trial.id, trial.sample.goal, trial.arm.facts, trial.sample.reference)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage cycles less often: a run makes many objects that die young and hardly a cycle.

    Measured by `benchmarks/engine.py`: a sixth of the client's CPU time, and no more memory.
    """
    before = gc.get_threshold()
    gc.set_threshold(50_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
