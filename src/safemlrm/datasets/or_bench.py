"""OR-Bench: prompts that seem toxic and are not, and a configuration of truly toxic ones (arXiv 2405.20947)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import ALL, ContentIds, count, entries, tables
from safemlrm.benchfiles import check_rows
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_ROWS = {"80k": 80_359, "hard-1k": 1_319, "toxic": 655}
_FILES = ("{name}.csv", "data/{name}.csv", "{name}/*.csv", "{name}/train-*.parquet", "{name}/train/*.parquet")


def _published(*, subset: str, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS[subset]}


@dataset(
    version="1",
    title="OR-Bench",
    paper="arXiv 2405.20947",
    licence="CC BY 4.0",
    source="https://huggingface.co/datasets/bench-llm/or-bench",
    folders=("or-bench", "OR-Bench", "or_bench"),
    published=_published,
    hub="bench-llm/or-bench@e36d8b80e81837c8a8f264bbb2a49f1b32c7e272",
    metric="refusal rate per category, judged by a model or by keywords; acceptance rate on the toxic configuration",
    adversarial=False,
    benign="all of 80k and hard-1k; none of toxic",
)
def or_bench(
    folder: Path, *, subset: Literal["80k", "hard-1k", "toxic"] = "hard-1k", rows: int | None = None
) -> Iterator[Sample]:
    """Yield the text samples of one configuration in the order of its file.

    `toxic` is to be refused, the other two to be answered; the category says what a benign prompt
    resembles. The files have no ids, so an id is made of category and prompt. Raises `DataError` where a
    configuration has not its 80,359, 1,319 or 655 rows; `rows` is the number of another version.
    """
    paths = tables(folder, [pattern.format(name=f"or-bench-{subset}") for pattern in _FILES])
    # read once to be counted and once to be handed on, so that 80,359 rows are never held
    check_rows(paths[0], count(paths, ("prompt",)), _ROWS[subset], rows)
    ids = ContentIds()
    for row in entries(paths, ("prompt", "category")):
        name = ids.of(subset, row.text("category"), row.text("prompt"))
        yield Sample(
            id=name,
            group=name,
            dataset="or_bench",
            scenario=row.text("category"),
            goal=row.text("prompt"),
            text=row.text("prompt"),
            expected="refuse" if subset == "toxic" else "answer",
        )
