"""Thinking -> steps, each judged by itself where that is asked for: paragraphs, none too short and none too long.

A paragraph ends at a blank line, the usual reading of "step" in work on reasoning traces. One of fewer than 60 visible
characters (a heading, "Wait.", "Okay, so") says nothing that could be scored and is joined to the next; the last one is
joined to the one before. One of more than 1,200 characters (some 200 words) would hide where in it the thinking turns
and is cut into parts of like size, at the ends of sentences and lines where there are any. Nothing else is changed: the
steps, put together, are the thinking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Name and version of this way to cut. A change of what any thinking is cut into bumps the version.
CUT = "paragraphs 1"
SHORTEST, LONGEST = 60, 1200

# bounded, so that hostile text costs no more than any other
_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’»)\]*_]{0,3}\s+|(?<=[。！？])|\n")
_SPACE = re.compile(r"\s")


def cut(thinking: str) -> list[str]:
    """Cut thinking into steps, in time linear in its length; nothing into nothing."""
    steps, begin, place, seen = list[str](), 0, 0, 0
    for end in _ends(thinking):
        seen += _visible(thinking[place:end])
        place = end
        if seen >= SHORTEST:
            steps.append(thinking[begin:end])
            begin, seen = end, 0
    if begin < len(thinking):
        rest = thinking[begin:]
        steps[-1:] = [steps[-1] + rest] if steps else [rest]
    return steps


def _ends(text: str) -> Iterator[int]:
    """Yield where paragraphs end, and within long ones where they are cut."""
    start = 0
    for end in _paragraphs(text):
        while end - start > LONGEST:
            start = _within(text, start, end)
            yield start
        yield end
        start = end


def _paragraphs(text: str) -> Iterator[int]:
    """Yield where each paragraph ends: before the first line with words that follows a blank one."""
    place, after_blank = 0, False
    for line in text.splitlines(keepends=True):
        blank = line.isspace()
        if after_blank and not blank:
            yield place
        place, after_blank = place + len(line), blank
    yield place


def _within(text: str, start: int, end: int) -> int:
    """Return where to cut a long paragraph: near an even part of it, after a sentence, else a word, else anywhere."""
    even = start + (end - start) // -(-(end - start) // LONGEST)
    for pattern in (_SENTENCE, _SPACE):
        found = [match.end() for match in pattern.finditer(text, start + 1, start + LONGEST)]
        if found:
            return min(found, key=lambda place: abs(place - even))
    return even


def _visible(text: str) -> int:
    return len("".join(text.split()))
