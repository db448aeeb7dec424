"""Which models of a study are compared, on which engine each runs, and in what the two members differ besides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec

from safemlrm import weights
from safemlrm.registry import bind
from safemlrm.trials import Model

#: Classes that vLLM had and dropped: told from a folder's own config where the registry does not know the weights.
_DROPPED = ("MllamaForConditionalGeneration",)


class Pair(NamedTuple):
    """A model and the one it was tuned from, both in the study."""

    base: Model
    derived: Model


def pairs(models: Iterable[Model]) -> list[Pair]:
    """Return the pairs whose two members are both there, in the study's order."""
    by_label = {model.label: model for model in models}
    return [Pair(by_label[m.base], m) for m in by_label.values() if m.base and m.base in by_label]


def engine_of(model: Model) -> str:
    """Return what runs a model: an engine that is started for it, a protocol, or nothing yet."""
    if model.serve is not None:
        return model.serve
    return model.protocol.plugin.name if model.protocol else "no address yet"


def engines_of(pair: Pair) -> str:
    """Return what runs a pair: one engine, or both where they differ."""
    return " / ".join(dict.fromkeys(map(engine_of, pair)))


def dropped(model: Model) -> str:
    """Return the class that a model's engine no longer has, "" where it can run it."""
    if model.serve != "vllm":
        return ""
    if model.facts.serve.engine != "vllm":
        return model.facts.serve.architecture or "its class"
    where = weights.folder(model.facts)
    name = weights.architecture(where) if where else ""
    return name if name in _DROPPED else ""


def on_one_engine(models: Sequence[Model]) -> tuple[list[Model], list[str]]:
    """Move models whose engine dropped them into this process, and their partners too; say so in warnings.

    A pair is always compared on one engine: a difference of engines would be read as the tuning's.
    """
    moved, warnings = dict[str, str](), list[str]()
    for model in models:
        if model.serve is not None and (name := dropped(model)):
            moved[model.label] = f"{model.serve} no longer has {name}"
    while True:
        more = {
            other.label: f"it is compared with {member.label}, and a pair runs on one engine"
            for pair in pairs(models)
            for member, other in ((pair.base, pair.derived), (pair.derived, pair.base))
            if member.label in moved and other.label not in moved and other.serve is not None
        }
        if not more:
            break
        moved |= more
    warnings += [f"{label} runs in this process (transformers_local): {why}" for label, why in moved.items()]
    local = bind("target", "transformers_local") if moved else None
    return [replace(m, serve=None, protocol=local) if m.label in moved else m for m in models], warnings


def with_alike_limits(models: Sequence[Model]) -> list[Model]:
    """Give a base that is opened here the image-processor limits of the models tuned from it, where these agree.

    Otherwise it keeps its own, and `differences` tells of each pair that differs.
    """
    found = list[Model]()
    for model in models:
        wanted = [pair.derived.limits for pair in pairs(models) if pair.base is model and pair.derived.opened_here]
        if model.opened_here and wanted and not model.facts.serve.processor and all(w == wanted[0] for w in wanted):
            serve = msgspec.structs.replace(model.facts.serve, processor=wanted[0])
            model = replace(model, facts=msgspec.structs.replace(model.facts, serve=serve))
        found.append(model)
    return found


def differences(pair: Pair) -> list[str]:
    """Return in what the members differ besides their weights, each as one readable clause."""
    base, derived = pair
    found: list[tuple[str, object, object]] = [
        ("engine", engine_of(base), engine_of(derived)),
        ("engine flags", " ".join(base.flags), " ".join(derived.flags)),
        ("image-processor limits", _listed(base.limits), _listed(derived.limits)),
        ("promptings", ", ".join(base.promptings), ", ".join(derived.promptings)),
        ("visibility", base.facts.visibility, derived.facts.visibility),
    ]
    ours, theirs = (_decoding(model) for model in pair)
    found += [(f"decoding {key}", ours.get(key), theirs.get(key)) for key in sorted({*ours, *theirs})]
    one, other = (m.protocol.params if m.protocol else {} for m in pair)
    found += [(key, one[key], other[key]) for key in sorted(set(one) & set(other) - {"dtype"})]
    found.append(("dtype", _dtype(base), _dtype(derived)))
    return [
        f"{what}: {here or 'nothing'} against {there or 'nothing'}"
        for what, here, there in found
        if here != there and _matters(what, pair)
    ]


def _decoding(model: Model) -> dict[str, Any]:
    """Return a model's decoding without what switches its thinking: a pair on the same weights compares that."""
    settings: dict[str, Any] = msgspec.to_builtins(model.decoding)
    switch, side = model.facts.switch, model.facts.side
    setting = switch.setting(side) if switch and side else None
    if switch and isinstance(setting, dict):
        sent = {"chat_template_kwargs": setting} if switch.mechanism == "template" else setting
        settings["extra"] = _without(settings.get("extra", {}), sent)
    return settings


def _without(settings: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Return settings without those that are `sent`, in tables within tables too."""
    kept = {}
    for key, value in settings.items():
        if key not in sent:
            kept[key] = value
        elif isinstance(value, dict) and isinstance(sent[key], dict) and (rest := _without(value, sent[key])):
            kept[key] = rest
    return kept


def _listed(limits: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(limits.items()))


def _dtype(model: Model) -> str:
    """Return the numbers that a model is opened in: the study's own word, else the registry's."""
    if "--dtype" in model.flags[:-1]:
        return model.flags[model.flags.index("--dtype") + 1]
    given = model.protocol.params.get("dtype", "auto") if model.protocol else "auto"
    return model.facts.serve.dtype if given == "auto" else str(given)


def _matters(what: str, pair: Pair) -> bool:
    """A base that shows no thinking beside a model that shows all of its own is what every such pair is."""
    if what == "dtype":  # of an endpoint's numbers nothing is known
        return any(m.serve is not None or (m.protocol and m.protocol.plugin.holds == "weights") for m in pair)
    seen = {pair.base.facts.visibility, pair.derived.facts.visibility}
    return what != "visibility" or bool(seen & {"summary", "hidden"})
