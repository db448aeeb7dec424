"""The chat-completions dialect as it comes over the wire: what a reply holds, and what an error means.

Pure; `targets/openai_compatible.py` does the sending.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple

import msgspec

from safemlrm.errors import TargetError
from safemlrm.keys import host_of, quote
from safemlrm.records import Response, Stop, Visibility

#: Statuses after which the same call may succeed later.
_LATER = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}

_STOPS: dict[str, Stop] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filter": "filter",
    "safety": "filter",
    "prohibited_content": "filter",
    "blocklist": "filter",
    "sensitive": "filter",
}

#: Codes under which providers say that their filter answered, not the model (compared in lower case).
_FILTERS = {
    "content_filter",
    "content_filtered",
    "content_policy_violation",
    "responsibleaipolicyviolation",
    "data_inspection_failed",
    "datainspectionfailed",
    "invalid_prompt",
    "moderation_blocked",
}

#: Words for a reply that ended because the server did, not the model (vLLM, SGLang, OpenRouter).
_BROKEN_OFF = {"abort", "aborted", "error", "cancelled"}


class Dialect(NamedTuple):
    """What a host does its own way: how the reply is opened for the model, and how the token limit is called."""

    #: `continue`: continue_final_message (vLLM, SGLang and most others); `partial`: a mark on the last message
    prefill: Literal["continue", "partial", "none"] = "continue"
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


_DIALECTS = {
    "api.openai.com": Dialect(prefill="none", limit="max_completion_tokens"),
    "api.moonshot.ai": Dialect(prefill="partial"),
    "api.moonshot.cn": Dialect(prefill="partial"),
    "dashscope.aliyuncs.com": Dialect(prefill="partial"),
    "dashscope-intl.aliyuncs.com": Dialect(prefill="partial"),
    "generativelanguage.googleapis.com": Dialect(prefill="none"),
    "api.x.ai": Dialect(prefill="none"),
}


class _Message(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    #: a gateway's word on what the reasoning is: the model's own text, a summary or cipher text
    reasoning_details: list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    error: dict[str, Any] | str | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    model: str | None = None
    #: counts cost nobody a reply, whatever a server writes there
    usage: Any = None
    error: dict[str, Any] | str | None = None


_decode = msgspec.json.Decoder(_Reply).decode


def dialect_of(url: str) -> Dialect:
    """Return what is known of a URL's host; most servers do the common thing."""
    return _DIALECTS.get(host_of(url), Dialect())


def read_reply(status: int, retry_after: str | None, body: bytes, visibility: Visibility, seconds: float) -> Response:
    """Turn a server's answer into a `Response`. Raises `TargetError` for everything that is no reply."""
    try:
        reply = _decode(body)
    except (ValueError, RecursionError) as unread:
        if status != 200:
            raise _refused(status, retry_after, quote(body)) from unread
        raise TargetError("not_json", f"HTTP 200, but not a chat completion ({unread}): {quote(body)}") from unread
    # a gateway whose model broke in the middle of a reply says so beside that reply
    error = reply.error or next((choice.error for choice in reply.choices if choice.error), None)
    if _filtered(status, error):
        return Response(text="", stop="filter", stop_detail=_words(error), visibility=visibility, seconds=seconds)
    if status != 200 or error:
        raise _refused(_code(status, error), retry_after, _words(error) or quote(body))
    return _response(reply, _only(reply.choices, body), visibility, seconds)


def _only(choices: list[_Choice], body: bytes) -> _Choice:
    """Return the one reply that was asked for. Raises `TargetError` for none, several, and one that is no text."""
    if not choices:
        raise TargetError("empty_choices", f"the reply has no choices: {quote(body)}")
    if len(choices) > 1:
        raise TargetError("several_choices", f"one reply was asked for, and {len(choices)} came")
    choice, message = choices[0], choices[0].message
    if (choice.finish_reason or "").lower() in _BROKEN_OFF:
        raise TargetError("broken_off", f"the server broke the reply off ({choice.finish_reason})", retryable=True)
    if message.tool_calls or message.function_call:
        raise TargetError(
            "tool_call",
            "a tool was called, and none was offered: a parser of the server's took a part of the reply for a call",
        )
    said = (message.content, message.refusal, message.reasoning, message.reasoning_content, choice.finish_reason)
    if all(word is None for word in said):  # a model that says nothing has stopped, and says so
        raise TargetError("empty", "the reply holds nothing, not even why it ended", retryable=True)
    return choice


def _response(reply: _Reply, choice: _Choice, visibility: Visibility, seconds: float) -> Response:
    message, usage = choice.message, reply.usage
    text, reasoning, field = _written(message)
    thought = _count(usage, "completion_tokens_details", "reasoning_tokens")
    return Response(
        text=text,
        reasoning=reasoning or None,
        reasoning_field=field if reasoning else None,
        stop=stop_of(choice.finish_reason),
        stop_detail=choice.finish_reason,
        tokens_in=_count(usage, "prompt_tokens"),
        tokens_out=_count(usage, "completion_tokens"),
        # SGLang counts them beside the others
        tokens_reasoning=_count(usage, "reasoning_tokens") if thought is None else thought,
        model=reply.model,
        visibility=_seen(message, reasoning, visibility),
        seconds=seconds,
    )


def _written(message: _Message) -> tuple[str, str, str]:
    """Return the text, the reasoning, and the field that this was split off into. Raises `TargetError`."""
    field = "reasoning" if message.reasoning is not None else "reasoning_content"
    reasoning = message.reasoning if message.reasoning is not None else message.reasoning_content or ""
    if not isinstance(message.content, list):
        # OpenAI's own refusal field is the model's refusal, in the model's words.
        return message.content or message.refusal or "", reasoning, field
    pieces: dict[str, list[str]] = {"text": [], "thinking": []}
    for part in message.content:
        kind = part.get("type")
        if kind not in pieces or not isinstance(piece := _joined(part.get(kind)), str):
            raise TargetError("not_text", f"the reply holds a part that is no text: {quote(str(kind).encode())}")
        pieces[kind].append(piece)
    if pieces["thinking"]:
        return "".join(pieces["text"]), "".join(pieces["thinking"]), "content.thinking"
    return "".join(pieces["text"]), reasoning, field


def _joined(content: Any) -> Any:
    """Return the text of a part; Mistral's thinking is a list of texts of its own."""
    if isinstance(content, list) and all(isinstance(c, dict) and isinstance(c.get("text"), str) for c in content):
        return "".join(c["text"] for c in content)
    return content


def _seen(message: _Message, reasoning: str, visibility: Visibility) -> Visibility:
    """Return how much of the reasoning this is: a gateway marks what is a summary of it, or held back."""
    marks = {detail.get("type") for detail in message.reasoning_details or []}
    if not marks & {"reasoning.summary", "reasoning.encrypted"}:
        return visibility
    return "summary" if reasoning else "hidden"


def _count(usage: Any, *names: str) -> int | None:
    """Return a count that can be one: what a database cannot hold was never counted."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if type(usage) is int and 0 <= usage < 2**31 else None


def stop_of(reason: str | None) -> Stop:
    """Return why the model stopped, from the server's word; `content_filter: SEXUAL` is a filter's too."""
    return _STOPS.get((reason or "").partition(":")[0].strip().lower(), "other")


def _filtered(status: int, error: dict[str, Any] | str | None) -> bool:
    """A provider's filter answered instead of the model: an outcome of its own, not a failure, not a refusal."""
    if not isinstance(error, dict):
        return False
    metadata = error.get("metadata")
    if _code(status, error) == 403 and isinstance(metadata, dict) and metadata.keys() & {"reasons", "flagged_input"}:
        return True  # a gateway's moderation (OpenRouter) answers with the status of a refused key
    inner = error.get("innererror")
    codes = (error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None)
    return status in (200, 400) and bool({str(code).lower() for code in codes} & _FILTERS)


def _code(status: int, error: dict[str, Any] | str | None) -> int:
    """Gateways put the failing model's status into an error object under HTTP 200."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if status == 200 and isinstance(code, int) else status


def _refused(status: int, retry_after: str | None, words: str) -> TargetError:
    kind = {401: "auth", 403: "auth", 429: "rate_limit"}.get(status, "server" if status >= 500 else "request")
    return TargetError(
        kind, f"HTTP {status}: {words}", retryable=status in _LATER or status >= 500, retry_after=wait(retry_after)
    )


def wait(retry_after: str | None) -> float | None:
    """Read Retry-After, which is seconds or a date; None where it makes no sense."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _words(error: dict[str, Any] | str | None) -> str:
    """Return an error's own words, "" where it has none."""
    said = error.get("message") or error if isinstance(error, dict) else error
    return quote(str(said).encode(errors="replace")) if said else ""
