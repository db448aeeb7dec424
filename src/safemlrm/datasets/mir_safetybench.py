"""MIR-SafetyBench: requests spread over several related pictures (arXiv 2601.14127)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safemlrm.benchcells import ALL, Entry, count, entries, pictures, tables
from safemlrm.benchfiles import check_rows, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample, user

_ROWS = 2_676
_CATEGORIES = ("Hate_Speech", "Violence", "Self-Harm", "Illegal_Activities", "Harassment", "Privacy")
_RELATIONSHIPS = (
    "Analogy",
    "Causality",
    "Complementarity",
    "Decomposition",
    "Relevance",
    "Spatial_Embedding",
    "Spatial_Juxtaposition",
    "Temporal_Continuity",
    "Temporal_Jump",
)
_COLUMNS = ("id", "original_question", "relationship_type", "revised_prompt", "images")
_EXTRACTED = tuple(f"{home}*/*_final.json" for home in ("", "data/", "MIR-SafetyBench/"))

_Row = tuple[str, Entry, tuple[Image, ...]]


def _published(*, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS}


@dataset(
    version="1",
    title="MIR-SafetyBench",
    paper="arXiv 2601.14127",
    licence="MIT (the code; the data's is not stated)",
    source=(
        "https://huggingface.co/datasets/thu-coai/MIR-SafetyBench "
        "(code: https://github.com/thu-coai/MIR-SafetyBench, commit 554cfe1)"
    ),
    folders=("MIR-SafetyBench", "MIR-SafetyBench-main", "mir_safetybench"),
    renderings=("mir",),
    published=_published,
    hub="thu-coai/MIR-SafetyBench",
    gate="probably a login: the authors' own script asks for a Hub token",
    metric="attack success rate per relationship, by HarmBench-Llama-2-13b-cls",
)
def mir_safetybench(folder: Path, *, rows: int | None = None) -> Iterator[Sample]:
    """Yield 2,676 samples; goal and text are the original question, without pictures.

    The rendering `mir` is what the authors send: all pictures in order, then the revised prompt. Reads
    the Hub's parquet files, or the folder that the authors' extraction writes (`CATEGORY/REL_final.json`).
    The scenario is the category; the same question under several relationships is one group.
    Raises `DataError` where the number of rows, a category or a relationship is not a published one, or
    an id occurs twice within category and relationship; `rows` is the number of another version. Counts per
    category are not confirmed.
    """
    seen: set[str] = set()
    for category, row, images in _read(folder, rows):
        relationship = row.one_of("relationship_type", _RELATIONSHIPS)
        name = f"{category}_{relationship}_{row.key('id')}"
        if name in seen:
            raise DataError(f"{row.where}: id {row.key('id')!r} occurs twice in {category}, {relationship}")
        seen.add(name)
        question = row.text("original_question")
        yield Sample(
            id=name,
            group=f"{category}-{fingerprint(question)}",
            dataset="mir_safetybench",
            scenario=category,
            goal=question,
            text=question,
            released={"mir": user(*images, row.text("revised_prompt"))},
        )


def _read(folder: Path, rows: int | None) -> Iterator[_Row]:
    paths = tables(folder, _EXTRACTED, split="train")
    if paths[0].suffix == ".parquet":
        check_rows(paths[0], count(paths, ("id",)), _ROWS, rows)
        for row in entries(paths, ("category", *_COLUMNS)):
            yield row.one_of("category", _CATEGORIES), row, pictures(row, "images", folder)
        return
    strange = next((path for path in paths if path.parent.name not in _CATEGORIES), None)
    if strange is not None:
        raise DataError(f"{strange}: {strange.parent.name!r} is none of {', '.join(_CATEGORIES)}")
    check_rows(paths[0].parent.parent, count(paths, ("id",)), _ROWS, rows)
    for path in sorted(paths, key=lambda path: (_CATEGORIES.index(path.parent.name), path.name)):
        for row in entries(path, _COLUMNS):
            yield path.parent.name, row, pictures(row, "images", path.parent)
