"""Downloads over HTTP: resumed where they broke off, checked against their hash, in place only when whole."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from safemlrm import __version__
from safemlrm.errors import DataError

_BLOCK = 1 << 20
#: A silent server is given up after so many seconds; one that does not even take the connection, sooner.
_TIMEOUT = 30.0
_CONNECT = 5.0
_TRIES = 5
#: No name and no password in it: errors show addresses.
_ADDRESS = re.compile(r"https?://[\w.:\[\]-]+(/\S*)?", re.ASCII)


class Unavailable(DataError):
    """A file could not be had: `denied` (401, 403), `gone` (404, 410), `unreachable`, or `broken`."""

    def __init__(self, reason: Literal["denied", "gone", "unreachable", "broken"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Endpoints(NamedTuple):
    """Where files are asked for, and with which token at the Hub."""

    hub: str = "https://huggingface.co"
    archives: str = "https://codeload.github.com"
    raw: str = "https://raw.githubusercontent.com"
    token: str | None = None

    @classmethod
    def here(cls) -> Endpoints:
        """Return what the environment says: `HF_ENDPOINT` for a mirror of the Hub, `HF_TOKEN` for gated sets.

        Raises `DataError`, which never shows the token, where one of them cannot be used.
        """
        hub = (os.environ.get("HF_ENDPOINT") or cls().hub).strip().rstrip("/")
        token = os.environ.get("HF_TOKEN", "").strip()
        if not _ADDRESS.fullmatch(hub):
            raise DataError(f"HF_ENDPOINT is no address like {cls().hub}")
        if not re.fullmatch(r"[!-~]*", token):
            raise DataError("HF_TOKEN holds a character that no token has; copy the token again")
        return cls(hub=hub, token=token or None)


class Wanted(NamedTuple):
    """A file to be had. `sha256` or `blob` (git's SHA-1 of a blob) is checked where it is known."""

    url: str
    size: int | None = None
    sha256: str | None = None
    blob: str | None = None
    token: str | None = None


class _Http(http.client.HTTPConnection):
    def connect(self) -> None:
        """Connect with less patience than for an answer: a firewall that drops everything looks like silence."""
        patience, self.timeout = self.timeout, _CONNECT
        super().connect()
        self.timeout = patience
        self.sock.settimeout(patience)


class _Https(_Http, http.client.HTTPSConnection):
    """The same, encrypted."""


class _Opener(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Http, req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_Https, req)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow a redirect, but never from an encrypted to an open connection."""
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise Unavailable("broken", f"{_host(req.full_url)} sends us on to an unencrypted address; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, token: str | None, headers: dict[str, str]) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": f"safemlrm/{__version__}", **headers})
    if token:
        # not handed on when the server redirects to its storage on another host
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.build_opener(_Opener, _NoDowngrade).open(request, timeout=_TIMEOUT)


def ask_json(url: str, token: str | None = None, pause: Callable[[float], None] = time.sleep) -> Any:
    """Return the JSON that a URL answers with. Raises `Unavailable`."""

    def once() -> Any:
        with _open(url, token, {}) as answer:
            return json.load(answer)

    return _persist(url, once, pause)


def download(
    wanted: Wanted,
    to: Path,
    *,
    advance: Callable[[int], None] = lambda count: None,
    expect: Callable[[int], None] = lambda count: None,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Bring a file to `to` and return its SHA-256.

    Bytes go to `to` + `.part`, from where a broken download is resumed, also by a later process; `to` itself
    appears only when size and hash are right. A file with another hash is removed. `expect` is told of the size
    where only the server knows it. Raises `Unavailable`, or `DataError` where the file cannot be written.
    """
    part = to.with_name(to.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    advance(part.stat().st_size if part.exists() else 0)
    known = wanted.size

    def told(size: int) -> None:
        nonlocal known
        if known is None:
            expect(size)
        known = size

    def once() -> str:
        _continue(wanted, part, advance, told)
        return _checked(wanted, part)

    found: str = _persist(wanted.url, once, pause)
    part.replace(to)
    _tag(part).unlink(missing_ok=True)
    return found


def _persist(url: str, once: Callable[[], Any], pause: Callable[[float], None]) -> Any:
    """Try again where the same call may succeed: no answer, a connection that broke, an overloaded server."""
    for attempt in range(1, _TRIES + 1):
        try:
            return once()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in (408, 429, 500, 502, 503, 504) or attempt == _TRIES:
                raise _status(url, error) from error
        except (http.client.HTTPException, OSError, json.JSONDecodeError) as error:
            if attempt == _TRIES or _nobody(error, attempt):
                raise _no_answer(url, error) from error
        pause(min(2.0**attempt, 20.0))
    raise AssertionError("unreachable")


def _nobody(error: Exception, attempt: int) -> bool:
    """Whether there is nobody to wait for: no such name, no answer to a connection, or a second refusal of one."""
    if not isinstance(error, urllib.error.URLError):
        return False
    return attempt > 1 or isinstance(error.reason, socket.gaierror | TimeoutError)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _status(url: str, error: urllib.error.HTTPError) -> Unavailable:
    place = f"{_host(url)} answers {error.code} {error.reason}"
    # the Hub answers 401, not 404, for a repository that is not there
    missing = error.headers.get("X-Error-Code") in ("RepoNotFound", "RevisionNotFound", "EntryNotFound")
    if error.code in (401, 403) and not missing:
        return Unavailable("denied", place)
    if error.code in (404, 410) or missing:
        return Unavailable("gone", f"{place} for {urlsplit(url).path}")
    return Unavailable("broken", f"{place} for {urlsplit(url).path}")


def _no_answer(url: str, error: Exception) -> Unavailable:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    kind: Literal["unreachable", "broken"] = "broken" if isinstance(error, _BrokeOff) else "unreachable"
    return Unavailable(kind, f"{_host(url)}: {reason}")


class _BrokeOff(OSError):
    """The connection ended before the file did."""


def _tag(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _continue(wanted: Wanted, part: Path, advance: Callable[[int], None], told: Callable[[int], None]) -> None:
    """Append what is still missing to `part`; from the start where the server cannot do better."""
    have = there = part.stat().st_size if part.exists() else 0
    tag = _tag(part).read_text(encoding="ascii") if _tag(part).exists() else ""
    if have and not (tag or wanted.sha256 or wanted.blob):
        have = 0
    if have and have == wanted.size:
        return
    headers = {"Range": f"bytes={have}-"} | ({"If-Range": tag} if tag else {}) if have else {}
    try:
        answer = _open(wanted.url, wanted.token, headers)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            error.close()
            part.unlink(missing_ok=True)
            advance(-there)
            raise _BrokeOff("what was there does not fit the file; begun again") from error
        raise
    with answer:
        resumed = have > 0 and answer.status == 206
        left = int(answer.headers.get("Content-Length") or -1)
        if not resumed:
            advance(-there)
        if left >= 0:
            told(left + (have if resumed else 0))
        if etag := answer.headers.get("ETag", "") if not answer.headers.get("ETag", "").startswith("W/") else "":
            _tag(part).write_text(etag, encoding="ascii")
        got = _pour(answer, part, "ab" if resumed else "wb", advance)
    if left >= 0 and got < left:
        raise _BrokeOff(f"the connection ended after {got:,} of {left:,} bytes; the same command goes on from there")


def _pour(answer: Any, part: Path, mode: Literal["ab", "wb"], advance: Callable[[int], None]) -> int:
    got = 0
    with _writing(part, mode) as write:
        # what has come, not a whole block: on a slow line the bar moves, and a kill loses nothing
        while block := answer.read1(_BLOCK):
            write(block)
            got += len(block)
            advance(len(block))
    return got


@contextmanager
def _writing(part: Path, mode: Literal["ab", "wb"]) -> Iterator[Callable[[bytes], None]]:
    """Yield how to write: a full disk is `DataError`, which is not the network's fault and not tried again."""
    with _local(part):
        file = part.open(mode)

    def write(block: bytes) -> None:
        with _local(part):
            file.write(block)
            file.flush()

    with file:
        yield write


@contextmanager
def _local(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error


def _checked(wanted: Wanted, part: Path) -> str:
    """Return the SHA-256 of a whole download. Raises `Unavailable`, and removes the file, when it is another one."""
    size = part.stat().st_size
    sha256, blob = hashes(part)
    for name, found, expected in (
        ("bytes", size, wanted.size),
        ("SHA-256", sha256, wanted.sha256),
        ("git blob", blob, wanted.blob),
    ):
        if expected is not None and found != expected:
            part.unlink()
            _tag(part).unlink(missing_ok=True)
            raise Unavailable(
                "broken",
                f"{wanted.url} is not the published file and was removed: expected {name} {expected}, got {found}",
            )
    return sha256


def hashes(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of a file and git's SHA-1 of it as a blob, both in hex."""
    sha256, blob = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            blob.update(block)
    return sha256.hexdigest(), blob.hexdigest()
