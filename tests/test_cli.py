"""The command line: exit codes, messages without tracebacks, JSON, and the whole line on simulated models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safemlrm.cli import run
from support import ChatServer, completion

COUNTS = Path(__file__).parent.parent / "src" / "safemlrm" / "data" / "opensafemlrm_counts.csv"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "names no target"),
        (["run", "--target", "specimen:a"], "names no benchmark"),
        (["run", "--target", "r1-onevison-7b", "--dataset", "specimen"], "Did you mean 'r1-onevision-7b'"),
        (["run", "--target", "specimen:a", "--dataset", "specimn"], "Did you mean 'specimen'"),
        (["run", "absent.toml"], "no study at absent.toml"),
        (["run", "--targt", "x"], "No such option"),
        (["runn"], "No such command 'runn'"),
        (["run", "--target", "specimen:a", "--dataset", "specimen", "--seeds", "two"], "--seeds"),
        (["run", "--target", "specimen:a", "--dataset", "specimen"], "set the variable OPENAI_API_KEY"),
        (
            ["run", "--target", "openai_compatible:m@http://127.0.0.1:9/v1", "--dataset", "specimen", "--no-judge"],
            "nothing answers at",
        ),
        (["status"], "no store at safemlrm.db"),
        (["report", "absent.db"], "no store at absent.db"),
        (["report", "--counts", "absent.csv"], "absent.csv"),
        (["list", "unicorns"], "unicorns"),
        (["split", "absent.txt"], "absent.txt cannot be read"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_1(
    arguments: list[str], message: str, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err


def test_a_run_on_simulated_models_ends_with_0_and_says_where_the_store_is(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--judge", "specimen"]
    code, out, _ = said(capsys, *arguments, "--limit", "30")
    assert code == 0
    assert "done: 30 planned, 30 answered" in out and "safemlrm.db" in out


def test_rows_that_failed_end_with_2(server: ChatServer, in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from aiohttp import web

    server.behave = lambda body: web.json_response({"error": {"message": "no such thing"}}, status=404)
    arguments = ["run", "--target", f"openai_compatible:m@{server.url}", "--dataset", "specimen", "--limit", "3"]
    code, out, _ = said(capsys, *arguments, "--no-judge")
    assert code == 2
    assert (
        "3 failed" in out and "3 x target:request (first: HTTP 404: no such thing)" in out and "--retry-failed" in out
    )


def test_verdicts_that_could_not_be_read_end_with_2(
    server: ChatServer, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body: completion("no marker here")
    arguments = ["run", "--target", f"openai_compatible:m@{server.url}", "--dataset", "specimen", "--limit", "3"]
    code, out, _ = said(capsys, *arguments, "--judge", "specimen", "--json")
    document = json.loads(out)
    assert (code, document["answered"], document["unread"]) == (2, 3, 6)


def test_plan_says_what_a_study_means_in_json(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Path(__file__).parent.parent / "studies" / "safemlrm-2025.toml"
    code, out, _ = said(capsys, "plan", str(study), "--json")
    document = json.loads(out)
    assert (code, document["trials"], len(document["models"])) == (0, 31608, 9)
    code, out, err = said(capsys, "plan", str(study))
    assert code == 0 and "31,608 trials" in out and "Get it from" in err


def test_the_papers_study_is_rehearsed_with_one_flag(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Path(__file__).parent.parent / "studies" / "safemlrm-2025.toml"
    code, out, err = said(capsys, "run", str(study), "--specimens", "--limit", "10", "--json")
    assert (code, json.loads(out)["answered"]) == (0, 9 * 4 * 10), err


def test_status_reads_a_store(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--judge", "specimen"]
    said(capsys, *arguments, "--limit", "10")
    code, out, _ = said(capsys, "status", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["trials"][0]["planned"], document["trials"][0]["answered"]) == (10, 10)
    assert "r1-onevision-7b" in said(capsys, "status")[1]


def test_judge_reads_a_store_again_without_sampling(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--no-judge"]
    said(capsys, *arguments, "--limit", "10")
    code, out, _ = said(capsys, "judge", "--judge", "specimen", "--splitter", "opensafemlrm", "--json")
    assert (code, json.loads(out)["replies"]) == (0, 10)
    assert said(capsys, "report", "--out", "r")[0] == 0


def test_split_shows_segments_and_disarms_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reply.txt").write_text("<think>[thought]\x1b[2J</think>[answer]")
    code, out, _ = said(capsys, "split", str(tmp_path / "reply.txt"))
    assert code == 0 and "status: ok" in out and "\x1b[2J" not in out
    document = json.loads(said(capsys, "split", str(tmp_path / "reply.txt"), "--json")[1])
    assert document["answer"] == "[answer]"


@pytest.mark.parametrize(
    "kind",
    ["targets", "pairs", "datasets", "attacks", "promptings", "defenses", "protocols", "judges", "splitters"],
)
def test_everything_that_a_study_can_name_is_listed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "list", kind, "--json")
    assert code == 0 and json.loads(out)
    assert said(capsys, "list", kind)[0] == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole demo, run once."""
    folder: Path = tmp_path_factory.mktemp("demo")
    assert run(["demo", "--out", str(folder)]) == 0
    return folder


def rows(path: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    return {row[:4]: row[4:] for row in pl.read_csv(path).rows()}


@pytest.mark.slow
def test_the_demo_gives_all_540_published_rows_back(demo: Path) -> None:
    published = rows(COUNTS)
    assert len(published) == 540
    assert rows(demo / "tables" / "counts.csv") == published


@pytest.mark.slow
def test_the_demo_gives_the_published_headline_back(demo: Path) -> None:
    rates = pl.read_csv(demo / "tables" / "rates.csv").filter(
        (pl.col("model") == "r1-onevision-7b")
        & (pl.col("condition") == "text")
        & (pl.col("scenario") == "all")
        & (pl.col("part") == "full")
        & (pl.col("threshold") == 4)
    )
    row = rates.row(0, named=True)
    assert (row["planned"], row["read"], row["hits"], row["rate"]) == (1256, 1237, 879, 0.71059)


@pytest.mark.slow
def test_the_demo_says_that_it_is_simulated(demo: Path) -> None:
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "Simulated" in page and "http-equiv" in page and "<script" not in page


def test_a_report_that_could_not_be_written_is_known_before_the_first_call(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    study = ["--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--judge", "specimen"]
    for command in (["demo"], ["run", *study]):
        assert run([*command, "--out", "file/x"]) == 1
        assert "--out file/x: the folder cannot be made" in capsys.readouterr().err
    assert not Path("safemlrm.db").exists()


def test_the_judges_of_the_newest_study_read_again_where_nobody_is_named(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--target", "specimen:r1-onevision-7b", "--dataset", "specimen", "--limit", "3"]
    assert run(["run", *target, "--judge", "specimen"]) in (0, 2)
    assert run(["judge", "--sitting", "2"]) in (0, 2)
    assert "no key" not in capsys.readouterr().err


def test_status_says_of_how_many_calls_no_tokens_were_told(
    server: ChatServer, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body: {key: value for key, value in completion("a").items() if key != "usage"}
    target = f"openai_compatible:m@{server.url}"
    assert run(["run", "--target", target, "--dataset", "specimen", "--limit", "2", "--no-judge"]) in (0, 2)
    capsys.readouterr()
    assert run(["status"]) == 0
    assert "of 2 answered calls no count of tokens was told" in capsys.readouterr().out
