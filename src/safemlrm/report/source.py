"""What a report is made of: readings, pairs and facts, gathered from a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
from sqlalchemy import select

from safemlrm.analysis.primary import Declared
from safemlrm.errors import StudyError
from safemlrm.store import Store, choice, frames, schema


@dataclass
class Source:
    """The readings of one splitter and judge, those of the other splitters, and what is said beside them."""

    readings: pl.DataFrame
    pairs: list[tuple[str, str]]
    title: str
    other: dict[str, pl.DataFrame] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    simulated: bool = False
    #: what became of capability items (`store.frames.marks`), where there are any
    marks: pl.DataFrame | None = None
    #: the primary comparisons that the studies declared before they ran
    declared: tuple[Declared, ...] = ()
    #: the readings of the same judge's later sittings, by their number
    again: dict[int, pl.DataFrame] = field(default_factory=dict)
    #: the steps of the thinking that the judge read (`store.frames.steps`), where it was asked to
    steps: pl.DataFrame | None = None


def gather(
    store: Store, *, runs: Sequence[str] | None = None, splitter: str | None = None, judge: str | None = None
) -> Source:
    """Read a store for its report: by default the newest run of every study, its first splitter and judge."""
    chosen = [run for run in store.latest_runs() if runs is None or run.id in runs]
    studies = choice.studies(store, runs)
    newest = studies[-1]
    read = choice.choose(store, newest, splitter, judge)
    first = read[0] if read else None
    name = first.splitter if first else splitter or (newest.get("splitters") or ["corrected"])[0]
    asked = frames.trials(store, runs)
    _same_question(asked, chosen)

    def read_by(splitter: str, judge: str | None) -> pl.DataFrame:
        return frames.readings(store, splitter=splitter, judge=judge, runs=runs, asked=asked)

    readings = read_by(name, first.judge if first else None)
    models = readings.select("model", "base").unique(maintain_order=True)
    there = set(models["model"])
    notes = [] if first else ["No reply was judged yet: there is nothing to read, and so no rate."]
    source = Source(
        readings,
        pairs=[(base, model) for model, base in models.rows() if base in there],
        title=newest.get("name", "study"),
        other={entry.splitter: read_by(entry.splitter, entry.judge) for entry in read[1:]},
        notes=notes + [_stopped_early(run) for run in chosen if (run.outcome or "").startswith("stopped early")],
        marks=_some(frames.marks(store, splitter=name, runs=runs)),
        declared=tuple(Declared(**study["primary"]) for study in studies if study.get("primary")),
    )
    if first is not None:
        source.again = {number: read_by(name, entry.judge) for number, entry in choice.later(store, first).items()}
        source.steps = _some(frames.steps(store, splitter=name, judge=first.judge, runs=runs, asked=asked))
    ways = frames.split_versions(store, splitter=name, judge=first.judge if first else None, trials=asked)
    source.notes += _ways(ways, name)
    arms = _arms(store, asked)
    source.simulated = _simulated(arms, there, frames.engines(store))
    source.facts = {
        "study": newest.get("name"),
        "runs": [f"{run.name}: {run.outcome or 'not finished'} (safemlrm {run.version})" for run in chosen],
        **_read_by(first, name, source.steps),
        "taken apart by": [f"{r['model']}: {name} {r['version']}, {r['replies']:,} replies" for r in ways.to_dicts()],
        "models": sorted(there),
        "simulated": source.simulated,
        "studies": studies,
        "arms": arms,
    }
    return source


def _read_by(first: frames.Judged | None, splitter: str, steps: pl.DataFrame | None) -> dict[str, object]:
    judge = " ".join(filter(None, (first.judge_name, first.model and f"asking {first.model}"))) if first else None
    cut = {} if steps is None else {"steps of the thinking": steps["cut"][0]}
    return {"judge": judge, "splitter": splitter, **cut}


def _ways(ways: pl.DataFrame, splitter: str) -> list[str]:
    """Say of which models the replies were not all taken apart alike, or otherwise since the judge read them."""
    notes = []
    for (model, _), rows in ways.group_by("model", "prompting", maintain_order=True):
        if rows.height > 1:
            counted = " and ".join(f"{r['replies']:,} by {splitter} {r['version']}" for r in rows.to_dicts())
            notes.append(
                f"The replies of {model} were not all taken apart in one way: {counted}. A pass of `safemlrm judge` "
                "was broken off; the same command goes on."
            )
        elif rows["newer"].sum():
            notes.append(
                f"{rows['newer'].sum():,} replies of {model} were taken apart otherwise since this judge read them (a "
                "format was corrected): `safemlrm judge` with it reads what came of that."
            )
    return notes


def _some(frame: pl.DataFrame) -> pl.DataFrame | None:
    return frame if frame.height else None


def _stopped_early(run: Any) -> str:
    why = run.outcome.removeprefix("stopped early: ")
    return (
        f"The run {run.name} stopped early, as its study allowed before it began: {why}. That interval holds at every "
        "look; the other intervals of this page are made for a number of items that was fixed beforehand, and take no "
        "account of the stop. Items that were not asked are pending."
    )


def _same_question(asked: pl.DataFrame, runs: Sequence[Any]) -> None:
    """Refuse studies that ask the same items of the same models in other ways: one rate over both means nothing."""
    cell = ["model", "dataset", "condition", "prompting", "defense", "sample", "seed", "attempt"]
    if not asked.filter(pl.struct(cell).is_duplicated()).height:
        return
    listed = "; ".join(
        f"{run.id[:8]} ({run.name}, {datetime.fromtimestamp(run.started, UTC):%Y-%m-%d %H:%M} UTC)" for run in runs
    )
    raise StudyError(
        "studies in this store ask the same items of the same models under other settings (decoding, a changed file): "
        f"choose one with --run ID. There are: {listed}"
    )


def _arms(store: Store, asked: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the arms that the trials which were asked could belong to."""
    place = ["model", "condition", "prompting", "defense"]
    there = set(asked.select(place).unique().rows())
    a = schema.arms.c
    with store.engine.connect() as connection:
        rows = connection.execute(select(*(a[name] for name in place), a.document)).all()
    return [
        {"model": r.model, "condition": r.condition} | msgspec.json.decode(r.document)
        for r in rows
        if tuple(r[:4]) in there
    ]


def _simulated(arms: list[dict[str, Any]], models: set[str], engines: dict[str, set[str]]) -> bool:
    """Say whether a model is a specimen: opened as one, or answering over HTTP, where its server says so."""
    served = any(name.startswith("safemlrm-specimens") for model in models for name in engines.get(model, ()))
    return served or any("specimen" in arm["target"] for arm in arms)
