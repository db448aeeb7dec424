"""The command that serves a model: the registry's facts of its serving as flags of vLLM or SGLang."""

from __future__ import annotations

from typing import Any

import msgspec

from safemlrm import weights
from safemlrm.models import ModelFacts
from safemlrm.trials import Model

_COMMANDS = {"vllm": ("vllm", "serve"), "sglang": ("sglang", "serve", "--model-path")}


def command(model: Model, port: int) -> list[str]:
    """Return the command that serves a model: the registry's flags, then the study's, and no reasoning parser.

    Where both give a flag, the study's holds, for engines take the last. Special tokens have no flag: every call asks
    for them.
    """
    serve, serving, facts = str(model.serve), model.serving, model.facts
    whose = weights.named(facts)
    flags = ["--host", "127.0.0.1", "--port", str(port), *_pinned(facts)]
    if facts.remote_code:
        flags.append("--trust-remote-code")
    if facts.serve.dtype != "auto":
        flags += ["--dtype", facts.serve.dtype]
    flags += _processing(model)
    if serve == "vllm":
        flags += facts.serve.flags
    return [*(serving.command or _COMMANDS[serve]), whose, *flags, *serving.flags]


def _processing(model: Model) -> list[str]:
    """Return the flags for pictures and processor; vLLM takes only the tokenizer from elsewhere, SGLang the whole."""
    facts, vllm = model.facts, model.serve == "vllm"
    flags = list[str]()
    if facts.serve.processor_from is not None:
        flags += ["--tokenizer" if vllm else "--tokenizer-path", facts.serve.processor_from]
        if vllm and _pinned(facts):
            # vLLM would look for the model's revision in the tokenizer's repository
            flags += ["--tokenizer-revision", "main"]
    if facts.serve.images is not None:
        most = _json({"image": facts.serve.images})
        flags += ["--limit-mm-per-prompt" if vllm else "--limit-mm-data-per-request", most]
    if model.limits:
        flags += [weights.LIMIT_FLAGS[str(model.serve)], _json(model.limits if vllm else {"image": model.limits})]
    return flags


def _pinned(facts: ModelFacts) -> list[str]:
    if facts.revision in ("", "floating", "local") or weights.folder(facts) is not None:
        return []
    return ["--revision", facts.revision]


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
