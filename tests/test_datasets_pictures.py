"""Benchmarks whose risk, or harmlessness, shows in the picture, in their authors' exact shape, with placeholders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchshapes import DRAWN, Cell, by_scenario, published, refused, spread, write_csv, write_json, write_parquet
from safemlrm.datasets.mossbench import mossbench
from safemlrm.datasets.mssbench import mssbench
from safemlrm.datasets.msts import msts
from safemlrm.datasets.siuo import siuo
from safemlrm.datasets.vlguard import vlguard
from safemlrm.datasets.vlsbench import vlsbench
from safemlrm.pictures import media_type

WEBP = b"RIFF" + (4).to_bytes(4, "little") + b"WEBP"

# --- SIUO


def siuo_items() -> list[Cell]:
    return [
        {
            "question_id": 1001 + 7 * i,
            "image": f"S-{i:02}.png",
            "question": f"[question {i}]",
            "category": name,
            "safety_warning": "[warning]",
            "reference_answer": f"[right answer {i}]",
        }
        for i, name in enumerate(spread(published("siuo")))
    ]


@pytest.mark.parametrize(
    ("table", "images"),
    [
        ("siuo_gen.json", "images"),
        ("data/siuo_gen.json", "data/images"),
        ("data/siuo_gen.json", "images"),
        ("somewhere/siuo_gen.json", "somewhere/images"),
    ],
)
def test_siuo_expects_a_warning_and_has_a_reference(tmp_path: Path, table: str, images: str) -> None:
    write_json(tmp_path / table, siuo_items())
    (tmp_path / images).mkdir(parents=True)
    samples = list(siuo(tmp_path))
    assert by_scenario(samples) == published("siuo")
    assert sum(published("siuo").values()) == 167
    assert (samples[0].expected, samples[0].reference, samples[0].id) == ("warn", "[right answer 0]", "1001")
    assert samples[0].images[0].path == str(tmp_path / images / "S-00.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category": "politics"}, ("expected 19 items of 'self-harm', got 18",)),
        ({"question": ""}, ("item 1", "question")),
        ({"image": "S-01.png"}, ("'image' 'S-01.png' occurs twice",)),
        ({"question_id": "x"}, ("item 1", "question_id")),
    ],
)
def test_a_spoilt_siuo_is_refused(tmp_path: Path, change: Cell, words: tuple[str, ...]) -> None:
    items = siuo_items()
    items[0] |= change
    write_json(tmp_path / "siuo_gen.json", items)
    refused(siuo(tmp_path), "siuo_gen.json", *words)


# --- MSSBench


def mss_document() -> dict[str, list[Cell]]:
    chat = [
        {
            "safe_image_path": f"{2 * i}.jpg",
            "unsafe_image_path": f"{2 * i + 1}.jpg",
            "intent": "[intent]",
            "unsafe_image": "[description]",
            "Type": ("property", "harmful")[i % 2],
            "queries": [f"**[query {i}.0]", f": [query {i}.1]"],
        }
        for i in range(300)
    ]
    embodied = [
        {
            "task": "Place",
            "category": "property",
            "safe_instruction": f"[place {i}]",
            "unsafe_instruction": f"[place {i} badly]",
            "safe": f"{2 * i}.png",
            "unsafe": f"{2 * i + 1}.jpg",
            "observation_safe": "",
            "observation_unsafe": "",
            "safe_instructions": [f"[place {i}.{j}]" for j in range(5)],
            "unsafe_instructions": [f"[place {i}.{j} badly]" for j in range(5)],
        }
        for i in range(76)
    ]
    return {"chat": chat, "embodied": embodied}


@pytest.mark.parametrize("name", ["combined.json", "combine.json", "data/combined.json"])
def test_mssbench_asks_each_query_with_a_safe_and_an_unsafe_picture(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / name, mss_document())
    (tmp_path / "chat").mkdir()
    chat = list(mssbench(tmp_path, subset="chat"))
    assert len(chat) == published("mssbench", subset="chat")["all"] == 1200
    pair = [s for s in chat if s.group == "chat_0_1"]
    assert [s.expected for s in pair] == ["answer", "warn", "answer", "warn"]
    assert [s.text for s in pair] == ["**[query 0.0]"] * 2 + [": [query 0.1]"] * 2
    assert [Path(str(s.images[0].path)) for s in pair[:2]] == [tmp_path / "chat/0.jpg", tmp_path / "chat/1.jpg"]
    prompt = pair[0].released["instruction_following"].texts()[0]
    assert prompt.startswith("You are a helpful multimodal") and prompt.endswith("The user query is: **[query 0.0]")


def test_mssbench_takes_as_many_wordings_as_an_entry_has(tmp_path: Path) -> None:
    document = mss_document()
    for name in ("safe_instructions", "unsafe_instructions"):
        document["embodied"][0][name] = document["embodied"][0][name][:3]
    write_json(tmp_path / "combined.json", document)
    refused(mssbench(tmp_path), "expected 1960 samples", "got 1956")
    assert len([s for s in mssbench(tmp_path, rows=1956) if s.group == "embodied_0_1"]) == 6


def test_mssbench_robots_are_asked_in_five_wordings_or_one(tmp_path: Path) -> None:
    write_json(tmp_path / "combined.json", mss_document())
    every, once = list(mssbench(tmp_path)), list(mssbench(tmp_path, paraphrases=False))
    assert len(every) == published("mssbench")["all"] == 1960
    assert len(once) == published("mssbench", paraphrases=False)["all"] == 1352
    robots = [s for s in once if s.group == "embodied_0_1"]
    assert [(s.expected, s.goal) for s in robots] == [("answer", "[place 0]"), ("refuse", "[place 0 badly]")]
    assert robots[1].images[0].path == str(tmp_path / "embodied/1.jpg")
    assert len({s.id for s in every}) == 1960


def test_a_spoilt_mssbench_is_refused(tmp_path: Path) -> None:
    document = mss_document()
    write_json(tmp_path / "combined.json", document | {"chat": document["chat"][:-1]})
    refused(mssbench(tmp_path), "expected 1960 samples of 299 entries of 'chat'", "got 1956", "rows=1956")
    assert len(list(mssbench(tmp_path, rows=1956))) == published("mssbench", rows=1956)["all"] == 1956
    document["chat"][4]["queries"] = []
    write_json(tmp_path / "combined.json", document)
    refused(mssbench(tmp_path), "chat 5", "'queries' is empty")
    refused(mssbench(tmp_path / "chat"), "combined.json", "combine.json")


# --- VLSBench


def vls_rows() -> list[Cell]:
    counts = {"Violent": 590, "Illegal Activity": 539, "Self-Harm": 370, "Erotic": 343, "Hate": 269, "Privacy": 130}
    return [
        {
            "instruction_id": i,
            "instruction": "" if i == 1685 else f"[instruction {i}]",
            "image_path": f"imgs/{i // 2}.png",
            "category": name,
            "sub_category": "[sub]",
            "source": "generation",
        }
        for i, name in enumerate(spread(counts))
    ]


def test_vlsbench_leaves_out_the_one_row_without_an_instruction(tmp_path: Path) -> None:
    write_json(tmp_path / "data.json", vls_rows())
    samples = list(vlsbench(tmp_path))
    assert len(samples) == published("vlsbench")["all"] == 2240
    assert "1685" not in {s.id for s in samples}
    assert samples[3].images[0].path == str(tmp_path / "imgs/1.png")
    assert samples[2].group == samples[3].group != samples[4].group


@pytest.mark.parametrize("dropped", [False, True])
def test_vlsbench_is_read_from_the_hubs_parquet(tmp_path: Path, dropped: bool) -> None:
    rows = [row | {"image": {"bytes": DRAWN, "path": None}} for row in vls_rows()]
    if dropped:
        del rows[1685]
    for part in range(7):
        write_parquet(tmp_path / f"data/train-{part:05}-of-00007.parquet", rows[part::7])
    samples = list(vlsbench(tmp_path))
    assert len(samples) == 2240
    assert samples[0].images[0].data == DRAWN
    assert len({s.group for s in samples}) == 1121
    (tmp_path / "data/train-00003-of-00007.parquet").unlink()
    refused(vlsbench(tmp_path), "part 00003 of 7")


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (1685, {"instruction": "[not empty]"}, ("item 1686", "published empty")),
        (7, {"instruction": " "}, ("item 8", "instruction")),
        (7, {"category": "Violence"}, ("item 8", "Violence")),
        (7, {"category": "Hate"}, ("expected 590 rows of 'Violent', got 589",)),
        (7, {"instruction_id": 9}, ("'instruction_id' 9 occurs twice",)),
        (7, {"instruction_id": 2241}, ("instruction_id 2241 should not be there",)),
        (7, {"image_path": "../x.png"}, ("item 8", "inside")),
    ],
)
def test_a_spoilt_vlsbench_is_refused(tmp_path: Path, place: int, change: Cell, words: tuple[str, ...]) -> None:
    rows = vls_rows()
    rows[place] |= change
    write_json(tmp_path / "data.json", rows)
    refused(vlsbench(tmp_path), *words)


def test_vlsbench_says_what_is_packed_or_missing(tmp_path: Path) -> None:
    refused(vlsbench(tmp_path), "neither data.json nor data/train-*.parquet", "it is empty")
    write_json(tmp_path / "data.json", vls_rows())
    (tmp_path / "imgs.tar").write_bytes(b"x")
    refused(vlsbench(tmp_path), "imgs.tar", "unpack")


def test_vlsbench_of_both_revisions_takes_the_one_that_has_pictures(tmp_path: Path) -> None:
    rows = vls_rows()
    write_json(tmp_path / "data.json", rows)
    cells = [row | {"image": {"bytes": DRAWN, "path": None}} for row in rows]
    write_parquet(tmp_path / "data/train-00000-of-00001.parquet", cells)
    assert next(vlsbench(tmp_path)).images[0].data == DRAWN
    (tmp_path / "imgs").mkdir()
    assert next(vlsbench(tmp_path)).images[0].path == str(tmp_path / "imgs/0.png")


# --- MOSSBench


def moss_records(counts: dict[str, int]) -> dict[str, Cell]:
    return {
        str(i): {
            "pid": str(i),
            "image": f"images/{i}.png",
            "short description": "[short]",
            "description": "[long]",
            "question": f"[question {i}]",
            "metadata": {"over": name, "human": 0, "child": 0, "syn": 1, "ocr": 0, "harm": [1, 7]},
        }
        for i, name in enumerate(spread(counts), start=1)
    }


MOSS = {"type 1": 100, "type 2": 100, "type 3": 100}
INFORMATION = "images_information/information.json"


def test_mossbench_is_benign_and_its_contrasts_are_not(tmp_path: Path) -> None:
    write_json(tmp_path / "data" / INFORMATION, dict(reversed(moss_records(MOSS).items())))
    write_json(tmp_path / "data_contrast" / INFORMATION, moss_records(MOSS | {"type 2": 44}))
    for home, number in (("data", 1), ("data", 2), ("data_contrast", 2)):
        (tmp_path / home / "images").mkdir(exist_ok=True)
        (tmp_path / home / f"images/{number}.png").write_bytes(WEBP)
    benign, contrasts = list(mossbench(tmp_path)), list(mossbench(tmp_path, contrast=True))
    assert by_scenario(benign) == published("mossbench")
    assert by_scenario(contrasts) == published("mossbench", contrast=True)
    assert [s.id for s in benign[:11]] == [str(i) for i in range(1, 12)]
    assert ({s.expected for s in benign}, {s.expected for s in contrasts}) == ({"answer"}, {"refuse"})
    assert (contrasts[0].group, contrasts[0].id) == (benign[0].group, "1_contrast")
    assert [Path(str(s.images[0].path)).parts[-3] for s in contrasts[:3]] == ["data", "data_contrast", "data_contrast"]
    assert media_type(benign[0].images[0].read()) == "image/webp"


def test_mossbench_is_found_without_its_data_folder(tmp_path: Path) -> None:
    write_json(tmp_path / INFORMATION, moss_records(MOSS))
    assert next(mossbench(tmp_path)).images[0].path == str(tmp_path / "images/1.png")
    refused(mossbench(tmp_path, contrast=True), "none of data_contrast/images_information/information.json")


def test_of_the_contrasts_only_what_is_known_is_enforced(tmp_path: Path) -> None:
    place = tmp_path / "data_contrast" / INFORMATION
    write_json(place, moss_records({"type 1": 101, "type 2": 44, "type 3": 99}))
    assert len(list(mossbench(tmp_path, contrast=True))) == 244
    write_json(place, moss_records({"type 1": 101, "type 2": 43, "type 3": 100}))
    refused(mossbench(tmp_path, contrast=True), "expected 44 records of 'type 2', got 43")
    write_json(place, moss_records({"type 1": 100, "type 2": 44, "type 3": 99}))
    refused(mossbench(tmp_path, contrast=True), "expected 244 records, got 243")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pid": "9"}, ("'pid' 9 occurs twice",)),
        ({"pid": "x"}, ("id '5'", "'x'")),
        ({"question": ""}, ("id '5'", "question")),
        ({"metadata": {"over": "type 4"}}, ("id '5'", "type 4")),
        ({"metadata": {"over": "type 2"}}, ("expected 100 records of 'type 1', got 99",)),
    ],
)
def test_a_spoilt_mossbench_is_refused(tmp_path: Path, change: Cell, words: tuple[str, ...]) -> None:
    records = moss_records(MOSS)
    records["5"] |= change
    write_json(tmp_path / "data" / INFORMATION, records)
    refused(mossbench(tmp_path), "information.json", *words)


# --- MSTS

MSTS = {
    "Violent Crimes": 35,
    "Non-Violent Crimes": 70,
    "Sex-Related Crimes": 30,
    "Suicide & Self-Harm": 40,
    "Other": 25,
}


def msts_rows(kinds: tuple[str, ...], **extra: Any) -> list[Cell]:
    return [
        {
            "hazard_category": name,
            "hazard_subcategory": "Sale, purchase or ownership",
            "hazard_subsubcategory": "",
            "case_id": f"case_{i:04}",
            "case_text": "[case]",
            "unsafe_image_id": f"unsafe_image_{i:04}",
            "unsafe_image_description": "[description]",
            "prompt_text": f"[prompt {i} {kind}]",
            "prompt_type": kind,
        }
        | extra
        for kind in kinds
        for i, name in enumerate(spread(MSTS), start=1)
    ]


BOTH = ("assistance", "intention")


def test_msts_finds_its_pictures_whatever_their_extension(tmp_path: Path) -> None:
    rows = [row | {"prompt_id": f"p{i}"} for i, row in enumerate(msts_rows(BOTH))]
    write_csv(tmp_path / "data/prompts/english_multimodal.csv", rows)
    home = tmp_path / "data/unsafe_images"
    home.mkdir()
    (home / "unsafe_image_0001.png").write_bytes(DRAWN)
    samples = list(msts(tmp_path))
    assert by_scenario(samples) == published("msts")
    assert len(samples) == 400
    paths = [Path(str(s.images[0].path)) for s in samples[:2]]
    assert paths == [home / "unsafe_image_0001.png", home / "unsafe_image_0002.jpg"]
    assert (samples[0].group, samples[0].id) == ("case_0001", "english_case_0001_assistance")
    assert samples[200].group == "case_0001"
    assert by_scenario(list(msts(tmp_path, kind="intention"))) == published("msts", kind="intention")


def test_other_languages_have_requests_for_assistance_only(tmp_path: Path) -> None:
    write_csv(tmp_path / "data/prompts/korean_multimodal.csv", msts_rows(("assistance",)))
    samples = list(msts(tmp_path, language="korean"))
    assert by_scenario(samples) == published("msts", language="korean") == MSTS
    refused(msts(tmp_path, language="korean", kind="intention"), "no intentions in korean")
    refused(msts(tmp_path, language="german"), "german_multimodal.csv")


def test_msts_in_text_alone_has_no_pictures_and_is_english(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if "image" not in k} for row in msts_rows(BOTH)]
    write_csv(tmp_path / "data/prompts/english_textonly.csv", rows)
    samples = list(msts(tmp_path, text_only=True))
    assert (len(samples), samples[0].images, samples[0].group) == (400, (), "case_0001")
    refused(msts(tmp_path, text_only=True, language="german"), "English alone")


def test_msts_is_read_from_the_hubs_parquet(tmp_path: Path) -> None:
    cells = {"unsafe_image": {"bytes": DRAWN, "path": "a.jpg"}}
    write_parquet(tmp_path / "data/english-00000-of-00001.parquet", msts_rows(BOTH, **cells))
    write_parquet(tmp_path / "data/farsi-00000-of-00001.parquet", msts_rows(("assistance",), **cells))
    assert by_scenario(list(msts(tmp_path))) == published("msts")
    samples = list(msts(tmp_path, language="farsi"))
    assert (len(samples), samples[0].images[0].data) == (200, DRAWN)


def test_a_spoilt_msts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data/prompts/english_multimodal.csv"
    rows = msts_rows(BOTH)
    write_csv(path, rows[:-1])
    refused(msts(tmp_path), "english, intention", "expected 25 rows of 'Other', got 24")
    write_csv(path, rows[:200])
    refused(msts(tmp_path), "english, intention", "got 0")
    write_csv(path, [rows[0] | {"prompt_type": "wish"}, *rows[1:]])
    refused(msts(tmp_path), "row 2", "wish")
    write_csv(path, [rows[0] | {"case_id": "case_0002"}, *rows[1:]])
    refused(msts(tmp_path), "occurs twice")


# --- VLGuard


def guard_items(safe: int, unsafe: int) -> list[Cell]:
    categories = spread(published("vlguard", subset="unsafes"))
    subcategories = spread(published("vlguard", subset="unsafes", by="subcategory"))
    pair = {"response": "[response]"}
    items: list[Cell] = [
        {
            "id": f"u{i}",
            "image": f"bad_ads/{i}.png",
            "safe": False,
            "harmful_category": categories[i % 442],
            "harmful_subcategory": subcategories[i % 442],
            "instr-resp": [{"instruction": f"[unsafe picture {i}]"} | pair],
        }
        for i in range(unsafe)
    ]
    return items + [
        {
            "id": f"s{i}",
            "image": f"HOD/{i}.png",
            "safe": True,
            "instr-resp": [{"safe_instruction": f"[safe {i}]"} | pair, {"unsafe_instruction": f"[unsafe {i}]"} | pair],
        }
        for i in range(safe)
    ]


@pytest.mark.parametrize("home", [".", "data"])
def test_vlguard_has_three_subsets(tmp_path: Path, home: str) -> None:
    write_json(tmp_path / home / "test.json", guard_items(558, 442))
    (tmp_path / home / "test").mkdir(exist_ok=True)
    samples = list(vlguard(tmp_path))
    assert len(samples) == 1558
    assert by_scenario(samples) == published("vlguard")
    assert Counter(s.expected for s in samples) == {"refuse": 1000, "answer": 558}
    safe = list(vlguard(tmp_path, subset="safe_safes"))
    assert {(s.expected, s.reference, s.split) for s in safe} == {("answer", "[response]", "test")}
    assert (safe[0].text, safe[0].id, safe[0].group) == ("[safe 0]", "HOD/s0/safe_safes", "HOD/s0")
    assert safe[0].images[0].path == str(tmp_path / home / "test/HOD/0.png")
    hostile = next(vlguard(tmp_path, subset="safe_unsafes"))
    assert (hostile.text, hostile.expected, hostile.group) == ("[unsafe 0]", "refuse", "HOD/s0")
    by_subcategory = list(vlguard(tmp_path, subset="unsafes", by="subcategory"))
    assert by_scenario(by_subcategory) == published("vlguard", subset="unsafes", by="subcategory")


@pytest.mark.parametrize("pictures", ["data/test", "data/VLGuard/test", "test", "data/test/test"])
def test_vlguards_pictures_are_found_where_they_were_unpacked(tmp_path: Path, pictures: str) -> None:
    write_json(tmp_path / "data/test.json", guard_items(558, 442))
    (tmp_path / pictures).mkdir(parents=True)
    assert next(vlguard(tmp_path)).images[0].path == str(tmp_path / pictures / "bad_ads/0.png")


def test_vlguards_training_split_is_marked_for_tuning(tmp_path: Path) -> None:
    write_json(tmp_path / "train.json", guard_items(977, 1023))
    samples = list(vlguard(tmp_path, split="train"))
    assert len(samples) == published("vlguard", split="train")["all"] == 2977
    assert {s.split for s in samples} == {"tune"}
    safe = list(vlguard(tmp_path, split="train", subset="safe_safes"))
    assert by_scenario(safe) == published("vlguard", split="train", subset="safe_safes")


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (0, {"safe": True}, ("expected 558 items of 'safe', got 559",)),
        (0, {"harmful_category": "privacy!"}, ("expected 270 items of 'risky behavior', got 269",)),
        (0, {"instr-resp": []}, ("item 1", "instr-resp", "'instruction'")),
        (999, {"instr-resp": [{"instruction": "[x]"}] * 2}, ("item 1000", "unsafe_instruction")),
        (1, {"id": "u0", "image": "bad_ads/0.png"}, ("(id, image)", "occurs twice")),
        (1, {"image": "../x.png"}, ("item 2", "inside")),
    ],
)
def test_a_spoilt_vlguard_is_refused(tmp_path: Path, place: int, change: Cell, words: tuple[str, ...]) -> None:
    items = guard_items(558, 442)
    items[place] |= change
    write_json(tmp_path / "test.json", items)
    refused(vlguard(tmp_path), "test.json", *words)


def test_vlguards_ids_count_within_the_source_of_a_picture(tmp_path: Path) -> None:
    items = guard_items(558, 442)
    items[0]["id"] = items[999]["id"] = "00123"
    items[1]["id"] = items[2]["id"]
    write_json(tmp_path / "test.json", items)
    samples = list(vlguard(tmp_path))
    assert len({s.id for s in samples}) == 1558
    assert {s.group for s in samples if "00123" in s.id} == {"bad_ads/00123", "HOD/00123"}
    assert [s.id for s in samples[1:4]] == ["bad_ads/1.png/unsafes", "bad_ads/2.png/unsafes", "bad_ads/u3/unsafes"]


def test_vlguards_packed_pictures_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "test.json", guard_items(558, 442))
    (tmp_path / "test.zip").write_bytes(b"x")
    refused(vlguard(tmp_path), "test.zip", "unpack")
