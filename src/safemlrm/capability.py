"""Was a capability item answered rightly? Exact-match scoring by fixed rules, without a model.

`mathvista` and `mmmu` are those benchmarks' rules; `mentions` asks whether the answer names what was asked about.

Re-implemented from the authors' published evaluation (MathVista, arXiv 2310.02255: `calculate_score.py`;
MMMU, arXiv 2311.16502: `eval_utils.py`). The two rules of MMMU gave what the authors' functions give on
200,000 random replies; MathVista's were not compared. What differs:

- MathVista has GPT-4 extract the answer from a longer reply. Here rules do (`\\boxed{}`, "the answer is",
  the last number, list or option letter), so a figure is comparable between models scored here, not with
  a published one. The step after it (option letter or nearest option by edit distance, whole numbers cut,
  decimals rounded, lists compared as text) is theirs; but a text of which more than half would have to change to
  become the nearest option is unread here, not that option.
- MMMU draws a random option where no option can be read. Here that is unread: `right` is None.
- A reply is the answer part; thinking is split off before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from safemlrm.errors import DataError


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a reply is compared with; a sample carries it, as JSON, in its `reference`."""

    rule: Literal["mathvista", "mmmu", "mentions"]
    kind: Literal["choice", "integer", "float", "list", "open"]
    #: the right answers, any of which will do: the option's text (MathVista), its letter or open answers (MMMU)
    answers: tuple[str, ...]
    #: the options in their order, for `choice`
    choices: tuple[str, ...] = ()
    #: decimals that a `float` answer is rounded to
    precision: int = 0

    def text(self) -> str:
        """Return the key as JSON, for a sample's `reference`."""
        return msgspec.json.encode(self, order="deterministic").decode()


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one reply: `right` is None where no answer could be read; `taken` is what was read."""

    right: bool | None
    taken: str | None


#: The mark of a reply in which no answer can be read.
UNREAD = Mark(right=None, taken=None)


def read_key(reference: str) -> Key:
    """Return the key that a sample's `reference` holds. Raises `DataError` where it holds none."""
    try:
        return msgspec.json.decode(reference, type=Key)
    except msgspec.DecodeError as error:
        raise DataError(f"the reference is no key of a capability item: {error}") from error


def key_in(reference: str | None) -> Key | None:
    """Return the key in a sample's `reference`, None where that is something else (an authors' model answer)."""
    if reference is None or not reference.startswith("{"):
        return None
    try:
        return read_key(reference)
    except DataError:
        return None


def mark(reply: str, key: Key) -> Mark:
    """Score the answer part of a reply by the key's own rule."""
    if not reply.strip():
        return UNREAD
    if key.rule == "mathvista":
        return _mathvista(reply, key)
    if key.rule == "mentions":
        named = [word for word in key.answers if re.search(_form(word), reply, re.IGNORECASE)]
        return Mark(right=bool(named), taken=", ".join(named))
    return _mmmu_choice(reply, key) if key.kind == "choice" else _mmmu_open(reply, key)


def _form(word: str) -> str:
    """Return a pattern for a word in the singular or plural: lentil, lentils."""
    stem = word.removesuffix("'s").removesuffix("s")
    return rf"\b{re.escape(stem)}(?:'?s)?\b"


# MathVista

_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TEX_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}")
_STATED = re.compile(r"(?:answer|option|choice)(?:\s+is|\s*:)[\s:]*(.+)", re.IGNORECASE)
_AROUND = " *$\"'"
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)(?:[eE][-+]?\d+)?")
_LIST = re.compile(r"\[[^\[\]]*\]")
_BRACKETED = re.compile(r"\(([a-zA-Z])\)")


def _mathvista(reply: str, key: Key) -> Mark:
    read = {"choice": _option, "integer": _integer, "float": _float, "list": _list}.get(key.kind)
    taken = read(reply.strip(), key) if read else None
    return UNREAD if taken is None else Mark(right=taken in key.answers, taken=taken)


def _stated(reply: str) -> str | None:
    """Return what the reply itself marks as its answer: the last box, else what the last "answer is" says."""
    if boxes := _BOXED.findall(reply):
        return _TEX_TEXT.sub(r"\1", str(boxes[-1])).strip().strip("$")
    if said := _STATED.findall(reply):
        return str(said[-1]).strip(_AROUND).rstrip(".").strip(_AROUND)
    return None


def _option(reply: str, key: Key) -> str | None:
    stated = _stated(reply)
    for text in (reply, stated) if stated else (reply,):
        if text in key.choices:
            return text
    letters = [chr(ord("A") + place) for place in range(len(key.choices))]
    text = stated or reply
    if found := [letter for letter in _BRACKETED.findall(text) if letter.upper() in letters]:
        # the authors take the first letter of a short extraction; of a whole reply the last one is the conclusion
        letter = found[0] if stated else found[-1]
        return key.choices[letters.index(letter.upper())]
    for bare in (text.split(":")[0].split(".")[0], text.splitlines()[-1]):
        if (letter := bare.strip("().: *").upper()) in letters:
            return key.choices[letters.index(letter)]
    closest = nearest(text, key.choices)
    far = 2 * _distance(text, closest) > max(len(text), len(closest))
    return None if far else closest


def _integer(reply: str, key: Key) -> str | None:
    value = _number(reply)
    return None if value is None else str(int(value))


def _float(reply: str, key: Key) -> str | None:
    value = _number(reply)
    return None if value is None else str(round(value, key.precision))


def _number(reply: str) -> float | None:
    """Return the number that the reply states, else its last one."""
    stated = _stated(reply)
    for text in (stated, reply):
        if text and (found := _NUMBER.findall(text)):
            value = float((found[0] if text is stated else found[-1]).replace(",", ""))
            return value if abs(value) != float("inf") else None
    return None


def _list(reply: str, key: Key) -> str | None:
    found = _LIST.findall(reply)
    return found[-1] if found else None


def nearest(text: str, choices: Sequence[str]) -> str:
    """Return the choice with the smallest edit distance to a text, the first of equals."""
    return min(choices, key=lambda choice: _distance(text, choice))


def _distance(left: str, right: str) -> int:
    """Levenshtein's: insertions, deletions and replacements that turn one text into the other."""
    row = list(range(len(right) + 1))
    for place, letter in enumerate(left, start=1):
        before, row[0] = row[0], place
        for i, other in enumerate(right, start=1):
            before, row[i] = row[i], min(row[i] + 1, row[i - 1] + 1, before + (letter != other))
    return row[-1]


# MMMU

_MARKS = (",", ".", "!", "?", ";", ":", "'")
_CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)
#: A reply of so few words is no place to look for an option's text.
_SHORT = 5


def _mmmu_choice(reply: str, key: Key) -> Mark:
    text = reply
    for sign in _MARKS:
        text = text.strip(sign)
    text = f" {text} "
    letters = {chr(ord("A") + place): choice for place, choice in enumerate(key.choices)}
    for form in ("({})", " {} "):
        if taken := _last(text, {letter: form.format(letter) for letter in letters}):
            return Mark(right=taken in key.answers, taken=taken)
    if len(text.split()) > _SHORT:
        options = {letter: choice.lower() for letter, choice in letters.items() if choice.strip()}
        if taken := _last(text.lower(), options):
            return Mark(right=taken in key.answers, taken=taken)
    return UNREAD


def _last(text: str, forms: dict[str, str]) -> str | None:
    """Return the letter whose form occurs last in the text, None where none occurs."""
    places = {letter: text.rfind(form) for letter, form in forms.items() if form in text}
    return max(places, key=lambda letter: places[letter]) if places else None


def _mmmu_open(reply: str, key: Key) -> Mark:
    phrases = _key_phrases(reply)
    numbers = [number for phrase in phrases for form in _NUMBERS for number in form.findall(phrase)]
    said = [value for text in (*phrases, *numbers) for value in _normal(text)]
    wanted = [value for answer in key.answers for value in _normal(answer)]
    texts = [value for value in wanted if isinstance(value, str)]
    right = any(any(t in value for t in texts) if isinstance(value, str) else value in wanted for value in said)
    return Mark(right=right, taken=" | ".join(phrases))


def _key_phrases(reply: str) -> list[str]:
    """Return, per line, the shortest tail after a cue word; the whole reply where no line has one."""
    text = reply.strip().strip(".").lower()
    lines = text.split("\n")
    found = []
    for place, line in enumerate(lines, start=1):
        shortest = ""
        for cue in _CUES if place < len(lines) else (*_CUES, "="):
            if cue in line:
                tail = line.rsplit(cue, 1)[1].strip()
                shortest = tail if not shortest or len(tail) < len(shortest) else shortest
        if shortest and shortest not in _MARKS:
            found.append(shortest)
    return found or [text]


def _normal(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, or a lower-case text; one letter alone gets a blank at either side."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]
