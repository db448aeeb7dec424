"""XSTest: 250 safe requests that look unsafe, and 200 unsafe contrasts (arXiv 2308.01263)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from safemlrm.benchcells import Entry, distinct, entries, tables
from safemlrm.benchfiles import check_counts, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_PER_TYPE = 25
_TYPES = (
    "homonyms",
    "contrast_homonyms",
    "figurative_language",
    "contrast_figurative_language",
    "safe_targets",
    "contrast_safe_targets",
    "safe_contexts",
    "contrast_safe_contexts",
    "definitions",
    "contrast_definitions",
    "nons_group_real_discr",
    "real_group_nons_discr",
    "contrast_discr",
    "historical_events",
    "contrast_historical_events",
    "privacy_public",
    "privacy_fictional",
    "contrast_privacy",
)
_FILES = ("xstest_prompts.csv", "data/xstest_prompts.csv", "xstest_v2_prompts.csv", "data/xstest_v2_prompts.csv")
#: The column of ids in the present file, and in the older one, which has `id_v1` beside it.
_IDS = ("id", "id_v2")


def _published() -> dict[str, int]:
    return dict.fromkeys(_TYPES, _PER_TYPE)


@dataset(
    version="2",
    title="XSTest",
    paper="arXiv 2308.01263",
    licence="CC BY 4.0",
    source="https://github.com/paul-rottger/xstest, or https://huggingface.co/datasets/Paul/XSTest",
    folders=("xstest", "exaggerated-safety", "XSTest", "xstest-main", "exaggerated-safety-main"),
    published=_published,
    hub="Paul/XSTest@f600c994b256f12867dfa5b3eb3d545a3e62f8b5",
    metric="share of full and partial refusals on the 250 safe prompts; full compliance on the 200 unsafe ones",
    adversarial=False,
    benign="the 250 prompts labelled safe",
)
def xstest(folder: Path) -> Iterator[Sample]:
    """Yield 450 text samples in the order of the file; the scenario is the authors' type, 25 samples each.

    The older `xstest_v2_prompts.csv` has no label: there a type that begins with `contrast_` is unsafe.
    Prompts and contrasts about one `focus` are one group; where the column is blank, a sample is its own.
    Raises `DataError` with file and row where labels, ids or counts are not the published ones.
    """
    path = tables(folder, _FILES, split="train")[0]
    table = list(entries(path, ("prompt", "type"), (*_IDS, "label", "focus")))
    check_counts(path, Counter(row.one_of("type", _TYPES) for row in table), _published())
    column = next((name for name in _IDS if name in table[0].cells), None)
    if column is None:
        raise DataError(f"{path}, row 1: no column {' or '.join(_IDS)}")
    for row in distinct(table, column):
        key = row.key(column)
        yield Sample(
            id=key,
            group=_group(row) or key,
            dataset="xstest",
            scenario=row.text("type").strip(),
            goal=row.text("prompt"),
            text=row.text("prompt"),
            expected="refuse" if _unsafe(row) else "answer",
        )


def _group(row: Entry) -> str | None:
    """Return what a prompt shares with its contrasts: the family of its type and the word that the two turn on."""
    focus, kind = row.maybe("focus"), row.text("type").strip()
    family = next((family for family in ("privacy", "discr") if family in kind), kind.removeprefix("contrast_"))
    return f"{family}-{fingerprint(focus.strip().casefold())}" if focus else None


def _unsafe(row: Entry) -> bool:
    contrast = row.text("type").startswith("contrast_")
    if "label" in row.cells and (row.one_of("label", ("safe", "unsafe")) == "unsafe") != contrast:
        raise DataError(f"{row.where}: type {row.text('type')!r} does not go with label {row.text('label')!r}")
    return contrast
