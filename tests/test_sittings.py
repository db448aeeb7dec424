"""A judge reads the same parts twice: what it then changes its mind about is noise, and stands in the report."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiohttp import web

from safemlrm.cli import run
from safemlrm.cli.reporting import report_store
from safemlrm.engine.bench import Options
from safemlrm.engine.rejudge import Rejudging
from safemlrm.errors import StudyError
from safemlrm.store import Store, choice, frames, open_store, schema
from support import QUICK, REPLY, ChatServer, carry_out, completion, judged


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "s.db", create=True) as opened:
        yield opened


def again(store: Store, server: ChatServer, sitting: int = 2, **given: Any) -> Rejudging:
    """Have the store read once more by the judge of `carry_out`."""
    options = Options(concurrency=4, patience=QUICK, retry_failed=given.pop("retry_failed", False))
    work = Rejudging(store, [f"opensafemlrm:judge-a@{server.url}"], given.pop("splitters", []), options, sitting)
    assert asyncio.run(work.go()) == "done"
    return work


def asked(server: ChatServer) -> list[str]:
    return sorted(json.dumps(body) for body in server.bodies if body["model"] == "judge-a")


def mild(body: dict[str, Any]) -> Any:
    """Answer as a judge that finds nothing unsafe in fraud, and all else as unsafe as before."""
    return completion(f"#thereason: r\n#thescore: {1 if '06-Fraud' in json.dumps(body['messages']) else 4}")


def test_a_second_sitting_asks_the_very_same_questions_again_and_once(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server)
    first = asked(server)
    server.bodies = []
    again(store, server)
    assert asked(server) == first
    assert len(first) == 36
    again(store, server)
    assert len(server.bodies) == 36
    again(store, server, 3)
    assert len(server.bodies) == 72


def test_the_reports_judge_is_always_the_first_sitting(store: Store, server: ChatServer, tmp_path: Path) -> None:
    server.behave = judged()
    carry_out(store, server)
    server.behave = mild
    again(store, server)
    again(store, server, 3)
    entries = frames.judged(store)
    assert sorted(entry.judge_name for entry in entries) == [
        "opensafemlrm",
        "opensafemlrm, sitting 2",
        "opensafemlrm, sitting 3",
    ]
    chosen = choice.choose(store, choice.studies(store)[-1])[0]
    assert (chosen.sitting, chosen.first, chosen.judge_name) == (1, chosen.judge, "opensafemlrm")
    assert set(store.readings()["score"]) == {4}
    assert list(choice.later(store, chosen)) == [2, 3]
    with pytest.raises(StudyError, match="nothing in this store was read with judge 'opensafemlrm, sitting 2'"):
        choice.choose(store, choice.studies(store)[-1], judge="opensafemlrm, sitting 2")


def test_the_report_finds_the_second_sitting_and_says_what_noise_alone_makes(
    store: Store, server: ChatServer, tmp_path: Path
) -> None:
    server.behave = judged()
    carry_out(store, server)
    page = report_store(store, tmp_path / "once").read_text(encoding="utf-8")
    assert "The judge read every part once." in page
    assert not (tmp_path / "once" / "tables" / "retest.csv").exists()
    server.behave = mild
    again(store, server)
    page = " ".join(report_store(store, tmp_path / "twice").read_text(encoding="utf-8").split())
    table = pl.read_csv(tmp_path / "twice" / "tables" / "retest.csv")
    fraud = frames.trials(store)["scenario"].str.contains("Fraud").sum()
    assert table.columns[:4] == ["sitting", "model", "condition", "part"]
    counts = ("sitting", "planned", "read", "both_read", "unsafe_first", "safe_second")
    assert table.select(counts).unique().rows() == [(2, 12, 12, 12, 12, fraud)]
    assert 0 < fraud < 12
    said = f"Of 12 thinkings that it had called unsafe it now called {fraud} safe, though not a word had changed."
    assert said in page
    assert "The judge read every part once." not in page


def test_what_a_sitting_could_not_read_is_counted_and_only_that_is_asked_again(
    store: Store, server: ChatServer, tmp_path: Path
) -> None:
    server.behave = judged()
    carry_out(store, server)

    def broken(body: dict[str, Any]) -> Any:
        return web.Response(status=400) if "06-Fraud" in json.dumps(body["messages"]) else mild(body)

    server.behave = broken
    again(store, server)
    out = tmp_path / "out"
    report_store(store, out)
    table = pl.read_csv(out / "tables" / "retest.csv")
    left = 12 - frames.trials(store)["scenario"].str.contains("Fraud").sum()
    assert table.select("planned", "read", "both_read", "unsafe_first").unique().rows() == [(12, 12, left, left)]
    server.behave, server.bodies = mild, []
    again(store, server, retry_failed=True)
    assert len(server.bodies) == 3 * (12 - left)


def test_nothing_is_read_a_second_time_that_was_not_read_a_first_time(store: Store, server: ChatServer) -> None:
    server.behave = judged()
    carry_out(store, server, limit=3)
    carry_out(store, server, judges=["specimen"], limit=12)
    asked_first = len(asked(server))
    again(store, server)
    assert len(asked(server)) == 2 * asked_first == 18
    with pytest.raises(
        StudyError, match=r"sitting 2: it has not read this store a first time by the splitter opensafe"
    ):
        again(store, server, splitters=["opensafemlrm"])
    options = Options(patience=QUICK)
    with pytest.raises(StudyError, match=r"harm_rubric, sitting 2: it has not read this store a first time"):
        asyncio.run(Rejudging(store, [f"harm_rubric:judge-a@{server.url}"], [], options, 2).go())
    assert len(asked(server)) == 18
    assert store.count(schema.judges) == 3


def test_a_later_sitting_reads_by_the_splitters_of_the_first(store: Store, server: ChatServer) -> None:
    server.behave = judged(lambda body: completion(REPLY))
    carry_out(store, server, splitters=["opensafemlrm", "corrected"])
    assert again(store, server).splitters == ["corrected", "opensafemlrm"]
    assert {entry.splitter for entry in frames.judged(store) if entry.sitting == 2} == {"corrected", "opensafemlrm"}


def test_the_command_reads_again_and_ends_with_0(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = ["run", "--dataset", "specimen", "--target", "specimen:r1-onevision-7b", "--limit", "20"]
    assert run([*study, "--judge", "specimen"]) == 0
    assert run([*study[:-1], "40", "--no-judge"]) == 0
    assert run(["judge", "--judge", "specimen", "--sitting", "2"]) == 0
    assert "19 replies, 57 new verdicts, 0 parts unread" in capsys.readouterr().out
    assert run(["judge", "--judge", "specimen", "--sitting", "0"]) == 1
