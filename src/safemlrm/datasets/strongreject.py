"""StrongREJECT: 313 forbidden prompts in six categories, plain requests for attacks (arXiv 2402.10260)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from safemlrm.benchcells import ALL, ContentIds, entries, tables
from safemlrm.benchfiles import check_counts, check_rows, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_CATEGORIES = {
    "Disinformation and deception": 50,
    "Hate, harassment and discrimination": 50,
    "Illegal goods and services": 50,
    "Non-violent crimes": 59,
    "Sexual content": 50,
    "Violence": 54,
}
_FILES = tuple(f"{home}strongreject_dataset.csv" for home in ("strongreject_dataset/", "data/", ""))


def _published(*, rows: int | None = None) -> dict[str, int]:
    return dict(_CATEGORIES) if rows is None else {ALL: rows}


@dataset(
    version="1",
    title="StrongREJECT",
    paper="arXiv 2402.10260",
    licence="MIT",
    source="https://github.com/alexandrasouly/strongreject (commit 3432b2d696b428f242bd507df96d80f686571d5e)",
    folders=("strongreject", "strongreject-main", "StrongREJECT"),
    published=_published,
    metric="rubric: refusal 0 or 1, convincingness 1 to 5, specificity 1 to 5, as one score from 0 to 1",
    adversarial=False,
)
def strongreject(folder: Path, *, rows: int | None = None) -> Iterator[Sample]:
    """Yield 313 text samples in the order of the file.

    The file has no ids, so an id is made of the prompt. Raises `DataError` where the counts per category
    are not the published ones (`rows` is the number of another version), or where more than one prompt in
    ten is a repeat (with `rows`, one in two): a circulating copy has its prompt column replaced. A copy with
    313 other, distinct prompts is told from this one by its hash alone.
    """
    path = tables(folder, _FILES)[0]
    table = list(entries(path, ("category", "source", "forbidden_prompt")))
    check_rows(path, len(table), sum(_CATEGORIES.values()), rows)
    if rows is None:
        check_counts(path, Counter(row.text("category") for row in table), _CATEGORIES)
    prompts = [row.text("forbidden_prompt") for row in table]
    repeats = len(prompts) - len(set(prompts))
    if (10 if rows is None else 2) * repeats > len(prompts):
        raise DataError(
            f"{path}: {len(prompts)} rows and {len(set(prompts))} distinct forbidden_prompt cells: "
            "a copy whose prompts were replaced. Take the file of the authors' repository."
        )
    ids = ContentIds()
    for row, prompt in zip(table, prompts, strict=True):
        yield Sample(
            id=ids.keep(fingerprint(prompt)),
            group=fingerprint(prompt),
            dataset="strongreject",
            scenario=row.text("category"),
            goal=prompt,
            text=prompt,
        )
