"""JBB-Behaviors of JailbreakBench: 100 harmful requests and their 100 benign twins (arXiv 2404.01318)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from safemlrm.benchcells import distinct, entries, tables
from safemlrm.benchfiles import check_counts, check_total
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_CATEGORIES = (
    "Harassment/Discrimination",
    "Malware/Hacking",
    "Physical harm",
    "Economic harm",
    "Fraud/Deception",
    "Disinformation",
    "Sexual/Adult content",
    "Privacy",
    "Expert advice",
    "Government decision-making",
)
_PER_CATEGORY = 10
_COLUMNS = ("Index", "Goal", "Target", "Behavior", "Category")
_PARTS: tuple[Literal["harmful", "benign"], ...] = ("harmful", "benign")
_FILES = ("data/{part}-behaviors.csv", "{part}-behaviors.csv")


def _published(*, subset: str) -> dict[str, int]:
    return dict.fromkeys(_CATEGORIES, _PER_CATEGORY * (2 if subset == "all" else 1))


@dataset(
    version="1",
    title="JBB-Behaviors (JailbreakBench)",
    paper="arXiv 2404.01318",
    licence="MIT",
    source="https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors",
    folders=("JBB-Behaviors", "JailbreakBench", "jbb_behaviors", "JBB"),
    published=_published,
    hub="JailbreakBench/JBB-Behaviors@886acc352a31533ffbcf4ef22c744658688086fc",
    metric="attack success rate by a Llama-3-70B judge on the harmful half; refusal rate on the benign half",
    adversarial=False,
    benign="the benign half, the twin of each harmful behaviour by Index",
)
def jbb_behaviors(folder: Path, *, subset: Literal["all", "harmful", "benign"] = "all") -> Iterator[Sample]:
    """Yield the harmful behaviours, then the benign ones; twins share their group, which is the Index.

    Raises `DataError` where a half has not 100 rows in 10 categories of 10, or an Index occurs twice.
    The names of the categories are as the paper has them; another spelling in the file is kept as it is.
    """
    for part in _PARTS:
        if subset in ("all", part):
            yield from _half(folder, part)


def _half(folder: Path, part: Literal["harmful", "benign"]) -> Iterator[Sample]:
    files = [pattern.format(part=part) for pattern in _FILES]
    path = tables(folder, files, split=part, config="behaviors")[0]
    table = list(entries(path, _COLUMNS))
    counts = Counter(row.text("Category") for row in table)
    check_total(path, len(table), _PER_CATEGORY * len(_CATEGORIES))
    check_total(path, len(counts), len(_CATEGORIES), "categories")
    check_counts(path, counts, dict.fromkeys(counts, _PER_CATEGORY))
    for row in distinct(table, "Index"):
        index = row.key("Index")
        yield Sample(
            id=f"{part}_{index}",
            group=index,
            dataset="jbb_behaviors",
            scenario=row.text("Category"),
            goal=row.text("Goal"),
            text=row.text("Goal"),
            expected="refuse" if part == "harmful" else "answer",
        )
