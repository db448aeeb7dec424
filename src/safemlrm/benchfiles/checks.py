"""Strict looks at what a benchmark file holds: texts, numbers, published counts, names of scenarios."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from safemlrm.errors import DataError, UnknownName


def text(where: str, name: str, value: Any) -> str:
    """Return a text without the blanks around it. Raises `DataError` when it is none or blank."""
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {name!r} is empty")
    return value.strip()


def filled(where: str, name: str, value: Any) -> str:
    """Return a text as it stands. Raises `DataError` when it is none or blank."""
    text(where, name, value)
    return str(value)


def whole_number(where: str, name: str, value: Any) -> int:
    """Return a whole number that a file holds as number or text. Raises `DataError`."""
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {name!r} should be a whole number, not {value!r}") from error


def known(where: str, name: str, value: Any, options: Collection[str]) -> str:
    """Return a value that is one of the published ones. Raises `DataError` that lists them."""
    if value not in options:
        raise DataError(f"{where}: {name!r} is {value!r}, which is none of {', '.join(sorted(options))}")
    return str(value)


def fingerprint(value: str) -> str:
    """Return twelve hex digits that stand for a text: a group for rows that share one request."""
    return hashlib.sha256(value.encode()).hexdigest()[:12]


def check_counts(where: Any, found: Mapping[str, int], expected: Mapping[str, int], what: str = "rows") -> None:
    """Raise `DataError` at the first name whose number is not the published one; both counts are named.

    `where` is a file or folder.
    """
    for name in (*expected, *(name for name in found if name not in expected)):
        want, got = expected.get(name, 0), found.get(name, 0)
        if want != got:
            raise DataError(f"{where}: expected {want} {what} of {name!r}, got {got}")


def check_total(where: Any, found: int, expected: int, what: str = "rows") -> None:
    """Raise `DataError` when a file has not as many rows as its authors published."""
    if found != expected:
        raise DataError(f"{where}: expected {expected} {what}, got {found}")


def check_rows(where: Any, found: int, published: int, rows: int | None, what: str = "rows") -> None:
    """Raise `DataError` when a file has another number of rows than published, or than the study says it has.

    For sets whose published number was not confirmed on the files themselves: with `rows` a study goes on
    knowingly when their authors have published another version.
    """
    if rows is not None:
        check_total(where, found, rows, f"{what} (as the study says with rows={rows})")
    elif found != published:
        raise DataError(
            f"{where}: expected {published} {what}, got {found}. "
            f"If that is another version of its authors, rows={found} reads it knowingly"
        )


def check_unique(where: Any, name: str, values: Iterable[Any]) -> None:
    """Raise `DataError` at the first value that occurs twice."""
    seen = set()
    for value in values:
        if value in seen:
            raise DataError(f"{where}: {name!r} {value!r} occurs twice")
        seen.add(value)


def choose(wanted: Iterable[str], known: Sequence[str], kind: str, where: str) -> tuple[str, ...]:
    """Return the known names that are wanted, in their own order and once each; nothing wanted means all.

    `03-Malware_Generation` may be written in full, as `03`, as `3` or as `Malware_Generation`.
    Raises `UnknownName`.
    """
    aliases: dict[str, str] = {}
    for name in known:
        aliases |= dict.fromkeys(_aliases(name), name)
    picked = set()
    for name in wanted:
        if name not in aliases:
            raise UnknownName(kind, name, known, where=where)
        picked.add(aliases[name])
    return tuple(name for name in known if name in picked) if picked else tuple(known)


def _aliases(name: str) -> list[str]:
    number, dash, bare = name.partition("-")
    if not (dash and number.isdigit()):
        return [name]
    return [name, number, number.lstrip("0"), bare]
