"""Which readings are meant when nobody says: the newest study's first splitter and first judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from safemlrm.errors import StudyError
from safemlrm.store import frames
from safemlrm.store.store import Store


def studies(store: Store, runs: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Return the studies of a store (or of some of its runs) as plain data, newest last.

    Raises `StudyError` when there is none.
    """
    chosen = [run for run in store.latest_runs() if runs is None or run.id in runs]
    found: list[dict[str, Any]] = [msgspec.json.decode(run.document) for run in chosen if run.study != "judging"]
    if not found:
        raise StudyError(f"the store {store.url} holds no study: run one in it first")
    return found


def choose(
    store: Store, study: dict[str, Any], splitter: str | None = None, judge: str | None = None
) -> list[frames.Judged]:
    """Return the splitters and the judge to read with, the primary first, the same judge's other splitters after it.

    `judge` is a judge's name, or `name:model` where one judge asked two models; only its first sitting is read with.
    Empty when nothing was judged.
    Raises `StudyError` for a splitter or judge that nothing in the store was read with.
    """
    judged = [entry for entry in frames.judged(store) if entry.sitting == 1]
    _known("splitter", splitter, [entry.splitter for entry in judged])
    _known("judge", judge, [name for entry in judged for name in _names(entry)])
    splitters = [splitter] if splitter else study.get("splitters") or ["corrected"]
    judges = [judge] if judge else [name.partition("@")[0] for name in study.get("judges") or ["harm_rubric"]]
    sat = [] if judge else study.get("judge_ids", [])

    def rank(entry: frames.Judged) -> tuple[int, int, int]:
        named = min(_place(judges, name) for name in _names(entry))
        return _place(sat, entry.judge), named, _place(splitters, entry.splitter)

    ordered = sorted(judged, key=rank)
    return ordered[:1] + [
        entry for entry in ordered[1:] if entry.judge == ordered[0].judge and entry.splitter != ordered[0].splitter
    ]


def later(store: Store, chosen: frames.Judged) -> dict[int, frames.Judged]:
    """Return the later sittings of a judge, in which it read the same replies again, by their number."""
    judged = frames.judged(store)
    again = {
        entry.sitting: entry for entry in judged if (entry.splitter, entry.first) == (chosen.splitter, chosen.judge)
    }
    return {number: again[number] for number in sorted(again) if number > 1}


def _known(what: str, wanted: str | None, known: Sequence[str]) -> None:
    if wanted is not None and wanted not in known:
        there = ", ".join(sorted(set(known))) or "nothing"
        raise StudyError(f"nothing in this store was read with {what} {wanted!r}; there is: {there}")


def _names(entry: frames.Judged) -> list[str]:
    return [entry.judge_name, f"{entry.judge_name}:{entry.model}"] if entry.model else [entry.judge_name]


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)
