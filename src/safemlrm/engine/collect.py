"""Collect: every trial's reply is asked for once and stored before anything uses it."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Container, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import msgspec

from safemlrm import prompting
from safemlrm.engine.ask import Pool, Receipt
from safemlrm.errors import RunStopped, TargetError
from safemlrm.plugin import Call
from safemlrm.records import Failure, Image, Prompt, Response, Step, Turn, canonical, digest
from safemlrm.registry import Bound
from safemlrm.store import Row, schema
from safemlrm.store.writer import Writer
from safemlrm.trials import Trial, trial_id


class Outcome(NamedTuple):
    """What became of one attempt of a trial; it is in the store. `recalled`: in an earlier run, and not paid again."""

    trial: Trial
    response: Response | None
    failure: Failure | None
    recalled: bool = False


@dataclass
class Collector:
    """Asks trials of one model through its pool, and stores each reply before anything uses it."""

    run: str
    pool: Pool
    writer: Writer
    #: an attempt's reply from an earlier run: an adaptive attack goes through it again without paying
    recall: Callable[[str], Response | None]
    #: attempts that failed in an earlier run and are not to be tried again
    failed: Container[str] = frozenset()
    #: why the endpoint was given up
    stopped: str | None = None
    #: content hashes of pictures and prompts that this run has already handed to the store
    seen: set[str] = field(default_factory=set)

    async def settle(self, trial: Trial) -> list[Outcome]:
        """Run a trial's attack to its end and return an outcome for every attempt, one for most attacks."""
        if trial.missing is not None:
            return [await self._fail(trial, "attack", "missing_image", f"no picture at {trial.missing}")]
        attack, outcomes = trial.arm.attack, list[Outcome]()
        try:
            made = attack.plugin.function(trial.sample, **attack.params, **self._lent(attack))
            turns: Iterator[Prompt] = made if adaptive(trial) else iter([made])
            reply: Response | None = None
            while (prompt := _next(turns, reply)) is not None:
                current = _attempt(trial, len(outcomes))
                if current.id in self.failed:
                    break
                outcome = await self._recalled(current) or await self._ask(current, prompt)
                outcomes.append(outcome)
                reply = outcome.response
                if reply is None:
                    break
        except Exception as error:  # noqa: BLE001  the engine's one boundary: a plug-in's mistake is a row
            current = _attempt(trial, len(outcomes))
            outcomes.append(await self._fail(current, "attack", type(error).__name__, str(error)))
        return outcomes

    async def _recalled(self, trial: Trial) -> Outcome | None:
        """Return an attempt that an earlier run paid for, put on record as part of this one."""
        stored = self.recall(trial.id) if adaptive(trial) else None
        if stored is None:
            return None
        await self.writer.write(self._later_attempt(trial))
        return Outcome(trial, stored, None, recalled=True)

    def _later_attempt(self, trial: Trial) -> list[Row]:
        """Return the rows that put an attempt on record of which the plan could not know."""
        return planned_rows(self.run, trial, trial.attempt, self.seen) if trial.attempt else []

    async def _fail(self, trial: Trial, step: Step, kind: str, message: str) -> Outcome:
        failure = Failure(step=step, kind=kind, message=message)
        await self.writer.write([*self._later_attempt(trial), failure_row(self.run, trial.id, failure)])
        return Outcome(trial, None, failure)

    async def _ask(self, trial: Trial, prompt: Prompt) -> Outcome:
        """Put prompting and defense around one prompt, ask, and store what came back, or why nothing did."""
        arm, sent, first = trial.arm, list[str](), list[str]()
        rows = self._later_attempt(trial)
        step: Step = "prompting"
        most = arm.model.decoding.max_tokens

        async def ask(defended: Prompt) -> Response:
            nonlocal step
            frozen, key, written = self._freeze(defended)
            if written:  # before the call: a reply is never on disk without what it replies to
                self.writer.post(written)
            sent.append(key)
            decoding = msgspec.structs.replace(arm.model.decoding, seed=_seed(trial), max_tokens=most)
            step = "target"
            reply = await self.pool.ask(frozen, decoding, _call(trial), Receipt(self.run, trial.id), rows)
            step = "defense"
            return reply

        async def turn(asked: Prompt, limit: int | None) -> Response:
            nonlocal most
            most = min(limit or arm.model.decoding.max_tokens, arm.model.decoding.max_tokens)
            reply = await arm.defense.plugin.function(asked, ask, **arm.defense.params, **self._lent(arm.defense))
            first.append(sent[-1] if sent else digest(asked.stored()))
            return cast(Response, reply)

        try:
            prompted = prompting.apply(arm.prompting, prompt, arm.model.facts)
            step = "defense"
            response = await prompting.converse(arm.prompting, prompted, arm.model.facts, turn)
        except TargetError as error:
            failure = Failure(step="target", kind=error.kind, message=str(error), retryable=error.retryable)
        except RunStopped as error:
            self.stopped = str(error)
            failure = Failure(step="target", kind="endpoint", message=str(error), retryable=True)
        except Exception as error:  # noqa: BLE001  the engine's one boundary: a plug-in's mistake is a row
            failure = Failure(step=step, kind=type(error).__name__, message=str(error))
        else:
            # of several turns the first: the later ones hold the model's own words, and differ within every pair
            await self.writer.write([*rows, _response_row(trial, first[0], response)])
            return Outcome(trial, response, None)
        await self.writer.write([*rows, failure_row(self.run, trial.id, failure)])
        return Outcome(trial, None, failure)

    def _lent(self, bound: Bound) -> dict[str, Any]:
        """Return the opened model for a plug-in that needs it (the plan has checked that there is one)."""
        return {"weights": self.pool.reach.weights} if bound.plugin.needs == "weights" else {}  # type: ignore[attr-defined]

    def _freeze(self, prompt: Prompt) -> tuple[Prompt, str, list[Row]]:
        """Read every picture once: what is sent is what is stored, and both come from the same bytes."""
        turns = tuple(Turn(turn.role, tuple(map(_loaded, turn.content))) for turn in prompt.turns)
        frozen = Prompt(turns, prompt.prefill)
        body = frozen.stored()
        written = canonical(body)
        key, rows = hashlib.sha256(written).hexdigest(), list[Row]()
        references = [p for turn in body["turns"] for p in turn["content"] if isinstance(p, dict)]
        for image, reference in zip(frozen.images(), references, strict=True):
            if reference["image"] not in self.seen:
                self.seen.add(reference["image"])
                columns = {"sha256": reference["image"], "type": reference["type"], "data": image.data}
                rows.append(Row(schema.images, columns))
        if key not in self.seen:
            self.seen.add(key)
            rows.append(Row(schema.prompts, {"hash": key, "body": written.decode()}))
        return frozen, key, rows


def adaptive(trial: Trial) -> bool:
    """Tell whether a trial's attack goes on from what it hears, in attempts that the plan cannot count."""
    return inspect.isgeneratorfunction(trial.arm.attack.plugin.function)


def _next(turns: Iterator[Prompt], reply: Response | None) -> Prompt | None:
    """Advance an attack: the first prompt, then one for each reply, until it has nothing more to say."""
    try:
        if reply is not None and isinstance(turns, Generator):
            prompt: Prompt = turns.send(reply)
            return prompt
        return next(turns)
    except StopIteration:
        return None


def _attempt(trial: Trial, attempt: int) -> Trial:
    if attempt == 0:
        return trial
    return trial._replace(id=trial_id(trial.content, trial.arm.id, trial.seed, attempt), attempt=attempt)


def _seed(trial: Trial) -> int:
    """The decoding seed: the study's own where it sets one, counted up with repetitions and attempts."""
    return (trial.arm.model.decoding.seed or 0) + trial.seed * 1000 + trial.attempt


def _call(trial: Trial) -> Call:
    return Call(trial.sample.dataset, trial.sample.id, trial.arm.attack.short(), trial.seed, trial.attempt)


def _loaded(piece: str | Image) -> str | Image:
    return piece if isinstance(piece, str) or piece.data is not None else Image(data=piece.read())


def planned_rows(run: str, trial: Trial, place: int, known: set[str]) -> list[Row]:
    """Return the rows that put a trial on record before anything is asked; arms and samples once."""
    entry = {"run": run, "trial": trial.id, "place": place}
    rows = [Row(schema.trials, trial_columns(trial)), Row(schema.planned, entry)]
    arm, sample = trial.arm, trial.sample
    if arm.id not in known:
        known.add(arm.id)
        rows.append(Row(schema.arms, _arm_columns(trial)))
    if trial.content not in known:
        known.add(trial.content)
        document = msgspec.structs.replace(sample, images=(), released={})
        columns: dict[str, Any] = {
            "content": trial.content,
            "dataset": sample.dataset,
            "sample": sample.id,
            "scenario": sample.scenario,
            "group": sample.group or sample.id,
            "expected": sample.expected,
            "goal": sample.goal,
            "document": msgspec.json.encode(document).decode(),
        }
        rows.append(Row(schema.samples, columns))
    return rows


def trial_columns(trial: Trial) -> dict[str, Any]:
    """Return a trial's own row."""
    return {
        "id": trial.id,
        "arm": trial.arm.id,
        "content": trial.content,
        "seed": trial.seed,
        "attempt": trial.attempt,
    }


def _arm_columns(trial: Trial) -> dict[str, Any]:
    arm = trial.arm
    return {
        "id": arm.id,
        "condition": arm.attack.short(),
        "prompting": arm.prompting.label,
        "defense": str(arm.defense.given()),
        "model": arm.model.label,
        "published": arm.model.facts.published,
        "base": arm.model.base,
        "document": msgspec.json.encode(arm.document, order="deterministic").decode(),
    }


def _response_row(trial: Trial, prompt: str, response: Response) -> Row:
    columns = msgspec.structs.asdict(response) | {"trial": trial.id, "prompt": prompt, "created": time.time()}
    return Row(schema.responses, columns)


def failure_row(run: str, trial: str, failure: Failure, verdict: str | None = None) -> Row:
    columns = msgspec.structs.asdict(failure) | {"run": run, "trial": trial, "verdict": verdict}
    return Row(schema.failures, columns | {"created": time.time()})
