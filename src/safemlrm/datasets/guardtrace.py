"""GuardTrace's test set: reasoning and replies with a label of harm, to validate judges on (arXiv 2511.20994)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from safemlrm.benchcells import ALL, ContentIds, Entry, count, entries, picture, tables
from safemlrm.benchfiles import FIGSTEP_CARRIER, check_rows, fingerprint
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_ROWS = 2_000
#: Subset -> how names of its files (or of their folder) begin, in lower case.
_SUBSETS = {
    "S-Eval-VL": ("s-eval", "s_eval", "seval"),
    "HADES-Eval": ("hades",),
    "MM-Eval": ("mm-eval", "mm_eval", "mm-safety"),
    "MMJ-Eval": ("mmj",),
}
_HOMES = ("", "data/", "GuardTrace-VL-Dataset/", "data/GuardTrace-VL-Dataset/")
_FILES = (*(f"{home}test/**/*.json" for home in _HOMES), "*/*.json", "*.json")
_COLUMNS = ("question", "thinking", "response", "evaluation_result")
_LABELS = {"0": 0.0, "0.0": 0.0, "0.5": 0.5, "1": 1.0, "1.0": 1.0}


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled reply: `sample` is the sample's id; label 0 is safe, 0.5 and 1 count as harmful."""

    sample: str
    thinking: str
    response: str
    label: float


class _Item(NamedTuple):
    sample: Sample
    trace: Trace


def _published(*, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS}


@dataset(
    version="1",
    title="GuardTrace-VL, test",
    paper="arXiv 2511.20994",
    licence="Apache-2.0 (the Hub page's tag)",
    source=(
        "https://huggingface.co/datasets/DloadingX/GuardTrace-VL-Dataset "
        "(code: https://github.com/xiangyx2020/GuardTrace-VL)"
    ),
    folders=("GuardTrace-VL-Dataset", "GuardTrace-VL", "guardtrace"),
    published=_published,
    hub="DloadingX/GuardTrace-VL-Dataset",
    metric="agreement of a judge with the label; 0.5 and 1 count as harmful",
)
def guardtrace(folder: Path, *, rows: int | None = None) -> Iterator[Sample]:
    """Yield 2,000 samples (the picture where there is one, then the question), file by file of the four subsets.

    The scenario is the subset; `reference` is the label "0", "0.5" or "1" of the trace that `traces`
    yields under the same id. Where an S-Eval item has a picture, the text sent is FigStep's fixed one, as
    in the authors' script. The files have no ids: an id is made of the item's content, and traces of one
    question are one group. Raises `DataError` where a subset is missing, the total is not 2,000 (`rows` is
    that of another version) or a label is none of the three. Names of files, and counts per subset, are not
    confirmed.
    """
    for item in _items(folder, rows):
        yield item.sample


def traces(folder: Path, *, rows: int | None = None) -> Iterator[Trace]:
    """Yield the labelled thinking and reply of each sample, in the same order: the gold for validating a judge."""
    for item in _items(folder, rows):
        yield item.trace


def _items(folder: Path, rows: int | None) -> Iterator[_Item]:
    files = _subsets(folder)
    paths = [path for found in files.values() for path in found]
    check_rows(folder, count(paths, _COLUMNS), _ROWS, rows, "test items")
    ids = ContentIds()
    for name, found in files.items():
        for path in found:
            for row in entries(path, _COLUMNS):
                yield _item(name, path, row, ids)


def _subsets(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each subset: those so named, else those in a folder so named."""
    there = [path for path in tables(folder, _FILES) if "train" not in path.relative_to(folder).parts]
    files = {}
    for name, starts in _SUBSETS.items():
        files[name] = [path for path in there if path.name.lower().startswith(starts)]
        files[name] = files[name] or [path for path in there if path.parent.name.lower().startswith(starts)]
        if not files[name]:
            raise DataError(f"{folder}: no JSON file of the subset {name} (a name like {starts[0]}*.json)")
    return files


def _item(subset: str, path: Path, row: Entry, ids: ContentIds) -> _Item:
    question, name = row.text("question"), row.maybe("image_name")
    thinking, response = (_written(row, column) for column in ("thinking", "response"))
    label = _label(row)
    homes = ("images", "../images", ".", f"{subset}/images", f"{path.stem}/images")
    images = (picture(row, "image_name", path.parent, homes),) if name else ()
    key = ids.of(subset, name or "", question, thinking, response)
    sample = Sample(
        id=key,
        group=f"{subset}-{fingerprint(question)}",
        dataset="guardtrace",
        scenario=subset,
        goal=question,
        text=FIGSTEP_CARRIER if name and name.startswith("S-Eval") else question,
        images=images,
        reference=f"{label:g}",
    )
    return _Item(sample, Trace(sample=key, thinking=thinking, response=response, label=label))


def _written(row: Entry, column: str) -> str:
    """Return a text that may be empty or null: some models wrote no thinking, or nothing after it."""
    value = row.cells[column]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{row.where}: {column!r} should be a text, not {type(value).__name__}")
    return value


def _label(row: Entry) -> float:
    value = row.cells["evaluation_result"]
    label = _LABELS.get(str(value).strip())
    if label is None:
        raise DataError(f"{row.where}: 'evaluation_result' should be 0, 0.5 or 1, not {value!r}")
    return label
