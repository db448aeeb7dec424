"""Benchmarks of the Hub, whose cells hold pictures, in their authors' exact shape, with placeholders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchshapes import CELL, DRAWN, Rows, refused, write_json, write_parquet
from safemlrm.benchfiles import FIGSTEP_CARRIER
from safemlrm.datasets.beavertails_v import beavertails_v
from safemlrm.datasets.guardtrace import guardtrace, traces
from safemlrm.datasets.holisafe import holisafe
from safemlrm.datasets.mir_safetybench import mir_safetybench
from safemlrm.datasets.mis import mis
from safemlrm.datasets.omnisafebench_mm import omnisafebench_mm
from safemlrm.datasets.salad import salad
from safemlrm.datasets.spa_vl import spa_vl

# --- BeaverTails-V

HARMS = [
    "animal_abuse",
    "dangerous_behavior",
    "deception_in_personal_relationships",
    "discriminatory_depictions",
    "environmental_damage",
    "false_information",
    "financial_and_academic_fraud",
    "hacking_or_digital_crime",
    "harmful_health_content",
    "horror_and_gore",
    "identity_misuse_and_impersonation",
    "insulting_and_harassing_behavior",
    "pornographic_content",
    "privacy_invasion_and_surveillance",
    "psychological_harm_and_manipulation",
    "psychological_horror_and_dark_themes",
    "sensitive_information_in_key_areas",
    "sexual_crimes",
    "terrorism_or_extremism",
    "violence_and_physical_harm",
]


def beavertails_rows(count: int, image: object = CELL) -> Rows:
    return [
        {
            "question": f"[placeholder {n // 2}]",
            "image": image,
            "category": "[as written]",
            "image_severity": 3,
            "response": "[placeholder reply]",
            "is_response_safe": "no",
        }
        for n in range(count)
    ]


def write_beavertails(folder: Path, place: str = "data/{}/evaluation.parquet", last: int = 60) -> None:
    for number, name in enumerate(HARMS):
        count = last if name == HARMS[-1] else 58 if number == 0 else 59
        write_parquet(folder / place.format(name), beavertails_rows(count))


@pytest.mark.parametrize("place", ["data/{}/evaluation.parquet", "{}/evaluation-00000-of-00001.parquet"])
def test_beavertails_v_reads_the_evaluation_split_of_twenty_configurations(tmp_path: Path, place: str) -> None:
    write_beavertails(tmp_path, place)
    samples = list(beavertails_v(tmp_path))
    assert len({s.id for s in samples}) == 1180
    assert set(Counter(s.scenario for s in samples)) == set(HARMS)
    assert {len(s.images) for s in samples} == {1}
    assert samples[0].images[0].data == DRAWN
    assert {s.split for s in samples} == {"test"}
    assert samples[0].group == samples[1].group != samples[2].group


def test_beavertails_v_train_is_for_tuning(tmp_path: Path) -> None:
    for name in HARMS:
        write_parquet(tmp_path / "data" / name / "train.parquet", beavertails_rows(2, image=DRAWN))
    samples = list(beavertails_v(tmp_path, split="train"))
    assert len(samples) == 40
    assert {s.split for s in samples} == {"tune"}


def test_a_beavertails_v_of_another_size_is_refused(tmp_path: Path) -> None:
    write_beavertails(tmp_path, last=59)
    refused(beavertails_v(tmp_path), "expected 1180 rows, got 1179", "rows=1179")
    assert len(list(beavertails_v(tmp_path, rows=1179))) == 1179
    write_parquet(tmp_path / "data" / HARMS[3] / "evaluation.parquet", beavertails_rows(7))
    refused(beavertails_v(tmp_path), HARMS[3], "expected 58 to 60 rows, got 7")
    (tmp_path / "data" / HARMS[3] / "evaluation.parquet").unlink()
    refused(beavertails_v(tmp_path), f"{HARMS[3]}/evaluation")


# --- SPA-VL


def spa_rows(count: int, image: object = CELL) -> Rows:
    return [
        {"image": image, "question": f"[placeholder {n}]", "class1": "one", "class2": f"two {n % 13}", "class3": "x"}
        for n in range(count)
    ]


@pytest.mark.parametrize("place", ["test/{}-00000-of-00001.parquet", "test/{}/0000.parquet"])
@pytest.mark.parametrize(("subset", "expected"), [("harm", "refuse"), ("help", "warn")])
def test_spa_vl_help_is_no_benign_control(tmp_path: Path, place: str, subset: Any, expected: str) -> None:
    write_parquet(tmp_path / place.format(subset), spa_rows(265))
    samples = list(spa_vl(tmp_path, subset=subset))
    assert len({s.id for s in samples}) == 265
    assert {(s.expected, s.split) for s in samples} == {(expected, "test")}
    assert len({s.scenario for s in samples}) == 13


def test_spa_vl_train_parts_are_read_together_and_a_lost_part_is_named(tmp_path: Path) -> None:
    for part in range(2):
        write_parquet(tmp_path / "data" / f"train-0000{part}-of-00002.parquet", spa_rows(40))
    samples = list(spa_vl(tmp_path, subset="train"))
    assert (len(samples), {s.split for s in samples}) == (80, {"tune"})
    (tmp_path / "data" / "train-00000-of-00002.parquet").unlink()
    refused(spa_vl(tmp_path, subset="train"), "part 00000 of 2")


def test_spa_vls_training_part_is_published_without_categories_and_the_others_are_not(tmp_path: Path) -> None:
    bare = [{name: row[name] for name in ("image", "question")} for row in spa_rows(3)]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", bare)
    assert {sample.scenario for sample in spa_vl(tmp_path, subset="train")} == {"uncategorised"}
    write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", bare)
    refused(spa_vl(tmp_path, rows=3), "class2")


def test_an_spa_vl_test_part_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(264))
    refused(spa_vl(tmp_path), str(path), "expected 265 rows, got 264")


# --- HoliSafe-Bench

COMBINATIONS = ("SSS", "SSU", "USU", "UUU", "SUU")


def holisafe_rows(image: Callable[[int], object], count: int = 4031) -> Rows:
    return [
        {
            "id": n,
            "image": image(n),
            "query": f"[placeholder {n}]",
            "category": "[category]",
            "subcategory": f"subcategory_{n % 19}",
            "type": COMBINATIONS[n % 5],
            "image_safe": n % 2 == 0,
            "image_safety_label": "safe",
        }
        for n in range(count)
    ]


def test_holisafe_expects_an_answer_of_its_sss_rows_alone(tmp_path: Path) -> None:
    write_json(tmp_path / "holisafe_bench.json", holisafe_rows(lambda n: f"folder/{n // 3}.png"))
    picture = tmp_path / "images" / "folder" / "0.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(DRAWN)
    samples = list(holisafe(tmp_path))
    assert {(s.expected, int(s.id) % 5 == 0) for s in samples} == {("answer", True), ("refuse", False)}
    assert samples[0].images[0].read() == DRAWN
    assert samples[0].group == samples[2].group != samples[3].group
    assert len({s.scenario for s in samples}) == 19


def test_holisafe_reads_the_hubs_parquet(tmp_path: Path) -> None:
    rows = holisafe_rows(lambda n: {"bytes": DRAWN + bytes([0] * (n // 3)), "path": "image.png"})
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    samples = list(holisafe(tmp_path))
    assert len(samples) == 4031
    assert samples[0].images[0].data == DRAWN
    assert samples[0].group == samples[2].group != samples[3].group


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("expected 4031 rows, got 4030",)),
        (lambda rows: rows[1].update(type="USS"), ("item 2", "'USS'")),
        (lambda rows: rows[1].update(id=0), ("item 2", "'0' occurs twice")),
        (lambda rows: rows[1].update(image="../1.png"), ("item 2", "'../1.png'")),
        (lambda rows: rows[1].update(image=None), ("item 2", "holds no picture")),
    ],
)
def test_another_holisafe_table_is_refused(tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]) -> None:
    rows = holisafe_rows(lambda n: f"{n}.png")
    change(rows)
    path = write_json(tmp_path / "holisafe_bench.json", rows)
    refused(holisafe(tmp_path), str(path), *said)


# --- OmniSafeBench-MM


def omni_rows(count: int) -> Rows:
    styles = ("declarative", "Consultative", "imperative/instructive")
    return [
        {
            "id": n,
            "image_path": f"images/{n}.png",
            "original_prompt": f"[placeholder {n}]",
            "style": styles[n % 3],
            "main_category": f"{'ABCDEFGHI'[(n // 30) % 9]}. [domain]",
            "subcategory": f"{'ABCDEFGHI'[(n // 30) % 9]}{n // 30}. [subcategory]",
        }
        for n in range(count)
    ]


def test_omnisafebench_reads_its_sample_and_its_full_set(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset" / "data_test.json", omni_rows(2))
    samples = list(omnisafebench_mm(tmp_path, subset="sample"))
    assert [s.id for s in samples] == ["0", "1"]
    assert samples[0].images[0].path == str(tmp_path / "images" / "0.png")
    refused(omnisafebench_mm(tmp_path), "data.json", "data_test.json is the sample of two rows: subset='sample'")
    rows = [row | {"image": CELL} for row in omni_rows(1500)]
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    full = list(omnisafebench_mm(tmp_path))
    assert Counter(Counter(s.scenario for s in full).values()) == {30: 50}
    assert len({s.group for s in full}) == 1500
    assert full[0].images[0].data == DRAWN


def test_an_omnisafebench_picture_is_found_at_the_root_or_beside_the_table(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset" / "data_test.json", omni_rows(2))
    for place in (tmp_path / "images" / "0.png", tmp_path / "dataset" / "images" / "1.png"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(DRAWN)
    assert [s.images[0].read() for s in omnisafebench_mm(tmp_path, subset="sample")] == [DRAWN, DRAWN]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("expected 1500 rows, got 1499",)),
        (lambda rows: rows[4].update(style="poem"), ("item 5", "'poem'")),
        (lambda rows: rows[4].update(main_category="B. [domain]"), ("item 5", "not of the domain")),
        (lambda rows: rows[4].update(subcategory="A30. [subcategory]"), ("expected 50 subcategories, got 51",)),
    ],
)
def test_another_omnisafebench_table_is_refused(
    tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]
) -> None:
    rows = omni_rows(1500)
    change(rows)
    path = write_json(tmp_path / "data.json", rows)
    refused(omnisafebench_mm(tmp_path), str(path), *said)


def test_another_version_of_omnisafebench_is_read_knowingly(tmp_path: Path) -> None:
    write_json(tmp_path / "data.json", omni_rows(1470))
    refused(omnisafebench_mm(tmp_path), "expected 1500 rows, got 1470", "rows=1470")
    assert len(list(omnisafebench_mm(tmp_path, rows=1470))) == 1470


# --- MIR-SafetyBench

MIR_CATEGORIES = ("Hate_Speech", "Violence", "Self-Harm", "Illegal_Activities", "Harassment", "Privacy")
RELATIONSHIPS = [
    "Analogy",
    "Causality",
    "Complementarity",
    "Decomposition",
    "Relevance",
    "Spatial_Embedding",
    "Spatial_Juxtaposition",
    "Temporal_Continuity",
    "Temporal_Jump",
]


def mir_rows(images: Callable[[int], list[Any]], count: int = 2676) -> Rows:
    return [
        {
            "id": n // 54,
            "category": MIR_CATEGORIES[n % 6],
            "original_question": f"[placeholder {n // 54}]",
            "relationship_type": RELATIONSHIPS[(n // 6) % 9],
            "revised_prompt": f"[revised {n}]",
            "image_descriptions": ["[a]", "[b]"],
            "image_keywords": ["[a]", "[b]"],
            "images": images(n),
            "iteration": 1,
        }
        for n in range(count)
    ]


def test_mir_safetybench_sends_all_pictures_before_the_revised_prompt(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", mir_rows(lambda n: [CELL] * (2 + n % 3)))
    samples = list(mir_safetybench(tmp_path))
    assert len({s.id for s in samples}) == 2676
    sample = samples[2]
    assert (sample.goal, sample.text, sample.images) == ("[placeholder 0]", "[placeholder 0]", ())
    rendered = sample.released["mir"]
    assert [image.data for image in rendered.images()] == [DRAWN] * 4
    assert rendered.turns[0].content[-1] == "[revised 2]"
    assert samples[0].group == samples[6].group != samples[1].group


def test_mir_safetybench_reads_what_the_authors_script_extracts(tmp_path: Path) -> None:
    tables: dict[tuple[str, str], Rows] = {}
    for row in mir_rows(lambda n: []):
        category, relationship = row.pop("category"), row["relationship_type"]
        row["images"] = [f"images/{relationship}/{relationship}_{row['id']}_{j}.png" for j in range(2)]
        tables.setdefault((category, relationship), []).append(row)
    for (category, relationship), rows in tables.items():
        write_json(tmp_path / category / f"{relationship}_final.json", rows)
    samples = list(mir_safetybench(tmp_path))
    assert len(samples) == 2676
    first = samples[0].released["mir"].images()[1]
    assert first.path == str(tmp_path / "Hate_Speech" / "images" / "Analogy" / "Analogy_0_1.png")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("expected 2676 rows, got 2675",)),
        (lambda rows: rows[0].update(relationship_type="Rhyme"), ("row 1", "'Rhyme'")),
        (lambda rows: rows[0].update(category="Spam"), ("row 1", "'Spam'")),
        (lambda rows: rows[54].update(id=0), ("row 55", "occurs twice in Hate_Speech, Analogy")),
        (lambda rows: rows[0].update(images=[]), ("row 1", "no list of pictures")),
    ],
)
def test_another_mir_table_is_refused(tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]) -> None:
    rows = mir_rows(lambda n: [{"bytes": b"x", "path": None}])
    change(rows)
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    refused(mir_safetybench(tmp_path), *said)


# --- MIS


def mis_rows(part: str, count: int = 3) -> Rows:
    return [
        {
            "question": f"[placeholder {n}]",
            "category": "[category]",
            "image_path1": f"{part}_image/{n}/object1.png",
            "image_path2": f"{part}_image/{n}/object2.png",
        }
        for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("home", ["", "mis_test"])
def test_mis_sends_two_pictures(tmp_path: Path, home: str) -> None:
    for part, rows in (("easy", 1675), ("hard", 510), ("real", 100)):
        write_json(tmp_path / home / f"mis_{part}.json", mis_rows(part, rows))
    samples = list(mis(tmp_path))
    assert len({s.id for s in samples}) == 2285
    assert samples[0].id.startswith("easy_1-")
    assert [image.path for image in samples[0].images] == [
        str(tmp_path / home / "easy_image" / "1" / f"object{n}.png") for n in (1, 2)
    ]
    assert {s.id.split("_")[0] for s in mis(tmp_path, subset="hard")} == {"hard"}


def test_an_mis_row_without_its_second_picture_is_refused(tmp_path: Path) -> None:
    rows = mis_rows("easy")
    rows[1]["image_path2"] = ""
    path = write_json(tmp_path / "mis_easy.json", rows)
    refused(mis(tmp_path, subset="easy"), "expected 1675 rows, got 3", "rows=3")
    refused(mis(tmp_path, subset="easy", rows=3), f"{path}, item 2", "'image_path2'")
    refused(mis(tmp_path, subset="real"), "mis_real.json")


# --- SaLAD


def salad_rows(count: int) -> Rows:
    kinds = (("unsafe", "safety warning"), ("safe", "safe suggestion"))
    return [
        {
            "query": f"[placeholder {n}]",
            "category": ("Food", "Home")[n % 2],
            "safety type": kinds[n % 2][0],
            "image": f"A_{n // 2}.jpg",
            kinds[n % 2][1]: f"[reference {n}]",
        }
        for n in range(count)
    ]


@pytest.mark.parametrize("pictures", ["images", "image", "."])
def test_the_full_salad_calls_its_question_text_and_has_ids(tmp_path: Path, pictures: str) -> None:
    rows = [{"id": n, "text": row.pop("query"), **row} for n, row in enumerate(salad_rows(2013))]
    rows[2]["category"] = "Exercise"
    write_json(tmp_path / "data.json", rows)
    (tmp_path / pictures).mkdir(exist_ok=True)
    (tmp_path / pictures / "A_0.jpg").write_bytes(DRAWN)
    samples = list(salad(tmp_path))
    assert [s.id for s in samples] == [str(n) for n in range(2013)]
    assert (samples[1].text, samples[1].expected) == ("[placeholder 1]", "answer")
    assert samples[0].images[0].read() == DRAWN
    rows[7]["text"] = ""
    write_json(tmp_path / "data.json", rows)
    refused(salad(tmp_path), "item 8", "'query' is empty")


@pytest.mark.parametrize("home", ["data", ""])
def test_salad_warns_of_unsafe_rows_and_answers_safe_ones(tmp_path: Path, home: str) -> None:
    write_json(tmp_path / home / "data.json", salad_rows(20))
    samples = list(salad(tmp_path, subset="preview"))
    assert {(s.expected, s.scenario) for s in samples} == {("warn", "Food"), ("answer", "Home")}
    assert [s.reference for s in samples] == [f"[reference {n}]" for n in range(20)]
    assert samples[0].group == samples[1].group == "A_0"
    assert samples[0].images[0].path == str(tmp_path / "images" / "A_0.jpg")


def test_the_salad_preview_is_not_taken_for_the_full_set(tmp_path: Path) -> None:
    path = write_json(tmp_path / "data.json", salad_rows(20))
    refused(salad(tmp_path), str(path), "expected 2013 rows, got 20", "subset='preview'")
    refused(salad(tmp_path, rows=19), "expected 19 rows (as the study says with rows=19), got 20")
    assert len(list(salad(tmp_path, rows=20))) == 20
    write_json(path, salad_rows(2013))
    assert len(list(salad(tmp_path))) == 2013


def test_a_salad_row_without_its_reference_is_refused(tmp_path: Path) -> None:
    rows = salad_rows(20)
    rows[3]["safety type"] = "unsafe"
    write_json(tmp_path / "data.json", rows)
    refused(salad(tmp_path, subset="preview"), "item 4", "'safety warning' is empty")


# --- GuardTrace


def trace_rows(start: int, count: int, picture: str = "") -> Rows:
    labels = (0, 0.5, 1, "0.5")
    return [
        {
            "image_name": f"{picture}_{n}.png" if picture else "",
            "question": f"[placeholder {n // 4}]",
            "thinking": "" if n % 9 == 0 else f"[thinking {n}]",
            "response": f"[reply {n}]",
            "evaluation_result": labels[n % 4],
        }
        for n in range(start, start + count)
    ]


def write_guardtrace(folder: Path, last: int = 500) -> None:
    write_json(folder / "test" / "S-Eval" / "S-Eval_600.json", trace_rows(0, 600, "S-Eval"))
    write_json(folder / "test" / "S-Eval" / "system_prompt.json", {"other": 1})
    write_json(folder / "test" / "HADES-Eval" / "HADES_400.json", trace_rows(600, 400, "hades"))
    write_json(folder / "test" / "MM-Eval_500.json", trace_rows(1000, 500))
    write_json(folder / "test" / "MMJ-Eval_500.json", trace_rows(1500, last))
    write_json(folder / "train" / "SFT_data.json", [{"other": 1}])


def test_guardtrace_yields_samples_and_their_labelled_traces(tmp_path: Path) -> None:
    write_guardtrace(tmp_path)
    samples, labelled = list(guardtrace(tmp_path)), list(traces(tmp_path))
    assert Counter(s.scenario for s in samples) == {
        "S-Eval-VL": 600,
        "HADES-Eval": 400,
        "MM-Eval": 500,
        "MMJ-Eval": 500,
    }
    assert len({s.id for s in samples}) == 2000
    assert [(s.id, s.reference) for s in samples] == [(t.sample, f"{t.label:g}") for t in labelled]
    assert {t.label for t in labelled} == {0.0, 0.5, 1.0}
    assert (labelled[0].thinking, labelled[1].thinking) == ("", "[thinking 1]")
    assert samples[0].group == samples[3].group != samples[4].group


def test_guardtrace_sends_figsteps_text_with_an_s_eval_picture_alone(tmp_path: Path) -> None:
    write_guardtrace(tmp_path)
    samples = list(guardtrace(tmp_path))
    assert (samples[0].goal, samples[0].text) == ("[placeholder 0]", FIGSTEP_CARRIER)
    assert samples[600].text == samples[600].goal
    assert [len(samples[n].images) for n in (0, 600, 1000)] == [1, 1, 0]


@pytest.mark.parametrize("home", ["data", "data/GuardTrace-VL-Dataset"])
def test_guardtrace_is_found_where_its_authors_clone_it(tmp_path: Path, home: str) -> None:
    write_guardtrace(tmp_path / home)
    picture = tmp_path / home / "test" / "S-Eval" / "images" / "S-Eval_0.png"
    picture.parent.mkdir()
    picture.write_bytes(DRAWN)
    assert next(guardtrace(tmp_path)).images[0].read() == DRAWN


def test_a_null_thought_is_an_empty_one(tmp_path: Path) -> None:
    write_guardtrace(tmp_path)
    rows = trace_rows(1500, 500)
    rows[1]["thinking"] = None
    write_json(tmp_path / "test" / "MMJ-Eval_500.json", rows)
    assert list(traces(tmp_path))[1501].thinking == ""
    rows[1]["thinking"] = 7
    path = write_json(tmp_path / "test" / "MMJ-Eval_500.json", rows)
    refused(traces(tmp_path), f"{path}, item 2", "'thinking' should be a text")


def test_another_guardtrace_is_refused(tmp_path: Path) -> None:
    write_guardtrace(tmp_path, last=499)
    refused(guardtrace(tmp_path), "expected 2000 test items, got 1999", "rows=1999")
    assert len(list(guardtrace(tmp_path, rows=1999))) == len(list(traces(tmp_path, rows=1999))) == 1999
    rows = trace_rows(1500, 500)
    rows[0]["evaluation_result"] = 0.7
    path = write_json(tmp_path / "test" / "MMJ-Eval_500.json", rows)
    refused(traces(tmp_path), f"{path}, item 1", "0, 0.5 or 1")
    path.unlink()
    refused(guardtrace(tmp_path), "MMJ-Eval")


# --- Common to all


@pytest.mark.parametrize("cell", [CELL, DRAWN])
def test_a_picture_cell_is_raw_bytes_or_a_struct(tmp_path: Path, cell: object) -> None:
    write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(265, cell))
    assert next(spa_vl(tmp_path)).images[0].data == DRAWN


def test_a_picture_cell_may_hold_a_path_beside_the_table(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(265, "images/1.png"))
    assert next(spa_vl(tmp_path)).images[0].path == str(tmp_path / "images" / "1.png")


@pytest.mark.parametrize("cell", [b"", {"bytes": b"", "path": ""}])
def test_a_picture_cell_without_bytes_is_refused_with_its_row(tmp_path: Path, cell: object) -> None:
    path = write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(265, cell))
    refused(spa_vl(tmp_path), f"{path}, row 1", "holds no picture")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "test" / "harm-00000-of-00001.parquet"
    path.parent.mkdir()
    path.write_bytes(b"no parquet at all")
    refused(spa_vl(tmp_path), str(path), "cannot be read as parquet")
