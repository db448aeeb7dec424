"""Study -> plan: every name, parameter and folder looked up before the first call."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from safemlrm import keys, pairs, prompting, thinking, weights
from safemlrm.benchfiles import locate
from safemlrm.errors import DataError, StudyError, UnknownName
from safemlrm.models import ModelFacts, ModelName, facts_of, parse_model, split_side
from safemlrm.records import Decoding, digest
from safemlrm.registry import Bound, Spec, bind, parse_spec
from safemlrm.study import Study
from safemlrm.study import Target as Named
from safemlrm.trials import Model, Plan, Source


def resolve(study: Study, *, data: Path | None = None, beside: Path | None = None, needs_data: bool = True) -> Plan:
    """Check every name, parameter and folder of a study. Raises `StudyError` before anything is called.

    `data` holds one folder per benchmark, `beside` is the study's own folder. Without `needs_data` a
    benchmark that is not there is a warning: a study can be planned before its files are fetched.
    """
    if not study.targets:
        raise StudyError("the study names no target: add `--target MODEL`, or [[targets]] in the TOML")
    if not study.data:
        raise StudyError("the study names no benchmark: add `--dataset NAME`, or [[data]] in the TOML")
    models = [_model(named, study, beside) for named in study.targets]
    _distinct(models)
    models, warnings = pairs.on_one_engine(models)
    models = pairs.with_alike_limits(models)
    sources: list[Source] = []
    for entry in study.data:
        dataset = bind("dataset", entry.dataset, beside)
        attacks = tuple(bind("attack", attack, beside) for attack in entry.attacks)
        _once("attack", attacks, f"of {entry.dataset}")
        folder = _folder(dataset, data, beside, None if needs_data else warnings)
        narrowed = (study.limit, study.per_scenario, study.sample, entry.scenarios)
        sources.append(Source(dataset, folder, attacks, *narrowed))
    check_splitters(study.splitters)
    for named_judge in study.judges:
        judge_named(named_judge, beside)
    defenses = [bind("defense", defense, beside) for defense in study.defenses]
    _once("defense", defenses, "of the study")
    _declared(study, models, [attack.short() for source in sources for attack in source.attacks])
    _may_stop(study, models, [attack for source in sources for attack in source.attacks])
    _weights_there(models, [*defenses, *(attack for source in sources for attack in source.attacks)])
    for pair in pairs.pairs(models):
        if differing := pairs.differences(pair):
            warnings.append(
                f"{pair.derived.label} and its base {pair.base.label} differ in more than their weights: "
                f"{'; '.join(differing)}"
            )
    for model in models:
        prompting.asked_with(model, models)
        if not model.facts.known:
            warnings.append(
                f"{model.label} is not in the registry: it is assumed to show all of its thinking, to take the think "
                "prompt as a system message and to have no base, and its format is told from each reply (auto); a "
                "models.toml beside the study can say more"
            )
        if model.facts.gate and model.opened_here and not weights.folder(model.facts):
            warnings.append(
                f"the weights of {model.label} are given out after its licence is accepted: {model.facts.gate}"
            )
        budget = None if model.facts.side == "no_thinking" else model.facts.token_budget
        if budget is not None and budget > model.decoding.max_tokens and model.protocol is not None:
            warnings.append(
                f"{model.label} may write {model.decoding.max_tokens:,} tokens, its authors allow {budget:,}: more of "
                "its replies are cut off than of theirs"
            )
    return Plan(study, models, sources, defenses, warnings)


def _folder(dataset: Bound, data: Path | None, beside: Path | None, warnings: list[str] | None) -> Path | None:
    """Return where a benchmark lies; one without a folder of its own (a user's own) is named from the study's."""
    if not dataset.plugin.folders:
        return beside or Path()
    try:
        return locate(data, dataset.plugin)
    except DataError as error:
        if warnings is None:
            raise
        warnings.append(f"{error} Planned with the counts that its authors publish.")
        return None


def _model(named: Named, study: Study, beside: Path | None) -> Model:
    name = parse_model(named.model)
    facts = facts_of(name.model, beside, must=name.protocol is None and named.serve is None)
    protocol, url = _protocol(name, named, beside)
    promptings = named.promptings or study.promptings
    own = _authors(facts) if named.decoding == "authors" else dict(named.decoding)
    try:
        decoding = msgspec.convert(msgspec.to_builtins(study.decoding) | own | _switched(facts, study, own), Decoding)
    except msgspec.ValidationError as error:
        raise StudyError(f"decoding of {named.model}: {error}") from error
    keys.no_secret(decoding.extra, f"target {facts.name!r}: decoding.extra")
    label = facts.name
    if name.protocol is not None:
        facts = msgspec.structs.replace(facts, served=split_side(name.model)[0])
    if named.weights is not None:
        facts = msgspec.structs.replace(facts, hub=named.weights, served=None, revision="local")
    base = named.base or facts.base
    facts = keys.with_key(facts, url, beside)
    return Model(label, facts, protocol, url, base, tuple(promptings), decoding, named.serve, named.serving)


def one_model(named: Named, beside: Path | None = None) -> Model:
    """Return a model outside of any study, with the settings of an empty one. Raises `StudyError`."""
    return pairs.on_one_engine([_model(named, Study(), beside)])[0][0]


def _authors(facts: ModelFacts) -> dict[str, Any]:
    """Return the decoding that a model's authors recommend. Raises `StudyError` where the registry knows none."""
    if facts.decoding is None:
        raise StudyError(
            f'model {facts.name!r}: decoding = "authors", and the registry holds none: write the settings out, '
            "or give it some in a models.toml beside the study (decoding = {temperature = ...})"
        )
    budget = {} if facts.token_budget is None else {"max_tokens": facts.token_budget}
    found: dict[str, Any] = msgspec.to_builtins(facts.decoding)
    return found | budget


def _switched(facts: ModelFacts, study: Study, own: dict[str, Any]) -> dict[str, Any]:
    """Return the decoding's `extra` with the model's switch, where it is a field of the request."""
    if facts.switch is None or facts.side is None:
        return {}
    setting = facts.switch.setting(facts.side)
    if not isinstance(setting, dict):
        return {}
    extra: dict[str, Any] = study.decoding.extra | own.get("extra", {})
    if facts.switch.mechanism == "request":
        return {"extra": extra | setting}
    return {"extra": extra | {"chat_template_kwargs": extra.get("chat_template_kwargs", {}) | setting}}


def _may_stop(study: Study, models: Sequence[Model], attacks: Sequence[Bound]) -> None:
    """Refuse a `[stopping]` that names no pair of the study, or attacks of which nobody knows when an item is done."""
    if study.stopping is None:
        return
    labels = [model.label for model in models]
    for name in (study.stopping.base, study.stopping.derived):
        if name not in labels:
            raise UnknownName("model", name, labels, where="[stopping]")
    for attack in attacks:
        if inspect.isgeneratorfunction(attack.plugin.function):
            raise StudyError(
                f"[stopping] and attack {attack.given()}: it asks as often as it likes, so that no item is known to be "
                "finished before the run is: leave out one of the two"
            )


def _declared(study: Study, models: Sequence[Model], conditions: Sequence[str]) -> None:
    """Refuse a `[primary]` that covers no comparison of the study: all of the report would be exploration."""
    if study.primary is None:
        return
    labels, wanted = [model.label for model in models], study.primary
    for name in (wanted.base, wanted.derived):
        if name is not None and name not in labels:
            raise UnknownName("model", name, labels, where="[primary]")
    planned = [(pair.base.label, pair.derived.label) for pair in pairs.pairs(models)]
    if not any(wanted.base in (None, base) and wanted.derived in (None, derived) for base, derived in planned):
        there = ", ".join(f"base = {base!r} with derived = {derived!r}" for base, derived in planned)
        raise StudyError(
            f"[primary] declares the comparison of {wanted.derived or 'every derived model'} with "
            f"{wanted.base or 'its base'}, and the study has {there or 'no pair: name a model and its base as targets'}"
        )
    if wanted.condition is not None and not any(_begins(wanted.condition, short) for short in conditions):
        raise UnknownName("condition", wanted.condition, dict.fromkeys(conditions), where="[primary]")


def _begins(condition: str, short: str) -> bool:
    """Tell whether a condition of the tables (`text`, `DATASET:text`, `text+safety_prompt`) is of that attack."""
    return any(named == short or named.startswith(f"{short}+") for named in (condition, condition.partition(":")[2]))


def _weights_there(models: Sequence[Model], plugins: Sequence[Bound]) -> None:
    for bound in plugins:
        for model in models:
            if bound.plugin.needs == "weights" and not (model.protocol and model.protocol.plugin.holds == "weights"):
                raise StudyError(
                    f"{bound.plugin.kind} {bound.given()} needs the model's weights, and {model.label} is not opened "
                    f"in this process: name it transformers_local:{model.label}"
                )


def _protocol(name: ModelName, named: Named, beside: Path | None) -> tuple[Bound | None, str | None]:
    """A registry name alone can be planned, not run; with a URL it is reached by the common dialect."""
    keys.no_secret(named.options, f"target {name.model!r}: options")
    if named.serve is not None:
        if name.protocol is not None or name.url is not None:
            raise StudyError(f'target {named.model!r}: with serve = "{named.serve}" it has no protocol and no address')
        if any(flag.startswith("--reasoning-parser") for flag in named.serving.flags):
            raise StudyError(f"target {named.model!r}: serve it without a reasoning parser: replies are split here")
        return bind("target", Spec("openai_compatible", named.options), beside), None
    if name.protocol is None and name.url is None:
        return None, None
    spec = parse_spec(name.protocol or "openai_compatible", "target")
    keys.no_secret(spec.params, f"target {name.model!r}: {spec.name}")
    protocol = bind("target", Spec(spec.name, spec.params | named.options), beside)
    if protocol.plugin.needs_url and name.url is None:
        written = f"{name.protocol}:{name.model}"
        raise StudyError(f"target {written!r} needs an address: write {written}@http://HOST:PORT/v1")
    return protocol, name.url


def _distinct(models: list[Model]) -> None:
    seen: dict[str, Model] = {}
    for model in models:
        if model.label in seen:
            raise StudyError(f"target {model.label!r} is named twice; results could not be told apart")
        seen[model.label] = model
        twin = next((m for m in seen.values() if m is not model and m.identity() == model.identity()), None)
        if twin is not None:
            raise StudyError(
                f"targets {twin.label!r} and {model.label!r} are the same model; its trials would be shared"
            )


def _once(kind: str, bounds: Sequence[Bound], where: str) -> None:
    """Refuse an empty list, and two names for the same: it would be asked twice and counted once."""
    if not bounds:
        raise StudyError(f"{where.removeprefix('of ')}: name at least one {kind}")
    shown = [digest(bound.identity()) for bound in bounds]
    for place, bound in enumerate(bounds):
        if shown[place] in shown[:place]:
            raise StudyError(f"{kind} {bound.given()} {where} is named twice")


def check_splitters(names: Sequence[str]) -> None:
    """Raise `UnknownName` for a splitter that nothing answers to."""
    for name in names:
        if name not in thinking.SPLITTERS:
            raise UnknownName("splitter", name, thinking.SPLITTERS)


def judge_named(text: str, beside: Path | None = None) -> tuple[Bound, str | None]:
    """Read `name` or `name:model@URL` and return the judge and the model string it asks, None for none."""
    left, at, _ = text.rpartition("@http")
    name, colon, model = (left if at else text).partition(":")
    bound = bind("judge", parse_spec(name, "judge"), beside)
    if not colon:
        return bound, bound.plugin.model
    if bound.plugin.model is None:
        raise StudyError(f"judge {name!r} asks no model; write just {name!r}")
    return bound, model + text[len(left) :] if at else model
