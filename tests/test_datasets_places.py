"""Where benchmarks are found: however a copy was made and wherever it was unpacked, or not with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchshapes import refused, write_csv, write_json, write_parquet
from safemlrm.benchcells import entries, tables
from safemlrm.benchfiles import locate, one_of, parquet_parts, read_items, read_lines, read_table, zip_pictures
from safemlrm.datasets.xstest import xstest
from safemlrm.errors import DataError
from safemlrm.registry import find, names


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("figstep_safebench", "FigStep"),
        ("figstep_safebench", "figstep-main"),
        ("figstep_safebench", "FigStep-0861b17b3d67887c06ee3534ec65b3012f9becb7"),
        ("figstep_safebench", "FIGSTEP"),
        ("holisafe", "HoliSafe"),
        ("holisafe", "holisafe_bench"),
        ("xstest", "Paul__XSTest"),
        ("xstest", "Paul/XSTest"),
        ("strongreject", "StrongREJECT"),
        ("or_bench", "OR_Bench-master"),
        ("jbb_behaviors", "JBB"),
        ("jailbreakv_28k", "JailBreakV-28K"),
    ],
)
def test_a_copy_is_found_under_any_spelling_of_its_name(tmp_path: Path, name: str, copy: str) -> None:
    (tmp_path / copy).mkdir(parents=True)
    (tmp_path / copy / "README.md").touch()
    assert locate(tmp_path, find("dataset", name)) == tmp_path / copy
    assert locate(tmp_path / copy, find("dataset", name)) == tmp_path / copy


def test_an_archives_own_folder_is_gone_through(tmp_path: Path) -> None:
    inner = tmp_path / "FigStep" / "FigStep-main"
    (inner / "data").mkdir(parents=True)
    (tmp_path / "FigStep" / "__MACOSX").mkdir()
    (tmp_path / "FigStep" / "FigStep-main.zip").touch()
    assert locate(tmp_path, find("dataset", "figstep_safebench")) == inner
    # a download with a folder of the repository's name inside stays what it is
    (tmp_path / "FigStep" / ".safemlrm.json").touch()
    assert locate(tmp_path, find("dataset", "figstep_safebench")) == tmp_path / "FigStep"


def test_a_hub_cache_is_read_through_the_snapshot_of_its_main_branch(tmp_path: Path) -> None:
    cache, plugin = tmp_path / "datasets--Paul--XSTest", find("dataset", "xstest")
    (cache / "snapshots" / "aaa").mkdir(parents=True)
    assert locate(tmp_path, plugin) == cache / "snapshots" / "aaa"
    (cache / "snapshots" / "bbb").mkdir()
    with pytest.raises(DataError, match="aaa, bbb"):
        locate(tmp_path, plugin)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("bbb")
    assert locate(tmp_path, plugin) == cache / "snapshots" / "bbb"


def test_of_two_copies_none_is_taken_silently(tmp_path: Path) -> None:
    for copy in ("holisafe_bench", "HoliSafe"):
        (tmp_path / copy).mkdir()
    with pytest.raises(DataError, match=r"HoliSafe, holisafe_bench in .* may all be it; keep one"):
        locate(tmp_path, find("dataset", "holisafe"))
    (tmp_path / "holisafe-bench").mkdir()
    assert locate(tmp_path, find("dataset", "holisafe")).name == "holisafe-bench"


def test_no_folder_answers_to_two_data_sets() -> None:
    plugins = [find("dataset", name) for name in names("dataset")]
    answers = [
        (letters, plugin.name)
        for plugin in plugins
        for letters in {"".join(filter(str.isalnum, name.casefold())) for name in (plugin.name, *plugin.folders)}
    ]
    assert len({letters for letters, _ in answers}) == len(answers)


def test_a_file_elsewhere_counts_where_it_is_the_only_one_of_its_name(tmp_path: Path) -> None:
    wanted = ("data/a.csv", "a.csv")
    deep = write_csv(tmp_path / "one" / "two" / "a.csv", [{"x": "1"}])
    assert one_of(tmp_path, wanted) == deep
    assert tables(tmp_path, wanted) == [deep]
    with pytest.raises(DataError, match=r"none of data/a.csv, a.csv is there \(it holds one/\)"):
        one_of(tmp_path, wanted, anywhere=False)
    write_csv(tmp_path / "three" / "a.csv", [{"x": "1"}])
    with pytest.raises(DataError, match=r"2 files a\.csv: one/two/a\.csv, three/a\.csv"):
        one_of(tmp_path, wanted)
    plain = write_csv(tmp_path / "a.csv", [{"x": "1"}])
    assert one_of(tmp_path, wanted) == plain


def test_hidden_folders_are_not_looked_into(tmp_path: Path) -> None:
    for home in (".cache", "__MACOSX"):
        write_csv(tmp_path / home / "a.csv", [{"x": "1"}])
    with pytest.raises(DataError, match=r"none of a\.csv"):
        one_of(tmp_path, ("a.csv",))


def test_a_message_says_what_a_folder_holds_instead(tmp_path: Path) -> None:
    refused(xstest(tmp_path), "none of xstest_prompts.csv", "parquet files of default/train", "(it is empty)")
    for number in range(8):
        (tmp_path / f"{number}.txt").touch()
    refused(xstest(tmp_path), "it holds 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt and 2 more")
    refused(xstest(tmp_path / "nowhere"), "it is no folder")


def test_a_pointer_that_git_lfs_left_is_named_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    readers = (
        lambda: list(read_table(path, ("x",))),
        lambda: read_items(path, dict),
        lambda: list(read_lines(path, dict)),
        lambda: zip_pictures(path),
        lambda: list(entries(path.rename(path.with_suffix(".parquet")), ("x",))),
    )
    for reader in readers:
        with pytest.raises(DataError, match="a Git LFS pointer, not the file itself"):
            reader()


def test_byte_order_marks_are_no_part_of_the_data(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", {"x": 1})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(read_lines(path, dict)) == [(1, {"x": 1})]


def test_parts_are_complete_and_of_one_revision(tmp_path: Path) -> None:
    for number in range(2):
        write_parquet(tmp_path / f"data/test-0000{number}-of-00002-0123456789abcdef.parquet", [{"n": 1}])
    assert len(parquet_parts(tmp_path, "test")) == 2
    write_parquet(tmp_path / "data/test-00001-of-00002.parquet", [{"n": 1}])
    with pytest.raises(DataError, match="3 parquet files of 'test', expected 2: two revisions"):
        parquet_parts(tmp_path, "test")
    for path in tmp_path.glob("data/test-00001-*"):
        path.unlink()
    with pytest.raises(DataError, match="part 00001 of 2 of 'test' is missing"):
        parquet_parts(tmp_path, "test")
