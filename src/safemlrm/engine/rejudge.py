"""Judge what is stored: another judge, another splitter, no model sampled and no benchmark needed."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import select

from safemlrm import __version__, prompting
from safemlrm.engine.bench import Bench, Options, open_benches
from safemlrm.engine.counts import Counts
from safemlrm.engine.judge import Bar, Subject, taken_apart
from safemlrm.errors import StudyError
from safemlrm.models import ModelFacts, facts_of
from safemlrm.resolve import check_splitters
from safemlrm.store import Row, Store, frames, schema
from safemlrm.store.writer import Writer
from safemlrm.study import Study

_log = logging.getLogger("safemlrm")

#: Replies read from the store at a time: memory stays flat whatever the store's size.
_CHUNK = 200


@dataclass
class Rejudging:
    """One pass of judges over every stored reply. `await rejudging.go()` returns its outcome.

    In a `sitting` above 1 the same judges read again what they have read: by the same splitters, where none is named.
    """

    store: Store
    judges: Sequence[str]
    splitters: Sequence[str]
    options: Options
    sitting: int = 1
    steps: bool = False
    counts: Counts = field(default_factory=Counts)
    #: ids of the judges that sat
    sat: set[str] = field(default_factory=set)
    _stop: bool = False

    def stop(self) -> None:
        """Finish what is in flight, write it, and end."""
        self._stop = self.counts.stopping = True

    async def go(self) -> str:
        """Carry the pass out. Raises `StudyError` for what can be known before the first call."""
        check_splitters(self.splitters)
        run = uuid.uuid4().hex
        async with AsyncExitStack() as stack:
            benches = await open_benches(self.judges, self.options, stack, sitting=self.sitting)
            if self.sitting > 1:
                self._read_before(benches)
                self._same_parts(benches)
            self.sat = {bench.id for bench in benches}
            self.store.write([self._record(run), *(bench.row() for bench in benches)])
            writer = await stack.enter_async_context(Writer(self.store))
            bar = Bar(run, benches, self.splitters, self.store, writer, self.counts, self.steps)
            bar.learn(retry_failed=self.options.retry_failed)
            self.counts.phase, self.counts.started = "judging", time.monotonic()
            subjects = self._subjects(benches)
            async with asyncio.TaskGroup() as group:
                for _ in range(self.options.concurrency):
                    group.create_task(self._judge_all(subjects, bar))
            self.counts.phase = "done"
        outcome = f"given up: {bar.stopped}" if bar.stopped else "stopped" if self._stop else "done"
        self.store.finish(run, time.time(), outcome)
        return outcome

    def _read_before(self, benches: Sequence[Bench]) -> None:
        """Take the splitters of the first sitting, and refuse to repeat what never was."""
        read = [entry for entry in frames.judged(self.store) if entry.judge in {bench.first.id for bench in benches}]
        self.splitters = self.splitters or sorted({entry.splitter for entry in read})
        there = {(entry.splitter, entry.judge) for entry in read}
        for bench in benches:
            for splitter in self.splitters or ["any"]:
                if (splitter, bench.first.id) not in there:
                    raise StudyError(
                        f"judge {bench.name}: it has not read this store a first time by the splitter {splitter}, so "
                        "there is nothing to read again: leave --sitting out"
                    )

    def _same_parts(self, benches: Sequence[Bench]) -> None:
        """Refuse to hold against each other two readings of replies that would now be taken apart otherwise."""
        t, a, j = schema.trials, schema.arms, schema.judgings
        firsts = {bench.first.id for bench in benches}
        columns = select(a.c.model, a.c.prompting, j.c.splitter, j.c.version).distinct()
        joined = columns.select_from(j.join(t, t.c.id == j.c.trial).join(a, a.c.id == t.c.arm))
        wanted = joined.where(j.c.judge.in_(firsts), j.c.splitter.in_(list(self.splitters)))
        with self.store.engine.connect() as connection:
            rows = connection.execute(wanted).all()
        read: dict[tuple[str, str, str], set[str]] = {}
        for row in rows:
            read.setdefault((row.model, row.prompting, row.splitter), set()).add(row.version)
        for (model, prompted, splitter), versions in read.items():
            subject = Subject("", "", self._facts(model, prompted))
            if taken_apart(subject, splitter)["version"] not in versions:
                raise StudyError(
                    f"the replies of {model} would now be taken apart otherwise than when they were first read (a "
                    "format or this program changed): judge them once without --sitting, which asks only of changed "
                    "texts"
                )

    def _facts(self, model: str, prompted: str) -> ModelFacts:
        asked_for = prompting.format_of(prompted, self.options.beside)
        return prompting.read_as(facts_of(model, self.options.beside), asked_for)

    def _record(self, run: str) -> Row:
        document = Study(name="judging", judges=tuple(self.judges), splitters=tuple(self.splitters), steps=self.steps)
        name = "judging" if self.sitting == 1 else f"judging, sitting {self.sitting}"
        columns = {"id": run, "name": name, "study": "judging", "version": __version__, "started": time.time()}
        return Row(schema.runs, columns | {"document": msgspec.json.encode(document).decode()})

    def _subjects(self, benches: Sequence[Bench]) -> Iterator[Subject]:
        """Yield every answered trial (in a later sitting: that was read before), in chunks, with what judging needs."""
        t, a, s, j = schema.trials, schema.arms, schema.samples, schema.judgings
        wanted = select(schema.responses.c.trial)
        if self.sitting > 1:
            wanted = select(j.c.trial).where(j.c.judge.in_({bench.first.id for bench in benches})).distinct()
        with self.store.engine.connect() as connection:
            answered = list(connection.execute(wanted).scalars())
        self.counts.planned = len(answered)
        self._say_what_is_assumed()
        for start in range(0, len(answered), _CHUNK):
            joined = t.join(a, a.c.id == t.c.arm).join(s, s.c.content == t.c.content)
            chunk = t.c.id.in_(answered[start : start + _CHUNK])
            with self.store.engine.connect() as connection:
                columns = select(t.c.id, a.c.model, a.c.prompting, s.c.goal, s.c.document)
                rows = connection.execute(columns.select_from(joined).where(chunk)).all()
            for row in rows:
                yield Subject(row.id, row.goal, self._facts(row.model, row.prompting), _reference(row.document))

    def _say_what_is_assumed(self) -> None:
        """Warn of models whose own format is not at hand: their replies are read otherwise than in their study."""
        with self.store.engine.connect() as connection:
            models = connection.execute(select(schema.arms.c.model).distinct().order_by(schema.arms.c.model)).scalars()
        for model in models:
            if not facts_of(model, self.options.beside).known:
                _log.warning(
                    "warning: %s is not in the registry: the format of its replies is told from each (auto). If a "
                    "models.toml beside its study says more, name that folder: --beside DIR",
                    model,
                )

    async def _judge_all(self, subjects: Iterator[Subject], bar: Bar) -> None:
        for subject in subjects:
            if self._stop or bar.stopped:
                return
            response = self.store.replies([subject.trial]).get(subject.trial)
            if response is not None:
                await bar.judge(subject, response)
            self.counts.stored += 1


class _Referenced(msgspec.Struct):
    reference: str | None = None


def _reference(document: str) -> str | None:
    return msgspec.json.decode(document, type=_Referenced).reference
