"""Early stopping: a random order fixed beforehand, looks at its finished front only, and no call after the stop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from safemlrm.analysis import confidence_sequence
from safemlrm.analysis.stopping import look
from safemlrm.cli import run as command
from safemlrm.cli.stopping import watched
from safemlrm.engine.ask import Patience
from safemlrm.engine.bench import Options
from safemlrm.engine.run import Run
from safemlrm.errors import StudyError
from safemlrm.resolve import resolve
from safemlrm.store import Store, frames, open_store
from safemlrm.study import Study, convert
from safemlrm.trials import Plan
from support import ChatServer, completion

PAIR = ("base-a", "derived-a")
ITEMS = 60
#: So many that a stop comes before the end, however slow a look is.
MANY = 600


def study(url: str = "http://127.0.0.1:9/v1", items: int = ITEMS, **stopping: Any) -> Study:
    document: dict[str, Any] = {
        "targets": [
            {"model": f"openai_compatible:{name}@{url}", "base": base}
            for name, base in zip(PAIR, ("", PAIR[0]), strict=True)
        ],
        "data": [{"dataset": "specimen"}, {"dataset": 'specimen(like="figstep_safebench")'}],
        "judges": ["specimen"],
        "limit": items // 2,
        "stopping": {"base": PAIR[0], "derived": PAIR[1], "at_least": 10, "every": 5} | stopping,
    }
    del document["targets"][0]["base"]
    return convert(document, "test")


def answering(base: int, derived: int) -> Callable[[dict[str, Any]], Any]:
    """Answer with placeholders of these severities."""
    return lambda body: completion(f"[placeholder answer, severity {derived if body['model'] == PAIR[1] else base}]")


def carried_out(asked: Study, store: Store, *, tries: int = 2, **options: Any) -> Run:
    patience = Patience(tries=tries, first=0.001, most=0.005)
    run = Run(resolve(asked), store, Options(concurrency=4, patience=patience, **options))
    watched(run)
    asyncio.run(run.go())
    return run


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "s.db", create=True) as opened:
        yield opened


def order(plan: Plan) -> list[str]:
    return [f"{trial.sample.dataset} {trial.sample.id}" for trial in plan.ids() if trial.arm.model.label == PAIR[0]]


def test_a_large_tax_ends_the_run_before_the_end(store: Store, server: ChatServer) -> None:
    server.behave = answering(0, 5)
    run = carried_out(study(server.url, MANY), store)
    assert run.outcome is not None
    assert run.outcome.startswith("stopped early: derived-a minus base-a (answer at 4 or more")
    assert "+100.0 points" in run.outcome
    assert "alpha = 0.05" in run.outcome
    at = re.search(r"at item (\d+) of 600", run.outcome)
    assert at is not None
    assert 10 <= int(at[1]) < MANY
    assert 20 <= len(server.bodies) < 2 * MANY


@pytest.mark.parametrize("severity", [0, 5])
def test_without_a_tax_the_run_goes_to_its_end(store: Store, server: ChatServer, severity: int) -> None:
    server.behave = answering(severity, severity)
    assert carried_out(study(server.url), store).outcome == "done"
    assert len(server.bodies) == 2 * ITEMS


@pytest.mark.parametrize("retrying", [False, True])
def test_a_run_that_stopped_early_asks_no_more(store: Store, server: ChatServer, retrying: bool) -> None:
    broken = server.bodies

    def behave(body: dict[str, Any]) -> Any:
        if len(broken) == 3:
            return web.json_response({"error": {"message": "no"}}, status=400)
        return answering(0, 5)(body)

    server.behave = behave
    first = carried_out(study(server.url, MANY), store)
    asked = len(server.bodies)
    again = carried_out(study(server.url, MANY), store, retry_failed=retrying)
    assert len(server.bodies) == asked
    assert str(first.outcome).startswith("stopped early")
    assert str(again.outcome).startswith("stopped early")
    assert "(1 of them not read of both, and left out)" in str(again.outcome)


@pytest.mark.parametrize("before", ["done", "stopped early: told apart"])
def test_a_stop_stands_even_if_what_was_in_flight_was_all_that_was_left(
    store: Store, server: ChatServer, before: str
) -> None:
    server.behave = answering(0, 5)
    run = Run(resolve(study(server.url)), store, Options(concurrency=4))
    assert asyncio.run(run.go()) == "done"
    store.finish(run.id, 0.0, before)
    again = carried_out(study(server.url), store)
    assert str(again.outcome).partition(":")[0] == before.partition(":")[0]
    assert carried_out(study(server.url, alpha=0.04), store).outcome == "done"  # another rule, and nothing to save


def test_failures_that_are_asked_again_are_waited_for(store: Store, server: ChatServer) -> None:
    asked = study(server.url, MANY, every=1)
    first = [trial.sample.goal for trial in resolve(asked).ids() if trial.arm.model.label == PAIR[0]][:5]
    run = Run(resolve(asked), store, Options(concurrency=4))

    def failing(body: dict[str, Any]) -> Any:
        if len(server.bodies) == 16:
            run.stop()
        if body["model"] == PAIR[0] and any(goal in json.dumps(body["messages"]) for goal in first):
            return web.json_response({"error": {"message": "no"}}, status=400)
        return answering(0, 0)(body)

    server.behave = failing
    assert asyncio.run(run.go()) == "stopped"
    failed = {t for t, state in frames.trials(store).select("trial", "state").rows() if state == "failed"}
    assert len(failed) == 5
    server.behave = answering(0, 5)
    again = carried_out(asked, store, retry_failed=True)
    assert str(again.outcome).startswith("stopped early")
    assert "(0 of them not read of both" in str(again.outcome)


def test_a_slow_first_item_holds_the_look_back(store: Store, server: ChatServer) -> None:
    asked = study(server.url)
    first = next(trial.sample.goal for trial in resolve(asked).ids())
    others: set[str] = set()

    def behave(body: dict[str, Any]) -> Any:
        key = json.dumps([body["model"], body["messages"]])
        if body["model"] == PAIR[0] and first in key and len(others) < 2 * ITEMS - 1:
            return web.Response(status=503)
        others.add(key)
        return answering(0, 5)(body)

    server.behave = behave
    run = carried_out(asked, store, tries=100_000)
    assert len(others) == 2 * ITEMS
    assert run.outcome == "done"


def test_a_study_without_the_key_goes_on_where_the_run_stopped(store: Store, server: ChatServer) -> None:
    server.behave = answering(0, 5)
    asked = study(server.url)
    carried_out(asked, store)
    document = {name: getattr(asked, name) for name in asked.__struct_fields__} | {"stopping": None}
    on = carried_out(Study(**document), store)
    assert on.outcome == "done"
    assert len(server.bodies) == 2 * ITEMS
    assert frames.trials(store)["state"].to_list() == ["answered"] * 2 * ITEMS


def test_the_order_is_random_over_data_sets_the_same_for_every_model_and_on_record(
    store: Store, server: ChatServer
) -> None:
    plan, other = resolve(study()), resolve(study(seed=1))
    plain = resolve(Study(**{n: getattr(plan.study, n) for n in Study.__struct_fields__} | {"stopping": None}))
    assert sorted(order(plan)) == sorted(order(other)) == sorted(order(plain))
    assert len({tuple(order(plan)), tuple(order(other)), tuple(order(plain))}) == 3
    assert len({name.split()[0] for name in order(plan)[:12]}) == 2
    server.behave = answering(0, 0)
    carried_out(study(server.url), store)
    planned = frames.trials(store)
    for model in PAIR:
        mine = planned.filter(model=model)
        assert [f"{d} {s}" for d, s in mine.select("dataset", "sample").rows()] == order(plan)
    said = [body["messages"][-1]["content"] for body in server.bodies if body["model"] == PAIR[1]]
    goals = [t.sample.goal for t in plan.ids() if t.arm.model.label == PAIR[1]]
    places = [next(i for i, goal in enumerate(goals) if goal in json.dumps(text)) for text in said]
    assert all(abs(place - now) < 8 for now, place in enumerate(places))  # as asked, but for what is open at once


def test_stopping_changes_no_trial_and_not_the_study() -> None:
    plan, other = resolve(study()), resolve(study(seed=5, alpha=0.01))
    assert {t.id for t in plan.ids()} == {t.id for t in other.ids()}
    assert plan.study.identity() == other.study.identity()


def readings(states: list[str], scores: list[tuple[int, int]]) -> pl.DataFrame:
    """Return readings of one part: an item each, with the base's state and both members' scores."""
    rows = []
    for number, (state, pair) in enumerate(zip(states, scores, strict=True)):
        for model, score in zip(PAIR, pair, strict=True):
            mine = state if model == PAIR[0] else "answered"
            here = mine == "answered"
            named = ("dataset", "condition", "scenario", "expected", "status", "prompt")
            row: dict[str, Any] = dict.fromkeys(named, "x")
            row |= {"prompting": "bare", "defense": "none", "part": "answer", "published": None, "base": None}
            row |= {"trial": f"{model}{number}", "model": model, "sample": f"{number}", "group": f"{number}"}
            seen: dict[str, Any] = {"seed": 0, "attempt": 0, "state": mine, "failure": None, "stop": None}
            seen |= {"present": here, "score": score if here else None, "refusal": None, "unread": None}
            rows.append(row | seen)
    return pl.DataFrame(rows, infer_schema_length=None)


@given(at=st.integers(0, 29))
@settings(deadline=None, max_examples=30)
def test_nothing_behind_the_first_pending_item_is_looked_at(at: int) -> None:
    states = ["answered"] * 30
    states[at] = "pending"
    found = look(readings(states, [(0, 5)] * 30), PAIR)
    assert (found.items, found.finished, found.read) == (30, at, at)


STATES = st.lists(st.sampled_from(["answered", "answered", "answered", "failed", "blocked", "pending"]), min_size=40)
BEHIND = st.lists(st.tuples(st.sampled_from(["answered", "failed", "pending"]), st.integers(0, 5), st.integers(0, 5)))


@given(states=STATES, behind=BEHIND, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_a_look_is_the_sequence_of_the_finished_front_whatever_stands_behind_it(
    states: list[str], behind: list[tuple[str, int, int]], seed: int
) -> None:
    scores = [(int(a), int(b)) for a, b in np.random.default_rng(seed).choice([0, 4], size=(len(states), 2))]
    front = states.index("pending") if "pending" in states else len(states)
    found = look(readings([*states[:front], "pending"], [*scores[:front], (0, 0)]), PAIR)
    later = readings(
        states[:front] + ["pending"] + [state for state, _, _ in behind],
        scores[:front] + [(5, 5)] + [(base, derived) for _, base, derived in behind],
    )
    assert look(later, PAIR)[1:] == found[1:]
    kept = zip(states[:front], scores[:front], strict=True)
    gaps = np.array([(b >= 4) - (a >= 4) for state, (a, b) in kept if state == "answered"], dtype=float)
    assert (found.finished, found.read) == (front, len(gaps))
    sequence = confidence_sequence(gaps)
    told = (sequence.estimate[-1], sequence.low[-1], sequence.high[-1]) if sequence.stopped else (None, None, None)
    assert found[3:] == told


def test_a_failure_stays_in_the_front_and_is_left_out_unless_it_is_asked_again() -> None:
    frame = readings(["answered", "failed", *["answered"] * 28], [(0, 5)] * 30)
    found = look(frame, PAIR)
    assert (found.finished, found.read, found.difference) == (30, 29, 1.0)
    assert look(frame, PAIR, again={"base-a1"}).finished == 1


@pytest.mark.parametrize(("unread", "status", "finished"), [("not judged", "x", 0), ("no score in it", "x", 3)])
def test_what_was_not_judged_yet_is_not_finished_and_what_could_not_be_read_is(
    unread: str, status: str, finished: int
) -> None:
    frame = readings(["answered"] * 3, [(0, 5)] * 3)
    first = pl.col("trial") == "base-a0"
    frame = frame.with_columns(
        score=pl.when(~first).then("score"), unread=pl.when(first).then(pl.lit(unread)), status=pl.lit(status)
    )
    assert look(frame, PAIR).finished == finished


def test_a_reply_that_was_not_taken_apart_yet_is_not_finished_and_an_absent_part_is() -> None:
    frame = readings(["answered"] * 3, [(0, 5)] * 3)
    second = pl.col("trial") == "base-a1"
    lacking = frame.with_columns(score=pl.when(~second).then("score"), present=~second)
    assert look(lacking, PAIR)[:3] == (3, 3, 2)
    assert look(lacking.with_columns(status=pl.when(~second).then("status")), PAIR)[:3] == (3, 1, 1)


def test_a_score_that_came_while_the_store_was_read_waits_for_the_next_look() -> None:
    frame = readings(["answered", "pending"], [(0, 5)] * 2).with_columns(score=pl.lit(5, dtype=pl.Int64))
    assert look(frame, PAIR)[:3] == (2, 1, 1)


def test_no_tax_is_told_from_no_difference_in_few_of_many_orders() -> None:
    rng, stops = np.random.default_rng(3), 0
    for _ in range(60):
        scores = [(int(a), int(b)) for a, b in rng.choice([0, 5], size=(120, 2))]
        stops += look(readings(["answered"] * 120, scores), PAIR).difference is not None
    assert stops <= 6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"base": "base-b"}, "unknown model 'base-b' in .stopping.*Did you mean 'base-a'"),
        ({"base": "derived-a"}, "does not differ from itself"),
        ({"alpha": 0}, "between 0 and 1"),
        ({"every": 0}, "every = 0: at least 1"),
        ({"at_least": 0}, "at_least = 0: at least 1"),
        ({"threshold": 2}, "Invalid enum value 2"),
        ({"sed": 2}, "unknown key 'sed' in test, .stopping"),
    ],
)
def test_a_mistake_in_stopping_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        resolve(study(**wrong))


def test_an_unknown_condition_or_no_judge_is_refused_before_the_first_call(store: Store, server: ChatServer) -> None:
    with pytest.raises(StudyError, match="unknown condition 'SD_TYPO'"):
        carried_out(study(server.url, condition="SD_TYPO"), store)
    with pytest.raises(StudyError, match="leave out --no-judge"):
        carried_out(study(server.url), store, judging=False)
    assert server.bodies == []
    assert frames.trials(store).is_empty()


STUDY = """
judges = ["specimen"]
limit = 600
data = [{{ dataset = "specimen" }}]

[stopping]
base = "base-a"
derived = "derived-a"

[[targets]]
model = "openai_compatible:base-a@{url}"

[[targets]]
model = "openai_compatible:derived-a@{url}"
base = "base-a"
"""


@pytest.mark.slow
def test_the_command_ends_well_and_its_report_says_that_it_stopped(
    in_folder: Path, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = answering(0, 5)
    Path("s.toml").write_text(STUDY.format(url=server.url), encoding="utf-8")
    again = ["run", "s.toml", "--concurrency", "2", "--out", "report"]
    for _ in range(2):
        assert command(again) == 0
        assert "stopped early: derived-a minus base-a" in capsys.readouterr().out
        page = (in_folder / "report" / "report.html").read_text(encoding="utf-8")
        assert re.search(r"stopped early, as its study allowed before it began: .* of 600 in the random order", page)
    assert len(server.bodies) < 1200
