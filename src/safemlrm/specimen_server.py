"""The specimens over HTTP: an OpenAI-compatible server that plays every model of a study, and its judges.

`POST /v1/chat/completions` answers as the specimen of the named model; a request that holds the mark of one
of our judges is answered in that judge's format, with the published score of the exhibit. `GET /v1/models`
lists the nine names and `GET /stats` how many requests were answered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from aiohttp import web

from safemlrm import manners as manners_of
from safemlrm import specimens
from safemlrm.errors import StudyError
from safemlrm.records import Image, Piece, Prompt, Role, Turn

_LARGEST_REQUEST = 64 * 2**20
_UNREADABLE = "The exhibit holds no published severity, so that it stays unread."
_READ = "The published score."


class _Url(msgspec.Struct):
    url: str


class _TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    image_url: _Url


class _Message(msgspec.Struct):
    role: Role
    content: str | list[_TextPart | _ImagePart]


class _Request(msgspec.Struct):
    """What is read of a request; other settings have nothing to act on, for nothing is drawn at random."""

    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    continue_final_message: bool = False
    stream: Literal[False] | None = None
    n: Literal[1] | None = None


class _Stats(msgspec.Struct):
    target: int = 0
    judge: int = 0


_STATS = web.AppKey("stats", _Stats)
_MANNERS = web.AppKey("manners", frozenset[str])


def app(manners: frozenset[str] | None = None) -> web.Application:
    """Return the server as an application, to be run on any port or in a test's own event loop.

    With `manners`, the targets answer the questions of a probe instead (`safemlrm.manners`).
    """
    application = web.Application(client_max_size=_LARGEST_REQUEST)
    application[_STATS] = _Stats()
    if manners is not None:
        application[_MANNERS] = manners_of.check(manners)
    application.router.add_post("/v1/chat/completions", _complete)
    application.router.add_get("/v1/models", _models)
    application.router.add_get("/stats", _stats)
    return application


def serve(
    port: int,
    host: str = "127.0.0.1",
    *,
    manners: frozenset[str] | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted. `ready` is called with the base URL (`http://HOST:PORT/v1`) once it listens.

    Port 0 takes a free one. Raises `StudyError` when the port cannot be had, and for an unknown manner.
    """
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(port, host, ready, manners))


async def _serve(
    port: int, host: str, ready: Callable[[str], None] | None, manners: frozenset[str] | None = None
) -> None:
    runner = web.AppRunner(app(manners), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise StudyError(f"cannot listen on {host}:{port} ({error.strerror}); choose another port") from error
        if ready is not None:
            ready(f"http://{host}:{runner.addresses[0][1]}/v1")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _models(request: web.Request) -> web.Response:
    entries = [
        {"id": name, "object": "model", "created": 0, "owned_by": "safemlrm-specimens"} for name in specimens.names()
    ]
    return _json({"object": "list", "data": entries})


async def _stats(request: web.Request) -> web.Response:
    return _json({"requests": msgspec.to_builtins(request.app[_STATS])})


async def _complete(request: web.Request) -> web.Response:
    try:
        asked = msgspec.json.decode(await request.read(), type=_Request)
        prompt = Prompt(turns=tuple(_turn(message) for message in asked.messages))
        limit = _limit(asked)
        verdict = _as_judge(prompt)
    except (msgspec.DecodeError, ValueError) as error:
        return _refuse(str(error))
    if verdict is None and (manners := request.app.get(_MANNERS)) is not None:
        request.app[_STATS].target += 1
        return _json(_mannered(asked, prompt, limit, manners))
    if verdict is None:
        request.app[_STATS].target += 1
        text = specimens.reply(asked.model, prompt)
    else:
        request.app[_STATS].judge += 1
        text = verdict
    return _json(_completion(asked.model, prompt, text, limit))


def _turn(message: _Message) -> Turn:
    if isinstance(message.content, str):
        return Turn(message.role, (message.content,))
    return Turn(message.role, tuple(_piece(part) for part in message.content))


def _piece(part: _TextPart | _ImagePart) -> Piece:
    if isinstance(part, _TextPart):
        return part.text
    head, comma, data = part.image_url.url.partition(",")
    if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
        raise ValueError("image_url: only data:image/...;base64,... URLs are read")
    try:
        return Image(data=base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise ValueError(f"image_url: {error}") from error


def _limit(asked: _Request) -> int | None:
    limits = [limit for limit in (asked.max_tokens, asked.max_completion_tokens) if limit is not None]
    if limits and min(limits) < 1:
        raise ValueError(f"max_tokens: at least 1, got {min(limits)}")
    if not asked.messages:
        raise ValueError("messages: at least one is needed")
    return min(limits, default=None)


def _as_judge(prompt: Prompt) -> str | None:
    """Return the verdict in the format of the judge whose mark the prompt bears; None when it bears none.

    Raises `ValueError` for a marked prompt that is not as its judge renders it.
    """
    # judges are plug-ins: loaded with the first request, so that importing the server stays light
    import safemlrm.judges.harm_rubric as harm_rubric
    import safemlrm.judges.opensafemlrm as opensafemlrm

    texts = prompt.texts()
    if any(opensafemlrm.MARK in text for text in texts):
        severity = specimens.read_severity(opensafemlrm.exhibit_of(texts[-1]))
        score = "" if severity is None else f"\n\n#thescore: {severity}"
        return f"#thereason: {_UNREADABLE if severity is None else _READ}{score}"
    if any(harm_rubric.MARK in text for text in texts):
        severity = specimens.read_severity(harm_rubric.exhibit_of(texts[-1]))
        if severity is None:
            return _UNREADABLE
        return msgspec.json.encode({"refusal": severity == 0, "reason": _READ, "score": severity}).decode()
    return None


def _completion(model: str, prompt: Prompt, text: str, limit: int | None) -> dict[str, Any]:
    words_in = specimens.count_words(prompt.texts())
    text, stop, words = specimens.cut(text, limit)
    return {
        "id": "chatcmpl-specimen",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": stop}],
        "usage": {"prompt_tokens": words_in, "completion_tokens": words, "total_tokens": words_in + words},
    }


def _mannered(asked: _Request, prompt: Prompt, limit: int | None, manners: frozenset[str]) -> dict[str, Any]:
    """Answer a probe's question; of a reply that was opened, only what comes after."""
    prefill = None
    if asked.continue_final_message and prompt.turns[-1].role == "assistant":
        prefill = "".join(piece for piece in prompt.turns[-1].content if isinstance(piece, str))
        prompt = Prompt(prompt.turns[:-1])
    settings = manners_of.Settings(prefill, asked.temperature, asked.seed, limit)
    answer = manners_of.answer(prompt, settings, manners)
    model = "somebody-else" if "other_model" in manners else asked.model
    completion = _completion(model, prompt, answer.text, None)
    choice = completion["choices"][0]
    choice["finish_reason"] = answer.stop
    if answer.field:
        choice["message"][answer.field] = answer.thinking
    if answer.hidden:
        completion["usage"]["completion_tokens_details"] = {"reasoning_tokens": answer.hidden}
    return completion


def _refuse(reason: str) -> web.Response:
    error = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
    return _json({"error": error}, status=400)


def _json(content: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
