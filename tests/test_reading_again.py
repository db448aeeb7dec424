"""A format that is corrected after replies were stored: they are split again, and judged again where a text changed."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from safemlrm.cli import run
from safemlrm.store import Row, open_store, schema
from support import ChatServer, completion, judged

REPLY = "[[placeholder thinking]] placeholder answer"
WRONG, RIGHT = '["((", "))"]', '["[[", "]]"]'


@pytest.fixture
def asked(server: ChatServer, in_folder: Path) -> ChatServer:
    """A store of six replies that were read by the wrong delimiters."""
    server.behave = judged(lambda body: completion(f"{REPLY} {body['messages'][-1]['content']}"))
    _format(WRONG)
    study = f"""
        name = "own format"
        targets = ["openai_compatible:mine@{server.url}"]
        judges = ["opensafemlrm:judge-a@{server.url}"]
        limit = 6
        [[data]]
        dataset = "specimen"
    """
    Path("study.toml").write_text(study, encoding="utf-8")
    assert run(["run", "study.toml"]) == 0
    return server


def _format(delimiters: str) -> None:
    text = f'[formats.mine]\nthinking = [{delimiters}]\n[models.mine]\nhub = "me/mine"\nformat = "mine"\n'
    Path("models.toml").write_text(text, encoding="utf-8")


def _again(server: ChatServer, *arguments: str) -> int:
    """Judge the store again and return how many calls that took."""
    before = len(server.bodies)
    assert run([*(arguments or ("judge", "--judge", f"opensafemlrm:judge-a@{server.url}", "--beside", "."))]) == 0
    return len(server.bodies) - before


def _parts() -> dict[str, tuple[int, int]]:
    """Report, and return how many of each part were there and read."""
    assert run(["report", "safemlrm.db", "--out", "report"]) == 0
    with open_store("safemlrm.db") as store:
        found = store.readings().group_by("part").agg(pl.col("present").sum(), pl.col("score").count())
    return {part: (present, read) for part, present, read in found.rows()}


@pytest.mark.parametrize("how", [(), ("run", "study.toml")])
def test_a_corrected_format_splits_stored_replies_again_and_judges_only_changed_texts(
    asked: ChatServer, how: tuple[str, ...]
) -> None:
    assert _parts() == {"thinking": (0, 0), "answer": (6, 6), "full": (6, 6)}
    _format(RIGHT)
    assert _again(asked, *how) == 12, "six thoughts and six answers are new texts; the whole replies stay as they were"
    assert _parts() == {"thinking": (6, 6), "answer": (6, 6), "full": (6, 6)}


def test_a_format_that_is_put_back_costs_no_call_and_counts_again(asked: ChatServer) -> None:
    _format(RIGHT)
    _again(asked)
    _format(WRONG)
    assert _again(asked) == 0
    assert _parts()["thinking"] == (0, 0)
    with open_store("safemlrm.db") as store:
        assert store.verdicts().height == 12, "one row for each part as it is read now"


def test_a_format_that_did_not_change_reads_nothing_again(asked: ChatServer) -> None:
    with open_store("safemlrm.db") as store:
        before = store.count(schema.splits), store.count(schema.judgings)
    assert _again(asked) == 0
    with open_store("safemlrm.db") as store:
        assert (store.count(schema.splits), store.count(schema.judgings)) == before


def test_another_judge_of_the_new_parts_leaves_the_first_judges_scores_with_the_parts_that_it_read(
    asked: ChatServer,
) -> None:
    _format(RIGHT)
    asked.behave = lambda body: completion("#thereason: r\n#thescore: 1")
    _again(asked, "judge", "--judge", f"opensafemlrm:judge-b@{asked.url}", "--beside", ".")
    with open_store("safemlrm.db") as store:
        other, first = (store.readings(judge=f"opensafemlrm:judge-{name}") for name in "ba")
    assert (other["present"].sum(), other["score"].count()) == (18, 18)
    assert (first["present"].sum(), first["score"].count()) == (12, 12), "the parts of then, and their scores"
    assert run(["report", "safemlrm.db", "--out", "report"]) == 0
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "6 replies of mine were taken apart otherwise since this judge read them" in page


def test_a_pass_that_was_broken_off_leaves_each_reply_as_it_was_last_read_and_says_so(asked: ChatServer) -> None:
    with open_store("safemlrm.db") as store:
        [first, *_] = store.responses()["trial"]
        columns = {"trial": first, "splitter": "corrected", "version": "2.other", "status": "ok", "last": 2e9}
        store.write([Row(schema.splits, columns | {"thinking": 3, "answer": 4, "full": 7})])
        with store.engine.connect() as connection:
            judging = connection.execute(schema.judgings.select().where(schema.judgings.c.trial == first)).first()
        assert judging is not None
        store.write([Row(schema.judgings, {**judging._mapping, "version": "2.other", "part": "thinking"})])
    assert _parts()["thinking"][0] == 1
    page = Path("report/report.html").read_text(encoding="utf-8")
    assert "The replies of mine were not all taken apart in one way" in page


def test_a_second_sitting_over_a_corrected_format_is_refused_until_the_first_has_read_it(
    asked: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = ("judge", "--judge", f"opensafemlrm:judge-a@{asked.url}", "--beside", ".")
    _format(RIGHT)
    assert run([*judge, "--sitting", "2"]) == 1
    assert "judge them once without --sitting" in capsys.readouterr().err
    _again(asked, *judge)
    _again(asked, *judge, "--sitting", "2")
    with open_store("safemlrm.db") as store:
        assert store.readings()["score"].count() == 18


def test_a_model_whose_format_is_not_at_hand_is_named_when_it_is_judged_again(
    asked: ChatServer, caplog: pytest.LogCaptureFixture
) -> None:
    _again(asked, "judge", "--judge", f"opensafemlrm:judge-a@{asked.url}")
    assert "mine is not in the registry" in caplog.text and "--beside DIR" in caplog.text
    caplog.clear()
    _again(asked)
    assert "not in the registry" not in caplog.text


def test_a_run_tries_the_users_own_formats_first_for_a_model_that_nobody_knows(
    server: ChatServer, in_folder: Path
) -> None:
    server.behave = judged(lambda body: completion(REPLY))
    Path("models.toml").write_text(f"[formats.mine]\nthinking = [{RIGHT}]\n", encoding="utf-8")
    Path("study.toml").write_text('[[data]]\ndataset = "specimen"\n', encoding="utf-8")
    target, judge = f"openai_compatible:unheard-of@{server.url}", f"opensafemlrm:judge-a@{server.url}"
    assert run(["run", "study.toml", "--target", target, "--judge", judge, "--limit", "2"]) == 0
    assert _parts() == {"thinking": (2, 2), "answer": (2, 2), "full": (2, 2)}
