"""The store as polars frames: trials, responses, verdicts, and `readings`, the long frame that analysis reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl
from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, literal_column, select

from safemlrm.errors import StudyError
from safemlrm.records import PARTS, digest
from safemlrm.store import schema
from safemlrm.store.store import Store

_KINDS: dict[str, Any] = {
    "INTEGER": pl.Int64,
    "FLOAT": pl.Float64,
    "BOOLEAN": pl.Boolean,
}


class Judged(NamedTuple):
    """A pair of splitter and judge under which replies were read: the first ones of a study are its report's."""

    splitter: str
    judge: str
    judge_name: str
    model: str | None
    #: the how manieth time that this judge read, and its id the first time
    sitting: int
    first: str


def _frame(store: Store, query: Select[Any], kinds: dict[str, Any] | None = None) -> pl.DataFrame:
    """Run a query and return its rows, with the columns' types taken from the tables, so that no row gives no guess."""
    types = {c.name: _KINDS.get(str(c.type), pl.String) for c in query.selected_columns} | (kinds or {})
    with store.engine.connect() as connection:
        rows = connection.execute(query).all()
    return pl.DataFrame([tuple(row) for row in rows], schema=types, orient="row")


def trials(store: Store, runs: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per planned trial: what it is, and what became of it (`state`).

    `state` is `answered`, `blocked` (a provider's filter spoke), `failed` (`failure` says which step and how) or
    `pending`. Without `runs`, the trials of the newest run of every study.
    """
    wanted = [run.id for run in store.latest_runs()] if runs is None else list(runs)
    t, a, s, r, p = schema.trials, schema.arms, schema.samples, schema.responses, schema.planned
    columns = [
        t.c.id.label("trial"),
        *(a.c[name] for name in ("model", "published", "base", "condition", "prompting", "defense")),
        *(s.c[name] for name in ("dataset", "scenario", "sample", "group", "expected")),
        t.c.seed,
        t.c.attempt,
        r.c.prompt,
        *(r.c[name] for name in ("stop", "tokens_in", "tokens_out", "tokens_reasoning", "seconds", "visibility")),
    ]
    joined = t.join(a, a.c.id == t.c.arm).join(s, s.c.content == t.c.content).outerjoin(r, r.c.trial == t.c.id)
    place = select(p.c.trial, func.min(p.c.place).label("place")).where(p.c.run.in_(wanted)).group_by(p.c.trial)
    chosen = place.subquery()
    query = select(*columns).select_from(joined.join(chosen, chosen.c.trial == t.c.id))
    frame = _frame(store, query.order_by(chosen.c.place, t.c.id))
    failures = _last_failures(store)
    return frame.join(failures, on="trial", how="left", maintain_order="left").with_columns(
        pl.when(pl.col("stop") == "filter")
        .then(pl.lit("blocked"))
        .when(pl.col("stop").is_not_null())
        .then(pl.lit("answered"))
        .when(pl.col("failure").is_not_null())
        .then(pl.lit("failed"))
        .otherwise(pl.lit("pending"))
        .alias("state")
    )


def _last_failures(store: Store) -> pl.DataFrame:
    f = schema.failures
    newest = select(func.max(f.c.id).label("id")).where(f.c.step != "judge").group_by(f.c.trial).subquery()
    query = select(f.c.trial, f.c.step, f.c.kind, f.c.message).join(newest, newest.c.id == f.c.id)
    return _frame(store, query).select(
        "trial", pl.concat_str("step", "kind", separator=":").alias("failure"), pl.col("message")
    )


def responses(store: Store) -> pl.DataFrame:
    """Return one row per stored reply, with its text as generated."""
    return _frame(store, select(schema.responses))


def verdicts(store: Store) -> pl.DataFrame:
    """Return one row per (trial, splitter, judge, part) that was brought before a judge, of the split it read last."""
    j, v, w = schema.judgings, schema.verdicts, schema.judges
    joined = j.join(w, w.c.id == j.c.judge).outerjoin(v, v.c.key == j.c.verdict)
    columns = [j.c.trial, j.c.splitter, j.c.version, w.c.name.label("judge"), w.c.model.label("judge_model"), j.c.part]
    frame = _frame(store, select(*columns, v.c.score, v.c.refusal, v.c.unread, v.c.reason).select_from(joined))
    made = _frame(store, select(*(schema.splits.c[name] for name in (*_TAKEN, "last"))))
    newest = pl.col("last") == pl.col("last").max().over("trial", "splitter", "judge", "judge_model")
    return frame.join(made, on=_TAKEN, maintain_order="left").filter(newest).drop("last")


def judged(store: Store) -> list[Judged]:
    """Return every splitter and judge that readings can be made of, most used first."""
    j, w = schema.judgings, schema.judges
    query = select(j.c.splitter, j.c.judge, func.count().label("n")).group_by(j.c.splitter, j.c.judge)
    counted = _frame(store, query, {"n": pl.Int64})
    known = _frame(store, select(w.c.id.label("judge"), w.c.name, w.c.model, w.c.document))
    rows = counted.join(known, on="judge").sort(["n", "splitter", "name"], descending=[True, False, False])
    return [Judged(r["splitter"], r["judge"], r["name"], r["model"], *_sitting(r["document"])) for r in rows.to_dicts()]


def _sitting(document: str) -> tuple[int, str]:
    """Return which sitting of a judge this is, and the id that the first one has: that of all but the sitting."""
    found: dict[str, Any] = msgspec.json.decode(document)
    return found.pop("sitting", 1), digest(found)


def readings(
    store: Store,
    *,
    splitter: str,
    judge: str | None,
    runs: Sequence[str] | None = None,
    asked: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row per planned trial and part, as `analysis.frames.READINGS` documents.

    `judge` is a judge's id (`judged` lists them); None leaves every present part unread ("not judged"). `asked` is
    `trials(store, runs)` where it is at hand: for a second splitter it need not be read again.
    Raises `StudyError` when the store holds no planned trial.
    """
    asked = trials(store, runs) if asked is None else asked
    asked = asked.drop("message", "tokens_in", "tokens_out", "tokens_reasoning", "seconds", "visibility")
    if asked.is_empty():
        raise StudyError(f"the store {store.url} holds no trial: run a study in it first")
    parts = pl.DataFrame({"part": list(PARTS)})
    splits = _splits(store, splitter, judge)
    present, scores = _present(splits), _scores(store, splits, splitter, judge)
    return (
        asked.join(parts, how="cross", maintain_order="left_right")
        .join(present, on=["trial", "part"], how="left", maintain_order="left")
        .join(scores, on=["trial", "part"], how="left", maintain_order="left")
        .with_columns(pl.col("present").fill_null(value=False))
        .with_columns(
            pl.when(pl.col("present") & pl.col("score").is_null())
            .then(pl.coalesce("unread", pl.lit("not judged")))
            .alias("unread")
        )
    )


#: What names one way of taking a reply apart.
_TAKEN = ["trial", "splitter", "version"]


def _splits(store: Store, splitter: str, judge: str | None) -> pl.DataFrame:
    """Return the split of every reply that a judge read last, and where it read none, the newest there is.

    A format may have been corrected since, and another judge may have read what came of it: parts and scores of one
    judge are always of one split.
    """
    s, j = schema.splits, schema.judgings
    frame = _frame(store, select(s).where(s.c.splitter == splitter))
    mine = select(j.c.trial, j.c.version, literal(True).label("mine")).distinct()
    read = _frame(store, mine.where(j.c.splitter == splitter, j.c.judge == (judge or literal_column("NULL"))))
    frame = frame.join(read, on=["trial", "version"], how="left").with_columns(pl.col("mine").fill_null(value=False))
    return frame.sort("mine", "last", "version").unique("trial", keep="last", maintain_order=True)


def split_versions(store: Store, *, splitter: str, judge: str | None, trials: pl.DataFrame) -> pl.DataFrame:
    """Return in which ways (`version`) the replies that a judge read were taken apart, by `model` and `prompting`.

    A model's format may depend on how it was prompted. `replies` says how many there are of each.

    `newer` counts those that were taken apart otherwise since then, which this judge has not read. `trials` are
    `trials(store, runs)`.
    """
    read = _splits(store, splitter, judge).select("trial", "version")
    newest = _splits(store, splitter, None).select("trial", now="version")
    found = trials.select("model", "prompting", "trial").join(read, on="trial").join(newest, on="trial")
    return found.group_by("model", "prompting", "version", maintain_order=True).agg(
        replies=pl.len().cast(pl.Int64), newer=(pl.col("version") != pl.col("now")).sum().cast(pl.Int64)
    )


def _present(splits: pl.DataFrame) -> pl.DataFrame:
    """Return (trial, part, status, present)."""
    long = splits.unpivot(list(PARTS), index=["trial", "status"], variable_name="part", value_name="characters")
    return long.select("trial", "part", "status", pl.col("characters").is_not_null().alias("present"))


def _scores(store: Store, splits: pl.DataFrame, splitter: str, judge: str | None) -> pl.DataFrame:
    """Return (trial, part, score, refusal, unread); a judge's failed call is a reason, not a score."""
    j = schema.judgings
    here = and_(j.c.splitter == splitter, j.c.judge == (judge or literal_column("NULL")))
    return _said(store, j, ("trial", "part"), here, splits)


def _said(
    store: Store, table: Table, keys: Sequence[str], where: ColumnElement[bool], splits: pl.DataFrame
) -> pl.DataFrame:
    """Return the verdicts that rows of a table stand for, of these splits alone: keys, score, refusal, unread."""
    v, f = schema.verdicts, schema.failures
    last = select(func.max(f.c.id).label("id")).where(f.c.step == "judge").group_by(f.c.verdict).subquery()
    failed = select(f.c.verdict, f.c.kind).join(last, last.c.id == f.c.id).subquery()
    joined = table.outerjoin(v, v.c.key == table.c.verdict).outerjoin(failed, failed.c.verdict == table.c.verdict)
    named = [table.c[name] for name in dict.fromkeys([*_TAKEN, *keys])]
    query = select(*named, v.c.score, v.c.refusal, v.c.unread, failed.c.kind).select_from(joined).where(where)
    broken = pl.when(pl.col("kind").is_not_null()).then(pl.format("judge failed: {}", "kind"))
    return (
        _frame(store, query)
        .join(splits, on=_TAKEN, how="semi")
        .with_columns(pl.when(pl.col("score").is_null()).then(pl.coalesce("unread", broken)).alias("unread"))
        .select(*keys, "score", "refusal", "unread")
    )


def steps(
    store: Store,
    *,
    splitter: str,
    judge: str,
    runs: Sequence[str] | None = None,
    asked: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row per step of a thinking that was brought before a judge (by id), as `analysis.turning.STEPS` says.

    `unread` is why a step has no score, `cut` how the thinkings were cut: the newest way alone. None where none were
    asked for.
    """
    s = schema.steps
    here = and_(s.c.splitter == splitter, s.c.judge == judge)
    said = _said(store, s, ("trial", "cut", "step", "steps"), here, _splits(store, splitter, judge))
    newest = max(said["cut"].unique().to_list(), key=lambda name: int(name.rpartition(" ")[2]), default="")
    said = said.filter(cut=newest).drop("cut")
    asked = trials(store, runs) if asked is None else asked
    unread = pl.when(pl.col("score").is_null()).then(pl.coalesce("unread", pl.lit("not judged")))
    return (
        asked.select("model", "condition", "trial")
        .join(said.sort("trial", "step"), on="trial", maintain_order="left_right")
        .select("model", "condition", "trial", "step", "steps", "score", unread.alias("unread"), cut=pl.lit(newest))
    )


def calls(store: Store) -> pl.DataFrame:
    """Return one row per call to a model: role, outcome, tries, seconds, tokens."""
    return _frame(store, select(schema.calls))


def engines(store: Store) -> dict[str, set[str]]:
    """Return, by model, what answered and its version, as far as servers said it."""
    found: dict[str, set[str]] = {}
    for row in _frame(store, select(schema.engines.c.model, schema.engines.c.engine)).rows():
        found.setdefault(row[0], set()).add(row[1])
    return found


def marks(store: Store, *, splitter: str, runs: Sequence[str] | None = None) -> pl.DataFrame:
    """Return one row per planned trial of a capability item: what became of it, and whether it was answered rightly.

    `right` is null where nothing was answered, or no answer could be read.
    """
    m, s = schema.marks, schema.samples
    keyed = select(s.c.dataset, s.c.sample).where(s.c.document.like('%"reference":"{%"rule%')).distinct()
    query = select(*(m.c[name] for name in _TAKEN), m.c.right).where(m.c.splitter == splitter)
    marked = _frame(store, query).join(_splits(store, splitter, None), on=_TAKEN, how="semi").select("trial", "right")
    asked = trials(store, runs).select(
        "trial", "model", "base", "dataset", "condition", "scenario", "sample", "group", "state"
    )
    wanted = asked.join(_frame(store, keyed), on=["dataset", "sample"], how="semi", maintain_order="left")
    return wanted.join(marked, on="trial", how="left", maintain_order="left")
