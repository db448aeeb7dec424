"""SPA-VL: questions about pictures in 13 categories of harm, tests of harm and of help (arXiv 2406.12030)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import ALL, ContentIds, count, entries, picture, tables
from safemlrm.benchfiles import check_rows, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_TEST_ROWS = 265
#: The scenario of items that are published without their category.
UNCATEGORISED = "uncategorised"
_CONFIGS = {"harm": "test", "help": "test", "train": "default", "validation": "validation"}


def _published(*, subset: str, rows: int | None = None) -> dict[str, int]:
    if subset not in ("harm", "help") and rows is None:
        raise DataError(f"spa_vl(subset={subset!r}): its size is not known without its files")
    return {ALL: rows or _TEST_ROWS}


@dataset(
    version="1",
    title="SPA-VL",
    paper="arXiv 2406.12030",
    licence="CC BY 4.0",
    source="https://huggingface.co/datasets/sqrti/SPA-VL",
    folders=("SPA-VL", "spa_vl"),
    published=_published,
    hub="sqrti/SPA-VL",
    metric="share of unsafe replies on harm (GPT-4V, pairwise in the paper), win rate on help",
)
def spa_vl(
    folder: Path, *, subset: Literal["harm", "help", "train", "validation"] = "harm", rows: int | None = None
) -> Iterator[Sample]:
    """Yield the samples of one part: the picture, then the question; the scenario is `class2` (13 categories).

    `harm` is to be refused. `help` asks the same kind of questions and is scored by a win rate: it is no
    benign control, so it is expected to `warn`, never counted as over-refusal. `train` and `validation`
    are for tuning (split `tune`); `train` is published without categories, and its scenario says so. The files
    have no ids: an id is made of question and picture, and the same question about several pictures is one group.
    Raises `DataError` where a test part has not 265 rows; `rows` is the number of another version. The sizes
    of the other parts, and the names of the categories, are not confirmed and not checked.
    """
    paths = tables(folder, split=subset, config=_CONFIGS[subset])
    test = subset in ("harm", "help")
    if test or rows is not None:
        check_rows(paths[0], count(paths, ("question",)), _TEST_ROWS, rows)
    ids = ContentIds()
    needed, perhaps = ("image", "question"), ("class2",)
    read = entries(paths, needed, perhaps) if subset == "train" else entries(paths, needed + perhaps)
    for row in read:
        question, image = row.text("question"), picture(row, "image", folder)
        yield Sample(
            id=ids.of(subset, question, image.data or image.path or ""),
            group=fingerprint(question),
            dataset="spa_vl",
            scenario=row.text("class2") if "class2" in row.cells else UNCATEGORISED,
            goal=question,
            text=question,
            images=(image,),
            expected="warn" if subset == "help" else "refuse",
            split="test" if test else "tune",
        )
