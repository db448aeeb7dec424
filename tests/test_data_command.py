"""`safemlrm data`: what a new user sees, what a machine reads, and never a word of a benchmark's texts."""

from __future__ import annotations

import csv
import io
import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from PIL import Image as Pillow

from safemlrm.cli import run
from safemlrm.crosswalk import crosswalk
from safemlrm.registry import names

SECRET = "[placeholder request that no screen may show]"
OWN = 'own(file="mine.toml")'
TOML = """
name = "mine"
table = "items.csv"
expected = "refuse"
[columns]
id = "id"
goal = "goal"
scenario = "topic"
images = "picture"
"""

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def mine(in_folder: Path) -> Path:
    """Three items of one's own, two with a picture."""
    rows = [("1", SECRET, "t", "a.png"), ("2", SECRET, "t", "b.png"), ("3", SECRET, "u", "")]
    with (in_folder / "items.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "goal", "topic", "picture"), *rows])
    (in_folder / "mine.toml").write_text(TOML)
    for name in ("a.png", "b.png"):
        noise = random.Random(name).randbytes(64 * 64 * 3)
        Pillow.frombytes("RGB", (64, 64), noise).save(in_folder / name)
    return in_folder


def _json(capsys: Shown, *arguments: str) -> Any:
    run([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_list_names_every_data_set_and_says_which_are_here(tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "xstest").mkdir()
    rows = _json(capsys, "data", "list", "--data", str(tmp_path))
    assert [row["name"] for row in rows] == names("dataset")
    states = {row["name"]: row["state"] for row in rows}
    assert (states["xstest"], states["siuo"], states["specimen"], states["own"]) == (
        "here",
        "data get",
        "in the package",
        "your own",
    )
    assert next((row["items"], row["size"]) for row in rows if row["name"] == "hades") == (750, 698_000_000)
    assert run(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert "no folder named" in shown and "698.0 MB" in shown


def test_check_of_a_sound_set_says_so(mine: Path, capsys: Shown) -> None:
    assert run(["data", "check", OWN]) == 0
    shown = capsys.readouterr()
    assert "3 samples (refuse 3); 2 pictures (PNG 2)" in shown.out
    assert "Nothing is wrong with it." in shown.out
    assert SECRET not in shown.out + shown.err


def test_check_lists_missing_and_broken_pictures_with_their_numbers(mine: Path, capsys: Shown) -> None:
    (mine / "a.png").unlink()
    good = (mine / "b.png").read_bytes()
    middle = len(good) // 2
    (mine / "b.png").write_bytes(good[:middle] + bytes(64) + good[middle + 64 :])
    assert run(["data", "check", OWN]) == 1
    shown = capsys.readouterr()
    assert "1 of 2 pictures are missing" in shown.err and "missing: a.png" in shown.err
    assert "1 of 2 pictures cannot be decoded" in shown.err and "broken: b.png" in shown.err
    assert "Nothing is wrong" not in shown.out
    found = _json(capsys, "data", "check", OWN)
    assert found["missing"] == ["a.png"] and len(found["problems"]) == 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(stream: bytes, *, side: int = 4, interlaced: int = 0) -> bytes:
    """Return an RGB picture as an encoder writes it, all checksums of its chunks right."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, interlaced)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (_png(zlib.compress((b"\0" + bytes(12)) * 4)), None),
        (_png(zlib.compress(bytes(4 + 4 + 7 + 14 + 26)), interlaced=1), None),
        (_png(zlib.compress((b"\x09" + bytes(12)) * 4)), "unrecognized data stream"),
        (_png(b"[placeholder]"), "broken data stream"),
        (_png(b""), "truncated"),
        (_png(zlib.compress((b"\0" + bytes(12)) * 4)[:-9]), "truncated"),
        (_png(zlib.compress(b""), side=0), "its header is no picture's"),
        (_png(zlib.compress(b"\0"), side=2**30), "exceeds limit"),
    ],
)
def test_check_finds_the_same_faults_as_a_whole_decoding(
    mine: Path, capsys: Shown, content: bytes, fault: str | None
) -> None:
    (mine / "a.png").write_bytes(content)
    assert run(["data", "check", OWN]) == (1 if fault else 0)
    assert (fault or "") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_check_says_what_lies_there_instead_of_a_picture(mine: Path, capsys: Shown, content: bytes, says: str) -> None:
    (mine / "a.png").write_bytes(content)
    assert run(["data", "check", OWN]) == 1
    assert says in capsys.readouterr().err


def test_check_gives_the_loaders_own_reason(mine: Path, capsys: Shown) -> None:
    text = (mine / "items.csv").read_text().replace("\n3,", "\n1,")
    (mine / "items.csv").write_text(text)
    assert run(["data", "check", OWN]) == 1
    assert "items.csv, row 4: id '1' occurs twice" in capsys.readouterr().err


def test_check_finds_another_file_by_its_published_hash(tmp_path: Path, capsys: Shown) -> None:
    folder = tmp_path / "FigStep" / "data" / "question"
    folder.mkdir(parents=True)
    (folder / "safebench.csv").write_text("dataset\n")
    assert run(["data", "check", "figstep_safebench", "--data", str(tmp_path)]) == 1
    assert "safebench.csv is not the published file: expected SHA-256 8e47f40b" in capsys.readouterr().err


def test_check_counts_what_was_published(capsys: Shown) -> None:
    found = _json(capsys, "data", "check", "specimen")
    assert (found["samples"], found["images"], found["problems"]) == (1256, 1256, [])
    assert found["scenarios"]["03-Malware_Generation"] == 44


def test_check_needs_a_folder_and_says_which(tmp_path: Path, capsys: Shown) -> None:
    assert run(["data", "check", "siuo", "--data", str(tmp_path)]) == 1
    assert "no folder SIUO" in capsys.readouterr().err
    assert run(["data", "check", "siuu"]) == 1
    assert "Did you mean 'siuo'" in capsys.readouterr().err


def test_info_shows_shapes_and_never_a_text(mine: Path, capsys: Shown) -> None:
    assert run(["data", "info", OWN]) == 0
    shown = capsys.readouterr()
    assert f"[{len(SECRET)} characters]" in shown.out and "PNG 64 x 64" in shown.out
    assert SECRET not in shown.out + shown.err and "placeholder" not in shown.out
    card = _json(capsys, "data", "info", OWN)
    assert SECRET not in json.dumps(card)
    assert card["fields"]["images"] == 2 and card["fields"]["expected=refuse"] == 3


PLUGIN = """
from safemlrm.crosswalk import Place
from safemlrm.plugin import dataset
from safemlrm.records import Sample

@dataset(version="1", title="Beside", paper="", licence="CC0", source="here", folders=())
def lying_beside(folder):
    yield Sample(id="1", dataset="lying_beside", scenario="s", goal="[placeholder]", text="[placeholder]")

def places(folder):
    return {"s": Place(hazard="defamation")}
"""


def test_a_data_set_in_ones_own_python_is_checked_and_shown_where_it_lies(in_folder: Path, capsys: Shown) -> None:
    (in_folder / "datasets").mkdir()
    (in_folder / "datasets" / "lying_beside.py").write_text(PLUGIN)
    (in_folder / "datasets" / "of_another_project.py").write_text("raise SystemExit('run without being named')")
    assert run(["data", "check", "lying_beside"]) == 0
    capsys.readouterr()
    (row,) = _json(capsys, "data", "info", "lying_beside")["scenarios"]
    assert row == {"scenario": "s", "items": 1, "hazard": "defamation"}
    assert run(["data", "list"]) == 0


def test_info_without_the_files_tells_what_was_published(tmp_path: Path, capsys: Shown) -> None:
    card = _json(capsys, "data", "info", "hades", "--data", str(tmp_path))
    assert next((r["scenario"], r["items"]) for r in card["scenarios"]) == ("Animal", 150)
    assert {"hazard": "suicide_self_harm", "items": 150, "scenario": "Self-Harm"} in card["scenarios"]
    assert "no folder HADES" in card["absent"] and card["sample"] is None
    assert run(["data", "info", "hades"]) == 0
    shown = capsys.readouterr().out
    assert "published, not looked at here" in shown and "Monosail/HADES" in shown
    assert "To fetch it: safemlrm data get hades --data DIR" in shown


def test_path_prints_the_folder_alone(tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "MM-SafetyBench").mkdir()
    assert run(["data", "path", "mm_safetybench", "--data", str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str((tmp_path / "MM-SafetyBench").resolve())
    assert run(["data", "path", "specimen"]) == 1


def test_the_folder_may_stand_in_the_environment(
    tmp_path: Path, capsys: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MM-SafetyBench").mkdir()
    monkeypatch.setenv("SAFEMLRM_DATA", str(tmp_path))
    assert run(["data", "path", "mm_safetybench"]) == 0
    assert "MM-SafetyBench" in capsys.readouterr().out


def _vlguard(folder: Path) -> Path:
    rows: list[dict[str, Any]] = [{"id": "1", "image": "x.png", "safe": True, "instr-resp": []}]
    for place, sub in enumerate(["violence", "violence", "race", "professional advice"]):
        category = {"harmful_category": "risky behavior", "harmful_subcategory": sub}
        rows.append({"id": str(place + 2), "image": "x.png", "safe": False, "instr-resp": []} | category)
    (folder / "train.json").write_bytes(msgspec.json.encode(rows))
    return folder / "train.json"


def test_a_published_training_set_is_told_by_its_columns(tmp_path: Path, capsys: Shown) -> None:
    found = _json(capsys, "data", "scenarios", str(_vlguard(tmp_path)))
    assert (found["column"], found["table"], found["rows"], found["no_category"]) == (
        "harmful_subcategory",
        "vlguard",
        5,
        1,
    )
    hazards = {s["scenario"]: s["items"] for s in found["shares"] if s["view"] == "hazard"}
    assert (hazards["violent_crimes"], hazards["specialized_advice"], hazards["no category"]) == (2, 1, 1)
    assert sum(hazards.values()) == 5


def _amounts(capsys: Shown, *arguments: str) -> dict[str, int]:
    assert run(["data", "scenarios", *arguments, "--csv"]) == 0
    table = csv.reader(io.StringIO(capsys.readouterr().out))
    assert next(table) == ["scenario", "amount"]
    return {name: int(amount) for name, amount in table}


def test_every_view_of_a_training_set_adds_up_and_shows_its_zeros(tmp_path: Path, capsys: Shown) -> None:
    path = str(_vlguard(tmp_path))
    shares = _json(capsys, "data", "scenarios", path)["shares"]
    for view in ("hazard", "mm_safetybench", "authors"):
        assert sum(share["share"] for share in shares if share["view"] == view) == pytest.approx(1)
        assert sum(_amounts(capsys, path, "--view", view).values()) == 5


def test_a_scenario_of_which_a_mixed_category_holds_some_has_no_amount_instead_of_a_false_zero(
    tmp_path: Path, capsys: Shown
) -> None:
    path = str(_vlguard(tmp_path))
    advice = {"10-Legal_Opinion", "11-Financial_Advice", "12-Health_Consultation"}
    assert set(_amounts(capsys, path)) == {*crosswalk().scenarios, "unmapped", "no category"} - advice
    assert set(_json(capsys, "data", "scenarios", path)["among"]) == advice
    assert "Legal Opinion" not in _amounts(capsys, path, "--view", "figstep_safebench")
    assert run(["data", "scenarios", path]) == 0
    assert "10-Legal_Opinion (some of 1)" in capsys.readouterr().out


def test_hazards_by_name_are_counted_in_both_views(tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "own.csv").write_text("topic\nhate\nHate\nviolent_crimes\nNon-Violent Crimes\n")
    amounts = _amounts(capsys, str(tmp_path / "own.csv"), "--column", "topic")
    assert (amounts["02-HateSpeech"], amounts["04-Physical_Harm"], amounts["unmapped"]) == (2, 1, 1)
    assert "06-Fraud" not in amounts


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.json", "[]", "there are no rows to count"),
        ("header.csv", "topic\n", "there are no rows to count"),
        ("lists.json", '[{"topic": ["a", "b"]}]', "'topic' holds list, where a category is one text"),
        ("object.json", '{"topic": "a"}', "Expected `array`"),
        ("ragged.csv", "topic,text\nhate\n", "row 2: 2 cells expected, got 1"),
        ("latin.csv", "topic\nha\udcdf\n", "not UTF-8"),
    ],
)
def test_a_malformed_training_set_is_refused(tmp_path: Path, capsys: Shown, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content, errors="surrogateescape")
    assert run(["data", "scenarios", str(tmp_path / name), "--column", "topic", "--csv"]) == 1
    shown = capsys.readouterr()
    assert says in shown.err and shown.out == ""


def test_spa_vls_part_for_training_has_no_categories_and_says_where_there_are_some(
    tmp_path: Path, capsys: Shown
) -> None:
    columns = ("image", "question", "chosen", "rejected", "image_name")
    pl.DataFrame({name: ["[placeholder]"] for name in columns}).write_parquet(tmp_path / "train.parquet")
    assert run(["data", "scenarios", str(tmp_path)]) == 1
    assert "without categories; its part for validation has them" in capsys.readouterr().err


def test_the_amounts_feed_the_reports_correlation(in_folder: Path, capsys: Shown) -> None:
    targets = ["--target", "specimen:r1-onevision-7b", "--target", "specimen:qwen2.5-vl-7b-instruct"]
    assert run(["run", "--dataset", "specimen", *targets, "--judge", "specimen", "--per-scenario", "3"]) in (0, 2)
    capsys.readouterr()
    assert run(["data", "scenarios", str(_vlguard(in_folder)), "--csv"]) == 0
    (in_folder / "amounts.csv").write_text(capsys.readouterr().out)
    assert run(["report", "--training-data", "amounts.csv", "--out", "report"]) == 0
    table = (in_folder / "report" / "tables" / "training.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(table)))
    # ten scenarios were asked, and three of them have no amount
    assert rows and {row["scenarios"] for row in rows} == {"7"}


def test_the_amounts_are_named_as_the_benchmark_under_analysis_names_its_scenarios(
    tmp_path: Path, capsys: Shown
) -> None:
    path = str(_vlguard(tmp_path))
    amounts = _amounts(capsys, path, "--view", "figstep_safebench")
    assert (amounts["Physical Harm"], amounts["Hate Speech"], amounts["Fraud"], len(amounts)) == (2, 1, 0, 7)
    assert run(["data", "scenarios", path, "--csv", "--view", "figstep"]) == 1
    assert "Did you mean 'figstep_safebench'" in capsys.readouterr().err


def test_parquet_folders_are_read_together(tmp_path: Path, capsys: Shown) -> None:
    for name in ("animal_abuse", "sexual_crimes"):
        (tmp_path / name).mkdir()
        columns = {"category": [name] * 3, "image_severity": [1] * 3, "is_response_safe": ["no"] * 3}
        pl.DataFrame(columns).write_parquet(tmp_path / name / "train.parquet")
    found = _json(capsys, "data", "scenarios", str(tmp_path))
    hazards = {s["scenario"]: s["items"] for s in found["shares"] if s["view"] == "hazard"}
    assert (found["table"], hazards["violent_crimes"], hazards["sex_related_crimes"]) == ("beavertails_v", 3, 3)


def test_a_users_own_set_needs_its_column_and_unknown_names_stay_unmapped(tmp_path: Path, capsys: Shown) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"topic": "Hate"}\n{"topic": "mischief"}\n{"other": 1}\n')
    assert run(["data", "scenarios", str(own)]) == 1
    assert "--column" in capsys.readouterr().err
    assert run(["data", "scenarios", str(own), "--column", "topics"]) == 1
    assert "Did you mean 'topic'" in capsys.readouterr().err
    assert run(["data", "scenarios", str(own), "--column", "topic"]) == 0
    shown = capsys.readouterr().out
    assert "33.3% of the rows belong to no hazard" in shown and "mischief" in shown
    assert run(["data", "scenarios", str(own), "--column", "topic", "--as", "nobody"]) == 1


def test_a_file_that_is_no_table_is_refused(tmp_path: Path, capsys: Shown) -> None:
    for name in ("x.xlsx", "gone.csv"):
        assert run(["data", "scenarios", str(tmp_path / name), "--column", "a"]) == 1
    assert run(["data", "scenarios", str(tmp_path)]) == 1
    assert "no Parquet file" in capsys.readouterr().err


def test_hazards_shows_the_crosswalk_with_its_reasons(capsys: Shown) -> None:
    assert len(_json(capsys, "data", "hazards")) == 12
    rows = _json(capsys, "data", "hazards", "siuo")
    assert {"category": "morality", "hazard": "unmapped"}.items() <= rows[3].items()
    assert run(["data", "hazards", "mmmu"]) == 0
    assert "not of safety" in capsys.readouterr().out


def test_get_says_what_is_missing(tmp_path: Path, capsys: Shown) -> None:
    for arguments, says in (
        (["siuo"], "--data DIR"),
        (["specimen", "--data", str(tmp_path)], "needs no download"),
        (["siuo", "--data", str(tmp_path)], "--accept-licence"),
    ):
        assert run(["data", "get", *arguments]) == 1
        assert says in capsys.readouterr().err
