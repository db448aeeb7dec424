"""MMMU validation: 900 college questions about pictures in 30 subjects, a control of capability (arXiv 2311.16502)."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from safemlrm.benchcells import Entry, count, distinct, entries, picture, tables
from safemlrm.benchfiles import check_counts, check_total, parquet_parts
from safemlrm.capability import Key
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_SUBJECTS = (
    "Accounting",
    "Agriculture",
    "Architecture_and_Engineering",
    "Art",
    "Art_Theory",
    "Basic_Medical_Science",
    "Biology",
    "Chemistry",
    "Clinical_Medicine",
    "Computer_Science",
    "Design",
    "Diagnostics_and_Laboratory_Medicine",
    "Economics",
    "Electronics",
    "Energy_and_Power",
    "Finance",
    "Geography",
    "History",
    "Literature",
    "Manage",
    "Marketing",
    "Materials",
    "Math",
    "Mechanical_Engineering",
    "Music",
    "Pharmacy",
    "Physics",
    "Psychology",
    "Public_Health",
    "Sociology",
)
_PER_SUBJECT = 30
_PICTURES = tuple(f"image_{place}" for place in range(1, 8))
_COLUMNS = ("id", "question", "options", "answer", "question_type")
_MARKER = re.compile(r"<image (\d)>")
_ID = re.compile(r"validation_(\w+)_\d+")
#: The authors' own endings of the two kinds of question.
_CHOOSE = "Answer with the option's letter from the given choices directly."
_WRITE = "Answer the question using a single word or phrase."


def _published() -> dict[str, int]:
    return dict.fromkeys(_SUBJECTS, _PER_SUBJECT)


@dataset(
    version="1",
    title="MMMU, validation",
    paper="arXiv 2311.16502",
    licence="Apache-2.0",
    source="https://huggingface.co/datasets/MMMU/MMMU (code: https://github.com/MMMU-Benchmark/MMMU)",
    folders=("MMMU", "mmmu"),
    published=_published,
    hub="MMMU/MMMU@98e6ac0cb9b7b2cd2c991b85a50762edc4aedc68",
    metric="accuracy per subject: option letter or open answer by the authors' rules (capability.mark)",
    adversarial=False,
    benign="all 900 questions",
)
def mmmu(folder: Path) -> Iterator[Sample]:
    """Yield 900 samples, 30 per subject: the pictures, then question, options and the authors' fixed ending.

    The pictures are those that question and options refer to as `<image N>`, in the order of N (all that
    the row has, where it refers to none); the markers stay in the text. `reference` is a `capability.Key`
    as JSON. Reads one folder per subject, or the copies that hold all subjects in one table.
    Raises `DataError` where a subject has not 30 rows, a picture that is referred to is absent, or an
    answer is no option's letter.
    """
    for row in distinct(_read(folder), "id"):
        key = row.text("id")
        question, options = row.text("question"), _options(row)
        yield Sample(
            id=key,
            group=key,
            dataset="mmmu",
            scenario=_subject(row),
            goal=question,
            text=_text(question, options),
            images=tuple(picture(row, name, folder) for name in _referred(row, question, options)),
            expected="answer",
            reference=_key(row, options).text(),
        )


def _read(folder: Path) -> Iterator[Entry]:
    if joined := parquet_parts(folder, "validation"):
        check_counts(joined[0], Counter(_subject(row) for row in entries(joined, ("id",))), _published())
        yield from entries(joined, _COLUMNS, _PICTURES)
        return
    files = [tables(folder, split="validation", config=subject) for subject in _SUBJECTS]
    for paths in files:
        check_total(paths[0], count(paths, ("id",)), _PER_SUBJECT)
    for paths in files:
        yield from entries(paths, _COLUMNS, _PICTURES)


def _subject(row: Entry) -> str:
    found = _ID.fullmatch(row.text("id"))
    if found is None or found[1] not in _SUBJECTS:
        raise DataError(f"{row.where}: 'id' should be validation_SUBJECT_NUMBER, not {row.text('id')!r}")
    return found[1]


def _listed(cell: str) -> list[str] | None:
    """Return a list that the files hold as Python's notation of one (a literal, never run); None for other texts."""
    if not cell.strip().startswith("["):
        return None
    try:
        value = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError):
        return None
    return [str(item) for item in value]


def _options(row: Entry) -> tuple[str, ...]:
    cell = row.cells["options"]
    options = _listed(cell) if isinstance(cell, str) else cell
    if row.one_of("question_type", ("multiple-choice", "open")) == "open":
        return ()
    if not isinstance(options, list) or not options:
        raise DataError(f"{row.where}: 'options' should be a list, not {cell!r:.60}")
    return tuple(map(str, options))


def _text(question: str, options: tuple[str, ...]) -> str:
    if not options:
        return f"{question}\n\n{_WRITE}"
    listed = "".join(f"({chr(ord('A') + place)}) {option}\n" for place, option in enumerate(options))
    return f"{question}\n\n{listed}\n\n{_CHOOSE}"


def _referred(row: Entry, question: str, options: tuple[str, ...]) -> list[str]:
    numbers = sorted({number for text in (question, *options) for number in _MARKER.findall(text)})
    return [f"image_{number}" for number in numbers] or [name for name in _PICTURES if row.cells.get(name)]


def _key(row: Entry, options: tuple[str, ...]) -> Key:
    answer = row.text("answer").strip()
    if not options:
        return Key(rule="mmmu", kind="open", answers=tuple(_listed(answer) or [answer]))
    if answer not in [chr(ord("A") + place) for place in range(len(options))]:
        raise DataError(f"{row.where}: the answer {answer!r} is no option's letter")
    return Key(rule="mmmu", kind="choice", answers=(answer,), choices=options)
