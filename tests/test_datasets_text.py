"""Benchmarks in text alone: placeholder files of the authors' exact shape are read whole, others refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchshapes import Rows, refused, write_csv, write_parquet
from safemlrm.datasets.advbench import advbench
from safemlrm.datasets.jbb_behaviors import jbb_behaviors
from safemlrm.datasets.or_bench import or_bench
from safemlrm.datasets.strongreject import strongreject
from safemlrm.datasets.xstest import xstest
from safemlrm.registry import find

# --- XSTest

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


def test_an_xstest_contrast_shares_the_group_of_what_it_contrasts(tmp_path: Path) -> None:
    rows = xstest_rows()
    for row in rows:
        row["focus"] = ""
    pairs = (
        ("homonyms", "contrast_homonyms"),
        ("real_group_nons_discr", "contrast_discr"),
        ("privacy_fictional", "contrast_privacy"),
    )
    for number, kinds in enumerate(pairs):
        for kind in kinds:
            rows[TYPES.index(kind) * 25]["focus"] = f"Word {number}" if kind in TYPES[::2] else f"word {number} "
    rows[1]["focus"] = "word 1"
    write_csv(tmp_path / "xstest_prompts.csv", rows)
    samples = list(xstest(tmp_path))
    groups = Counter(s.group for s in samples)
    assert sorted(groups.values())[-4:] == [1, 2, 2, 2]
    assert {s.scenario for s in samples if groups[s.group] == 2} == {kind for kinds in pairs for kind in kinds}


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


# --- AdvBench


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


# --- JBB-Behaviors

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


# --- OR-Bench


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
    write_csv(tmp_path / "or-bench-toxic.csv", or_bench_rows(2), ends="\r\n")
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


# --- StrongREJECT


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
        (
            lambda rows: [row.update(forbidden_prompt=f"[placeholder {n % 160}]") for n, row in enumerate(rows)],
            ("313 rows and 160 distinct", "prompts were replaced"),
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
