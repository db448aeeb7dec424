"""OmniSafeBench-MM: 1,500 requests with pictures in nine risk domains, as material for attacks (arXiv 2512.06589)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import ALL, Entry, content_hash, distinct, entries, picture, root_of, tables
from safemlrm.benchfiles import check_counts, check_rows, check_total, first_existing
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_ROWS = {"full": 1_500, "sample": 2}
_SUBCATEGORIES, _PER_SUBCATEGORY = 50, 30
_STYLES = ("declarative", "consultative", "imperative", "instructive")
_COLUMNS = ("id", "original_prompt", "style", "main_category", "subcategory")
_NAMES = {
    "full": ("data.json", "train.json", "dataset.json", "data.jsonl", "train.jsonl", "metadata.jsonl"),
    "sample": ("data_test.json",),
}
_HOMES = ("", "dataset/", "data/")


def _published(*, subset: str, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS[subset]}


@dataset(
    version="1",
    title="OmniSafeBench-MM",
    paper="arXiv 2512.06589",
    licence="not stated",
    source=(
        "https://huggingface.co/datasets/jiaxiaojunQAQ/OmniSafeBench-MM "
        "(revision 665c3bd114e1f13bb7ffca286167e75119a1cd22), "
        "or https://github.com/jiaxiaojunQAQ/OmniSafeBench-MM for a sample of two rows"
    ),
    folders=("OmniSafeBench-MM", "OmniSafeBench-MM-main", "omnisafebench_mm"),
    published=_published,
    hub="jiaxiaojunQAQ/OmniSafeBench-MM@665c3bd114e1f13bb7ffca286167e75119a1cd22",
    metric="a model's scores of harm, alignment and detail, 1 to 5 each; success from 3",
    adversarial=False,
)
def omnisafebench_mm(
    folder: Path, *, subset: Literal["full", "sample"] = "full", rows: int | None = None
) -> Iterator[Sample]:
    """Yield 1,500 samples (the picture, then the request), or the two that the GitHub repository shows.

    The scenario is the subcategory. Each request exists in three styles, but no published field ties the
    three together: only rows with the same text of one subcategory share a group.
    Raises `DataError` where rows, styles or ids are not as published, or the full set has not 50
    subcategories of 30 rows; `rows` is the number of another version. The full set's layout is known by
    description only; parquet with inline pictures and JSON with `image_path` are both read.
    """
    paths = _tables(folder, subset)
    counts = Counter(_check(row) for row in entries(paths, _COLUMNS))
    check_rows(paths[0], counts.total(), _ROWS[subset], rows)
    if subset == "full" and rows is None:
        check_total(paths[0], len(counts), _SUBCATEGORIES, "subcategories")
        check_counts(paths[0], counts, dict.fromkeys(counts, _PER_SUBCATEGORY))
    for row in distinct(entries(paths, _COLUMNS, ("image", "image_path")), "id"):
        yield _sample(row, root_of(paths[0]))


def _tables(folder: Path, subset: str) -> list[Path]:
    files = [home + name for name in _NAMES[subset] for home in _HOMES]
    try:
        return tables(folder, files, split="train" if subset == "full" else None)
    except DataError as error:
        sample = first_existing(folder, [home + _NAMES["sample"][0] for home in _HOMES])
        hint = f"; {sample.name} is the sample of two rows: subset='sample'" if sample and subset == "full" else ""
        raise DataError(f"{error}{hint}") from error


def _check(row: Entry) -> str:
    """Return the subcategory. Raises `DataError` where the style is none, or its letter is not its domain's."""
    if not set(row.text("style").strip().lower().split("/")) <= set(_STYLES):
        raise DataError(f"{row.where}: 'style' should be one of {', '.join(_STYLES)}, not {row.text('style')!r}")
    main, name = row.text("main_category").strip(), row.text("subcategory").strip()
    if name[:1] != main[:1]:
        raise DataError(f"{row.where}: subcategory {name!r} is not of the domain {main!r}")
    return name


def _sample(row: Entry, root: Path) -> Sample:
    column = "image" if row.cells.get("image") else "image_path"
    prompt, scenario = row.text("original_prompt"), row.text("subcategory").strip()
    return Sample(
        id=row.key("id"),
        group=content_hash(scenario, prompt),
        dataset="omnisafebench_mm",
        scenario=scenario,
        goal=prompt,
        text=prompt,
        images=(picture(row, column, root, (".", "dataset", "data", "images")),),
    )
