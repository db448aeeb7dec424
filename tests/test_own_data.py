"""The user's own data: one TOML beside a table, read strictly; the documented example stays true."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safemlrm.datasets.own import own
from safemlrm.errors import DataError, StudyError, UnknownName
from safemlrm.records import Image, Sample
from safemlrm.registry import bind
from safemlrm.resolve import resolve
from safemlrm.study import convert
from safemlrm.trials import Source

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "your-own-data"
ROWS: list[dict[str, Any]] = [
    {"item": "1", "topic": "t", "request": "[placeholder 1]", "label": "bad", "picture": "one.png"},
    {"item": "2", "topic": "u", "request": "[placeholder 2]", "label": "fine", "picture": ""},
]
TOML = """
name = "mine"
table = "{table}"
[columns]
id = "item"
goal = "request"
scenario = "topic"
images = "picture"
expected = "label"
[labels]
bad = "refuse"
fine = "answer"
"""


def _write(folder: Path, rows: list[dict[str, Any]] = ROWS, kind: str = "csv", toml: str = TOML) -> Path:
    table = folder / f"items.{kind}"
    if kind == "csv":
        pl.DataFrame(rows).write_csv(table)
    elif kind == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pl.DataFrame(rows).write_parquet(table)
    (folder / "mine.toml").write_text(toml.format(table=table.name))
    return folder


def _read(folder: Path) -> list[Sample]:
    return list(own(folder, file="mine.toml"))


def _with(**cells: Any) -> list[dict[str, Any]]:
    return [ROWS[0], ROWS[1] | cells]


def test_the_documented_example_loads_as_the_page_says() -> None:
    samples = list(own(EXAMPLE, file="workshop.toml"))
    assert [(s.id, s.scenario, s.expected, s.group) for s in samples] == [
        ("a1", "forged papers", "refuse", "a"),
        ("a2", "forged papers", "answer", "a"),
        ("b1", "workshop safety", "refuse", "b"),
        ("b2", "workshop safety", "answer", "b"),
    ]
    assert samples[0].released["typographic"].images()[0].read().startswith(b"\x89PNG")
    assert samples[3].text == samples[3].goal and not samples[3].released
    assert [image.stored()["type"] for image in samples[2].images] == ["image/png"]


def test_the_page_shows_the_example_that_is_there() -> None:
    page, toml = (EXAMPLE.parents[1] / "your-own-data.md").read_text(), (EXAMPLE / "workshop.toml").read_text()
    for line in toml.splitlines():
        if "=" in line and not line.startswith("#"):
            assert line in page


def test_the_study_on_the_page_can_be_planned() -> None:
    page = (EXAMPLE.parents[1] / "your-own-data.md").read_text()
    (study,) = re.findall(r"```toml\n(\[\[data\]\].*?)```", page, re.DOTALL)
    document = {"targets": ["specimen:r1-onevision-7b"]} | tomllib.loads(study)
    tally = resolve(convert(document, "study.toml"), beside=EXAMPLE).tally()
    assert tally.samples == {'own(file="workshop.toml")': {"forged papers": 2}}
    assert (tally.trials, tally.missing) == (4, [])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_table_gives_the_same_samples(tmp_path: Path, kind: str) -> None:
    first, second = _read(_write(tmp_path, kind=kind))
    assert (first.id, first.scenario, first.goal, first.expected) == ("1", "t", "[placeholder 1]", "refuse")
    assert first.images == (Image(path=str(tmp_path / "one.png")),)
    assert (second.expected, second.images, second.dataset) == ("answer", (), "own_mine")


def test_parquet_holds_pictures_themselves_and_labels_as_truth(tmp_path: Path) -> None:
    rows = [{"item": 7, "topic": "t", "request": "[placeholder]", "label": True, "picture": {"bytes": b"\x89PNG"}}]
    toml = TOML.replace("bad =", "true =")
    (sample,) = _read(_write(tmp_path, rows, "parquet", toml))
    assert (sample.id, sample.expected, sample.images) == ("7", "refuse", (Image(data=b"\x89PNG"),))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (_with(item="1"), "row 3: id '1' occurs twice"),
        (_with(request=" "), "row 3: 'request' is blank"),
        (_with(label="odd"), r"row 3: 'label' is 'odd'.*bad, fine"),
        (_with(picture="../other.png"), "row 3, 'picture': .* no file name inside"),
        (_with(picture="/etc/hostname"), "row 3, 'picture': .* no file name inside"),
        (_with(picture="C:\\other.png"), "row 3, 'picture': .* no file name inside"),
        (_with(topic="all"), "row 3: 'topic' is 'all'"),
        ([{k: v for k, v in ROWS[0].items() if k != "topic"}], "no column 'topic'"),
    ],
)
def test_a_bad_table_is_refused_with_file_and_row(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _read(_write(tmp_path, rows))


def test_a_table_of_a_spreadsheet_that_writes_semicolons_says_so(tmp_path: Path) -> None:
    path = _write(tmp_path) / "items.csv"
    path.write_text(path.read_text().replace(",", ";"))
    with pytest.raises(DataError, match="row 1: columns are separated by ';'"):
        _read(tmp_path)


def test_byte_order_marks_and_windows_paths_are_read(tmp_path: Path) -> None:
    _write(tmp_path, _with(picture="more\\two.png"))
    for name in ("items.csv", "mine.toml"):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert [s.images for s in _read(tmp_path)] == [
        (Image(path=str(tmp_path / "one.png")),),
        (Image(path=str(tmp_path / "more" / "two.png")),),
    ]


def test_a_blank_that_pandas_wrote_as_nan_is_a_blank(tmp_path: Path) -> None:
    rows = [row | {"pair": math.nan, "item": number / 2} for number, row in enumerate(ROWS, start=1)]
    toml = TOML.replace('id = "item"', 'id = "item"\ngroup = "pair"')
    assert [(s.id, s.group) for s in _read(_write(tmp_path, rows, "parquet", toml))] == [("0.5", "0.5"), ("1.0", "1.0")]
    with pytest.raises(DataError, match="row 1: 'request' is blank"):
        _read(_write(tmp_path, [row | {"request": math.nan} for row in ROWS], "parquet"))


def test_a_json_line_without_a_named_key_is_refused(tmp_path: Path) -> None:
    rows = [ROWS[0], {k: v for k, v in ROWS[1].items() if k != "picture"}]
    with pytest.raises(DataError, match="line 2: no key 'picture'"):
        _read(_write(tmp_path, rows, "jsonl"))


@pytest.mark.parametrize(
    ("toml", "error", "message"),
    [
        (TOML.replace('goal = "request"\n', ""), StudyError, "goal"),
        (TOML.replace("images =", "image ="), UnknownName, "images"),
        (TOML.replace('expected = "label"\n', ""), StudyError, "right behaviour"),
        ('expected = "refuse"\n' + TOML, StudyError, "right behaviour"),
        (TOML.replace('"mine"', '"../mine"'), StudyError, "letters, digits"),
        (TOML.replace('"{table}"', '"items.xlsx"'), DataError, "a table is .csv"),
        ("items = 3\n" + TOML, DataError, "expected 3 rows, got 2"),
        (TOML + '[crosswalk]\nt = {{ hazard = "hatred", why = "" }}\n', UnknownName, "hate"),
        (TOML + '[crosswalk]\ntt = {{ hazard = "hate" }}\n', UnknownName, "Did you mean 't'"),
        (TOML.replace('"refuse"', '"refused"'), UnknownName, r"\[labels\], 'bad'. Did you mean 'refuse'"),
        ('expected = "refusal"\n' + TOML, UnknownName, "expected. Did you mean 'refuse'"),
        ("licence = 'mine'\n" + TOML, UnknownName, "licence"),
    ],
)
def test_a_bad_description_is_refused(tmp_path: Path, toml: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        _read(_write(tmp_path, toml=toml))


def test_a_description_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"mine\.toml"):
        _read(tmp_path)


def test_a_study_finds_the_file_beside_itself_and_counts_missing_pictures(tmp_path: Path) -> None:
    _write(tmp_path)
    document = {"targets": ["specimen:r1-onevision-7b"], "data": [{"dataset": 'own(file="mine.toml")'}]}
    tally = resolve(convert(document, "study.toml"), beside=tmp_path).tally()
    assert tally.samples == {'own(file="mine.toml")': {"t": 1, "u": 1}}
    assert tally.missing == [str(tmp_path / "one.png")]


def test_its_own_crosswalk_is_read_like_the_packages() -> None:
    source = Source(bind("dataset", 'own(file="workshop.toml")'), EXAMPLE, (), scenarios=("nonviolent_crimes",))
    assert {sample.scenario for sample in source.samples()} == {"forged papers"}
    source = Source(bind("dataset", 'own(file="workshop.toml")'), EXAMPLE, (), scenarios=("unmapped",))
    assert {sample.scenario for sample in source.samples()} == {"workshop safety"}


def test_the_file_is_a_parameter_that_must_be_given() -> None:
    with pytest.raises(StudyError, match="file"):
        bind("dataset", "own")
