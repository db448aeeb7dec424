"""Shared reading of benchmark files: strict on content, with file and row, and streamed."""

from __future__ import annotations

import base64
import csv
import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchshapes import DRAWN, published, refused, write_parquet
from safemlrm.benchcells import ALL
from safemlrm.benchfiles import (
    base64_picture,
    beneath,
    choose,
    filled,
    known,
    one_of,
    parquet_parts,
    picture,
    picture_folder,
    read_header,
    read_items,
    read_lines,
    read_parquet,
    read_table,
    whole_number,
    zip_pictures,
)
from safemlrm.errors import DataError, UnknownName
from safemlrm.registry import find, names

# --- shared reading


def test_a_table_may_hold_more_columns_and_repeat_its_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfid,note,text\r\n1,,"a\r\nb"\r\nid,note,text\r\n2,x,c\r\n')
    rows = [(row.number, row.cells) for row in read_table(path, ("text", "id"))]
    assert rows == [(2, {"id": "1", "text": "a\r\nb"}), (4, {"id": "2", "text": "c"})]
    assert read_header(path) == ("id", "note", "text")
    refused(read_table(path, ("id", "note")), "row 2", "'note' is blank")
    assert len(list(read_table(path, ("id", "note"), blank=("note",)))) == 2
    refused(read_table(path, ("goal",)), "row 1", "no column 'goal'", "id,note,text")


CELLS = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda cell: bool(cell.strip()))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5), st.sampled_from(["\n", "\r\n"]))
def test_cells_of_a_tsv_come_back_as_they_were_written(rows: list[tuple[str, str]], ends: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.tsv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator=ends, quoting=csv.QUOTE_ALL)
            writer.writerows([("extra", "a", "b"), *(("", a, b) for a, b in rows)])
        read = list(read_table(path, ("b", "a"), separator="\t"))
    assert [(row.cells["a"], row.cells["b"]) for row in read] == rows


def test_a_table_with_one_column_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,a\n1,2\n")
    refused(read_table(path, ("a",)), "occurs twice")


def test_lists_and_lines_of_json_name_the_place_of_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"a": 1}, {"a": "x"}]')
    with pytest.raises(DataError, match="item 2"):
        read_items(path, dict[str, int])
    assert read_items(path, dict[str, Any])[1] == {"a": "x"}
    path.write_text('{"a": 1}\n\n{"a": 2}\nnothing\n')
    refused(read_lines(path, dict[str, int]), "line 4")
    path.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert list(read_lines(path, dict[str, int])) == [(1, {"a": 1}), (3, {"a": 2})]
    refused(read_lines(tmp_path / "none", dict[str, int]), "cannot be read")


def test_parquet_is_streamed_over_slices_and_files(tmp_path: Path) -> None:
    for part in range(2):
        write_parquet(tmp_path / f"p-{part:05}-of-00002.parquet", [{"n": part * 70 + i, "m": "x"} for i in range(70)])
    files = parquet_parts(tmp_path, "p")
    rows = list(read_parquet(files, ("n",), optional=("m", "absent")))
    assert [row.cells["n"] for row in rows] == list(range(140))
    assert rows[139].where.endswith("p-00001-of-00002.parquet, row 70")
    assert rows[0].cells == {"n": 0, "m": "x"}
    refused(read_parquet(files, ("z",)), "no column 'z'", "n, m")
    refused(read_parquet(tmp_path / "none.parquet", ("z",)), "none.parquet", "no such file")


def test_a_missing_part_of_a_split_is_named(tmp_path: Path) -> None:
    for home in ("data", "one", "two/test"):
        write_parquet(tmp_path / home / "test-00000-of-00003.parquet", [{"n": 1}])
    with pytest.raises(DataError, match=r"part 00001 of 3 .*1 of 3"):
        parquet_parts(tmp_path, "test")
    assert parquet_parts(tmp_path, "train") == []
    assert parquet_parts(tmp_path / "two", "00000") == []


@pytest.mark.parametrize(
    "home", ["data/test-00000-of-00001", "default/test-00000-of-00001", "default/test/0000", "test", "data/test"]
)
def test_a_split_is_found_in_every_placement_of_the_hub(tmp_path: Path, home: str) -> None:
    path = write_parquet(tmp_path / f"{home}.parquet", [{"n": 1}])
    assert [p.resolve() for p in parquet_parts(tmp_path, "test")] == [path.resolve()]


@pytest.mark.parametrize("cell", [DRAWN, {"bytes": DRAWN, "path": None}])
def test_a_picture_cell_is_bytes_or_a_struct_of_them(cell: Any) -> None:
    assert picture("row 1", cell).data == DRAWN
    assert base64_picture("row 1", base64.encodebytes(DRAWN).decode()).data == DRAWN


@pytest.mark.parametrize("cell", [None, b"", {"bytes": None, "path": "a.png"}, "a.png"])
def test_a_picture_cell_without_bytes_is_refused(cell: Any) -> None:
    with pytest.raises(DataError, match=r"row 1: 'image' holds no bytes"):
        picture("row 1", cell)
    with pytest.raises(DataError, match="base64"):
        base64_picture("row 1", "no base64!")


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b", "", "C:\\a.png", "a\\..\\..\\b"])
def test_a_table_cannot_name_a_file_outside_its_folder(name: str) -> None:
    with pytest.raises(DataError, match="inside"):
        beneath("row 1", Path("/data"), name)
    assert beneath("row 1", Path("/data"), "a/b.png") == Path("/data/a/b.png")


def test_packed_pictures_say_what_to_unpack(tmp_path: Path) -> None:
    assert picture_folder(tmp_path, ("imgs", "data/imgs"), ("imgs.tar",)) == tmp_path / "imgs"
    (tmp_path / "imgs.tar").write_bytes(b"x")
    with pytest.raises(DataError, match="unpack"):
        picture_folder(tmp_path, ("imgs", "data/imgs"), ("imgs.tar",))
    (tmp_path / "data/imgs").mkdir(parents=True)
    assert picture_folder(tmp_path, ("imgs", "data/imgs"), ("imgs.tar",)) == tmp_path / "data/imgs"
    with pytest.raises(DataError, match=r"none of a, b is there \(it holds data/, imgs\.tar\)"):
        one_of(tmp_path, ("a", "b"))


def test_values_are_what_they_should_be() -> None:
    assert whole_number("w", "n", "07") == 7
    assert whole_number("w", "n", 7.0) == 7
    for value in (None, "x", 7.5, True):
        with pytest.raises(DataError, match="whole number"):
            whole_number("w", "n", value)
    with pytest.raises(DataError, match=r"none of a, b"):
        known("w", "n", "c", ("b", "a"))
    assert filled("w", "n", " a ") == " a "
    assert choose(("Self-Harm",), ("Self-Harm", "Violence"), "scenario", "x") == ("Self-Harm",)
    with pytest.raises(UnknownName):
        choose(("Harm",), ("Self-Harm", "Violence"), "scenario", "x")


def test_a_broken_or_bloated_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK, but no zip")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        zip_pictures(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", DRAWN)
        archive.writestr("__MACOSX/._a.png", b"x")
        archive.writestr("README.md", b"x")
    assert zip_pictures(path) == {"a.png": DRAWN}
    monkeypatch.setattr("safemlrm.benchfiles.parquet._LARGEST_PICTURE", 10)
    with pytest.raises(DataError, match="would unpack to"):
        zip_pictures(path)


# --- what every one of them declares

PUBLISHED = [name for name in names("dataset") if find("dataset", name).folders]


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_declares_where_it_comes_from_and_how_it_is_scored(name: str) -> None:
    plugin = find("dataset", name)
    assert plugin.paper.startswith("arXiv ")
    assert plugin.source.startswith("https://")
    assert plugin.licence and plugin.metric and name in plugin.folders
    assert plugin.function.__doc__ and "Raises `DataError`" in plugin.function.__doc__
    assert sum(published(name).values()) > 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_folder_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    plugin = find("dataset", name)
    refused(plugin.function(tmp_path, **plugin.bind({})), str(tmp_path))
    shutil.rmtree(tmp_path)
    refused(plugin.function(tmp_path, **plugin.bind({})), str(tmp_path))


@pytest.mark.parametrize(
    ("name", "params", "total"),
    [
        ("advbench", {}, 520),
        ("beavertails_v", {}, 1180),
        ("guardtrace", {}, 2000),
        ("holisafe", {}, 4031),
        ("jbb_behaviors", {}, 200),
        ("jbb_behaviors", {"subset": "benign"}, 100),
        ("mathvista", {}, 1000),
        ("mir_safetybench", {}, 2676),
        ("mis", {}, 2285),
        ("holisafe", {"rows": 4163}, 4163),
        ("mmmu", {}, 900),
        ("omnisafebench_mm", {}, 1500),
        ("or_bench", {"subset": "80k"}, 80359),
        ("salad", {}, 2013),
        ("spa_vl", {}, 265),
        ("strongreject", {}, 313),
        ("xstest", {}, 450),
    ],
)
def test_a_study_can_be_planned_without_the_files(name: str, params: dict[str, Any], total: int) -> None:
    assert sum(published(name, **params).values()) == total


@pytest.mark.parametrize(("name", "params"), [("beavertails_v", {"split": "train"}), ("spa_vl", {"subset": "train"})])
def test_a_training_part_of_unknown_size_cannot_be_planned(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="not known without its files"):
        published(name, **params)


def test_only_the_total_is_promised_where_the_scenarios_are_not_published() -> None:
    assert list(published("holisafe")) == [ALL]
