"""Judge: a pass over stored replies. A new rubric or splitter never samples a model again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from safemlrm import capability, thinking
from safemlrm.engine.ask import Receipt
from safemlrm.engine.bench import Bench
from safemlrm.engine.collect import failure_row
from safemlrm.engine.counts import Counts
from safemlrm.errors import RunStopped, TargetError
from safemlrm.models import ModelFacts
from safemlrm.plugin import Call
from safemlrm.records import PARTS, Exhibit, Failure, Prompt, Response, Verdict, digest
from safemlrm.store import Row, Store, schema
from safemlrm.store.writer import Writer
from safemlrm.thinking.segments import Split
from safemlrm.thinking.steps import CUT, cut


class Subject(NamedTuple):
    """What judging needs to know of a trial besides its reply."""

    trial: str
    goal: str
    facts: ModelFacts
    #: the key of a capability item
    reference: str | None = None


class _Question(NamedTuple):
    """One exhibit before one judge: answered at once by a rule, or a prompt to ask; `key` names the verdict."""

    bench: Bench
    exhibit: Exhibit
    asked: Prompt | Verdict | Exception
    key: str


@dataclass
class Bar:
    """Splits replies and brings each present part, and each step of the thinking where asked, before every judge."""

    run: str
    benches: Sequence[Bench]
    splitters: Sequence[str]
    store: Store
    writer: Writer
    counts: Counts
    #: whether each step of the thinking is judged by itself too
    steps: bool = False
    #: keys of verdicts that are stored, or whose call failed and is not to be tried again
    settled: set[str] = field(default_factory=set)
    stopped: str | None = None
    _under_way: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def learn(self, *, retry_failed: bool) -> None:
        """Read from the store what was judged before, so that it is not paid for again."""
        ids = [bench.id for bench in self.benches]
        with self.store.engine.connect() as connection:
            known = schema.verdicts.select().with_only_columns(schema.verdicts.c.key)
            self.settled.update(connection.execute(known.where(schema.verdicts.c.judge.in_(ids))).scalars())
            if not retry_failed:
                failed = schema.failures.select().with_only_columns(schema.failures.c.verdict)
                self.settled.update(connection.execute(failed.where(schema.failures.c.verdict.is_not(None))).scalars())

    async def judge(self, subject: Subject, response: Response) -> None:
        """Split one stored reply, ask every judge about each part that is there, and store what they said."""
        if response.stop == "filter":
            return  # the provider's filter spoke, not the model: an outcome of its own, never judged
        rows, questions = list[Row](), list[_Question]()
        for splitter in self.splitters:
            split = take_apart(subject, response, splitter)
            taken = taken_apart(subject, splitter)
            rows.append(_split_row(taken, split))
            rows += _mark_rows(taken, subject.reference, split)
            found = list(self._questions(subject, taken, split))
            rows += [row for row, _ in found]
            questions += [question for _, question in found if question.key not in self.settled]
        await self.writer.write(rows)
        if questions:
            unique = list({question.key: question for question in questions}.values())
            if len(unique) == 1:
                await self._answer(subject, unique[0])
            else:
                await asyncio.gather(*(self._answer(subject, question) for question in unique))

    def _questions(self, subject: Subject, taken: dict[str, Any], split: Split) -> Iterator[tuple[Row, _Question]]:
        """Yield what is asked of each judge, with the row that says of which part or step it is the verdict."""
        steps = cut(split.thinking) if self.steps and split.thinking is not None else []
        for bench in self.benches:
            common = taken | {"judge": bench.id}
            for part in PARTS:
                if (text := getattr(split, part)) is not None:
                    question = _question(bench, Exhibit(part=part, goal=subject.goal, text=text))
                    yield Row(schema.judgings, common | {"part": part, "verdict": question.key}), question
            for number, text in enumerate(steps, start=1):
                question = _question(bench, Exhibit(part="thinking", goal=subject.goal, text=text))
                place = {"cut": CUT, "step": number, "steps": len(steps)}
                yield Row(schema.steps, common | place | {"verdict": question.key}), question

    async def _answer(self, subject: Subject, question: _Question) -> None:
        """Settle one question; where two replies raise the same one at the same time, it is asked once."""
        if question.key in self._under_way:
            await self._under_way[question.key]
            return
        if question.key in self.settled:
            return
        mine = self._under_way[question.key] = asyncio.get_running_loop().create_future()
        try:
            await self._settle(subject, question)
        finally:
            del self._under_way[question.key]
            mine.set_result(None)

    async def _settle(self, subject: Subject, question: _Question) -> None:
        ledger: list[Row] = []
        try:
            verdict = await self._verdict(question, Receipt(self.run, subject.trial, question.key), ledger)
        except Exception as error:  # noqa: BLE001  the engine's one boundary: a judge's mistake is a row
            kind = "endpoint" if isinstance(error, RunStopped) else str(getattr(error, "kind", type(error).__name__))
            retryable = isinstance(error, RunStopped) or getattr(error, "retryable", False)
            failure = Failure(step="judge", kind=kind, message=str(error), retryable=retryable)
            await self.writer.write([*ledger, failure_row(self.run, subject.trial, failure, question.key)])
            self.counts.judge_failed += 1
            self.settled.add(question.key)
            if isinstance(error, RunStopped):
                self.stopped = str(error)
            return
        await self.writer.write([*ledger, _verdict_row(question, verdict)])
        self.settled.add(question.key)
        self.counts.judged += 1
        self.counts.unread += verdict.score is None

    async def _verdict(self, question: _Question, receipt: Receipt, ledger: list[Row]) -> Verdict:
        if isinstance(question.asked, Verdict):
            return question.asked
        if isinstance(question.asked, Exception):
            raise question.asked
        bench = question.bench
        if bench.pool is None:
            raise TargetError("request", f"judge {bench.bound.given()} asks a model and was given none")
        reply = await bench.pool.ask(question.asked, bench.decoding, Call(), receipt, ledger)
        self.counts.tokens += (reply.tokens_in or 0) + (reply.tokens_out or 0)
        try:
            verdict: Verdict = bench.functions.read(reply, question.exhibit)
        except Exception as error:  # noqa: BLE001  the reply was paid for and is kept, whatever its reader does
            return Verdict(score=None, raw=reply.text, unread=f"its reader failed: {type(error).__name__}")
        return verdict


def _question(bench: Bench, exhibit: Exhibit) -> _Question:
    asked = _rendered(bench, exhibit)
    read = asked.stored() if isinstance(asked, Prompt) else msgspec.to_builtins(exhibit)
    return _Question(bench, exhibit, asked, digest({"judge": bench.id, "read": read}))


def _rendered(bench: Bench, exhibit: Exhibit) -> Prompt | Verdict | Exception:
    try:
        rendered: Prompt | Verdict = bench.functions.render(exhibit)
    except Exception as error:  # noqa: BLE001  the engine's one boundary: a judge's mistake is a row
        return error
    return rendered


def take_apart(subject: Subject, response: Response, splitter: str) -> Split:
    """Split a reply as the registry says of its model."""
    facts = subject.facts
    return thinking.split(
        response, splitter, model=facts.name, family=facts.format, own=facts.own, opens_in=facts.opens_in
    )


def taken_apart(subject: Subject, splitter: str) -> dict[str, Any]:
    """Return the columns that name one way of taking a trial's reply apart."""
    facts = subject.facts
    version = thinking.version(splitter, family=facts.format, own=facts.own, opens_in=facts.opens_in)
    return {"trial": subject.trial, "splitter": splitter, "version": version}


def _split_row(taken: dict[str, Any], split: Split) -> Row:
    columns: dict[str, Any] = {part: None if (text := getattr(split, part)) is None else len(text) for part in PARTS}
    return Row(schema.splits, taken | columns | {"status": split.status, "last": time.time()})


def _mark_rows(taken: dict[str, Any], reference: str | None, split: Split) -> list[Row]:
    """Mark a capability item by the official rule; the answer alone counts, and a reply without one is unread."""
    key = capability.key_in(reference)
    if key is None:
        return []
    mark = capability.mark(split.answer, key) if split.answer is not None else capability.UNREAD
    return [Row(schema.marks, taken | {"right": mark.right, "taken": mark.taken})]


def _verdict_row(question: _Question, verdict: Verdict) -> Row:
    columns = {"key": question.key, "judge": question.bench.id, "created": time.time()}
    return Row(schema.verdicts, columns | msgspec.structs.asdict(verdict))
