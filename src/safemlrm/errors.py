"""Every exception of SafeMLRM, in one tree.

    SafeMLRMError
    ├── StudyError            what was asked cannot be done: known before the first paid call
    │   ├── UnknownName       no plug-in, model, parameter or key of that name ("did you mean ...")
    │   ├── DataError         a benchmark file is missing or not what its authors published
    │   └── StoreError        the store cannot be opened or is from a newer release
    ├── TargetError           one call to a model did not give a reply (retryable or not)
    └── RunStopped            the run gave up on an endpoint; what was stored stays stored

Failures of single steps are not exceptions but `records.Failure` rows: the engine turns a
`TargetError` into one at its only boundary.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SafeMLRMError(Exception):
    """Anything that SafeMLRM itself reports; the message is for a person and complete in itself."""


class StudyError(SafeMLRMError):
    """What was asked cannot be done. Says what, which name, and the way out."""


#: More names than this are counted instead of listed, where a near one can be proposed.
_MANY = 40


class UnknownName(StudyError):
    """A name that nothing answers to; the message proposes the nearest known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        options = sorted(set(known))
        near = difflib.get_close_matches(name, options, n=3, cutoff=0.5)
        place = f" in {where}" if where else ""
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(options) if options else "none"
        if near and len(options) > _MANY:
            listed = f"{len(options)} names"
        super().__init__(f"unknown {kind} {name!r}{place}.{hint} Known: {listed}.")


class DataError(StudyError):
    """A benchmark's file is missing, malformed or not what its authors published: which file, which row."""


class StoreError(StudyError):
    """The store cannot be opened: not a store, not reachable, or written by a newer release."""


class TargetError(SafeMLRMError):
    """One call to a model gave no reply.

    `kind` is one word (`timeout`, `connection`, `auth`, `rate_limit`, `server`, `request`, `broken_off`,
    `not_json`, `too_large`, `empty_choices`, `several_choices`, `tool_call`, `not_text`, `out_of_memory`, `missing`);
    `retryable` says whether the same call may succeed later; `retry_after` is the server's own wish in
    seconds, where it gave one.
    """

    def __init__(self, kind: str, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after = retry_after


class RunStopped(SafeMLRMError):
    """The run was given up because an endpoint keeps failing; stored rows stay, and resuming is free."""
