"""OpenSafeMLRM's own answers: one JSON file per scenario, `{id: {..., "answers": {MODEL: text}}}` (arXiv 2504.08813).

Its scripts write `Error: ...` in the place of an answer when a call fails; here that is a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from safemlrm.errors import DataError
from safemlrm.importers.row import Recorded, Wanted, pick, text_or_failure

#: Folders of its layout -> the condition that we know it by.
_CONDITIONS = {"baseline": "text", "jailbreak_method": "SD_TYPO"}


Kind = TypeVar("Kind")


class _Entry(msgspec.Struct):
    answers: dict[str, str | None]


def opensafemlrm(path: Path, wanted: Wanted) -> Iterator[Recorded]:
    """Yield the replies of a scenario's file, or of a model's folder of them, as samples of MM-SafetyBench.

    Raises `DataError` for another shape, and where neither the folder nor the study says the condition.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path} holds no JSON files of scenarios (01-Illegal_Activitiy.json ...)")
    for file in files:
        yield from _scenario(file, wanted)


def _scenario(path: Path, wanted: Wanted) -> Iterator[Recorded]:
    number = path.stem[:2]
    if not (number.isdigit() and path.stem[2:3] == "-"):
        raise DataError(f"{path}: the file's name is its scenario's (01-Illegal_Activitiy.json)")
    raw = _decoded(path.read_bytes(), dict[str, msgspec.Raw], str(path))
    entries = {key: _decoded(entry, _Entry, f"{path}, {key!r}") for key, entry in raw.items()}
    condition = wanted.condition or next((_CONDITIONS[p] for p in reversed(path.parts) if p in _CONDITIONS), "")
    if not condition:
        raise DataError(
            f"{path}: neither folder (baseline, jailbreak_method) says under which condition this was asked: "
            'write options = {condition = "text"} or "SD_TYPO"'
        )
    for key, entry in entries.items():
        where = f"{path}, {key!r}"
        model = pick(list(entry.answers), wanted, where)
        fields = text_or_failure(entry.answers[model], ("Error: ",))
        yield Recorded(
            sample=f"{number}_{key}", dataset="mm_safetybench", condition=condition, model=model, where=where, **fields
        )


def _decoded(raw: bytes | msgspec.Raw, kind: type[Kind], where: str) -> Kind:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{where}: not of the shape {{id: {{"answers": {{MODEL: text}}}}}}: {error}') from error
