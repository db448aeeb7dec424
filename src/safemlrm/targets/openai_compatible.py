"""Any endpoint that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp, Ollama, OpenAI, gateways."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from safemlrm import keys, listing, wire
from safemlrm.errors import StudyError, TargetError, UnknownName
from safemlrm.models import ModelFacts
from safemlrm.pictures import media_type
from safemlrm.plugin import Call, Reach, target
from safemlrm.records import Decoding, Image, Prompt, Response, Turn

_log = logging.getLogger("safemlrm")

#: Servers that drop the tags of thinking, which are special tokens, from the text unless told not to.
_STRIPS_TAGS = ("vllm", "sglang")


#: Fields of a request that a decoding's `extra` may not hold, for they have a place of their own.
_OURS = {"model", "messages", *Decoding.__struct_fields__}
#: Bytes of a reply: the longest thought has less than one million, and a server that goes on for ever is cut off.
_LARGEST = 16 * 2**20


@target(version="2", title="OpenAI-compatible chat completions", needs_url=True)
@asynccontextmanager
async def openai_compatible(
    model: ModelFacts, url: str | None, *, timeout: float = 900.0, connect_timeout: float = 15.0
) -> AsyncIterator[Reach]:
    """Open an endpoint and yield the function that sends one prompt.

    `timeout` is for a whole call in seconds (a long thought takes minutes), `connect_timeout` for the
    connection. Raises `StudyError` at once when the key is not set, nothing listens, the key is refused, the
    address answers with something else than an API or a vLLM or SGLang server serves other models; calls raise
    `TargetError`. A server that reports another model than the one asked for is warned about, once.
    """
    address = url or ""
    headers = {"Authorization": f"Bearer {keys.key_for(address, model.key)}", "Content-Type": "application/json"}
    limits = aiohttp.ClientTimeout(total=timeout, connect=None, sock_connect=connect_timeout)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=75)
    async with aiohttp.ClientSession(headers=headers, timeout=limits, connector=connector) as session:
        server = await _knock(session, address)
        if server.engine in _VERSION_AT:
            server = server._replace(version=await _version(session, address, _VERSION_AT[server.engine]))
        asked = model.served or model.hub or model.name
        _check_served(asked, server, address)
        yield _Endpoint(session, address, asked, model, server, wire.dialect_of(address))


def _check_served(asked: str, server: listing.Server, address: str) -> None:
    """Hold the model asked for against what a server lists, where its replies would not tell.

    SGLang and llama.cpp answer any name with the model that they have, and report the name that they were asked for.
    """
    known = asked in server.models
    if server.engine in ("sglang", "llamacpp"):  # SGLang writes an adapter behind a colon
        known = any(
            listing.same_model(name, listed) for name in {asked, asked.partition(":")[0]} for listed in server.models
        )
    if known or not server.models:
        return
    if server.engine in _STRIPS_TAGS:
        raise UnknownName("model", asked, server.models, where=f"what {server.engine} serves at {address}")
    if server.engine == "llamacpp":
        _log.warning(
            "warning: %s answers as %r whatever it is asked for: it says that it has %s",
            address,
            asked,
            ", ".join(server.models),
        )


@dataclass
class _Endpoint:
    """An opened endpoint, and what was learnt of it: which settings it calls otherwise or does not take."""

    session: aiohttp.ClientSession
    address: str
    asked: str
    facts: ModelFacts
    server: listing.Server
    dialect: wire.Dialect
    takes_seed: bool = True
    _told: set[str] = field(default_factory=set)

    @property
    def engine(self) -> str:
        """What answers, and its version, as far as the server says; "" where it says nothing."""
        return f"{self.server.engine} {self.server.version}".strip()

    async def __call__(self, prompt: Prompt, decoding: Decoding, call: Call) -> Response:
        """Send one prompt. Raises `TargetError`."""
        started = time.perf_counter()
        while True:
            dialect, seeded = self.dialect, self.takes_seed
            body = self._body(prompt, decoding)
            try:
                response = await self._once(body, started)
            except TargetError as error:
                self._learn(error, decoding)
                if (dialect, seeded) == (self.dialect, self.takes_seed):
                    raise
                continue
            self._compare(response)
            return response

    async def _once(self, body: bytes, started: float) -> Response:
        status, retry_after, answer = await _post(self.session, f"{self.address}/chat/completions", body)
        return wire.read_reply(status, retry_after, answer, self.facts.visibility, time.perf_counter() - started)

    def _body(self, prompt: Prompt, decoding: Decoding) -> bytes:
        if taken := sorted(_OURS & decoding.extra.keys()):
            raise TargetError("request", f"extra holds {', '.join(taken)}, which has a place of its own: drop it there")
        messages = [_message(turn) for turn in prompt.turns]
        fields = {k: v for k, v in msgspec.to_builtins(decoding).items() if k not in ("extra", "max_tokens")}
        document: dict[str, Any] = {"model": self.asked, self.dialect.limit: decoding.max_tokens}
        if self.server.engine in _STRIPS_TAGS:
            document["skip_special_tokens"] = False
        document |= fields | decoding.extra
        if not self.takes_seed:
            document.pop("seed", None)
        if prompt.prefill is not None:
            document |= self._open_reply(messages, prompt.prefill)
        return msgspec.json.encode(document | {"messages": messages})

    def _open_reply(self, messages: list[dict[str, Any]], prefill: str) -> dict[str, Any]:
        """Put the opening of the reply into the model's mouth, as this host does it."""
        opening: dict[str, Any] = {"role": "assistant", "content": prefill}
        if self.dialect.prefill == "none":
            raise TargetError(
                "request",
                f"{keys.host_of(self.address)} lets nobody open the model's reply (prefill): ask this model on "
                "vLLM or SGLang, or leave attacks and defenses with a prefill out of its study",
            )
        if self.dialect.prefill == "partial":
            messages.append(opening | {"partial": True})
            return {}
        messages.append(opening)
        return {"add_generation_prompt": False, "continue_final_message": True}

    def _learn(self, error: TargetError, decoding: Decoding) -> None:
        """Take from a refused request what this host calls otherwise, so that the next one is taken."""
        words = str(error).lower()
        if error.kind != "request" or not any(word in words for word in _UNKNOWN):
            return
        if self.dialect.limit == "max_tokens" and "max_completion_tokens" in words:
            self.dialect = self.dialect._replace(limit="max_completion_tokens")
        elif self.takes_seed and decoding.seed is not None and "seed" in words:
            self.takes_seed = False
            self._tell(f"{self.address} takes no seed: repetitions of a trial are drawn at random and not repeatable")

    def _compare(self, response: Response) -> None:
        if response.model is not None and not listing.same_model(self.asked, response.model):
            self._tell(
                f"{self.address} was asked for {self.asked!r} and says that {response.model!r} answered; "
                "each reply is stored with the name that the server reported"
            )

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            _log.warning("warning: %s", message)


#: Where servers say their version, beside the API.
_VERSION_AT = {"vllm": "/version", "sglang": "/get_server_info"}

#: Words by which hosts say that they do not take a setting.
_UNKNOWN = (
    "unsupported",
    "not supported",
    "unrecognized",
    "unknown",
    "not permitted",
    "extra",
    "unexpected",
    "instead",
)


async def _knock(session: aiohttp.ClientSession, url: str) -> listing.Server:
    """Ask for the list of models, which costs nothing: is anything there, does it take the key, what is it?"""
    try:
        async with session.get(
            f"{url}/models", allow_redirects=False, timeout=aiohttp.ClientTimeout(total=30, sock_connect=10)
        ) as reply:
            body = await _read(reply)
    except (aiohttp.ClientError, TimeoutError, ValueError, TargetError) as error:
        raise StudyError(
            f"nothing answers at {url}: {keys.named(error)}. Is the server running, is the port right?"
        ) from error
    if reply.status in (401, 403):
        raise StudyError(f"{url} refuses the key (HTTP {reply.status}): {keys.quote(body)}")
    if 300 <= reply.status < 400:
        raise StudyError(f"{url} redirects to {_place(reply)}: give that address instead")
    if body.lstrip()[:1] == b"<":
        raise StudyError(f"{url} answers with HTML (HTTP {reply.status}), not with an API: is /v1 missing?")
    return listing.read_listing(body) if reply.status == 200 else listing.Server()


async def _version(session: aiohttp.ClientSession, url: str, place: str) -> str:
    """Ask a server for its version; one that does not say it is not worth a failure."""
    try:
        async with session.get(
            url.removesuffix("/v1") + place, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=10)
        ) as reply:
            return listing.read_version(await _read(reply)) if reply.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, TargetError):
        return ""


def _place(reply: aiohttp.ClientResponse) -> str:
    return keys.quote(reply.headers.get("Location", "?").encode(errors="replace"))


def _message(turn: Turn) -> dict[str, Any]:
    if all(isinstance(piece, str) for piece in turn.content) and len(turn.content) == 1:
        return {"role": turn.role, "content": turn.content[0]}
    return {"role": turn.role, "content": [_piece(piece) for piece in turn.content]}


def _piece(piece: str | Image) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"type": "text", "text": piece}
    data = piece.read()
    # base64 needs no escaping, so it goes into the JSON as it is: half the cost of the largest part of a body
    address = msgspec.Raw(b'"data:%b;base64,%b"' % (media_type(data).encode(), base64.b64encode(data)))
    return {"type": "image_url", "image_url": {"url": address}}


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[int, str | None, bytes]:
    try:
        async with session.post(url, data=body, allow_redirects=False) as reply:
            return reply.status, reply.headers.get("Retry-After"), await _read(reply)
    except TimeoutError as error:
        raise TargetError("timeout", "no reply in time", retryable=True) from error
    except aiohttp.ClientError as error:
        raise TargetError("connection", f"the connection failed: {keys.named(error)}", retryable=True) from error


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    """Read a body that has an end. Raises `TargetError` for one that is longer than any reply."""
    body = bytearray()
    async for piece in reply.content.iter_any():
        body += piece
        if len(body) > _LARGEST:
            raise TargetError(
                "too_large", f"HTTP {reply.status}: more than {_LARGEST:,} bytes came, and no end: cut off"
            )
    return bytes(body)
