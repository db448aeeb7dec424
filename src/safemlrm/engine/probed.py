"""Probes of endpoints: made through the one door to any model, stored, and held against what a study needs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import msgspec
from sqlalchemy import select

from safemlrm import prompting
from safemlrm.contents import needed_images
from safemlrm.engine.ask import Pool, Receipt
from safemlrm.plugin import Call
from safemlrm.probing import Finding, probe
from safemlrm.records import Decoding, Prompt, Response
from safemlrm.store import Row, Store, schema
from safemlrm.trials import Model, Plan

#: Samples of each data set that are looked at for how many pictures a prompt holds.
_LOOKED_AT = 100


class Probed(NamedTuple):
    """The newest probe of a target."""

    target: str
    created: float
    findings: list[Finding]

    def state(self, name: str) -> str:
        """Return a finding's state, `unclear` where an older release did not ask."""
        return next((f.state for f in self.findings if f.name == name), "unclear")


def key(model: Model) -> str:
    """Return the name under which a target's probes are stored: how it is reached, and by what id it is asked."""
    asked = model.facts.served or model.facts.hub or model.facts.name
    how = model.serve or (model.protocol.plugin.name if model.protocol else "")
    side = f"+{model.facts.side}" if model.facts.side else ""
    return f"{how}:{asked}{side}" + (f"@{model.url}" if model.url else "")


async def probe_model(model: Model, pool: Pool, store: Store) -> Probed:
    """Ask a target every question of a probe, and store calls and findings."""
    run, ledger = f"probe:{uuid.uuid4().hex}", list[Row]()

    async def send(prompt: Prompt, decoding: Decoding) -> Response:
        # the side of a switchable model that the study asks is the one that is probed
        switched = prompting.switched(prompt, model.facts)
        return await pool.ask(switched, decoding, Call(), Receipt(run), ledger)

    findings = await probe(send, model.facts, model.decoding)
    made = Probed(key(model), time.time(), findings)
    columns = {"id": run, "target": made.target, "model": model.label, "created": made.created}
    document = msgspec.json.encode(findings).decode()
    store.write([*ledger, Row(schema.probes, columns | {"document": document})])
    return made


def latest(store: Store, model: Model) -> Probed | None:
    """Return the newest probe of a target, None where it was never probed."""
    table = schema.probes
    wanted = select(table).where(table.c.target == key(model)).order_by(table.c.created.desc()).limit(1)
    with store.engine.connect() as connection:
        row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    return Probed(row.target, row.created, msgspec.json.decode(row.document, type=list[Finding]))


def shortcomings(plan: Plan, store: Store) -> list[str]:
    """Return a warning for everything that a study needs and the newest probe of a target found missing."""
    warnings: list[str] = []
    probes = [(model, probed) for model in plan.models if (probed := latest(store, model)) is not None]
    pictures = _pictures(plan) if probes else {}
    for model, probed in probes:
        for name, why in _needs(plan, model, pictures):
            found = next((f for f in probed.findings if f.name == name), None)
            if found is not None and found.state in ("no", "failed"):
                said = f"{name} = {found.state} ({found.detail or 'no detail'})"
                warnings.append(f"{model.label}: {why}, and its probe found {said}")
    return warnings


def _pictures(plan: Plan) -> dict[str, int]:
    """Return how many pictures a prompt of each condition holds at most, as far as the first samples tell."""
    found = dict[str, int]()
    for source in plan.sources:
        first = list(islice(source.samples(), _LOOKED_AT))
        for attack in source.attacks:
            name = f"{source.dataset.plugin.name} under {attack.given()}"
            most = max((len(needed_images(sample, attack)) for sample in first), default=0)
            found[name] = attack.plugin.draws + most
    return found


def _needs(plan: Plan, model: Model, pictures: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the name of every finding that a study leans on, and why it does."""
    if shown := [name for name, count in pictures.items() if count]:
        yield "reads_images", f"{', '.join(shown)} shows pictures (unread, incapacity is measured, not safety)"
    if several := [name for name, count in pictures.items() if count > 1]:
        yield "reads_several_images", f"{', '.join(several)} shows several pictures at once"
    for defense in plan.defenses:
        if "system" in defense.params.values():
            yield "honours_system_prompt", f"defense {defense.given()} speaks in the system role"
    for name in model.promptings:
        if prompting.words(name, model.facts).role == "system":
            yield "honours_system_prompt", f"prompting {name} speaks in the system role"
    switch = model.facts.switch
    if switch is not None and model.facts.side is not None and switch.mechanism in ("system", "prefill"):
        needed = "honours_system_prompt" if switch.mechanism == "system" else "continues_prefill"
        yield needed, f"its thinking is switched by a {switch.mechanism}"
    if plan.study.seeds > 1:
        yield "honours_seed", f"{plan.study.seeds} seeds are asked"
    if model.decoding.temperature == 0:
        yield "repeats_at_temperature_0", "its replies are asked at temperature 0, to be the same again"
    yield "stops_at_token_limit", f"its replies are limited to {model.decoding.max_tokens:,} tokens"
    if model.base is not None and model.facts.visibility == "full" and model.facts.side != "no_thinking":
        yield "shows_thinking", "its thinking is judged"
    yield "is_the_model_asked_for", "results go under its name"
