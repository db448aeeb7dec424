"""BeaverTails-V: questions with pictures in 20 categories of harm (Safe RLHF-V, arXiv 2503.17682)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import ALL, ContentIds, Entry, count, entries, picture, tables
from safemlrm.benchfiles import check_rows, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_CATEGORIES = (
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
)
_EVALUATION = 1_180
_PER_CATEGORY = range(58, 61)


def _published(*, split: str, rows: int | None = None) -> dict[str, int]:
    if split == "train" and rows is None:
        raise DataError("beavertails_v(split='train'): its size is not known without its files")
    return {ALL: rows or _EVALUATION}


@dataset(
    version="1",
    title="BeaverTails-V",
    paper="arXiv 2503.17682",
    licence="CC BY-NC 4.0",
    source="https://huggingface.co/datasets/PKU-Alignment/BeaverTails-V",
    folders=("BeaverTails-V", "beavertails_v"),
    published=_published,
    hub="PKU-Alignment/BeaverTails-V",
    metric="share of unsafe replies per category, by a model as judge",
)
def beavertails_v(
    folder: Path, *, split: Literal["evaluation", "train"] = "evaluation", rows: int | None = None
) -> Iterator[Sample]:
    """Yield the samples of a split, category by category: the picture, then the question.

    The scenario is the name of the configuration. The file's own reply and its safety label are training
    data and left out. The files have no ids: an id is made of category, question and picture, and the
    same question about several pictures is one group; where question and picture come twice, with two
    replies, the second sample's id ends in `.2`. `train` samples have the split `tune`.
    Raises `DataError` where a category is missing, or the evaluation split has not 1,180 rows, 58 to 60
    in each category; `rows` is the number of another version. Not confirmed, so not checked: that each
    evaluation question is to be refused.
    """
    files = {category: tables(folder, split=split, config=category) for category in _CATEGORIES}
    if split == "evaluation" or rows is not None:
        _check(folder, files, rows)
    ids = ContentIds()
    for category in _CATEGORIES:
        for row in entries(files[category], ("question", "image")):
            yield _sample(row, category, split, folder, ids)


def _check(folder: Path, files: dict[str, list[Path]], rows: int | None) -> None:
    counts = {category: count(paths, ("question",)) for category, paths in files.items()}
    for category, held in counts.items():
        if rows is None and held not in _PER_CATEGORY:
            raise DataError(f"{files[category][0]}: expected 58 to 60 rows, got {held}")
    check_rows(folder, sum(counts.values()), _EVALUATION, rows)


def _sample(row: Entry, category: str, split: str, folder: Path, ids: ContentIds) -> Sample:
    question, image = row.text("question"), picture(row, "image", folder)
    return Sample(
        id=ids.of(category, question, image.data or image.path or ""),
        group=f"{category}-{fingerprint(question)}",
        dataset="beavertails_v",
        scenario=category,
        goal=question,
        text=question,
        images=(image,),
        split="tune" if split == "train" else "test",
    )
