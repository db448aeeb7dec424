"""One reply that was collected elsewhere, and what is asked of a file of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from safemlrm.errors import DataError
from safemlrm.records import Stop, Visibility

Line = TypeVar("Line")


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A reply, or why there is none (`failure`): other tools store an error's text in the place of a reply."""

    sample: str
    reply: str = ""
    #: the data set, condition and seed it belongs to; "" and None where the file does not say, which fits any
    dataset: str = ""
    condition: str = ""
    seed: int = 0
    reasoning: str | None = None
    stop: Stop = "stop"
    failure: str | None = None
    model: str | None = None
    visibility: Visibility | None = None
    #: file and row, for messages
    where: str = ""


class Wanted(NamedTuple):
    """Which replies are wanted: the model's names, and what the study says of a file that does not say it itself."""

    names: tuple[str, ...] = ()
    #: our column -> the file's column
    columns: dict[str, str] = {}  # noqa: RUF012  read only
    #: the condition of rows that name none
    condition: str = ""


def plain(name: str) -> str:
    """Return a model's name as it is compared: case and separators do not count."""
    return "".join(c for c in name.lower() if c.isalnum())


def pick(found: list[str], wanted: Wanted, where: str) -> str:
    """Return the one of several models' names that is wanted. Raises `DataError` where that is not clear."""
    if len(found) == 1:
        return found[0]
    ours = {plain(name) for name in wanted.names} | {plain(name.rpartition("/")[2]) for name in wanted.names}
    matching = [name for name in found if plain(name) in ours]
    if len(matching) == 1:
        return matching[0]
    raise DataError(
        f"{where} holds replies of {', '.join(sorted(found)) or 'no model'}: name one of them, as in recorded:NAME=FILE"
    )


def json_lines(path: Path, kind: type[Line]) -> Iterator[tuple[int, Line]]:
    """Yield every line of a JSONL file with its number, blank ones left out. Raises `DataError` with the row."""
    decode = msgspec.json.Decoder(kind).decode
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, decode(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, row {number}: {error}") from error


def text_or_failure(text: str | None, errors: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a reply whose text may be an error's: those are failures, never replies."""
    if text is None:
        return {"failure": "no reply was recorded"}
    return {"failure": text[:300]} if text.startswith(errors) else {"reply": text}
