"""What an output format is, as data: delimiters and headings. Ours are in `formats.toml`, a user's in `models.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec


class Delimiters(NamedTuple):
    """What opens and closes a stretch. `<name>` is read in any case and with blanks, all else to the letter."""

    opens: str
    closes: str


#: The paper's think prompt asks every model for these, so every format is read with them besides its own.
THINK = Delimiters("<think>", "</think>")
ANSWER = Delimiters("<answer>", "</answer>")


class Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One output format. A model's own delimiters stand here; `<think>` and `<answer>` are read besides, always."""

    #: the family in the survey of formats (`docs/formats.md`)
    family: str = ""
    title: str = ""
    #: around reasoning; several pairs are expected one after another (`<analysis>`, then `<think>`)
    thinking: tuple[Delimiters, ...] = ()
    #: whether any of the pairs' openings may be closed by any of their closings, those of `<think>` included
    mixed: bool = False
    #: around the final value; what stands inside is part of the answer like everything that is visible
    answer: tuple[Delimiters, ...] = ()
    #: tokens without meaning for a reader: neither thinking nor answer, wherever they stand
    markup: tuple[str, ...] = ()
    #: beginnings of lines that begin the reasoning, or go on with it
    headings: tuple[str, ...] = ()
    #: beginnings of lines that go on with the reasoning and never begin it again after the answer
    steps: tuple[str, ...] = ()
    #: beginnings of lines with which the answer begins
    answer_headings: tuple[str, ...] = ()
    #: what tells this format from all others (`--format auto`): a text, or several that tell it together; by default
    #: any of its own delimiters and headings
    signs: tuple[str | tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        pairs = [text for pair in (*self.thinking, *self.answer) for text in pair]
        signs = [sign for group in self.told_by() for sign in group or ("",)]
        for text in (*pairs, *self.markup, *self.headings, *self.steps, *self.answer_headings, *signs):
            if not text.strip(" \t\r\n:."):
                raise ValueError(f"a delimiter {text!r} stands everywhere: it needs a letter or a sign")

    def pairs(self) -> tuple[Delimiters, ...]:
        """Return the pairs around reasoning, the format's own first."""
        return self.thinking if THINK in self.thinking else (*self.thinking, THINK)

    def answers(self) -> tuple[Delimiters, ...]:
        """Return the pairs around the final value, the format's own last: it may stand inside `<answer>`."""
        return (ANSWER, *(pair for pair in self.answer if pair != ANSWER))

    def told_by(self) -> list[tuple[str, ...]]:
        """Return the texts that tell that a reply is in this format: all of any one group."""
        if self.signs is not None:
            return [(sign,) if isinstance(sign, str) else sign for sign in self.signs]
        own = [text for pair in (*self.thinking, *self.answer) if pair not in (THINK, ANSWER) for text in pair]
        return [(text,) for text in (*own, *self.headings, *self.answer_headings)]

    def delimiting(self) -> dict[str, Any]:
        """Return what replies are taken apart by, as plain data: all but what is only for readers."""
        return {key: value for key, value in msgspec.to_builtins(self).items() if key not in ("family", "title")}


@cache
def ours() -> dict[str, Format]:
    """Return the formats that come with SafeMLRM by name, the most telling first."""
    text = files("safemlrm.thinking").joinpath("formats.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Format])
