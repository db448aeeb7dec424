"""What a hostile reader tried: nothing is paid twice, nothing is lost to a neighbour, nothing poses as a result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from safemlrm import keys
from safemlrm.cli import run
from safemlrm.cli.reporting import report_store
from safemlrm.errors import StudyError
from safemlrm.keys import quote
from safemlrm.models import parse_model
from safemlrm.resolve import resolve
from safemlrm.store import Store, frames, open_store, schema
from safemlrm.study import convert
from support import ChatServer, carry_out, completion, judged

INSIST = '''"""An attack that asks three times, or until its own mistake."""

from safemlrm.plugin import attack
from safemlrm.records import Sample, user


@attack(version="1", title="Insist", short="insist")
def insist(sample: Sample, *, mistake: bool = False):
    """Ask three times."""
    for number in range(3):
        if mistake and number == 1:
            raise ZeroDivisionError("a mistake of the plug-in")
        yield user(f"[attempt {number}] {sample.text}")
'''

CLUMSY = '''"""A judge whose reader trips over what it does not expect."""

from safemlrm.plugin import Judge, judge
from safemlrm.records import Verdict, user


@judge(version="1", title="Clumsy", model="m@http://127.0.0.1:1/v1")
def clumsy() -> Judge:
    """Read a bare number."""
    return Judge(lambda exhibit: user(exhibit.text), lambda reply, exhibit: Verdict(score=int(reply.text)))
'''


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "s.db", create=True) as opened:
        yield opened


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    for folder, name, code in (("attacks", "insist", INSIST), ("judges", "clumsy", CLUMSY)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").write_text(code)
    return tmp_path


QUIET = {"judging": False}


def test_two_models_in_one_file_of_replies_stay_two(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"sample": "1", "reply": "[a]"}\n')
    named = [f"recorded:{name}={tmp_path / 'r.jsonl'}" for name in ("a", "b")]
    plan = resolve(convert({"targets": named, "data": [{"dataset": "specimen"}], "judges": ["specimen"]}, "test"))
    assert len({arm.id for arm in plan.arms(plan.sources[0])}) == 2


def test_entries_that_overlap_are_asked_once(store: Store, server: ChatServer) -> None:
    carry_out(store, server, data=[{"dataset": "specimen"}, {"dataset": "specimen"}], limit=6, options=QUIET)
    assert len(server.bodies) == 6
    assert frames.trials(store)["state"].to_list() == ["answered"] * 6


@pytest.mark.parametrize(
    "fields",
    [
        {"data": [{"dataset": "specimen", "attacks": ["none", "none"]}]},
        {"data": [{"dataset": "specimen", "attacks": []}]},
        {"defenses": ["safety_prompt", 'safety_prompt(position="system")']},
    ],
)
def test_a_condition_that_is_named_twice_or_not_at_all_is_refused(fields: dict[str, Any]) -> None:
    document: dict[str, Any] = {"targets": ["specimen:a"], "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
    with pytest.raises(StudyError, match=r"named twice|at least one"):
        resolve(convert(document | fields, "test"))


def test_an_adaptive_attack_goes_on_between_its_attempts(store: Store, server: ChatServer, beside: Path) -> None:
    def broken(body: dict[str, Any]) -> Any:
        return web.Response(status=400) if "[attempt 1]" in json.dumps(body["messages"]) else completion("[more]")

    fields: dict[str, Any] = {"data": [{"dataset": "specimen", "attacks": ["insist"]}], "limit": 2, "beside": beside}
    server.behave = broken
    carry_out(store, server, options=QUIET, **fields)
    server.behave = judged()
    carry_out(store, server, options=QUIET, **fields)
    assert len(server.bodies) == 4  # the failed attempts were not asked again
    carry_out(store, server, options=QUIET | {"retry_failed": True}, **fields)
    assert len(server.bodies) == 8
    carry_out(store, server, options=QUIET, **fields)
    assert len(server.bodies) == 8
    assert sorted(frames.trials(store)["attempt"]) == [0, 0, 1, 1, 2, 2]


def test_a_mistake_after_the_first_attempt_is_a_row_of_its_own(store: Store, server: ChatServer, beside: Path) -> None:
    data = [{"dataset": "specimen", "attacks": ["insist(mistake=True)"]}]
    carry_out(store, server, data=data, limit=1, beside=beside, options=QUIET)
    found = frames.trials(store).sort("attempt").select("attempt", "state", "failure").rows()
    assert found == [(0, "answered", None), (1, "failed", "attack:ZeroDivisionError")]


def test_a_judge_that_trips_keeps_the_reply_and_the_run(store: Store, server: ChatServer, beside: Path) -> None:
    server.behave = judged()
    carry_out(store, server, judges=[f"clumsy:judge-a@{server.url}"], limit=2, beside=beside)
    read = frames.readings(store, splitter="corrected", judge=frames.judged(store)[0].judge)
    assert set(read["unread"]) == {"its reader failed: ValueError"}
    with store.engine.connect() as connection:
        assert "#thescore: 4" in connection.execute(schema.verdicts.select()).all()[0].raw


def test_a_count_that_no_database_holds_costs_nobody_a_reply(store: Store, server: ChatServer) -> None:
    server.behave = lambda body: completion("[a]", usage={"prompt_tokens": 10**25, "completion_tokens": 2})
    carry_out(store, server, options=QUIET)
    assert frames.trials(store).select("state", "tokens_in", "tokens_out").unique().rows() == [("answered", None, 2)]


def test_a_server_that_nests_its_json_without_end_is_a_failure(store: Store, server: ChatServer) -> None:
    body = '{"choices": ' + "[" * 100_000 + "]" * 100_000 + "}"
    server.behave = lambda asked: web.Response(text=body, content_type="application/json")
    carry_out(store, server, limit=1, options=QUIET)
    assert frames.trials(store)["failure"].to_list() == ["target:not_json"]


def test_a_run_that_never_began_leaves_nothing_to_wait_for(store: Store, server: ChatServer) -> None:
    with pytest.raises(StudyError, match="nothing answers"):
        carry_out(store, server, targets=["openai_compatible:m@http://127.0.0.1:9/v1"], options=QUIET)
    assert store.latest_runs() == []


def test_studies_that_ask_differently_are_not_pooled_and_one_can_be_chosen(
    store: Store, server: ChatServer, tmp_path: Path
) -> None:
    first = carry_out(store, server, judges=["specimen"])
    carry_out(store, server, judges=["specimen"], decoding={"temperature": 1.0})
    with pytest.raises(StudyError, match=r"choose one with --run ID"):
        report_store(store, tmp_path / "out")
    assert report_store(store, tmp_path / "out", runs=[store.run_named(first.id[:8])]).is_file()


def test_a_reply_is_never_on_disk_without_what_it_replies_to(store: Store, server: ChatServer) -> None:
    data = [{"dataset": "specimen", "attacks": ['released(name="SD_TYPO")']}]

    server.behave = lambda body: completion("[a]")
    carry_out(store, server, data=data, limit=3, options=QUIET)
    with store.engine.connect() as connection:
        kept = pl.Series(connection.execute(schema.prompts.select()).scalars().all())
        assert set(connection.execute(schema.responses.select()).mappings().all()[0]) and kept.len() == 3


def test_the_judge_command_does_not_forget_what_stayed_unread(
    server: ChatServer, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(["run", "--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--no-judge", "--limit", "3"]) == 0
    )
    server.behave = lambda body: web.Response(status=400)
    again = ["judge", "--judge", f"opensafemlrm:j@{server.url}"]
    assert [run(again), run(again)] == [2, 2]


def test_a_servers_words_cannot_drive_the_terminal() -> None:
    assert quote(b"no \x1b]0;title\x07 \xc2\x9b2J") == "no \ufffd]0;title\ufffd \ufffd2J"


@pytest.mark.parametrize(
    ("name", "held"),
    [
        *((name, True) for name in ("api_key", "OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "GITHUB_PAT", "PGPASSWORD")),
        *((name, True) for name in ("GOOGLE_APPLICATION_CREDENTIALS", "DB_PASSWD", "HF_TOKEN", "client-secret")),
        *((name, False) for name in ("max_tokens", "key_phrase", "PATH", "monkey", "MAX_TOKENS", "skip_tokenizer")),
    ],
)
def test_a_secret_is_known_by_its_name(name: str, held: bool) -> None:
    assert keys.secret(name) is held


@pytest.mark.parametrize(
    "target",
    [
        {"model": "inspect_provider:mockllm/model", "options": {"args": {"api_key": "sesame-1"}}},
        {"model": "inspect_provider:mockllm/model", "options": {"args": {"clients": [{"token": "sesame-1"}]}}},
        {"model": 'openai_compatible(token="sesame-1"):m@http://127.0.0.1:9/v1'},
        {"model": "openai_compatible:m@http://127.0.0.1:9/v1", "decoding": {"extra": {"auth_token": "sesame-1"}}},
        {"model": "m", "serve": "vllm", "options": {"password": "sesame-1"}},
    ],
)
def test_a_secret_among_the_settings_is_refused_and_never_quoted(target: dict[str, Any]) -> None:
    document = {"targets": [target], "data": [{"dataset": "specimen"}], "judges": ["specimen"]}
    with pytest.raises(StudyError, match="environment variable") as caught:
        resolve(convert(document, "study"))
    assert "sesame" not in str(caught.value)


def test_a_password_in_an_address_is_refused() -> None:
    with pytest.raises(StudyError, match="holds a name or password"):
        parse_model("openai_compatible:m@http://user:pw@host/v1")
