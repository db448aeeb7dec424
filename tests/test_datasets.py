"""The data sets: what is published is read whole, and anything else is refused with file and row."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from safemlrm.benchfiles import FIGSTEP_CARRIER, FIGSTEP_TOPICS, choose, locate, read_csv
from safemlrm.datasets.figstep_safebench import figstep_safebench
from safemlrm.datasets.mm_safetybench import PAPER_SCENARIOS, mm_safetybench
from safemlrm.datasets.specimen import specimen
from safemlrm.errors import DataError, UnknownName
from safemlrm.pictures import media_type
from safemlrm.plugin import Plugin
from safemlrm.records import Sample
from safemlrm.registry import bind, find

HEADER = ["dataset", "category_id", "task_id", "category_name", "question", "instruction"]
DRAWN = next(iter(specimen(Path()))).released["SD_TYPO"].images()[0].read()


def figstep_rows(tasks: int) -> list[list[str]]:
    """Return rows of the published shape, in string order, with placeholder texts."""
    places = [(c, t) for c in range(1, 11) for t in range(1, tasks + 1)]
    return [
        ["ForbidQI", str(c), str(t), FIGSTEP_TOPICS[c - 1], f"[placeholder question {c}, {t}]", f"[statement {c}.{t}]"]
        for c, t in sorted(places, key=lambda p: f"{p[0]}_{p[1]}")
    ]


def write_figstep(folder: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    path = folder / "data" / "question" / "safebench.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def mm_record(key: int) -> dict[str, str]:
    fields = ("Question", "GPT-Pred", "Changed Question", "Key Phrase", "Phrase Type", "Rephrased Question")
    return {name: f"[{name} {key}]" for name in fields} | {"Rephrased Question(SD)": f" [SD {key}]\n"}


def write_mm(folder: Path, scenario: str, keys: list[int], home: str = "data/processed_questions") -> Path:
    path = folder / home / f"{scenario}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({str(key): mm_record(key) for key in keys}), encoding="utf-8")
    return path


def refused(samples: Iterator[Sample], *words: str) -> None:
    with pytest.raises(DataError) as caught:
        list(samples)
    for word in words:
        assert word in str(caught.value)


# --- FigStep's SafeBench


@pytest.mark.parametrize(("question", "images"), [("question", "images"), (".", "images"), ("a/b", "a/b/images")])
def test_safebench_is_found_without_its_data_folder(tmp_path: Path, question: str, images: str) -> None:
    (tmp_path / question).mkdir(parents=True, exist_ok=True)
    write_figstep(tmp_path, figstep_rows(50)).rename(tmp_path / question / "safebench.csv")
    picture = next(figstep_safebench(tmp_path)).released["figstep"].images()[0]
    assert picture.path == str(tmp_path / images / "SafeBench" / "query_ForbidQI_1_1_6.png")


def test_safebench_is_ordered_by_the_numbers_of_category_and_task(tmp_path: Path) -> None:
    write_figstep(tmp_path, figstep_rows(50))
    samples = list(figstep_safebench(tmp_path))
    assert len(samples) == 500
    assert [s.id for s in samples[8:11]] == ["1_9", "1_10", "1_11"]
    assert samples[-1].id == "10_50"
    first = samples[0]
    assert (first.scenario, first.text, first.goal) == (
        "Illegal Activity",
        "[placeholder question 1, 1]",
        "[placeholder question 1, 1]",
    )
    assert (first.instruction, first.group, first.expected) == ("[statement 1.1]", "1_1", "refuse")


def test_the_released_picture_comes_first_and_then_the_carrier_text(tmp_path: Path) -> None:
    write_figstep(tmp_path, figstep_rows(50))
    (turn,) = list(figstep_safebench(tmp_path))[59].released["figstep"].turns
    picture, text = turn.content
    assert not isinstance(picture, str)
    assert picture.path == str(tmp_path / "data/images/SafeBench/query_ForbidQI_2_10_6.png")
    assert text == FIGSTEP_CARRIER


def test_the_tiny_table_has_windows_line_ends_and_fifty_rows(tmp_path: Path) -> None:
    path = tmp_path / "data" / "question" / "SafeBench-Tiny.csv"
    path.parent.mkdir(parents=True)
    text = "\r\n".join(",".join(row) for row in [HEADER, *[[c.replace(",", ";") for c in r] for r in figstep_rows(5)]])
    path.write_bytes(text.encode() + b"\r\n")
    samples = list(figstep_safebench(tmp_path, subset="tiny"))
    assert len(samples) == 50
    assert samples[0].instruction == "[statement 1.1]"
    assert "SafeBench-Tiny" in str(samples[0].released["figstep"].images()[0].path)


def _cut(rows: list[list[str]]) -> None:
    del rows[-1]


def _double(rows: list[list[str]]) -> None:
    rows[3] = rows[2]


def _blank(rows: list[list[str]]) -> None:
    rows[7][5] = "  "


def _letter(rows: list[list[str]]) -> None:
    rows[0][2] = "x"


def _rename(rows: list[list[str]]) -> None:
    rows[0][3] = "Fraud"


def _short(rows: list[list[str]]) -> None:
    rows[1] = rows[1][:4]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_cut, ("expected 500 rows, got 499",)),
        (_double, ("row 5", "already in row 4")),
        (_blank, ("row 9", "'instruction' is blank")),
        (_letter, ("row 2", "'task_id'", "1 to 50")),
        (_rename, ("row 2", "Health Consultation", "Fraud")),
        (_short, ("row 3", "6 cells expected, got 4")),
    ],
)
def test_a_spoilt_table_is_refused_with_file_and_row(
    tmp_path: Path, spoil: Callable[[list[list[str]]], None], words: tuple[str, ...]
) -> None:
    rows = figstep_rows(50)
    spoil(rows)
    path = write_figstep(tmp_path, rows)
    refused(figstep_safebench(tmp_path), str(path), *words)


def test_another_header_is_refused(tmp_path: Path) -> None:
    write_figstep(tmp_path, figstep_rows(50), [*HEADER[:-1], "statement"])
    refused(figstep_safebench(tmp_path), "safebench.csv", "row 1", "instruction")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "empty"), (b"\xff\xfe", "UTF-8"), (",".join(HEADER).encode() + b'\na,b,"c', "row 2")],
)
def test_a_table_that_is_no_csv_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    write_figstep(tmp_path, []).write_bytes(content)
    refused(figstep_safebench(tmp_path), "safebench.csv", word)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    refused(figstep_safebench(tmp_path), str(tmp_path), "none of data/question/safebench.csv", "it holds README.md")


CELLS = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda cell: bool(cell.strip()))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_csv_cells_come_back_as_they_were_written(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("a", "b"), *rows])
        assert [tuple(row.cells.values()) for row in read_csv(path, ("a", "b"))] == rows


# --- MM-SafetyBench


@pytest.mark.parametrize("home", ["data/processed_questions", "processed_questions"])
def test_each_rendering_is_paired_with_its_own_text(tmp_path: Path, home: str) -> None:
    write_mm(tmp_path, "03-Malware_Generation", list(range(44)), home)
    samples = list(mm_safetybench(tmp_path, scenarios=("03",)))
    assert [s.id for s in samples] == [f"03_{key}" for key in range(44)]
    sample = samples[10]
    assert (sample.goal, sample.text) == ("[Changed Question 10]", "[Changed Question 10]")
    texts = {name: prompt.texts() for name, prompt in sample.released.items()}
    rephrased = ["[Rephrased Question 10]"]
    assert texts == {"SD": ["[SD 10]"], "SD_TYPO": rephrased, "TYPO": rephrased}


@pytest.mark.parametrize("root", ["data/imgs", "imgs", "MM-SafetyBench(imgs)", "data/imgs/MM-SafetyBench(imgs)"])
def test_pictures_are_found_under_each_known_root(tmp_path: Path, root: str) -> None:
    write_mm(tmp_path, "03-Malware_Generation", list(range(44)))
    (tmp_path / root / "03-Malware_Generation").mkdir(parents=True)
    sample = next(mm_safetybench(tmp_path, scenarios=("3",)))
    expected = tmp_path / root / "03-Malware_Generation" / "SD_TYPO" / "0.jpg"
    assert sample.released["SD_TYPO"].images()[0].path == str(expected)


def test_pictures_that_are_not_there_are_still_listed(tmp_path: Path) -> None:
    write_mm(tmp_path, "03-Malware_Generation", list(range(44)))
    sample = next(mm_safetybench(tmp_path, scenarios=("Malware_Generation",)))
    assert [Path(str(p.images()[0].path)).exists() for p in sample.released.values()] == [False] * 3


def test_removed_ids_leave_gaps(tmp_path: Path) -> None:
    gaps = {66, 76, 81, 82, 91, 93, 95, 98, 105, 114, 127}
    write_mm(tmp_path, "05-EconomicHarm", [key for key in range(133) if key not in gaps])
    ids = [s.id for s in mm_safetybench(tmp_path, scenarios=("05-EconomicHarm",))]
    assert len(ids) == 122
    assert "05_66" not in ids
    assert ids[-1] == "05_132"


def test_a_scenario_of_another_size_or_id_is_refused(tmp_path: Path) -> None:
    path = write_mm(tmp_path, "03-Malware_Generation", list(range(43)))
    refused(mm_safetybench(tmp_path, scenarios=("03",)), str(path), "expected 44", "got 43")
    write_mm(tmp_path, "03-Malware_Generation", [*range(43), 99])
    refused(mm_safetybench(tmp_path, scenarios=("03",)), str(path), "'99'")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"Question": "[q]"}, ("id '7'", "Changed Question")),
        (mm_record(7) | {"Changed Question": None}, ("id '7'",)),
        (mm_record(7) | {"Changed Question": " "}, ("id '7'", "Changed Question", "empty")),
    ],
)
def test_a_malformed_record_is_refused_with_file_and_id(
    tmp_path: Path, record: dict[str, Any], words: tuple[str, ...]
) -> None:
    path = write_mm(tmp_path, "03-Malware_Generation", list(range(44)))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"7": record}))
    refused(mm_safetybench(tmp_path, scenarios=("03",)), str(path), *words)


def test_json_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = write_mm(tmp_path, "03-Malware_Generation", [0])
    path.write_text('{"0": {')
    refused(mm_safetybench(tmp_path, scenarios=("03",)), str(path))


def test_an_unknown_scenario_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="03-Malware_Generation"):
        list(mm_safetybench(tmp_path, scenarios=("03-Malware_Generatoin",)))


def test_scenarios_come_once_each_and_in_their_own_order() -> None:
    assert choose(("07", "01-A"), ("01-A", "02-B", "07-C"), "scenario", "x") == ("01-A", "07-C")
    assert choose(("C", "7", "07-C"), ("01-A", "07-C"), "scenario", "x") == ("07-C",)
    assert choose((), ("01-A", "07-C"), "scenario", "x") == ("01-A", "07-C")


def test_the_tiny_subset_is_the_authors_own_list(tmp_path: Path) -> None:
    write_mm(tmp_path, "03-Malware_Generation", list(range(44)))
    sizes = {"01-Illegal_Activitiy": 10, "02-HateSpeech": 16, "03-Malware_Generation": 5, "04-Physical_Harm": 14}
    sizes |= {"05-EconomicHarm": 12, "06-Fraud": 15, "07-Sex": 11, "08-Political_Lobbying": 15}
    sizes |= {"09-Privacy_Violence": 14, "10-Legal_Opinion": 13, "11-Financial_Advice": 17}
    sizes |= {"12-Health_Consultation": 11, "13-Gov_Decision": 15}
    usable = [key for key in range(23) if key != 12]
    listed = [{"Scenario": name, "Sampled_ID_List": usable[:size]} for name, size in sizes.items()]
    path = tmp_path / "TinyVersion_ID_List.json"
    path.write_text(json.dumps(listed))
    samples = list(mm_safetybench(tmp_path, scenarios=("03",), subset="tiny"))
    assert [s.id for s in samples] == ["03_0", "03_1", "03_2", "03_3", "03_4"]
    path.write_text(json.dumps(listed[1:]))
    refused(mm_safetybench(tmp_path, scenarios=("03",), subset="tiny"), str(path), "01-Illegal_Activitiy", "10")


def test_the_papers_ten_scenarios_leave_out_three() -> None:
    assert len(PAPER_SCENARIOS) == 10
    assert not {"05-EconomicHarm", "08-Political_Lobbying", "13-Gov_Decision"} & set(PAPER_SCENARIOS)


def write_hub(folder: Path, config: str, count: int, image: Callable[[int], Any], rendering: str = "SD_TYPO") -> None:
    home = folder / "data" / config
    home.mkdir(parents=True)
    ids = [str(i) for i in range(count)]
    plain = {"id": ids, "question": [f"[plain {i}]" for i in ids], "image": [None] * count}
    pl.DataFrame(plain).write_parquet(home / "Text_only.parquet")
    paired = {"id": ids[::-1], "question": [f"[paired {i}]" for i in ids[::-1]]}
    pl.DataFrame(paired | {"image": [image(i) for i in range(count)]}).write_parquet(home / f"{rendering}.parquet")


@pytest.mark.parametrize("config", ["Illegal_Activitiy", "Illegal_Activity"])
@pytest.mark.parametrize("image", [lambda i: DRAWN, lambda i: {"bytes": DRAWN, "path": f"{i}.jpg"}])
def test_the_hubs_files_are_joined_by_id(tmp_path: Path, config: str, image: Callable[[int], Any]) -> None:
    write_hub(tmp_path, config, 97, image)
    samples = list(mm_safetybench(tmp_path, scenarios=("01",)))
    assert len(samples) == 97
    assert (samples[5].scenario, samples[5].id, samples[5].goal) == ("01-Illegal_Activitiy", "01_5", "[plain 5]")
    assert list(samples[5].released) == ["SD_TYPO"]
    prompt = samples[5].released["SD_TYPO"]
    assert prompt.texts() == ["[paired 5]"]
    assert prompt.images()[0].data == DRAWN
    assert prompt.turns[0].content[1] == "[paired 5]"


def test_hub_files_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_hub(tmp_path / "a", "Malware_Generation", 43, lambda i: DRAWN)
    refused(mm_safetybench(tmp_path / "a", scenarios=("03",)), "Text_only.parquet", "expected 44", "got 43")
    write_hub(tmp_path / "b", "Malware_Generation", 44, lambda i: DRAWN if i else b"")
    refused(mm_safetybench(tmp_path / "b", scenarios=("03",)), "SD_TYPO.parquet, row 1", "no bytes")
    (tmp_path / "b/data/Malware_Generation/SD_TYPO.parquet").write_bytes(b"no parquet at all")
    refused(mm_safetybench(tmp_path / "b", scenarios=("03",)), "SD_TYPO.parquet", "parquet")
    refused(mm_safetybench(tmp_path / "b", scenarios=("07",)), "Sex", "Text_only.parquet")


def test_a_folder_of_neither_layout_is_refused(tmp_path: Path) -> None:
    refused(mm_safetybench(tmp_path), str(tmp_path), "processed_questions", "Text_only.parquet")


# --- where a benchmark lies


def plugin_of(name: str) -> Plugin:
    return find("dataset", name)


def test_a_benchmark_is_found_under_the_data_folder_or_as_it(tmp_path: Path) -> None:
    (tmp_path / "FigStep").mkdir()
    assert locate(tmp_path, plugin_of("figstep_safebench")) == tmp_path / "FigStep"
    assert locate(tmp_path / "FigStep", plugin_of("figstep_safebench")) == tmp_path / "FigStep"
    assert locate(None, plugin_of("specimen")) == Path()


def test_a_benchmark_that_is_not_there_says_what_where_and_whence(tmp_path: Path) -> None:
    for data_dir in (tmp_path, tmp_path / "nowhere", None):
        with pytest.raises(DataError) as caught:
            locate(data_dir, plugin_of("mm_safetybench"))
        for word in ("MM-SafetyBench", str(data_dir or "--data"), "https://github.com/isXinLiu/MM-SafetyBench"):
            assert word in str(caught.value)


# --- the embedded placeholders


def test_the_placeholders_have_the_studys_shape() -> None:
    samples = list(specimen(Path()))
    counts = Counter(s.scenario for s in samples)
    assert len(samples) == 1256
    assert tuple(counts) == PAPER_SCENARIOS
    assert (counts["01-Illegal_Activitiy"], counts["12-Health_Consultation"]) == (97, 109)
    assert samples[16].text == "[placeholder request 17 of 97, 01-Illegal_Activitiy]"
    assert samples[16].released["SD_TYPO"].texts() == [samples[16].text]
    assert len({s.id for s in samples}) == 1256


def test_each_placeholder_has_a_whole_picture_of_its_own() -> None:
    pictures = {s.released["SD_TYPO"].images()[0].read() for s in specimen(Path())}
    assert len(pictures) == 1256
    assert {media_type(p) for p in pictures} == {"image/png"}


def test_the_drawn_placeholder_decodes_to_the_digits() -> None:
    with Pillow.open(io.BytesIO(DRAWN)) as picture:
        blocks = picture.convert("L").resize((25, 7), Pillow.Resampling.BOX)
    rows = ["".join("#" if blocks.getpixel((x, y)) == 0 else "." for x in range(25)) for y in range(7)]
    assert rows[1] == ".###..#......###.###..#.."
    assert rows[3] == ".#.#..#..###.#.#.#.#..#.."


def test_placeholders_like_safebench_have_instructions() -> None:
    samples = list(specimen(Path(), like="figstep_safebench", scenarios=("Fraud",)))
    assert len(samples) == 50
    assert samples[2].text == "[placeholder request 3 of 50, Fraud]"
    assert samples[2].instruction == "[placeholder statement 3 of 50, Fraud]"
    assert samples[2].released["figstep"].texts() == [FIGSTEP_CARRIER]
    assert len(list(specimen(Path(), like="figstep_safebench"))) == 500


def test_parameters_are_checked_before_anything_is_read() -> None:
    assert bind("dataset", 'mm_safetybench(scenarios=["01"])').params["scenarios"] == ("01",)
    with pytest.raises(UnknownName, match="scenarios"):
        bind("dataset", 'mm_safetybench(scenario="01")')
    with pytest.raises(UnknownName):
        list(specimen(Path(), scenarios=("05",)))
