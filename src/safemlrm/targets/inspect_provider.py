"""Any model that inspect_ai has a provider for: the closed models' own dialects, with their typed reasoning blocks."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from safemlrm import keys, wire
from safemlrm.errors import StudyError, TargetError
from safemlrm.importers.inspect_log import reasoning_of
from safemlrm.models import ModelFacts
from safemlrm.pictures import media_type
from safemlrm.plugin import Call, Reach, target
from safemlrm.records import Decoding, Image, Prompt, Response, Turn, Visibility

#: Providers that continue an assistant turn at the end of the prompt.
_CONTINUE = ("anthropic", "vllm", "sglang", "mockllm")
#: Providers whose servers render a chat template, and so take its switches (`chat_template_kwargs`).
_TEMPLATES = ("vllm", "sglang", "openai-api")
#: Settings of inspect_ai that a decoding's `extra` may not hold: they have a place of their own, are our engine's
#: business, or would let something else be sent, or somebody else answer, than what is stored.
_NOT_EXTRA = {
    *("max_tokens", "temperature", "top_p", "top_k", "presence_penalty", "seed", "stop_seqs"),
    *("max_retries", "max_connections", "num_choices", "best_of", "cache", "system_message", "fallback_models"),
}
#: What the vendors' packages raise when a call fails; read when it happens, for only one of them is installed.
_RAISED = (
    ("openai", "OpenAIError"),
    ("anthropic", "AnthropicError"),
    ("google.genai.errors", "APIError"),
    ("mistralai.models", "SDKError"),
    ("groq", "GroqError"),
    ("httpx", "HTTPError"),
    ("aiohttp", "ClientError"),
    ("tenacity", "RetryError"),
)


@target(version="2", title="A provider of inspect_ai", counted=("args",))
@asynccontextmanager
async def inspect_provider(
    model: ModelFacts, url: str | None, *, args: dict[str, Any] | None = None
) -> AsyncIterator[Reach]:
    """Open `inspect_provider:openai/gpt-5` and the like, and yield the function that sends one prompt.

    `args` are the provider's own (`model_args`). A decoding's extra fields are those of `GenerateConfig`
    (`reasoning_effort`, `reasoning_tokens`, `reasoning_summary` ...); `chat_template_kwargs`, in which switches of
    thinking travel, reach servers that have a template (vLLM, SGLang) and are refused elsewhere. Keys are read by
    inspect_ai from its own variables. Raises `StudyError` when inspect_ai or the provider's package is missing, or a
    key is.
    """
    try:
        from inspect_ai._util.error import PrerequisiteError
        from inspect_ai.model import get_model
        from rich.markup import render
    except ImportError as error:
        raise StudyError(
            "inspect_provider needs inspect_ai: install it with `pip install 'safemlrm[inspect]'`"
        ) from error
    name = model.served or model.name
    try:
        opened = get_model(name, base_url=url, memoize=False, **(args or {}))
    except PrerequisiteError as error:
        said = render(str(error)).plain.removeprefix("ERROR: ")
        raise StudyError(f"inspect_ai cannot open {name!r}: {keys.plain(said)}") from error
    except (ValueError, ImportError) as error:
        raise StudyError(f"inspect_ai cannot open {name!r}: {_plain(error)}") from error
    asked = name.partition("/")[2]

    async def reach(prompt: Prompt, decoding: Decoding, call: Call) -> Response:
        started = time.perf_counter()
        messages, config = _messages(prompt, name.partition("/")[0]), _config(decoding, name.partition("/")[0])
        try:
            output = await opened.generate(messages, config=config)
        except _raised() as error:
            raise _failure(opened, error) from error
        return _response(output, asked, model.visibility, time.perf_counter() - started)

    async with opened:
        yield reach


def _messages(prompt: Prompt, provider: str) -> list[Any]:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    messages = [kinds[turn.role](content=_content(turn)) for turn in prompt.turns]
    if prompt.prefill is None:
        return messages
    if provider not in _CONTINUE:
        raise TargetError("request", f"{provider} lets nobody open the model's reply (prefill)")
    return [*messages, ChatMessageAssistant(content=prompt.prefill)]


def _content(turn: Turn) -> str | list[Any]:
    from inspect_ai.model import ContentImage, ContentText

    if len(turn.content) == 1 and isinstance(turn.content[0], str):
        return turn.content[0]
    return [
        ContentText(text=p) if isinstance(p, str) else ContentImage(image=_data_url(p), detail="auto")
        for p in turn.content
    ]


def _data_url(image: Image) -> str:
    data = image.read()
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


def _config(decoding: Decoding, provider: str) -> Any:
    """Return the settings as inspect_ai calls them; it tries nothing again, for our engine does and counts it."""
    from inspect_ai.model import GenerateConfig

    extra = dict(decoding.extra)
    if provider in _TEMPLATES and "chat_template_kwargs" in extra:
        switches = {"chat_template_kwargs": extra.pop("chat_template_kwargs")}
        extra["extra_body"] = extra.get("extra_body", {}) | switches
    unknown = set(extra) - (set(GenerateConfig.model_fields) - _NOT_EXTRA)
    if decoding.repetition_penalty is not None:
        unknown.add("repetition_penalty")
    if unknown:
        raise TargetError("request", f"inspect_provider has no setting {', '.join(sorted(unknown))}")
    given = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
    given |= {"presence_penalty": decoding.presence_penalty, "seed": decoding.seed}
    given = {name: value for name, value in given.items() if value is not None}
    stops = {"stop_seqs": list(decoding.stop)} if decoding.stop else {}
    # our own pool says how many calls are open at once
    ours = {"max_retries": 0, "max_connections": 1000, "max_tokens": decoding.max_tokens}
    return GenerateConfig(**ours, **given, **stops, **extra)


def _response(output: Any, asked: str, visibility: Visibility, seconds: float) -> Response:
    if output.error or not output.choices:
        raise TargetError("empty_choices", f"the reply has no choices: {_plain(output.error or 'nothing was said')}")
    if len(output.choices) > 1:
        raise TargetError("several_choices", f"one reply was asked for, and {len(output.choices)} came")
    choice, usage = output.choices[0], output.usage
    if choice.message.tool_calls:
        raise TargetError("tool_call", "a tool was called, and none was offered: a part of the reply was lost to it")
    blocks = [] if isinstance(choice.message.content, str) else choice.message.content
    if shown := {block.type for block in blocks} & {"image", "audio", "video", "document"}:
        raise TargetError("not_text", f"the reply holds a part that is no text: {', '.join(sorted(shown))}")
    reasoning, seen = reasoning_of(choice.message.content, visibility)
    return Response(
        text=choice.message.text,
        reasoning=reasoning,
        reasoning_field="ContentReasoning" if reasoning else None,
        stop=wire.stop_of("length" if choice.stop_reason == "model_length" else choice.stop_reason),
        stop_detail=choice.stop_reason,
        tokens_in=usage.input_tokens if usage else None,
        tokens_out=usage.output_tokens if usage else None,
        tokens_reasoning=usage.reasoning_tokens if usage else None,
        model=output.model or asked,
        visibility=seen or visibility,
        seconds=seconds,
    )


def _raised() -> tuple[type[BaseException], ...]:
    found = [getattr(sys.modules.get(module), name, None) for module, name in _RAISED]
    ours = (OSError, TimeoutError, RuntimeError, ValueError)
    return (*ours, *(kind for kind in found if isinstance(kind, type)))


def _failure(opened: Any, error: BaseException) -> TargetError:
    decided = opened.api.should_retry(error)
    again = decided if isinstance(decided, bool) else bool(decided.retry)
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    kinds = {401: "auth", 403: "auth", 429: "rate_limit"}
    kind = kinds.get(status, "server" if again else "request") if isinstance(status, int) else "server"
    return TargetError(kind, _plain(error), retryable=again, retry_after=getattr(decided, "retry_after", None))


def _plain(error: object) -> str:
    said = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    return keys.quote(said.encode())
