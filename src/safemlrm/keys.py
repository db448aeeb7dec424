"""Whose key is sent where, and the words of others with no key in them.

Pure but for the environment variables that hold keys.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from safemlrm.errors import StudyError
from safemlrm.models import ModelFacts, hosts

LOOPBACK = ("127.0.0.1", "localhost", "::1")

#: Characters of a server's own words that a message quotes at most, and bytes in which they are looked for.
_QUOTED, _WINDOW = 300, 65536

#: Keys that were handed to a target in this process, and names of variables that hold secrets.
_given_out: set[str] = set()
#: `max_tokens` and `key_phrase` are none.
_SECRET = re.compile(
    r"(passwords?|passwd|secrets?|token|(access|api|auth)_?tokens|credentials?|api_?keys?|access_?key_?id"
    r"|(^|[^a-z0-9])(keys?|pat))([_-]?[0-9]+)?$",
    re.IGNORECASE,
)
#: What is shorter is a stand-in (`EMPTY`) and stands in ordinary words.
_SHORTEST = 6


def host_of(url: str) -> str:
    """Return a URL's host. Raises `StudyError` for what is no address."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError as error:
        raise StudyError(f"{url!r} is no address: {error}") from error


def with_key(facts: ModelFacts, url: str | None, beside: Path | None) -> ModelFacts:
    """Return a model's facts with the variable of the host where it is asked, where a host table knows it.

    `beside` is the study's folder, whose `models.toml` may name hosts of the user's own (`[hosts."HOST"]`).
    """
    known = hosts(beside).get(host_of(url)) if url else None
    return facts if known is None else msgspec.structs.replace(facts, key=known.key)


def key_for(url: str, variable: str | None = None) -> str:
    """Return the key for a URL's host from its variable. Raises `StudyError` naming the variable when unset.

    `variable` is what a host table beside the study says, else ours does. A key is sent to the host of its URL
    only: redirects are not followed.
    """
    host, known = host_of(url), hosts()
    variable = variable or (known[host].key if host in known else "OPENAI_API_KEY")
    key = os.environ.get(variable, "")
    if not key and host not in LOOPBACK:
        raise StudyError(f"no key for {host}: set the variable {variable} (any text will do for a server without keys)")
    _given_out.add(key)
    return key or "none"


def quote(body: bytes) -> str:
    """Return a server's own words, shortened, on one line, and without any key."""
    text = plain(body[:_WINDOW].decode("utf-8", "replace"))
    return (text[:_QUOTED] + "...") if len(text) > _QUOTED else text or "(empty)"


def plain(words: str) -> str:
    """Return the words of others on one line, without any key, and with nothing that drives a terminal."""
    return shown(" ".join(words.split()))


def shown(line: str) -> str:
    """Return a line with its indent, without any key, and with nothing that drives a terminal."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in line.expandtabs())
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "(key)")
    return text


def secret(name: str) -> bool:
    """Tell whether a variable or a setting of that name holds a secret."""
    return _SECRET.search(name) is not None


def no_secret(settings: Any, where: str) -> None:
    """Refuse a setting, in tables within tables too, whose name is a secret's. Raises `StudyError` without its value.

    What a study sets is stored with every reply and shown in the report.
    """
    for name, value in settings.items() if isinstance(settings, dict) else enumerate(settings):
        place = f"{where}.{name}"
        if secret(str(name)):
            raise StudyError(
                f"{place} looks like a secret, and settings are stored with the replies and shown in the report: "
                "leave it out, and set the environment variable that it is read from (such as OPENAI_API_KEY)"
            )
        if isinstance(value, dict | list):
            no_secret(value, place)


def _secrets() -> set[str]:
    """Return what no message may hold: every key that was given out, and what the environment calls a secret."""
    called = {value for name, value in os.environ.items() if secret(name)}
    return {secret for secret in _given_out | called if len(secret) >= _SHORTEST}


def named(error: BaseException) -> str:
    """Return an error's kind and words, on one line and without any key."""
    said = quote(str(error).encode(errors="replace")) if str(error) else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
