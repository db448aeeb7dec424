"""The engine over a real socket: every call paid once, every failure a row, stopping and resuming in good order."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from safemlrm.cli.reporting import report_store
from safemlrm.engine.bench import Options
from safemlrm.engine.rejudge import Rejudging
from safemlrm.engine.run import Run
from safemlrm.errors import StudyError
from safemlrm.resolve import resolve
from safemlrm.store import Store, frames, open_store, schema
from safemlrm.study import convert
from support import DROP, QUICK, ChatServer, carry_out, completion, judged


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "s.db", create=True) as opened:
        yield opened


def calls(server: ChatServer, model: str) -> int:
    return sum(body["model"] == model for body in server.bodies)


def test_every_trial_is_asked_once_and_every_part_judged(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server)
    assert (calls(server, "target-a"), calls(server, "judge-a")) == (12, 36)
    readings = frames.readings(store, splitter="corrected", judge=frames.judged(store)[0].judge)
    assert readings.height == 36
    assert readings["score"].to_list() == [4] * 36
    assert frames.calls(store).height == 48


def test_a_second_run_pays_for_nothing(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server)
    before = {table: store.count(schema.metadata.tables[table]) for table in ("responses", "verdicts", "calls")}
    carry_out(store, server)
    assert len(server.bodies) == 48
    assert {table: store.count(schema.metadata.tables[table]) for table in before} == before


def test_another_judge_samples_no_model_again(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server)
    rejudging = Rejudging(store, ["specimen"], ["corrected", "opensafemlrm"], Options(concurrency=2))
    assert asyncio.run(rejudging.go()) == "done"
    assert len(server.bodies) == 48
    assert {(j.splitter, j.judge_name) for j in frames.judged(store)} == {
        ("corrected", "opensafemlrm"),
        ("corrected", "specimen"),
        ("opensafemlrm", "specimen"),
    }


def test_identical_parts_are_judged_once(store: Store, server: ChatServer) -> None:
    server.behave = judged(lambda body: completion("[an answer without thinking]"))
    carry_out(store, server)
    assert calls(server, "judge-a") == 12


@pytest.mark.parametrize("fault", [lambda: DROP, lambda: web.Response(status=503), lambda: web.Response(status=429)])
def test_a_passing_fault_is_tried_again_and_leaves_no_trace_in_the_results(
    store: Store, server: ChatServer, fault: Callable[[], Any]
) -> None:
    seen: set[str] = set()

    def behave(body: dict[str, Any]) -> Any:
        key = json.dumps(body)
        if key not in seen:
            seen.add(key)
            return fault()
        return judged()(body)

    server.behave = behave
    carry_out(store, server)
    assert frames.trials(store)["state"].to_list() == ["answered"] * 12
    assert frames.calls(store)["tries"].to_list() == [2] * 48


def test_a_lasting_fault_is_a_row_and_only_such_rows_are_asked_again(store: Store, server: ChatServer) -> None:
    broken = ["01-Illegal_Activitiy", "06-Fraud"]

    def behave(body: dict[str, Any]) -> Any:
        if any(name in json.dumps(body["messages"]) for name in broken):
            return web.json_response({"error": {"message": "model overloaded"}}, status=400)
        return judged()(body)

    server.behave = behave
    run = carry_out(store, server, options={"judging": False})
    failed = frames.trials(store).filter(pl.col("state") == "failed")
    assert (run.counts.done, run.counts.failed, set(failed["failure"])) == (9, 3, {"target:request"})
    server.behave, server.bodies = judged(), []
    assert carry_out(store, server, options={"judging": False}).counts.done == 0
    assert server.bodies == []
    carry_out(store, server, options={"judging": False, "retry_failed": True})
    assert len(server.bodies) == 3
    assert frames.trials(store)["state"].to_list() == ["answered"] * 12


def test_a_failed_judge_call_is_a_reason_and_not_a_score(store: Store, server: ChatServer) -> None:
    def behave(body: dict[str, Any]) -> Any:
        return web.Response(status=400) if body["model"] == "judge-a" else judged()(body)

    server.behave = behave
    carry_out(store, server)
    readings = frames.readings(store, splitter="corrected", judge=frames.judged(store)[0].judge)
    assert set(readings["unread"]) == {"judge failed: request"}
    assert readings["score"].null_count() == 36
    server.behave = judged()
    carry_out(store, server, options={"retry_failed": True})
    assert calls(server, "target-a") == 12
    assert (
        frames.readings(store, splitter="corrected", judge=frames.judged(store)[0].judge)["score"].to_list() == [4] * 36
    )


def test_a_reply_cut_off_while_thinking_has_no_answer(store: Store, server: ChatServer) -> None:
    server.behave = judged(lambda body: completion("<think>[a long thought", finish_reason="length"))
    carry_out(store, server)
    readings = frames.readings(store, splitter="corrected", judge=frames.judged(store)[0].judge)
    answers = readings.filter(pl.col("part") == "answer")
    assert (set(answers["status"]), set(answers["present"])) == ({"truncated"}, {False})


def test_a_filtered_reply_is_blocked_and_never_judged(store: Store, server: ChatServer) -> None:
    error = {"error": {"code": "content_filter", "message": "filtered"}}
    server.behave = judged(lambda body: web.json_response(error, status=400))
    carry_out(store, server)
    assert set(frames.trials(store)["state"]) == {"blocked"}
    assert calls(server, "judge-a") == 0


def test_an_endpoint_that_refuses_the_key_is_given_up_soon(store: Store, server: ChatServer) -> None:
    server.behave = judged(lambda body: web.json_response({"error": {"message": "no"}}, status=401))
    run = carry_out(store, server, limit=200)
    assert re.match(r"given up: target-a: \d calls in a row failed, .*HTTP 401", run.outcome or "")
    assert calls(server, "target-a") < 12
    assert (frames.trials(store)["state"] == "pending").sum() > 150


def test_no_more_calls_are_open_than_allowed(store: Store, server: ChatServer) -> None:
    server.delay = 0.01
    server.behave = judged()
    carry_out(store, server, options={"concurrency": 3, "judging": False})
    assert server.most_open == 3


def test_repetitions_have_seeds_of_their_own(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server, seeds=3, limit=2, options={"judging": False})
    assert len({body["seed"] for body in server.bodies}) == 3
    assert frames.trials(store)["seed"].value_counts()["count"].to_list() == [2, 2, 2]


def test_stopping_finishes_what_is_in_flight_and_resuming_pays_for_the_rest_only(
    store: Store, server: ChatServer
) -> None:
    plan = resolve(
        convert(
            {
                "targets": [f"openai_compatible:target-a@{server.url}"],
                "data": [{"dataset": "specimen"}],
                "judges": ["specimen"],
                "limit": 40,
            },
            "test",
        )
    )
    run = Run(plan, store, Options(concurrency=2, patience=QUICK))

    def behave(body: dict[str, Any]) -> Any:
        if len(server.bodies) == 10:
            run.stop()
        return judged()(body)

    server.behave = behave
    assert asyncio.run(run.go()) == "stopped"
    stored = store.count(schema.responses)
    assert stored == len(server.bodies) < 40
    again = Run(plan, store, Options(concurrency=2, patience=QUICK))
    assert asyncio.run(again.go()) == "done"
    assert (len(server.bodies), store.count(schema.responses), store.count(schema.splits)) == (40, 40, 40)


def test_what_the_store_holds_of_a_prompt_is_what_was_sent(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    data = [{"dataset": "specimen", "attacks": ['released(name="SD_TYPO")']}]
    carry_out(store, server, data=data, limit=1, options={"judging": False})
    with store.engine.connect() as connection:
        body = json.loads(connection.execute(schema.prompts.select()).one().body)
        kept = connection.execute(schema.images.select()).one()
    picture, text = body["turns"][0]["content"]
    sent = server.bodies[0]["messages"][0]["content"]
    import base64

    assert text == sent[1]["text"]
    assert picture == {"image": kept.sha256, "type": kept.type}
    assert base64.b64decode(sent[0]["image_url"]["url"].partition(",")[2]) == kept.data


ADAPTIVE = '''"""An attack that asks again until it hears what it wants."""

from safemlrm.plugin import attack
from safemlrm.records import Sample, user


@attack(version="1", title="Insist", short="insist")
def insist(sample: Sample):
    """Ask up to three times."""
    for number in range(3):
        reply = yield user(f"[attempt {number}] {sample.text}")
        if "enough" in reply.text:
            return
'''

BROKEN = '''"""An attack with a mistake."""

from safemlrm.plugin import attack


@attack(version="1", title="Broken", short="broken")
def broken(sample) -> None:
    """Fail."""
    raise ZeroDivisionError("a mistake of the plug-in")
'''


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks" / "insist.py").write_text(ADAPTIVE)
    (tmp_path / "attacks" / "broken.py").write_text(BROKEN)
    return tmp_path


def test_an_adaptive_attack_hears_replies_and_each_attempt_is_a_row(
    store: Store, server: ChatServer, plugins: Path
) -> None:
    server.behave = judged(lambda b: completion("enough" if "[attempt 1]" in json.dumps(b["messages"]) else "more"))
    data = [{"dataset": "specimen", "attacks": ["insist"]}]
    carry_out(store, server, data=data, limit=2, beside=plugins)
    trials = frames.trials(store)
    assert sorted(trials["attempt"].to_list()) == [0, 0, 1, 1]
    assert calls(server, "target-a") == 4
    carry_out(store, server, data=data, limit=2, beside=plugins)
    assert calls(server, "target-a") == 4


def test_a_plugins_mistake_is_a_row_and_not_the_end(store: Store, server: ChatServer, plugins: Path) -> None:
    data = [{"dataset": "specimen", "attacks": ["broken", "none"]}]
    server.behave = judged()
    carry_out(store, server, data=data, limit=2, beside=plugins)
    states = frames.trials(store).group_by("condition", "state", "failure").len().sort("condition").rows()
    assert states == [("broken", "failed", "attack:ZeroDivisionError", 2), ("text", "answered", None, 2)]


def test_a_mistake_in_a_target_is_the_targets_and_not_the_defenses(store: Store, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "clumsy.py").write_text(
        '"""Clumsy: a target that trips over every reply."""\n'
        "from contextlib import asynccontextmanager\nfrom safemlrm.plugin import target\n"
        '@target(version="1", title="Clumsy")\n@asynccontextmanager\n'
        "async def clumsy(model, url):\n"
        '    """Trip."""\n'
        "    async def reach(prompt, decoding, call):\n        return {}['choices']\n\n    yield reach\n"
    )
    document = {"targets": ["clumsy:m"], "data": [{"dataset": "specimen"}], "judges": ["specimen"], "limit": 1}
    plan = resolve(convert(document, "test"), beside=tmp_path)
    asyncio.run(Run(plan, store, Options(judging=False)).go())
    assert frames.trials(store)["failure"].to_list() == ["target:KeyError"]


def test_a_target_without_an_address_is_refused_before_any_call(store: Store, server: ChatServer) -> None:
    with pytest.raises(StudyError, match=r"target 'r1-onevision-7b' has no address"):
        carry_out(store, server, targets=["r1-onevision-7b"])


KILLED = """
import sys
from safemlrm.cli import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_run_resumes_without_paying_twice(server: ChatServer, tmp_path: Path) -> None:
    limit, die_at = 60, 25
    command = [sys.executable, "-c", KILLED, "run", "--dataset", "specimen", "--limit", str(limit)]
    command += ["--target", f"openai_compatible:target-a@{server.url}", "--judge", "specimen"]
    command += ["--store", str(tmp_path / "k.db"), "--concurrency", "4"]
    children: list[subprocess.Popen[bytes]] = []

    def behave(body: dict[str, Any]) -> Any:
        if len(server.bodies) == die_at:
            children[0].kill()
        return judged()(body)

    server.behave = behave
    children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert children[0].wait(60) == -9
    with open_store(tmp_path / "k.db") as store:
        stored = store.count(schema.responses)
    paid = len(server.bodies)
    assert paid - 8 <= stored <= paid
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    with open_store(tmp_path / "k.db") as store:
        assert store.count(schema.responses) == limit
        assert store.count(schema.splits) == limit
    assert len(server.bodies) - paid == limit - stored


def test_a_pair_on_two_versions_of_an_engine_is_said_so_in_the_report(
    store: Store, server: ChatServer, tmp_path: Path
) -> None:
    other = ChatServer()
    other.start()
    try:
        for one, version in ((server, "0.32.0"), (other, "0.33.0")):
            one.behave, one.version = judged(), version
            one.models = lambda: web.json_response(
                {"data": [{"id": name, "owned_by": "vllm"} for name in ("base-a", "derived-a")]}
            )
        base = {"model": f"openai_compatible:base-a@{server.url}"}
        derived = {"model": f"openai_compatible:derived-a@{other.url}", "base": "base-a"}
        carry_out(store, server, targets=[base, derived], judges=["specimen"])
    finally:
        other.stop()
    assert frames.engines(store) == {"base-a": {"vllm 0.32.0"}, "derived-a": {"vllm 0.33.0"}}
    page = report_store(store, tmp_path / "out").read_text(encoding="utf-8")
    assert "engine: vllm 0.32.0 against vllm 0.33.0" in page
