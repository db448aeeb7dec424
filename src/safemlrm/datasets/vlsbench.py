"""VLSBench: 2,240 requests whose risk shows only in the picture (arXiv 2411.19939)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safemlrm.benchcells import content_hash
from safemlrm.benchfiles import (
    beneath,
    check_counts,
    check_total,
    check_unique,
    contents,
    first_existing,
    known,
    parquet_parts,
    picture,
    picture_folder,
    read_items,
    read_parquet,
    text,
    whole_number,
)
from safemlrm.errors import DataError
from safemlrm.plugin import dataset
from safemlrm.records import Image, Sample

_CATEGORIES = {
    "Violent": 590,
    "Illegal Activity": 539,
    "Self-Harm": 370,
    "Erotic": 343,
    "Hate": 269,
    "Privacy": 130,
}
_ROWS = 2241
#: The one row that was published without an instruction; nothing could be asked.
_EMPTY = 1685
_PICTURES = ("imgs", "data/imgs")


def _published() -> dict[str, int]:
    return {"all": _ROWS - 1}


@dataset(
    version="2",
    title="VLSBench",
    paper="arXiv 2411.19939",
    licence="Apache-2.0 (the Hub's tag)",
    source=(
        "https://huggingface.co/datasets/Foreshhh/vlsbench, or https://github.com/AI45Lab/VLSBench (commit 311093f)"
    ),
    folders=("VLSBench", "vlsbench", "VLSBench-main"),
    published=_published,
    hub="Foreshhh/vlsbench@b56f6f6aad102fdb53f46e35fec96836bbe13001",
    metric="share of safe replies: refused, or warned of (GPT-4o with the picture, three classes)",
)
def vlsbench(folder: Path) -> Iterator[Sample]:
    """Yield 2,240 samples in the order of the files; scenario is the authors' category.

    Reads `data.json` with `imgs/`, or the Hub's newer parquet files. Of the 2,241 published rows number 1685
    has an empty instruction: it is left out, and any other empty one is refused. Rows of one picture share a
    `group`: the picture's path, or where the table holds the picture and no path, its content.
    Raises `DataError` with file and row where ids, counts or categories are not the published ones.
    Unverified: the columns of the parquet files, and whether they still hold row 1685; both is allowed.
    """
    table = first_existing(folder, ("data.json", "data/data.json"))
    files = parquet_parts(folder, "train")
    # a folder that holds both revisions may lack the older one's pictures
    if table is not None and (not files or first_existing(folder, _PICTURES)):
        yield from _from_json(folder, table)
    elif files:
        yield from _from_parquet(files)
    else:
        raise DataError(f"{folder}: neither data.json nor data/train-*.parquet is there ({contents(folder)})")


def _from_json(folder: Path, table: Path) -> Iterator[Sample]:
    home = picture_folder(folder, _PICTURES, ("imgs.tar", "data/imgs.tar")).parent
    records = read_items(table, dict[str, Any])
    rows = [(f"{table}, item {number}", record) for number, record in enumerate(records, start=1)]
    _check(table, rows, dropped=False)
    for where, record in rows:
        if not _dropped(where, record):
            name = text(where, "image_path", record.get("image_path"))
            yield _sample(where, record, Image(path=str(beneath(where, home, name))), name)


def _from_parquet(files: list[Path]) -> Iterator[Sample]:
    columns = ("instruction_id", "instruction", "category")
    rows = [(where, cells) for where, cells in read_parquet(files, columns)]
    _check(files[0].parent, rows, dropped=len(rows) == _ROWS - 1)
    for where, cells in read_parquet(files, (*columns, "image"), optional=("image_path",)):
        if not _dropped(where, cells):
            image = picture(where, cells["image"])
            yield _sample(where, cells, image, cells.get("image_path") or content_hash(image.data or b""))


def _check(place: Path, rows: list[tuple[str, dict[str, Any]]], *, dropped: bool) -> None:
    """Raise `DataError` unless the rows are the published ones; `dropped`: the empty one is left out already."""
    check_total(place, len(rows), _ROWS - dropped)
    ids = [_id(where, row) for where, row in rows]
    check_unique(place, "instruction_id", ids)
    if strange := set(ids) - set(range(_ROWS)) | ({_EMPTY} & set(ids) if dropped else set()):
        raise DataError(f"{place}: instruction_id {min(strange)} should not be there")
    counts = Counter(known(where, "category", row.get("category"), _CATEGORIES) for where, row in rows)
    if not dropped:
        check_counts(place, counts, _CATEGORIES)
    elif (Counter(_CATEGORIES) - counts).total() != 1:
        raise DataError(f"{place}: expected the published counts {_CATEGORIES} less one, got {dict(counts)}")


def _id(where: str, row: dict[str, Any]) -> int:
    return whole_number(where, "instruction_id", row.get("instruction_id"))


def _dropped(where: str, row: dict[str, Any]) -> bool:
    """Whether this is the row without an instruction. Raises `DataError` when it has one now."""
    if _id(where, row) != _EMPTY:
        return False
    if str(row.get("instruction") or "").strip():
        raise DataError(f"{where}: instruction {_EMPTY} was published empty, and this file has one")
    return True


def _sample(where: str, row: dict[str, Any], image: Image, name: str) -> Sample:
    key, instruction = _id(where, row), text(where, "instruction", row.get("instruction"))
    return Sample(
        id=str(key),
        group=name,
        dataset="vlsbench",
        scenario=row["category"],
        goal=instruction,
        text=instruction,
        images=(image,),
    )
