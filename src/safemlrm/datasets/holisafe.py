"""HoliSafe-Bench: every combination of safe and unsafe picture and question, one of them benign (arXiv 2506.04704)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from safemlrm.benchcells import ALL, Entry, content_hash, count, distinct, entries, picture, root_of, tables
from safemlrm.benchfiles import check_rows
from safemlrm.plugin import dataset
from safemlrm.records import Sample

_ROWS = 4_031
#: Picture, question and both together, each safe or unsafe; only the last letter decides.
_TYPES = ("SSS", "SSU", "USU", "UUU", "SUU")
_BENIGN = "SSS"
_COLUMNS = ("id", "image", "query", "category", "subcategory", "type")
_FILES = ("holisafe_bench.json", "data/holisafe_bench.json")


def _published(*, rows: int | None = None) -> dict[str, int]:
    return {ALL: rows or _ROWS}


@dataset(
    version="2",
    title="HoliSafe-Bench",
    paper="arXiv 2506.04704",
    licence="not stated; the terms of the Hub page hold",
    source="https://huggingface.co/datasets/etri-vilab/holisafe-bench",
    folders=("holisafe-bench", "HoliSafe-Bench", "holisafe"),
    published=_published,
    hub="etri-vilab/holisafe-bench",
    gate="terms to accept at https://huggingface.co/datasets/etri-vilab/holisafe-bench",
    metric="refusal rate on SSS; attack success rate on SSU, USU, UUU and SUU, and the mean of the four",
    benign="type SSS",
)
def holisafe(folder: Path, *, rows: int | None = None) -> Iterator[Sample]:
    """Yield 4,031 samples: the picture, then the question; type SSS is to be answered, the others refused.

    Reads `holisafe_bench.json` with its `images/` folder, or the Hub's parquet files. The scenario is the
    subcategory (19 of them). Several questions share a picture and differ in type: they are one group.
    Raises `DataError` where the number of rows or a type is not a published one, or an id occurs twice;
    `rows` is the number of another version (a draft of the paper had 4,163). The counts per type and
    subcategory are not confirmed and not checked.
    """
    paths = tables(folder, _FILES, split="test")
    check_rows(paths[0], count(paths, ("id", "type")), _ROWS, rows)
    root = root_of(paths[0])
    for row in distinct(entries(paths, _COLUMNS), "id"):
        kind = row.one_of("type", _TYPES)
        yield Sample(
            id=row.key("id"),
            group=_shared_picture(row),
            dataset="holisafe",
            scenario=row.text("subcategory"),
            goal=row.text("query"),
            text=row.text("query"),
            images=(picture(row, "image", root, ("images", ".")),),
            expected="answer" if kind == _BENIGN else "refuse",
        )


def _shared_picture(row: Entry) -> str:
    """Return what the rows of one picture have in common: its content, or where that is a file the file's path.

    The path beside a picture's bytes is no name: the Hub keeps the last part of it, or nothing.
    """
    cell = row.cells["image"]
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    return cell.removeprefix("images/") if isinstance(cell, str) else content_hash(cell or b"")
