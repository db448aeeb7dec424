"""Capability items: the pictures, the authors' prompt, and the key that a reply is marked with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchshapes import CELL, DRAWN, Rows, refused, write_json, write_parquet
from safemlrm.capability import mark, read_key
from safemlrm.datasets.mathvista import mathvista
from safemlrm.datasets.mmmu import mmmu
from safemlrm.registry import find

# --- MathVista

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
    assert samples[0].images[0].data == DRAWN


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


# --- MMMU

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
