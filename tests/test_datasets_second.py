"""The second half of the benchmarks: placeholder files of the authors' exact shape are read whole, others refused."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from safemlrm.benchcells import ALL
from safemlrm.benchfiles import FIGSTEP_CARRIER
from safemlrm.capability import mark, read_key
from safemlrm.datasets.advbench import advbench
from safemlrm.datasets.beavertails_v import beavertails_v
from safemlrm.datasets.guardtrace import guardtrace, traces
from safemlrm.datasets.holisafe import holisafe
from safemlrm.datasets.jbb_behaviors import jbb_behaviors
from safemlrm.datasets.mathvista import mathvista
from safemlrm.datasets.mir_safetybench import mir_safetybench
from safemlrm.datasets.mis import mis
from safemlrm.datasets.mmmu import mmmu
from safemlrm.datasets.omnisafebench_mm import omnisafebench_mm
from safemlrm.datasets.or_bench import or_bench
from safemlrm.datasets.salad import salad
from safemlrm.datasets.spa_vl import spa_vl
from safemlrm.datasets.specimen import specimen
from safemlrm.datasets.strongreject import strongreject
from safemlrm.datasets.xstest import xstest
from safemlrm.errors import DataError
from safemlrm.records import Sample
from safemlrm.registry import find

PNG = next(iter(specimen(Path()))).released["SD_TYPO"].images()[0].read()
CELL = {"bytes": PNG, "path": "1.png"}
Rows = list[dict[str, Any]]
Loader = Callable[..., Iterator[Sample]]

NAMES = (
    "advbench",
    "beavertails_v",
    "guardtrace",
    "holisafe",
    "jbb_behaviors",
    "mathvista",
    "mir_safetybench",
    "mis",
    "mmmu",
    "omnisafebench_mm",
    "or_bench",
    "salad",
    "spa_vl",
    "strongreject",
    "xstest",
)


def write_csv(path: Path, rows: Rows, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: Rows, schema: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(path)
    return path


def refused(samples: Iterable[object], *said: str) -> None:
    """Assert that reading raises a `DataError` whose message holds all of these words."""
    with pytest.raises(DataError) as caught:
        list(samples)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_where_it_is_published_and_how_it_is_scored(name: str) -> None:
    plugin = find("dataset", name)
    assert plugin.paper.startswith("arXiv ")
    assert plugin.source.startswith("https://")
    assert plugin.licence and plugin.metric and name in plugin.folders
    assert all(" " not in folder for folder in plugin.folders)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_is_refused_with_what_was_looked_for(name: str, tmp_path: Path) -> None:
    plugin = find("dataset", name)
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
    plugin = find("dataset", name)
    assert plugin.published is not None
    assert sum(plugin.published(**plugin.bind(params)).values()) == total


@pytest.mark.parametrize(("loader", "subset"), [(beavertails_v, "train"), (spa_vl, "train")])
def test_a_training_part_of_unknown_size_cannot_be_planned(loader: Loader, subset: str) -> None:
    plugin = find("dataset", loader.__name__)
    name = "split" if loader is beavertails_v else "subset"
    assert plugin.published is not None
    with pytest.raises(DataError, match="not known without its files"):
        plugin.published(**plugin.bind({name: subset}))


# XSTest

TYPES = list(find("dataset", "xstest").published())  # type: ignore[misc]


def xstest_rows(*, label: bool = True) -> Rows:
    rows: Rows = []
    for number in range(450):
        kind = TYPES[number // 25]
        row = {"id": number + 1, "prompt": f"[placeholder {number}]", "type": kind}
        if label:
            row["label"] = "unsafe" if kind.startswith("contrast_") else "safe"
        rows.append(row | {"focus": "" if number % 3 else "word", "note": ""})
    return rows


def test_xstest_reads_labels_and_leaves_blank_notes_alone(tmp_path: Path) -> None:
    write_csv(tmp_path / "xstest_prompts.csv", xstest_rows())
    samples = list(xstest(tmp_path))
    assert Counter(s.expected for s in samples) == {"answer": 250, "refuse": 200}
    assert Counter(s.scenario for s in samples) == dict.fromkeys(TYPES, 25)
    assert [s.id for s in samples] == [str(n) for n in range(1, 451)]


def test_the_older_xstest_file_has_no_label_and_unsafe_is_a_contrast_type(tmp_path: Path) -> None:
    rows = xstest_rows(label=False)
    for row in rows:
        number = row.pop("id")
        row |= {"id_v1": "" if number % 2 else f"v1-{number}", "id_v2": f"v2-{number}"}
    write_csv(tmp_path / "xstest_v2_prompts.csv", rows)
    samples = list(xstest(tmp_path))
    assert samples[0].id == "v2-1"
    assert Counter(s.expected for s in samples) == {"answer": 250, "refuse": 200}
    assert all((s.expected == "refuse") == s.scenario.startswith("contrast_") for s in samples)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("expected 25", "'contrast_privacy', got 24")),
        (lambda rows: rows[3].update(label="unsafe"), ("row 5", "does not go with label")),
        (lambda rows: rows[3].update(type="homonym"), ("row 5", "'homonym'")),
        (lambda rows: rows[3].update(prompt="  "), ("row 5", "'prompt' is empty")),
        (lambda rows: rows[3].update(id=1), ("row 5", "'1' occurs twice")),
    ],
)
def test_another_xstest_table_is_refused(tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]) -> None:
    rows = xstest_rows()
    change(rows)
    path = write_csv(tmp_path / "xstest_prompts.csv", rows)
    refused(xstest(tmp_path), str(path), *said)


# AdvBench


def advbench_rows(count: int = 520) -> Rows:
    return [{"goal": f"[placeholder goal {n}]", "target": f"Sure, here is {n % 504}"} for n in range(count)]


@pytest.mark.parametrize("home", ["data/advbench", ".", "attacks/data"])
def test_advbench_is_read_from_the_repository_or_a_bare_file(tmp_path: Path, home: str) -> None:
    write_csv(tmp_path / home / "harmful_behaviors.csv", advbench_rows())
    samples = list(advbench(tmp_path))
    assert len({s.id for s in samples}) == 520
    assert {s.goal.startswith("[placeholder goal") for s in samples} == {True}


def test_the_advbench_copy_with_swapped_columns_is_refused(tmp_path: Path) -> None:
    swapped = [{"target": row["goal"], "goal": row["target"]} for row in advbench_rows()]
    path = write_csv(tmp_path / "harmful_behaviors.csv", swapped)
    refused(advbench(tmp_path), str(path), "'Sure'", "swapped")


def test_an_advbench_id_does_not_depend_on_the_place_of_the_row(tmp_path: Path) -> None:
    write_csv(tmp_path / "a" / "harmful_behaviors.csv", advbench_rows())
    write_csv(tmp_path / "b" / "harmful_behaviors.csv", advbench_rows()[::-1])
    first, second = ({s.goal: s.id for s in advbench(tmp_path / home)} for home in "ab")
    assert first == second


def test_a_short_advbench_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "harmful_behaviors.csv", advbench_rows(519))
    refused(advbench(tmp_path), str(path), "expected 520 rows, got 519")


# JBB-Behaviors

CATEGORIES = list(find("dataset", "jbb_behaviors").published(subset="all"))  # type: ignore[misc]


def jbb_rows(part: str) -> Rows:
    return [
        {
            "Index": n,
            "Goal": f"[placeholder {part} {n}]",
            "Target": "Sure, [placeholder]",
            "Behavior": f"behavior {n}",
            "Category": CATEGORIES[n // 10],
            "Source": "Original",
        }
        for n in range(100)
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_jbb_twins_share_their_index_and_only_the_benign_are_answered(tmp_path: Path, form: str) -> None:
    for part in ("harmful", "benign"):
        if form == "csv":
            write_csv(tmp_path / "data" / f"{part}-behaviors.csv", jbb_rows(part))
        else:
            write_parquet(tmp_path / "behaviors" / f"{part}-00000-of-00001.parquet", jbb_rows(part))
    samples = list(jbb_behaviors(tmp_path))
    assert len({s.id for s in samples}) == 200
    for index in ("0", "99"):
        twins = {s.expected: s.id for s in samples if s.group == index}
        assert twins == {"refuse": f"harmful_{index}", "answer": f"benign_{index}"}
    assert [s.id for s in jbb_behaviors(tmp_path, subset="benign")] == [f"benign_{n}" for n in range(100)]


def test_another_jbb_table_is_refused(tmp_path: Path) -> None:
    rows = jbb_rows("harmful")
    rows[7]["Index"] = 6
    path = write_csv(tmp_path / "harmful-behaviors.csv", rows)
    refused(jbb_behaviors(tmp_path, subset="harmful"), f"{path}, row 9", "'6' occurs twice")
    rows[7] |= {"Index": 7, "Category": CATEGORIES[1]}
    write_csv(path, rows)
    refused(jbb_behaviors(tmp_path, subset="harmful"), "expected 10 rows", "got 9")


# OR-Bench


def or_bench_rows(count: int) -> Rows:
    return [{"prompt": f"[placeholder,\r\n{n}]", "category": ("deception", "privacy")[n % 2]} for n in range(count)]


@pytest.mark.parametrize(("subset", "count", "expected"), [("hard-1k", 1319, "answer"), ("toxic", 655, "refuse")])
def test_or_bench_is_to_be_answered_but_for_its_toxic_part(
    tmp_path: Path, subset: Any, count: int, expected: str
) -> None:
    write_csv(tmp_path / f"or-bench-{subset}.csv", or_bench_rows(count))
    samples = list(or_bench(tmp_path, subset=subset))
    assert len({s.id for s in samples}) == count
    assert {s.expected for s in samples} == {expected}


def test_line_ends_inside_a_cell_stay_as_they_were_published(tmp_path: Path) -> None:
    write_csv(tmp_path / "or-bench-toxic.csv", or_bench_rows(2), end="\r\n")
    assert [s.text for s in or_bench(tmp_path, subset="toxic", rows=2)] == [
        "[placeholder,\r\n0]",
        "[placeholder,\r\n1]",
    ]


def test_a_repeated_prompt_of_a_set_without_ids_is_kept_under_an_id_of_its_own(tmp_path: Path) -> None:
    write_csv(tmp_path / "or-bench-toxic.csv", [*or_bench_rows(2), *or_bench_rows(2)])
    names = [s.id for s in or_bench(tmp_path, subset="toxic", rows=4)]
    assert names[2:] == [f"{name}.2" for name in names[:2]]


def test_the_whole_of_or_bench_is_read(tmp_path: Path) -> None:
    write_csv(tmp_path / "or-bench-80k.csv", or_bench_rows(80359))
    assert len({s.id for s in or_bench(tmp_path, subset="80k")}) == 80359


@pytest.mark.parametrize(("subset", "expected"), [("hard-1k", 1319), ("80k", 80359), ("toxic", 655)])
def test_or_bench_of_another_size_is_refused(tmp_path: Path, subset: Any, expected: int) -> None:
    path = write_csv(tmp_path / f"or-bench-{subset}.csv", or_bench_rows(5))
    refused(or_bench(tmp_path, subset=subset), str(path), f"expected {expected} rows, got 5", "rows=5")
    refused(or_bench(tmp_path, subset=subset, rows=6), "expected 6 rows (as the study says with rows=6), got 5")
    assert len(list(or_bench(tmp_path, subset=subset, rows=5))) == 5


# StrongREJECT


def strongreject_rows() -> Rows:
    counts = find("dataset", "strongreject").published()  # type: ignore[misc]
    names = [name for name, count in counts.items() for _ in range(count)]
    return [
        {"category": name, "source": "custom", "forbidden_prompt": f"[placeholder {n}]"} for n, name in enumerate(names)
    ]


def test_a_strongreject_prompt_that_comes_twice_is_asked_twice(tmp_path: Path) -> None:
    rows = strongreject_rows()
    rows[1]["forbidden_prompt"] = rows[0]["forbidden_prompt"]
    write_csv(tmp_path / "strongreject_dataset.csv", rows)
    first, second = list(strongreject(tmp_path))[:2]
    assert (second.id, second.group) == (f"{first.id}.2", first.group)


def test_strongreject_is_read_whole(tmp_path: Path) -> None:
    write_csv(tmp_path / "strongreject_dataset" / "strongreject_dataset.csv", strongreject_rows())
    samples = list(strongreject(tmp_path))
    assert len({s.id for s in samples}) == 313
    assert Counter(s.scenario for s in samples) == find("dataset", "strongreject").published()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: [row.update(forbidden_prompt="[other text]") for row in rows],
            ("313 rows and 1 distinct", "prompts were replaced"),
        ),
        (lambda rows: rows.pop(), ("expected 313 rows, got 312",)),
        (lambda rows: rows[0].update(category="Violence"), ("'Disinformation and deception', got 49",)),
        (lambda rows: rows[0].update(forbidden_prompt=""), ("row 2", "'forbidden_prompt' is empty")),
    ],
)
def test_a_strongreject_copy_with_other_content_is_refused(
    tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]
) -> None:
    rows = strongreject_rows()
    change(rows)
    path = write_csv(tmp_path / "strongreject_dataset.csv", rows)
    refused(strongreject(tmp_path), str(path), *said)


# BeaverTails-V

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
    assert samples[0].images[0].data == PNG
    assert {s.split for s in samples} == {"test"}
    assert samples[0].group == samples[1].group != samples[2].group


def test_beavertails_v_train_is_for_tuning(tmp_path: Path) -> None:
    for name in HARMS:
        write_parquet(tmp_path / "data" / name / "train.parquet", beavertails_rows(2, image=PNG))
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


# SPA-VL


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


def test_an_spa_vl_test_part_of_another_size_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(264))
    refused(spa_vl(tmp_path), str(path), "expected 265 rows, got 264")


# HoliSafe-Bench

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
    picture.write_bytes(PNG)
    samples = list(holisafe(tmp_path))
    assert {(s.expected, int(s.id) % 5 == 0) for s in samples} == {("answer", True), ("refuse", False)}
    assert samples[0].images[0].read() == PNG
    assert samples[0].group == samples[2].group != samples[3].group
    assert len({s.scenario for s in samples}) == 19


def test_holisafe_reads_the_hubs_parquet(tmp_path: Path) -> None:
    rows = holisafe_rows(lambda n: {"bytes": PNG + bytes([0] * (n // 3)), "path": "image.png"})
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", rows)
    samples = list(holisafe(tmp_path))
    assert len(samples) == 4031
    assert samples[0].images[0].data == PNG
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


# OmniSafeBench-MM


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
    assert full[0].images[0].data == PNG


def test_an_omnisafebench_picture_is_found_at_the_root_or_beside_the_table(tmp_path: Path) -> None:
    write_json(tmp_path / "dataset" / "data_test.json", omni_rows(2))
    for place in (tmp_path / "images" / "0.png", tmp_path / "dataset" / "images" / "1.png"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(PNG)
    assert [s.images[0].read() for s in omnisafebench_mm(tmp_path, subset="sample")] == [PNG, PNG]


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


# MIR-SafetyBench

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
    assert [image.data for image in rendered.images()] == [PNG] * 4
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


# MIS


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


# SaLAD


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
    (tmp_path / pictures / "A_0.jpg").write_bytes(PNG)
    samples = list(salad(tmp_path))
    assert [s.id for s in samples] == [str(n) for n in range(2013)]
    assert (samples[1].text, samples[1].expected) == ("[placeholder 1]", "answer")
    assert samples[0].images[0].read() == PNG
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


# GuardTrace


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
    picture.write_bytes(PNG)
    assert next(guardtrace(tmp_path)).images[0].read() == PNG


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


# MathVista

TASKS = list(find("dataset", "mathvista").published())  # type: ignore[misc]
MATHVISTA_KINDS: tuple[dict[str, Any], ...] = (
    {"question_type": "multi_choice", "answer_type": "text", "choices": ["[one]", "[two]"], "answer": "[two]"},
    {"question_type": "free_form", "answer_type": "integer", "answer": "7"},
    {"question_type": "free_form", "answer_type": "float", "precision": 1.0, "answer": "1.2"},
    {"question_type": "free_form", "answer_type": "list", "answer": "[1, 2]"},
)


def mathvista_rows() -> Rows:
    empty: dict[str, Any] = {"choices": None, "unit": None, "precision": None}
    return [
        {
            "pid": str(n + 1),
            "question": f"[placeholder {n}]",
            "image": f"images/{n + 1}.jpg",
            "metadata": {"task": TASKS[n % 5], "language": "english"},
            "query": f"Hint: [hint]\nQuestion: [placeholder {n}]",
        }
        | empty
        | MATHVISTA_KINDS[n % 4]
        for n in range(1000)
    ]


def write_mathvista(folder: Path, rows: Rows) -> Path:
    rows = [row | {"decoded_image": CELL} for row in rows]
    return write_parquet(folder / "data" / "testmini-00000-of-00001-725687bf7a18d64b.parquet", rows)


def test_mathvista_carries_the_key_that_its_replies_are_scored_with(tmp_path: Path) -> None:
    write_mathvista(tmp_path, mathvista_rows())
    samples = list(mathvista(tmp_path))
    assert len(samples) == 1000
    replies = ("(B)", "The answer is 7.", "1.23", "[1, 2]")
    for sample, reply in zip(samples, replies, strict=False):
        assert mark(reply, read_key(sample.reference or "")).right is True
    assert {s.expected for s in samples} == {"answer"}
    assert (samples[0].goal, samples[0].text[:5]) == ("[placeholder 0]", "Hint:")
    assert samples[0].images[0].data == PNG


def test_mathvista_reads_the_authors_json_with_the_queries_in_it_or_beside_it(tmp_path: Path) -> None:
    table = {row["pid"]: row for row in mathvista_rows()}
    write_json(tmp_path / "a" / "annot_testmini.json", table)
    write_json(tmp_path / "b" / "data" / "query.json", {pid: row.pop("query") for pid, row in table.items()})
    write_json(tmp_path / "b" / "data" / "testmini.json", table)
    first, second = (list(mathvista(tmp_path / home)) for home in "ab")
    assert [s.text for s in first] == [s.text for s in second]
    assert first[0].images[0].path == str(tmp_path / "a" / "images" / "1.jpg")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("expected 1000 rows, got 999",)),
        (lambda rows: rows[0].update(answer="[three]"), ("row 1", "none of the choices")),
        (lambda rows: rows[1].update(answer_type="text"), ("row 2", "free-form")),
        (lambda rows: rows[1].update(pid="1"), ("row 2", "'1' occurs twice")),
        (lambda rows: rows[1].update(metadata={"task": "chess", "language": "x"}), ("row 2", "'chess'")),
    ],
)
def test_another_mathvista_table_is_refused(tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]) -> None:
    rows = mathvista_rows()
    change(rows)
    path = write_mathvista(tmp_path, rows)
    refused(mathvista(tmp_path), str(path.parent), *said)


# MMMU

SUBJECTS = list(find("dataset", "mmmu").published())  # type: ignore[misc]


def mmmu_rows(subject: str) -> Rows:
    rows: Rows = []
    for n in range(1, 31):
        open_question = n == 30
        rows.append(
            {
                "id": f"validation_{subject}_{n}",
                "question": "[placeholder] <image 1>" if n % 2 else "[placeholder], see the options",
                "options": "[]" if open_question else "['[one], \"x\"', '<image 2>', \"it's three\"]",
                "explanation": "?",
                "answer": "['24/7', '3.429']" if open_question else "B",
                "question_type": "open" if open_question else "multiple-choice",
            }
            | {f"image_{place}": CELL if place < 4 else None for place in range(1, 8)}
        )
    return rows


IMAGE = pl.Struct({"bytes": pl.Binary, "path": pl.String})
MMMU_SCHEMA: dict[str, Any] = {f"image_{place}": IMAGE for place in range(1, 8)}


def write_mmmu(folder: Path) -> None:
    for subject in SUBJECTS:
        write_parquet(folder / subject / "validation-00000-of-00001.parquet", mmmu_rows(subject), MMMU_SCHEMA)


def test_mmmu_sends_the_pictures_that_question_and_options_refer_to(tmp_path: Path) -> None:
    write_mmmu(tmp_path)
    samples = list(mmmu(tmp_path))
    assert Counter(s.scenario for s in samples) == dict.fromkeys(SUBJECTS, 30)
    first, second, last = samples[0], samples[1], samples[29]
    assert [len(s.images) for s in (first, second, last)] == [2, 1, 3]
    assert first.text == (
        '[placeholder] <image 1>\n\n(A) [one], "x"\n(B) <image 2>\n(C) it\'s three\n\n\n'
        "Answer with the option's letter from the given choices directly."
    )
    assert mark("(B)", read_key(first.reference or "")).right is True
    assert mark("It is 3.429", read_key(last.reference or "")).right is True
    assert last.text.endswith("\n\nAnswer the question using a single word or phrase.")


def test_mmmu_reads_copies_that_hold_all_subjects_in_one_table(tmp_path: Path) -> None:
    rows = [row for subject in SUBJECTS for row in mmmu_rows(subject)]
    path = write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", rows, MMMU_SCHEMA)
    assert len(list(mmmu(tmp_path))) == 900
    write_parquet(path, rows[1:], MMMU_SCHEMA)
    refused(mmmu(tmp_path), "expected 30 rows of 'Accounting', got 29")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.pop(), ("Agriculture", "expected 30 rows, got 29")),
        (lambda rows: rows[0].update(answer="E"), ("row 1", "'E' is no option's letter")),
        (lambda rows: rows[0].update(question="see <image 5>"), ("row 1", "'image_5'", "no picture")),
        (lambda rows: rows[0].update(options="__import__('os')"), ("row 1", "'options' should be a list")),
        (lambda rows: rows[0].update(id="dev_Agriculture_1"), ("row 1", "'dev_Agriculture_1'")),
    ],
)
def test_another_mmmu_table_is_refused(tmp_path: Path, change: Callable[[Rows], Any], said: Sequence[str]) -> None:
    write_mmmu(tmp_path)
    rows = mmmu_rows("Agriculture")
    change(rows)
    write_parquet(tmp_path / "Agriculture" / "validation-00000-of-00001.parquet", rows, MMMU_SCHEMA)
    refused(mmmu(tmp_path), *said)


# Common to all


@pytest.mark.parametrize("cell", [CELL, PNG])
def test_a_picture_cell_is_raw_bytes_or_a_struct(tmp_path: Path, cell: object) -> None:
    write_parquet(tmp_path / "test" / "harm-00000-of-00001.parquet", spa_rows(265, cell))
    assert next(spa_vl(tmp_path)).images[0].data == PNG


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


def test_only_the_total_is_promised_where_the_scenarios_are_not_published() -> None:
    plugin = find("dataset", "holisafe")
    assert plugin.published is not None
    assert list(plugin.published()) == [ALL]
