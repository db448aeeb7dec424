"""Raw reply -> segments, thinking, answer, status. Formats are data (`formats.toml`), splitters named and versioned.

Adding a format is a few lines of delimiters: in `formats.toml`, or in the `[formats.NAME]` of a user's own models.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from safemlrm.errors import UnknownName
from safemlrm.records import Response, digest
from safemlrm.thinking import formats
from safemlrm.thinking.formats import Format
from safemlrm.thinking.grammar import grammar
from safemlrm.thinking.opensafemlrm import opensafemlrm
from safemlrm.thinking.sectioned import has_sections, sectioned
from safemlrm.thinking.segments import Segment, SegmentKind, Split, Status
from safemlrm.thinking.tagged import TURN, tagged

__all__ = [
    "AUTO",
    "SPLITTERS",
    "TURN",
    "Format",
    "Segment",
    "SegmentKind",
    "Split",
    "Status",
    "names",
    "recognise",
    "split",
    "version",
]

#: Splitter -> version of its code. A change of what any reply splits into bumps it; formats count by themselves.
SPLITTERS: dict[str, str] = {"corrected": "2", "opensafemlrm": "1"}

#: The format that is told from each reply.
AUTO = "auto"


def names() -> list[str]:
    """Return the names of the output formats that come with SafeMLRM, `auto` last."""
    return [*formats.ours(), AUTO]


def recognise(response: Response, own: Mapping[str, Format] | None = None) -> str:
    """Return the name of the format that a reply is told to be in: the user's `own` first, then the most telling.

    A reply without any sign is `server_split` where the server split it, else `untagged`.
    """
    patterns, formats_by_signs = _signs(tuple((own or {}).items()))
    text = response.generated
    found = {sign.lower() for pattern in patterns for sign in pattern.findall(text)}
    for signs, name in formats_by_signs if found else ():
        if found.issuperset(signs):
            return name
    return "server_split" if response.reasoning else "untagged"


@lru_cache(maxsize=16)
def _signs(own: tuple[tuple[str, Format], ...]) -> tuple[list[re.Pattern[str]], list[tuple[set[str], str]]]:
    """Return patterns of all formats' signs, one for each first character, and what signs together tell of which."""
    told = [(signs, name) for name, form in [*own, *formats.ours().items()] for signs in form.told_by()]
    by_first: dict[str, list[str]] = {}
    for sign in sorted({sign for signs, _ in told for sign in signs}, key=lambda sign: (-len(sign), sign)):
        by_first.setdefault(sign[0], []).append(re.escape(sign[1:]))
    patterns = [f"{re.escape(first)}(?i:{'|'.join(rest)})" for first, rest in by_first.items()]
    lowered = [({sign.lower() for sign in signs}, name) for signs, name in told]
    return [re.compile(pattern, re.ASCII) for pattern in patterns], lowered


def split(
    response: Response,
    splitter: str = "corrected",
    *,
    model: str = "",
    family: str = "think_tags",
    own: Mapping[str, Format] | None = None,
    opens_in: str = "output",
) -> Split:
    """Take a reply apart. Raises `UnknownName` for an unknown splitter or format, never for any reply.

    `model` is the registry name and is read only by `opensafemlrm`; `family` (a format's name, the user's `own`
    first) and `opens_in` are the model's format facts and are read only by `corrected`. Only generated text is read:
    a tag in the prompt or in a picture is never part of a reply.
    """
    if splitter not in SPLITTERS:
        raise UnknownName("splitter", splitter, SPLITTERS)
    if splitter == "opensafemlrm":
        return opensafemlrm(response, model)
    scanner = grammar(_named(recognise(response, own) if family == AUTO else family, own))
    found = scanner.scan(response.generated, len(response.reasoning or ""))
    if scanner.headings and has_sections(found):
        return sectioned(response, found)
    return tagged(response, scanner, opens_in, found)


def version(
    splitter: str, *, family: str = "think_tags", own: Mapping[str, Format] | None = None, opens_in: str = "output"
) -> str:
    """Return what a split depends on besides the reply: the splitter's version, and a mark of the format's data.

    A reply whose format was corrected is thereby split again, and judged again where a part's text changed.
    """
    if splitter == "opensafemlrm":
        return SPLITTERS[splitter]
    read = (*(own or {}).values(), *formats.ours().values()) if family == AUTO else (_named(family, own),)
    return f"{SPLITTERS[splitter]}.{_mark(read, opens_in)}"


@lru_cache(maxsize=256)
def _mark(read: tuple[Format, ...], opens_in: str) -> str:
    return digest({"formats": [form.delimiting() for form in read], "opens_in": opens_in})[:12]


def _named(name: str, own: Mapping[str, Format] | None) -> Format:
    known = {**formats.ours(), **(own or {})}
    if name not in known:
        raise UnknownName("output format", name, [*known, AUTO])
    return known[name]
