"""What a server says of itself: engine, version, the models it serves, and whether one is the model asked for."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class _Listed(msgspec.Struct):
    id: str = ""
    owned_by: str = ""


class _Listing(msgspec.Struct):
    data: list[_Listed] = []


class _Version(msgspec.Struct):
    version: str = ""


class Server(NamedTuple):
    """What a server says of itself in its list of models."""

    #: `vllm`, `sglang` or another word of the server's own; "" where it says nothing
    engine: str = ""
    models: tuple[str, ...] = ()
    version: str = ""


def read_listing(body: bytes) -> Server:
    """Read a server's list of models; a server that lists nothing readable says nothing of itself."""
    try:
        listed = msgspec.json.decode(body, type=_Listing).data
    except ValueError:
        return Server()
    return Server(listed[0].owned_by if listed else "", tuple(entry.id for entry in listed))


def read_version(body: bytes) -> str:
    """Read a server's version, "" where it cannot be read."""
    try:
        return msgspec.json.decode(body, type=_Version).version[:40]
    except ValueError:
        return ""


def same_model(asked: str, reported: str) -> bool:
    """Tell whether a server reports the model that was asked for.

    Equal but for case; or the same name with a date, a quantisation or a tag behind it (`gpt-4o-mini-2024-07-18`);
    or the last part of a path or of `owner/name`.
    """
    a, b = asked.lower().rstrip("/"), reported.lower().rstrip("/")
    short_a, short_b = a.rpartition("/")[2], b.rpartition("/")[2]
    if a == b or (short_a == short_b and ("/" not in a or "/" not in b or a.startswith("/") or b.startswith("/"))):
        return True
    tail = short_b.removeprefix(short_a)
    dated = tail[:1] == "@" or tail[:1] == ":" or (tail[:1] == "-" and tail[1:].replace("-", "").isdigit())
    return tail != short_b and dated
